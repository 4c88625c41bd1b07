"""
What the rules of L{tests.toolbox.inputs} don't know: values that make sense for
single algorithms, and what of their results is chance.
"""

from __future__ import annotations

import json
from typing import Any

from tests.toolbox.inputs import LEAVE, Box, Copy, Each, File, Spot

_JSON = "application/json"


def _same(value: Any) -> Each:
    """A structure that both write as the same JSON."""
    return Each(value, json.dumps(value), _JSON)


_GROUPS = {"DATASET_GROUPS": [0]}
_MESH = {**_GROUPS, "CRS_OUTPUT": "EPSG:32632"}
_NETWORK = {"INPUT": "lines"}
_STACK: dict[str, Any] = {"INPUT_RASTERS": ["dem", "dem2"], "REFERENCE_LAYER": "dem"}
_SHAPE = File("shape/points.shp", "application/zip", sent="shape")
_IDW = Each(
    "points::~::0::~::4::~::0",
    '[{"layer": "points", "source": "attribute", "attribute": "value",'
    ' "type": "points"}]',
    _JSON,
)

#: By algorithm and parameter.
HINTS: dict[str, dict[str, Any]] = {
    "gdal:assignprojection": {"INPUT": Copy("dem.tif")},
    "gdal:buildvirtualvector": {"INPUT": ["points", "others"]},
    "gdal:clipvectorbypolygon": {"MASK": "areas"},
    "gdal:colorrelief": {"COLOR_TABLE": File("colors.txt", "text/plain")},
    "gdal:executesql": {"SQL": "SELECT number, value FROM polygons WHERE value > 20"},
    "gdal:nearblack": {"INPUT": "colors"},
    "gdal:overviews": {"INPUT": Copy("dem.tif")},
    "gdal:pansharp": {"SPECTRAL": "colors", "PANCHROMATIC": "ones"},
    "gdal:pcttorgb": {"INPUT": "palette"},
    "gdal:rgbtopct": {"INPUT": "colors"},
    "gdal:gridlinear": {"Z_FIELD": "value"},
    "gdal:rasterize": {
        "BURN": 5,
        "UNITS": 1,
        "WIDTH": 200,
        "HEIGHT": 200,
        "EXTENT": Box(),
    },
    "gdal:rasterize_over": {"INPUT_RASTER": Copy("dem.tif")},
    "gdal:rasterize_over_fixed_value": {"INPUT_RASTER": Copy("dem.tif"), "BURN": 7},
    "gdal:rearrange_bands": {"INPUT": "colors", "BANDS": [3, 1]},
    "gdal:merge": {"INPUT": ["dem", "dem2"]},
    "gdal:retile": {
        "INPUT": ["dem"],
        "TILE_SIZE_X": 32,
        "TILE_SIZE_Y": 32,
        "OUTPUT_CSV": LEAVE,
    },
    "gdal:tileindex": {"LAYERS": ["dem", "dem2"]},
    "gdal:gdal2tiles": {"INPUT": "colors", "ZOOM": "9-10"},
    "gdal:warpreproject": {"TARGET_CRS": "EPSG:3857"},
    "native:aggregate": {
        "AGGREGATES": Each(
            [
                {
                    "aggregate": "sum",
                    "delimiter": ",",
                    "input": '"value"',
                    "length": 0,
                    "name": "total",
                    "precision": 0,
                    "type": 6,
                }
            ],
            '[{"aggregate": "sum", "delimiter": ",", "input": "\\"value\\"",'
            ' "name": "total", "type": "double"}]',
            _JSON,
        )
    },
    "native:addfieldtoattributestable": {"FIELD_NAME": "added"},
    "native:atlaslayouttoimage": {
        "LAYOUT": "atlas",
        "FOLDER": Each("{folder}", "pictures"),
    },
    "native:atlaslayouttopdf": {"LAYOUT": "atlas"},
    "native:bufferbym": {"INPUT": "measured"},
    "native:calculatevectoroverlaps": {"LAYERS": ["areas"]},
    "native:cellstackpercentrankfromrasterlayer": {"INPUT": ["dem", "dem2"]},
    "native:createconstantrasterlayer": {"PIXEL_SIZE": 500},
    "native:creategrid": {"HSPACING": 1000, "VSPACING": 1000, "CRS": "EPSG:32632"},
    "native:createpointslayerfromtable": {
        "INPUT": "table",
        "XFIELD": "low",
        "YFIELD": "high",
    },
    "native:createrandomuniformrasterlayer": {"LOWER_BOUND": 1, "UPPER_BOUND": 5},
    **{
        f"native:createrandom{kind}rasterlayer": {"PIXEL_SIZE": 500}
        for kind in (
            *("binomial", "exponential", "gamma", "geometric", "negativebinomial"),
            *("normal", "poisson"),
        )
    },
    "native:convertgpxfeaturetype": {
        "INPUT": File("tracks.gpx", "application/gpx+xml")
    },
    "native:convertgpsdata": {
        "INPUT": File("tracks.gpx", "application/gpx+xml"),
        "FORMAT": "gpx",
    },
    "native:createattributeindex": {"INPUT": Copy("points.gpkg")},
    "native:createspatialindex": {"INPUT": Copy("points.gpkg")},
    "native:detectvectorchanges": {
        "ORIGINAL": "points",
        "REVISED": "others",
        "COMPARE_ATTRIBUTES": ["name"],
    },
    "native:dxfexport": {
        "LAYERS": Each(
            [{"layer": "points", "attributeIndex": -1}], '[{"layer": "points"}]', _JSON
        ),
    },
    "native:explodehstorefield": {"FIELD": "store"},
    "native:extractbinary": {
        "INPUT": "points",
        "FIELD": "data",
        "FILENAME": '"number"',
    },
    "native:extractbyattribute": {"FIELD": "class", "VALUE": "2"},
    "native:extractmvalues": {"INPUT": "measured"},
    "native:extractzvalues": {"INPUT": "measured"},
    "native:fieldcalculator": {"FIELD_NAME": "twice", "FORMULA": '"value" * 2'},
    "native:filedownloader": {"URL": Each("{url}", "{url}")},
    "native:filterverticesbym": {"INPUT": "measured", "MIN": 10},
    "native:filterverticesbyz": {"INPUT": "measured", "MIN": 20},
    "native:geometrybyexpression": {"EXPRESSION": "buffer($geometry, 100)"},
    "native:hublines": {
        "HUBS": "points",
        "HUB_FIELD": "class",
        "SPOKES": "others",
        "SPOKE_FIELD": "class",
    },
    "native:importphotos": {"FOLDER": File("FOLDER")},
    "native:interpolatepoint": {"INPUT": "lines", "DISTANCE": 100},
    "native:joinattributestable": {"FIELD": "number", "FIELD_2": "number"},
    "native:layertobookmarks": {"NAME_EXPRESSION": '"name"'},
    "native:linedensity": {"PIXEL_SIZE": 500, "RADIUS": 1000},
    "native:lineintersections": {"INPUT": "lines", "INTERSECT": "crossing"},
    "native:linesubstring": {"END_DISTANCE": 500},
    "native:flattenrelationships": {"INPUT": "areas"},
    "native:snapgeometries": {"REFERENCE_LAYER": "areas", "BEHAVIOR": 0},
    "native:mergevectorlayers": {"LAYERS": ["points", "others"]},
    "native:meshcontours": {**_MESH, "INCREMENT": 5, "MINIMUM": 0, "MAXIMUM": 40},
    "native:meshexportcrosssection": {"INPUT_LINES": "crossing", **_GROUPS},
    "native:meshexporttimeseries": {"INPUT_POINTS": "points", **_GROUPS},
    "native:multiringconstantbuffer": {"RINGS": 2, "DISTANCE": 100},
    "native:nearestneighbouranalysis": {"INPUT": "points"},
    "native:orderbyexpression": {"EXPRESSION": '"value"'},
    "native:polygonize": {"INPUT": "lines"},
    "native:postgisexecutesql": {"SQL": "SELECT 1"},
    "native:printlayouttoimage": {"LAYOUT": "page"},
    "native:rasterbooleanand": {"INPUT": ["ones", "dem2"], "REF_LAYER": "ones"},
    "native:rasterlogicalor": {"INPUT": ["ones", "dem2"], "REF_LAYER": "ones"},
    "native:rasterize": {"MAP_UNITS_PER_PIXEL": 100, "TILE_SIZE": 64},
    "native:rasterlayeruniquevaluesreport": {"INPUT": "classes"},
    "native:rasterlayerzonalstats": {"INPUT": "dem", "ZONES": "classes"},
    "native:rastersurfacevolume": {"LEVEL": 600},
    "native:reclassifybylayer": {
        "INPUT_RASTER": "classes",
        "INPUT_TABLE": "table",
        "MIN_FIELD": "low",
        "MAX_FIELD": "high",
        "VALUE_FIELD": "value",
    },
    "native:reclassifybytable": {
        "INPUT_RASTER": "classes",
        "TABLE": Each([0, 2, 10, 2, 4, 20], "[[0, 2, 10], [2, 4, 20]]", _JSON),
    },
    "native:refactorfields": {
        "FIELDS_MAPPING": Each(
            [
                {
                    "expression": '"value"',
                    "length": 0,
                    "name": "kept",
                    "precision": 0,
                    "type": 6,
                }
            ],
            '[{"expression": "\\"value\\"", "name": "kept", "type": "double"}]',
            _JSON,
        )
    },
    "native:renametablefield": {"FIELD": "name", "NEW_NAME": "renamed"},
    "native:repairshapefile": {"INPUT": _SHAPE},
    "native:reprojectlayer": {"TARGET_CRS": "EPSG:3857"},
    "native:serviceareafromlayer": {
        **_NETWORK,
        "START_POINTS": "points",
        "TRAVEL_COST2": 1500,
        "TRAVEL_COST": LEAVE,
    },
    "native:serviceareafrompoint": {
        **_NETWORK,
        "START_POINT": Spot(0.2, 0.2),
        "TRAVEL_COST2": 1500,
        "TRAVEL_COST": LEAVE,
    },
    "native:setlayerencoding": {"INPUT": "points", "ENCODING": "UTF-8"},
    "native:setlayerstyle": {
        "INPUT": "polygons",
        "STYLE": File("style.qml"),
    },
    "native:shortestpathlayertopoint": {
        **_NETWORK,
        "START_POINTS": "points",
        "END_POINT": Spot(0.8, 0.8),
    },
    "native:shortestpathpointtolayer": {
        **_NETWORK,
        "START_POINT": Spot(0.2, 0.2),
        "END_POINTS": "points",
    },
    "native:shortestpathpointtopoint": {
        **_NETWORK,
        "START_POINT": Spot(0.2, 0.2),
        "END_POINT": Spot(0.8, 0.8),
    },
    "native:spatialiteexecutesql": {
        "DATABASE": "spatial",
        "SQL": "SELECT count(*) FROM things",
    },
    "native:splitfeaturesbycharacter": {"FIELD": "name", "CHAR": " ", "REGEX": False},
    "native:splitlinesbylength": {"LENGTH": 700},
    "native:splitvectorlayer": {"FIELD": "class"},
    "native:splitwithlines": {"INPUT": "polygons", "LINES": "crossing"},
    "native:stdbscanclustering": {"DATETIME_FIELD": "time"},
    "native:sumlinelengths": {"POLYGONS": "polygons", "LINES": "lines"},
    "native:tinmeshcreation": {
        "SOURCE_DATA": Each(
            [{"source": "points", "type": 0, "attributeIndex": 4}],
            '[{"layer": "points", "type": "vertices", "attribute": "value"}]',
            _JSON,
        )
    },
    "native:translategeometry": {"DELTA_X": 100, "DELTA_Y": 50},
    "native:truncatetable": {"INPUT": Copy("points.gpkg")},
    "native:writevectortiles_mbtiles": {"LAYERS": _same([{"layer": "polygons"}])},
    "native:writevectortiles_xyz": {"LAYERS": _same([{"layer": "polygons"}])},
    "native:zonalhistogram": {"INPUT_RASTER": "classes"},
    "native:stylefromproject": {"INPUT": LEAVE},
    "native:shpencodinginfo": {"INPUT": _SHAPE},
    "qgis:advancedpythonfieldcalculator": {
        "FIELD_NAME": "twice",
        "FORMULA": "value = <value> * 2",
        "FIELD_TYPE": 1,
    },
    "qgis:climbalongline": {"INPUT": "measured"},
    "qgis:convertgeometrytype": {"INPUT": "polygons", "TYPE": 0},
    "qgis:definecurrentprojection": {"INPUT": Copy("points.gpkg")},
    "qgis:distancematrix": {"INPUT_FIELD": "number", "TARGET_FIELD": "number"},
    "qgis:distancetonearesthublinetohub": {"FIELD": "name", "UNIT": 0},
    "qgis:distancetonearesthubpoints": {"FIELD": "name", "UNIT": 0},
    "qgis:executesql": {
        "INPUT_QUERY": "SELECT number, value, geometry FROM points WHERE value > 20",
        "INPUT_DATASOURCES": ["points"],
    },
    "qgis:heatmapkerneldensityestimation": {"RADIUS": 1500, "PIXEL_SIZE": 500},
    "qgis:hypsometriccurves": {"BOUNDARY_LAYER": "polygons"},
    "qgis:idwinterpolation": {"INTERPOLATION_DATA": _IDW, "PIXEL_SIZE": 500},
    "qgis:tininterpolation": {"INTERPOLATION_DATA": _IDW, "PIXEL_SIZE": 500},
    "qgis:importintospatialite": {"INPUT": "points", "DATABASE": "spatial"},
    "qgis:joinbylocationsummary": {"INPUT": "polygons", "JOIN": "points"},
    "qgis:knearestconcavehull": {"INPUT": "points"},
    "qgis:linestopolygons": {"INPUT": "measured"},
    "qgis:minimumboundinggeometry": {"INPUT": "points", "TYPE": 3},
    "qgis:pointsdisplacement": {
        "INPUT": "points",
        "PROXIMITY": 300,
        "DISTANCE": 100,
        "HORIZONTAL": False,
    },
    "qgis:rastercalculator": {
        "EXPRESSION": '"dem@1" * 2',
        "LAYERS": ["dem"],
    },
    "qgis:regularpoints": {"SPACING": 1000, "CRS": "EPSG:32632"},
    "qgis:relief": {
        "AUTO_COLORS": False,
        "COLORS": Each(
            "200,600,255,0,0;600,1000,0,255,0",
            '[{"minimum": 200, "maximum": 600, "color": "#ff0000"},'
            ' {"minimum": 600, "maximum": 1000, "color": "#00ff00"}]',
            _JSON,
        ),
    },
    "qgis:statisticsbycategories": {
        "CATEGORIES_FIELD_NAME": ["class"],
        "VALUES_FIELD_NAME": "value",
    },
    "qgis:texttofloat": {"FIELD": "text"},
    "qgis:tilesxyzdirectory": {"ZOOM_MIN": 9, "ZOOM_MAX": 10},
    "qgis:tilesxyzmbtiles": {"ZOOM_MIN": 9, "ZOOM_MAX": 10},
    "qgis:vectorlayerscatterplot": {"XFIELD": "low", "YFIELD": "value"},
    "qgis:scatter3dplot": {"XFIELD": "low", "YFIELD": "high", "ZFIELD": "value"},
    **{
        f"native:{name}": _MESH
        for name in (
            *("exportmeshedges", "exportmeshfaces", "exportmeshvertices"),
            *("exportmeshongrid", "meshrasterize"),
        )
    },
    **{
        f"native:{name}": {
            "INPUT_VALUE_RASTER": "dem",
            "INPUT_RASTERS": ["dem", "dem2"],
        }
        for name in ("equaltofrequency", "greaterthanfrequency", "lessthanfrequency")
    },
    **{f"native:{name}positioninrasterstack": _STACK for name in ("highest", "lowest")},
}

