"""Inputs that are structures: what QGIS gets, and that it gives the same."""

from __future__ import annotations

import base64
import json
from pathlib import Path
from typing import Any

from osgeo import gdal
from qgis.core import (
    QgsApplication,
    QgsProcessingParameterDefinition,
    QgsProject,
    QgsProperty,
    QgsVectorLayer,
)
from qgis.PyQt.QtCore import QVariant

from qgswps import jsonschema
from qgswps.errors import OWSError
from qgswps.model import (
    ComplexType,
    ComplexValue,
    ExecuteRequest,
    FileValue,
    Format,
    Input,
    LiteralValue,
    OutputRequest,
    Result,
)
from qgswps.worker import needs, parameters
from qgswps.worker.parameters import structures
from tests.worker.qgisside.runs import CITIES, asGeoJson, checksum, inQgis
from tests.worker.qgisside.support import (
    GEOJSON,
    WORLD,
    JobCase,
    data,
    features,
    literal,
)

JSON = "application/json"
TAKEN = (OutputRequest("OUTPUT", GEOJSON),)
TIFF = (OutputRequest("OUTPUT", Format("image/tiff")),)

POINTS = {
    "type": "FeatureCollection",
    "features": [
        {
            "type": "Feature",
            "properties": {"height": x * y},
            "geometry": {"type": "Point", "coordinates": [x, y]},
        }
        for x, y in ((0, 0), (4, 0), (4, 4), (0, 4), (1, 2))
    ],
}


class Parameter(QgsProcessingParameterDefinition):
    """A parameter of a type that this QGIS need not have."""

    def __init__(self, type_: str) -> None:
        super().__init__("P", "P")
        self._type = type_

    def type(self) -> str:
        return self._type


def parameter(processId: str, name: str) -> Any:
    """A parameter of one of QGIS's algorithms."""
    registry = QgsApplication.processingRegistry()
    return registry.algorithmById(processId).parameterDefinition(name)


AGGREGATES = parameter("native:aggregate", "AGGREGATES")
MAPPING = parameter("native:refactorfields", "FIELDS_MAPPING")
DXF = parameter("native:dxfexport", "LAYERS")
TILES = parameter("native:writevectortiles_mbtiles", "LAYERS")
TIN = parameter("native:tinmeshcreation", "SOURCE_DATA")
INTERPOLATION = parameter("qgis:idwinterpolation", "INTERPOLATION_DATA")
RELIEF = parameter("qgis:relief", "COLORS")
ALIGNED = Parameter("alignrasterlayers")


