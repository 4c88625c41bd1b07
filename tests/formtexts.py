"""
Texts that may be of a form (L{qgswps.forms}), and such that can't be.

The server looks at them without QGIS, and a worker with it: both tests read
these.
"""

from __future__ import annotations

URN = "urn:ogc:def:crs:EPSG::4326"
GML = (
    "<gml:Point xmlns:gml='http://www.opengis.net/gml' srsName='EPSG:4326'>"
    "<gml:pos>9 50</gml:pos></gml:Point>"
)
WGS84 = (
    'GEOGCS["WGS 84",DATUM["WGS_1984",SPHEROID["WGS 84",6378137,298.257223563]],'
    'PRIMEM["Greenwich",0],UNIT["degree",0.0174532925199433]]'
)

GOOD: dict[str, tuple[str, ...]] = {
    "crs": (
        "EPSG:4326",
        "epsg:25832",
        URN,
        "http://www.opengis.net/def/crs/EPSG/0/4326",
        "http://www.opengis.net/gml/srs/epsg.xml#4326",
        "CRS:84",
        "ESRI:102003",
        "ProjectCrs",
        "+proj=merc +ellps=bessel",
        "PROJ:+proj=merc +ellps=bessel",
        WGS84,
        f"WKT:{WGS84}",
    ),
    "operation": ("+proj=noop", "+proj=pipeline +step +proj=noop"),
    "point": (
        "9,50",
        "9 50",
        "(9, 50)",
        "9,50 [EPSG:4326]",
        f"50,9 [{URN}]",
        "9,50 [+proj=merc +ellps=bessel]",
        "POINT(9 50)",
        "Point Z (9 50 3)",
        "PointZ(9 50 3)",
        "SRID=4326;POINT(9 50)",
        "srid=3857; POINT(9 50)",
        '{"type": "Point", "coordinates": [9, 50]}',
        '{"type": "Feature", "properties": {},'
        ' "geometry": {"type": "Point", "coordinates": [9, 50]}}',
        GML,
    ),
    "geometry": (
        "POINT(9 50)",
        "POLYGON((0 0, 0 1, 1 1, 0 0))",
        "MultiLineStringZM((0 0 1 1, 1 1 2 2))",
        "SRID=3857;LINESTRING(0 0, 1 1)",
        "LINESTRING(0 0, 1 1) [EPSG:3857]",
        "CurvePolygon(CircularString(0 0, 1 1, 2 0, 1 -1, 0 0))",
        '{"type": "LineString", "coordinates": [[0, 0], [1, 1]]}',
        GML,
    ),
    "range": ("1,2", "-0.5,1e3", "[1, 2]", "2,1"),
    "integerrange": ("1,2", "[1, 2]", "1.0,2"),
    "color": (
        "#ff8000",
        "#F80",
        "#ff8000aa",
        "red",
        "rgb(255, 128, 0)",
        "rgba(255, 128, 0, 0.5)",
        "hsl(10, 20%, 30%)",
    ),
    "meshtime": (
        "static",
        "current-context-time",
        "1,2",
        "[1, 2]",
        "2024-05-31T12:00:00Z",
        "2024-05-31",
        '{"type": "dataset-time-step", "value": [1, 2]}',
    ),
    "expression": (
        '"a" + 1',
        "array(1, 2)[0]",
        "'it''s (' || 'a\\'('",
        '"odd ( name" > 2',
        "1 -- (",
        "/* ( */ 1",
        "1 /* (",
        "-- '\n1",
        "CASE WHEN ( \"x\" ) THEN '[' ELSE ')' END",
        "$id",
    ),
}

BAD: dict[str, tuple[str, ...]] = {
    "crs": (
        "nonsense",
        "/etc/passwd",
        "EPSG:",
        "EPSG:wgs84",
        "4326",
        "urn:ogc:def:crs:EPSG",
        "urn:ogc:def:crs:EPSG::x",
        "+ellps=bessel",
        'GEOGCS["WGS 84",DATUM["a"',
        "WKT:nothing",
        "",
    ),
    "operation": (
        "proj=noop",
        "/etc/passwd",
        "+proj=hgridshift +grids=/etc/passwd",
        "+init=epsg:4326",
    ),
    "point": (
        "x",
        "1",
        "1,2,3",
        "nan,1",
        "1_0,2",
        "POINT 1 2",
        "SPOT(1 2)",
        "LINESTRING(0 0, 1 1)",
        "9,50 [nonsense]",
        '{"type": "Point"',
        '{"type": "Topology"}',
        '{"type": "LineString", "coordinates": [[0, 0], [1, 1]]}',
        '{"type": "FeatureCollection", "features": []}',
        '{"type": "Point", "coordinates": [NaN, 1]}',
        "<a",
        "",
    ),
    "geometry": (
        "nothing",
        "POLYGON 0 0",
        "SRID=x;POINT(1 2)",
        '{"type": "Feature", "geometry": null}',
        "<a",
        "",
    ),
    "range": ("1", "1,2,3", "a,b", "nan,1", "0,inf", ""),
    "integerrange": ("1.5,2", "1", ""),
    "color": ("#ggg", "#12", "red;", "url(x)?", ""),
    "meshtime": ("soon", "1,2,3", "{", ""),
    "expression": ("(1", "1)", "'a", "a[", "[1)", '"a'),
}
