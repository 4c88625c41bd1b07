"""All targets, by their names."""

from __future__ import annotations

from qgswps.config import SECTIONS
from tests.fuzz.harness import Target

_QUERY = (
    *("service=WPS", "&request=", "GetCapabilities", "DescribeProcess", "Execute"),
    *("GetResults", "GetExecutionStatus", "&version=1.0.0", "&AcceptVersions="),
    *("&identifier=", "&uuid=", "&DataInputs=", "&ResponseDocument="),
    *("&RawDataOutput=", "&storeExecuteResponse=", "&status=true", "&lineage="),
    *("&TIMEOUT=", "&EXPIRE=", "&MAP=", "@mimeType=", "@encoding=base64", "@schema="),
    *("@xlink:href=", "@href=", "@method=", "@asReference=true", "@uom=", "@datatype="),
    *("%3B", "%3D", "%40", "%25", "%253B", "%00", "%ff", "%C3%A4", "+", ";", "[", "]"),
)

_XML = (
    *("<wps:Execute service='WPS' version='1.0.0'", "<wps:DescribeProcess", "<wfs:"),
    *(" xmlns:wps='http://www.opengis.net/wps/1.0.0'", "</", "/>", "<!--", "-->"),
    *(" xmlns:ows='http://www.opengis.net/ows/1.1'", "<?xml version='1.0'", "?>"),
    *(" encoding='", "utf-16", "utf-7", "iso-8859-1", "cp037", "UTF-32", "hex"),
    *("<ows:Identifier>", "<wps:DataInputs>", "<wps:Input>", "<wps:Data>"),
    *("<wps:LiteralData dataType='", "<wps:ComplexData mimeType='", "<![CDATA["),
    *("<wps:BoundingBoxData crs='", "<ows:LowerCorner>", "<ows:UpperCorner>"),
    *("<wps:Reference xlink:href='", " xmlns:xlink='http://www.w3.org/1999/xlink'"),
    *("<wps:Header key='", " value='", "<wps:Body>", "<wps:BodyReference"),
    *("<wps:ResponseForm>", "<wps:ResponseDocument", "<wps:RawDataOutput>"),
    *("<wps:Output>", "asReference='true'", "storeExecuteResponse='true'", "]]>"),
    *("<!DOCTYPE a [<!ENTITY b SYSTEM 'file:///etc/passwd'>]>", "&b;", "&#0;", "&#x"),
    *("<Envelope", "<ows:AcceptVersions>", "<ows:Version>", "\ufeff", "\ufffe"),
)

_HOSTS = (
    *("http://", "https://", "file:///", "data:", "ftp:", "//", "\\", "@", "[", "]"),
    *(
        "127.0.0.1",
        "0x7f",
        "017700000001",
        "2130706433",
        "169.254.169.254",
        "localhost",
    ),
    *("::1", "::ffff:", "64:ff9b::", "2002:", "fe80::1%25eth0", "%00", "%2e", "%40"),
    *("\uff11", "\u3002", "\u2460", "\uff0e", "\u00ad", "\u200d", "xn--", ":80", "#"),
    *(";base64,", "..", "\r\n", "\t", "?", "0", ".", "a.org", "\u2100", "\uff20"),
)

_JSON = (
    *('{"type": "FeatureCollection", "features": [', '{"type": "Feature"'),
    *(', "properties": {', ', "geometry": ', '{"type": "Point", "coordinates": '),
    *('"LineString"', '"Polygon"', '"MultiPoint"', '"MultiPolygon"', "[[", "]]"),
    *('"GeometryCollection"', ', "geometries": [', "[0, 0]", "1e999", "-1e308", "NaN"),
    *(', "crs": {"type": "name", "properties": {"name": "', "EPSG:4326", "CRS84"),
    *(
        '"bbox": [',
        ', "id": ',
        "null",
        "true",
        '"\\u0000"',
        '"\\ud800"',
        "18446744073709551616",
    ),
    *('"Topology", "objects": {', '"arcs": [', '"esriGeometryPoint"', '"rings"'),
    *('"TopoJSON"', '"stac_version"', '"@type"', '"foreign": ', "}]}", "/vsicurl/"),
)

_GML = (
    *("<gml:FeatureCollection", " xmlns:gml='http://www.opengis.net/gml'", "<?xml"),
    *(" xmlns:gml='http://www.opengis.net/gml/3.2'", "<gml:featureMember>", "</"),
    *(
        "<ogr:feature gml:id='a'>",
        " xmlns:ogr='http://ogr.maptools.org/'",
        "<ogr:geom>",
    ),
    *(
        "<gml:Point",
        "<gml:LineString",
        "<gml:Polygon",
        "<gml:MultiSurface",
        "<gml:Curve",
    ),
    *(
        " srsName='EPSG:4326'",
        " srsName='urn:ogc:def:crs:EPSG::4326'",
        " srsDimension='3'",
    ),
    *(
        "<gml:pos>",
        "<gml:posList>",
        "<gml:coordinates>",
        "<gml:exterior>",
        "<gml:segments>",
    ),
    *("<gml:LinearRing>", "<gml:Arc>", "<gml:ArcByCenterPoint", "<gml:radius uom='m'>"),
    *(
        "<gml:surfaceMember>",
        "<gml:PolyhedralSurface>",
        "<gml:TopoSurface",
        "<gml:Solid",
    ),
    *(" xlink:href='#a'", " xmlns:xlink='http://www.w3.org/1999/xlink'", "<![CDATA["),
    *("xsi:schemaLocation='a /etc/passwd'", "<!DOCTYPE", "&lt;", "<gml:boundedBy>"),
    *(
        "<gml:CircleByCenterPoint",
        "<gml:CompositeCurve>",
        "<gml:OrientableCurve",
        "1e999",
    ),
)