class StructureTests(JobCase):
    """The values of structures."""

    def convert(self, param: Any, given: Any) -> Any:
        text = given if isinstance(given, str) else json.dumps(given)
        self.current = self.job()
        value = ComplexValue(text, Format(JSON))
        return parameters.value(param, [value], self.current)

    def refused(self, param: Any, given: Any) -> str:
        """The text of the fault."""
        with self.assertRaises(OWSError) as caught:
            self.convert(param, given)
        (fault,) = caught.exception.faults
        self.assertEqual(fault.locator, param.name())
        return fault.text

    def test_schemas(self) -> None:
        """Each is published with a schema, which is JSON."""
        for param in (
            AGGREGATES,
            MAPPING,
            DXF,
            TILES,
            TIN,
            INTERPOLATION,
            RELIEF,
            ALIGNED,
        ):
            described = parameters.describe(param)
            assert isinstance(described.data, ComplexType)
            schema = jsonschema.parse(described.data.jsonSchema or "")
            self.assertEqual(schema["type"], "array")
            self.assertTrue(list(jsonschema.faults([{}], schema)), param.type())
            self.assertTrue(list(jsonschema.faults([], schema)), param.type())

    def test_fields(self) -> None:
        """Types by name, and what QGIS wants but clients need not say."""
        (field,) = self.convert(
            MAPPING, [{"name": "a", "type": "double", "expression": "1"}]
        )
        self.assertEqual(
            (field["type"], field["length"], field["precision"]), (6, 0, 0)
        )
        given = {"name": "a", "type": 10, "input": "x", "aggregate": "concatenate"}
        (aggregate,) = self.convert(AGGREGATES, [given])
        self.assertEqual((aggregate["type"], aggregate["delimiter"]), (10, ","))
        for param, value in ((MAPPING, [field]), (AGGREGATES, [aggregate])):
            self.assertTrue(param.checkValueIsAcceptable(value))

    def test_layers(self) -> None:
        """Layers that are sent along, attributes by name and by number."""
        for param, given, expected in (
            (DXF, {}, {"attributeIndex": -1}),
            (DXF, {"attribute": "height"}, {"attributeIndex": 0}),
            (DXF, {"attributeIndex": 0}, {"attributeIndex": 0}),
            (TILES, {"minZoom": 2, "layerName": "x"}, {"minZoom": 2}),
            (TIN, {}, {"type": 0, "attributeIndex": -1}),
            (
                TIN,
                {"type": "break lines", "attribute": 0},
                {"type": 1, "attributeIndex": 0},
            ),
        ):
            with self.subTest(f"{param.type()} {given}"):
                value = self.convert(param, [{"layer": POINTS, **given}])
                self.assertEqual({**value[0], **expected}, value[0])
                self.assertNotIn("attribute", value[0])
                context = self.current.context
                self.assertTrue(param.checkValueIsAcceptable(value, context))

    def test_interpolation(self) -> None:
        """QGIS's rows of numbers."""
        for given, expected in (
            ({"attribute": "height"}, "0::~::0::~::0"),
            ({"attribute": 0, "type": "break lines"}, "0::~::0::~::2"),
            ({}, "1::~::-1::~::0"),
            ({"source": "m", "type": "structure lines"}, "2::~::-1::~::1"),
        ):
            row = self.convert(INTERPOLATION, [{"layer": POINTS, **given}])
            self.assertEqual(row.split("::~::", 1)[1], expected)
        two = self.convert(INTERPOLATION, [{"layer": POINTS}] * 2)
        self.assertEqual(len(two.split("::|::")), 2)

    def test_interpolationOwn(self) -> None:
        """QGIS's own text means the same as the objects."""
        path = Path(self.directory, "heights.geojson")
        path.write_text(json.dumps(POINTS))
        layer = QgsVectorLayer(str(path), "heights", "ogr")
        QgsProject.instance().addMapLayer(layer)
        own = "heights::~::0::~::0::~::0::|::heights::~::1::~::-1::~::2"
        rows = [
            {"layer": "heights", "attribute": "height"},
            {"layer": "heights", "source": "z", "type": "break lines"},
        ]
        expected = own.replace("heights", layer.id())
        for given in (own, rows):
            self.assertEqual(self.convert(INTERPOLATION, given), expected)

    def test_relief(self) -> None:
        """Colours as CSS, or in QGIS's own form."""
        item = {"minimum": 0, "maximum": 1.5, "color": "#ff8000"}
        self.assertEqual(self.convert(RELIEF, [item]), "0, 1.5, 255, 128, 0")
        own = "0.0, 1.5, 255, 128, 0;1.5, 3.0, 0, 0, 1"
        self.assertEqual(self.convert(RELIEF, own), own)

    def test_alignment(self) -> None:
        """The results of an alignment are files of the job."""
        path = Path(self.directory, "r.tif")
        raster = gdal.GetDriverByName("GTiff").Create(str(path), 2, 2)
        raster.SetGeoTransform((0, 1, 0, 2, 0, -1))
        del raster
        sent = {
            "mimeType": "image/tiff",
            "encoding": "base64",
            "data": base64.b64encode(path.read_bytes()).decode(),
        }
        (item,) = self.convert(ALIGNED, [{"layer": sent, "resampleMethod": "cubic"}])
        self.assertTrue(Path(item["inputFile"]).is_file())
        self.assertEqual(Path(item["outputFile"]).parent.name, "outputs")
        self.assertEqual((item["resampleMethod"], item["rescale"]), (2, False))

    def test_refused(self) -> None:
        """What is wrong is said, with its place."""
        row = {"layer": POINTS}
        for param, given, text in (
            (MAPPING, "[", "not JSON"),
            (MAPPING, "nonsense", "not JSON"),
            (MAPPING, [], "at least 1 are needed"),
            (MAPPING, [{"name": "a", "type": "double"}], "[0].expression is missing"),
            (
                MAPPING,
                [{"name": "a", "type": "float", "expression": ""}],
                '[0].type is "float", not one of "boolean", "integer"',
            ),
            (AGGREGATES, [{"name": ""}], "[0].name is empty"),
            (
                MAPPING,
                [{"name": "a", "type": "double", "expression": "1 +"}],
                "expected an expression",
            ),
            (TILES, [{**row, "filterExpression": "(1"}], "expected an expression"),
            (DXF, [{"layer": 1}], "[0].layer is 1"),
            (DXF, [{"layer": "/etc/passwd"}], "expected the layer's data"),
            (DXF, [{**row, "attribute": "width"}], "expected one of: height"),
            (DXF, [{**row, "attribute": 7}], "expected one of: height"),
            (DXF, [{"layer": {"type": "Nothing"}}], "is not valid GeoJSON"),
            (INTERPOLATION, [{**row, "source": "attribute"}], "expected attribute"),
            (INTERPOLATION, "x::~::1::~::0", "a row is layer"),
            (INTERPOLATION, "x::~::7::~::0::~::0", "are 0, 1 or 2"),
            (INTERPOLATION, "/etc/passwd::~::1::~::0::~::0", "layer's data"),
            (RELIEF, "1, 2", "a class is minimum"),
            (
                RELIEF,
                [{"minimum": 0, "maximum": 1, "color": "reddish"}],
                "expected a colour",
            ),
        ):
            with self.subTest(f"{param.type()} {given}"):
                self.assertIn(text, self.refused(param, given))

    def test_types(self) -> None:
        """The numbers of types are QGIS's."""
        for name, number in (
            ("boolean", QVariant.Bool),
            ("integer", QVariant.Int),
            ("integer64", QVariant.LongLong),
            ("double", QVariant.Double),
            ("string", QVariant.String),
            ("binary", QVariant.ByteArray),
            ("date", QVariant.Date),
            ("time", QVariant.Time),
            ("datetime", QVariant.DateTime),
        ):
            self.assertEqual(structures.FIELD_TYPES[name], int(number), name)