#: Algorithms that draw lots, without a seed that could be given.
CHANCE = frozenset(
    {
        *(
            f"native:createrandom{kind}rasterlayer"
            for kind in (
                *("binomial", "exponential", "gamma", "geometric", "normal"),
                *("negativebinomial", "poisson", "uniform"),
            )
        ),
        "native:randomextract",
        "native:randompointsinextent",
        "native:randompointsinpolygons",
        "native:randompointsonlines",
        "qgis:randomextractwithinsubsets",
        "qgis:randompointsalongline",
        "qgis:randompointsinlayerbounds",
        "qgis:randompointsinsidepolygons",
        "qgis:regularpoints",
    }
)

_DATABASE = "it needs a PostgreSQL server"

#: Why some can't be run here, whoever asks.
REASONS = {
    "native:batchnominatimgeocoder": "it asks a service on the Internet",
    "native:downloadgpsdata": "it needs a GPS device",
    "qgis:findprojection": "it tries each CRS that there is: five minutes in QGIS, too",
    "gdal:importvectorintopostgisdatabaseavailableconnections": _DATABASE,
    "gdal:importvectorintopostgisdatabasenewconnection": _DATABASE,
    "native:postgisexecutesql": _DATABASE,
    "native:spatialiteexecutesqlregistered": "it needs a connection in QGIS's settings",
    "qgis:importintopostgis": _DATABASE,
    "native:uploadgpsdata": "it needs a GPS device",
}

#: What is asked for in another format than others of its type, and in which.
FORMATS = {
    # Annotations are nowhere but in projects.
    "native:transferannotationsfrommain": "application/x-qgis-project",
}