_WKT = (
    *("POINT", "LINESTRING", "POLYGON", "MULTIPOINT", "MULTILINESTRING", "TIN", " Z "),
    *("MULTIPOLYGON", "GEOMETRYCOLLECTION", "CIRCULARSTRING", "COMPOUNDCURVE", " ZM "),
    *("CURVEPOLYGON", "MULTICURVE", "MULTISURFACE", "POLYHEDRALSURFACE", "TRIANGLE"),
    *("EMPTY", "SRID=4326;", " [EPSG:4326]", "nan", "inf", "1e999", "-1e-320", "(("),
    *("))", "(0 0, 1 1)", ",", "25D", "M", 'GEOGCS["', 'PROJCS["', 'DATUM["', "+proj="),
    *("PROJ:", "WKT:", "urn:ogc:def:crs:", "+init=", "+nadgrids=", 'AUTHORITY["EPSG"'),
    *(
        "BOUNDCRS[",
        "COMPOUNDCRS[",
        'EXTENSION["PROJ4"',
        "+towgs84=",
        "CONCATENATEDOPERATION",
    ),
)

_INI = (
    *(f"[{section.name}]\n" for section in SECTIONS),
    *(f"{key.name} = " for section in SECTIONS for key in section.keys),
    *("yes", "no", "0", "-1", "1e9", "100m", "2g", "any", "127.0.0.1", "10.0.0.0/8"),
    *("redis://h:1/0", "sqlite:///a", "sqlite:////a", "http://h/", "tcp:8080", "/a:/b"),
    *("postgresql://u:p@h/?dbname=a&schema=b", "%(a)s", "${a}", "\n--\n", "\n  ", "''"),
    *("SERVER_HTTP_PORT=", "REDIS_HOST=", "SERVER_STORE=", "LOGLEVEL=", "#", ";", "="),
    *("[projects.schemes]\n", "[wps.request]\n", "{uuid}", "~", "\ufeff", "\x85", "["),
)

_YAML = (
    *(
        "deny:\n",
        "allow:\n",
        "rules:\n",
        "- ",
        "  - ",
        "realms: ",
        "users: ",
        "groups: ",
    ),
    *(
        "pattern: ",
        "reason: ",
        "'native:*'",
        '"*:*/INPUT"',
        "[a, b]",
        "{a: b}",
        "&a ",
        "*a",
    ),
    *(
        "!!python/object:os.system ",
        "!!binary ",
        "<<: ",
        "? ",
        "|\n",
        ">-\n",
        "---\n",
        "%",
    ),
    *(
        "native:[a-",
        "[!",
        "echo",
        "/",
        ": ",
        "\t",
        "null",
        "~",
        "'",
        "#",
        "!!set",
        "!!int",
    ),
)

_MAP = (
    *("SERVICE=WMS", "&REQUEST=GetMap", "&REQUEST=GetCoverage", "&MAP=", "&LAYERS="),
    *(
        "&STYLES=",
        "&SLD=",
        "&SLD_BODY=",
        "&FILTER=",
        "&EXP_FILTER=",
        "&WIDTH=",
        "&BBOX=",
    ),
    *(
        "&RESX=",
        "&TEMPLATE=",
        "&map0:SLD=",
        "EXTERNAL_WMS:",
        "%2553LD",
        "<Function",
        "env(",
    ),
    *(
        "%00",
        "%25",
        "%26",
        "%3D",
        "+",
        "=",
        "&",
        ";",
        "'",
        "\\",
        "0,0,1,1",
        "1e999",
        "nan",
    ),
    *("&HIGHLIGHT_SYMBOL=", "&REQUEST_BODY=", "&FORMAT_OPTIONS=", "GetPrint", "%C0%AE"),
)

_LAYER = (
    *(
        "layer:",
        "?select=",
        "&rect=",
        "0,0,1,1",
        ",EPSG:4326",
        "%26",
        "%3F",
        "%ff",
        "%",
    ),
    *("nan", "inf", "1_0", "1e999", "&", "=", "layer%3A", " ", "+", "\u0661"),
)

TARGETS = {
    target.name: target
    for target in (
        Target("kvp", "tests.fuzz.protocol:kvpRequest", _QUERY),
        Target("xml", "tests.fuzz.protocol:xmlRequest", _XML),
        Target("reference", "tests.fuzz.reaching:reference", _HOSTS, largest=512),
        Target(
            "configuration", "tests.fuzz.settings:configuration", _INI, mutations=500
        ),
        Target("geojson", "tests.fuzz.layers:geoJson", _JSON, True, mutations=150),
        Target("gml", "tests.fuzz.layers:gml", _GML, True, mutations=150),
        Target("wkt", "tests.fuzz.layers:wkt", _WKT, True, 1024, mutations=150),
        Target("form", "tests.fuzz.protocol:textForm", (*_JSON, *_GML, *_WKT)),
        Target("policy", "tests.fuzz.settings:accessPolicy", _YAML, mutations=100),
        Target("map", "tests.fuzz.protocol:mapRequest", _MAP),
        Target("layer", "tests.fuzz.protocol:layerReference", _LAYER, largest=512),
    )
}