class StructureRunTests(JobCase):
    """Jobs with such inputs give what QGIS gives."""

    def setUp(self) -> None:
        super().setUp()
        self.cities = QgsVectorLayer(CITIES, "cities", "ogr")
        self.sent = data("INPUT", asGeoJson(self.cities, self.directory), JSON)

    def assertSame(self, processId: str, given: Input, **own: Any) -> None:
        """The attributes and geometries are those that QGIS gives."""
        result = self.run_(processId, self.sent, given, outputs=TAKEN)
        ours = QgsVectorLayer(str(self.file(result)), "x", "ogr")
        theirs = inQgis(processId, {"INPUT": self.cities, "OUTPUT": "memory:", **own})[
            "OUTPUT"
        ]
        names = theirs.fields().names()
        self.assertEqual(ours.featureCount(), theirs.featureCount())
        self.assertGreater(ours.featureCount(), 0)
        for mine, other in zip(ours.getFeatures(), theirs.getFeatures(), strict=True):
            self.assertEqual(
                [mine[n] for n in names if n != "fid"],
                [other[n] for n in names if n != "fid"],
            )
            distance = mine.geometry().hausdorffDistance(other.geometry())
            self.assertLessEqual(distance, 1e-12)

    def test_expression(self) -> None:
        """Features by an expression."""
        formula = "\"name\" < 'M'"
        self.assertSame(
            "native:extractbyexpression",
            literal("EXPRESSION", formula),
            EXPRESSION=formula,
        )

    def test_dataDefined(self) -> None:
        """A distance of each feature's own."""
        formula = 'length("name") / 10.0'
        self.assertSame(
            "native:buffer",
            literal("DISTANCE", json.dumps({"expression": formula})),
            DISTANCE=QgsProperty.fromExpression(formula),
        )

    def test_fields(self) -> None:
        """Attributes made anew, and of groups."""
        mapping = [
            {
                "name": "n",
                "type": 10,
                "length": 0,
                "precision": 0,
                "expression": 'upper("name")',
            }
        ]
        self.assertSame(
            "native:refactorfields",
            data("FIELDS_MAPPING", json.dumps(mapping), JSON),
            FIELDS_MAPPING=mapping,
        )
        aggregates = [
            {
                "name": "n",
                "type": 2,
                "length": 0,
                "precision": 0,
                "input": "1",
                "aggregate": "sum",
                "delimiter": ",",
            }
        ]
        self.assertSame(
            "native:aggregate",
            data("AGGREGATES", json.dumps(aggregates), JSON),
            AGGREGATES=aggregates,
        )

    def test_point(self) -> None:
        """A turn around a point in another CRS."""
        given = "SRID=3857;POINT(1000000 6000000)"
        result = self.run_(
            "native:rotatefeatures",
            self.sent,
            literal("ANGLE", 90),
            literal("ANCHOR", given),
            outputs=TAKEN,
        )
        theirs = inQgis(
            "native:rotatefeatures",
            {
                "INPUT": self.cities,
                "ANGLE": 90,
                "ANCHOR": "1000000,6000000 [EPSG:3857]",
                "OUTPUT": "memory:",
            },
        )["OUTPUT"]
        for mine, other in zip(
            features(self.file(result)), theirs.getFeatures(), strict=True
        ):
            point = other.geometry().asPoint()
            x, y = mine["geometry"]["coordinates"]
            self.assertAlmostEqual(x, point.x())
            self.assertAlmostEqual(y, point.y())

    def test_unit(self) -> None:
        """Kilometres where the layer has metres, refused where it has degrees."""
        given = Input("DISTANCE", LiteralValue("100", None, "km"))
        result = self.run_("native:buffer", self.sent, given)
        self.assertIn(
            "expected a unit that converts to deg",
            self.fault(result, "InvalidParameterValue", "DISTANCE"),
        )
        mercator = json.loads(self.sent.value.data)  # type: ignore[union-attr]
        mercator["crs"] = {"type": "name", "properties": {"name": "EPSG:3857"}}
        sent = data("INPUT", json.dumps(mercator), JSON)
        result = self.run_(
            "native:buffer",
            sent,
            given,
            outputs=(OutputRequest("OUTPUT", Format("application/vnd.geo+json")),),
        )
        layer = QgsVectorLayer(str(self.file(result)), "x", "ogr")
        box = next(layer.getFeatures()).geometry().boundingBox()
        self.assertAlmostEqual(box.width(), 200_000)

    def test_interpolation(self) -> None:
        """A layer of the project by its name, and one that is sent along."""
        box = literal("EXTENT", "-10,30,40,60,EPSG:4326")
        theirs = inQgis(
            "qgis:idwinterpolation",
            {
                "INTERPOLATION_DATA": f"{CITIES}::~::0::~::0::~::0",
                "EXTENT": "-10,40,30,60 [EPSG:4326]",
                "PIXEL_SIZE": 2,
                "OUTPUT": f"{self.directory}/theirs.tif",
            },
        )["OUTPUT"]
        for layer, project in (("cities", WORLD), (POINTS, None)):
            rows = [{"layer": layer, "attribute": 0}]
            result = self.run_(
                "qgis:idwinterpolation",
                data("INTERPOLATION_DATA", json.dumps(rows), JSON),
                box,
                literal("PIXEL_SIZE", 2),
                outputs=TIFF,
                project=project,
            )
            path = self.file(result)
            if project:
                self.assertEqual(checksum(path), checksum(theirs))

    def test_formulas(self) -> None:
        """SQL over what was sent, and map algebra over what was sent."""
        result = self.run_(
            "qgis:executesql",
            data("INPUT_DATASOURCES", json.dumps(POINTS), JSON),
            literal("INPUT_QUERY", "select height, geometry from input1"),
            outputs=TAKEN,
        )
        heights = [each["properties"]["height"] for each in features(self.file(result))]
        self.assertEqual(heights, [0, 0, 16, 0, 2])
        result = self.run_(
            "qgis:rastercalculator",
            self.raster("LAYERS"),
            literal("EXPRESSION", '"LAYERS@1" * 2'),
            outputs=TIFF,
        )
        self.assertEqual(self.first(result), 200)

    def test_table(self) -> None:
        """Classes as rows."""
        rows = json.dumps([[0, 50, 1], [50, 150, 7]])
        result = self.run_(
            "native:reclassifybytable",
            self.raster("INPUT_RASTER"),
            data("TABLE", rows, JSON),
            outputs=TIFF,
        )
        self.assertEqual(self.first(result), 7)

    def raster(self, identifier: str) -> Input:
        """A raster in which all is 100, as it is sent."""
        path = Path(self.directory, "r.tif")
        raster = gdal.GetDriverByName("GTiff").Create(str(path), 2, 2)
        raster.SetGeoTransform((0, 1, 0, 2, 0, -1))
        raster.SetProjection("EPSG:3857")
        raster.GetRasterBand(1).Fill(100)
        del raster
        encoded = base64.b64encode(path.read_bytes()).decode()
        return data(identifier, encoded, "image/tiff", "base64")

    def first(self, result: Result) -> float:
        """The first pixel of a raster that was made."""
        made = gdal.Open(str(self.file(result)))
        return float(made.GetRasterBand(1).ReadAsArray()[0][0])

    def test_escapedName(self) -> None:
        """A layer is found whose name JSON writes by numbers."""
        algorithm = QgsApplication.processingRegistry().algorithmById(
            "qgis:idwinterpolation"
        )
        request = ExecuteRequest(
            "x", (data("INTERPOLATION_DATA", '[{"layer": "\\u0063ities"}]', JSON),)
        )
        found = needs.texts(algorithm, request)
        self.assertTrue(any("cities" in each for each in found or ()), found)

    def test_fetchedStructure(self) -> None:
        """Layers are found that a fetched file names."""
        Path(self.directory, "rows.json").write_text('[{"layer": "cities"}]')
        given = Input("LAYERS", FileValue("rows.json", Format(JSON)))
        result = self.run_("native:writevectortiles_mbtiles", given, project=WORLD)
        made = result.outputs["OUTPUT"]
        # Since QGIS 3.32 the tiles are a layer.
        layers = [layer.path for layer in result.layers]
        path = made.path if isinstance(made, FileValue) else layers[0]
        self.assertTrue(path.endswith(".mbtiles"), path)

    def test_file(self) -> None:
        """The text of a file, sent as such."""
        table = "0 0 0 0\n100 255 0 0\n"
        result = self.run_(
            "gdal:colorrelief",
            self.raster("INPUT"),
            data("COLOR_TABLE", table, "text/plain"),
            outputs=TIFF,
        )
        made = gdal.Open(str(self.file(result)))
        values = [made.GetRasterBand(n).ReadAsArray()[0][0] for n in (1, 2, 3)]
        self.assertEqual(values, [255, 0, 0])
