"""Each type of parameter: what it takes, what QGIS gets, and what is refused."""

from __future__ import annotations

import base64
import io
import json
import random
import shutil
import zipfile
from pathlib import Path
from typing import Any, ClassVar

from qgis.core import (
    QgsApplication,
    QgsExpression,
    QgsLayoutItemMap,
    QgsPrintLayout,
    QgsProcessing,
    QgsProcessingParameterAuthConfig,
    QgsProcessingParameterBand,
    QgsProcessingParameterBoolean,
    QgsProcessingParameterColor,
    QgsProcessingParameterCoordinateOperation,
    QgsProcessingParameterCrs,
    QgsProcessingParameterDatabaseSchema,
    QgsProcessingParameterDatabaseTable,
    QgsProcessingParameterDateTime,
    QgsProcessingParameterDefinition,
    QgsProcessingParameterDistance,
    QgsProcessingParameterDuration,
    QgsProcessingParameterEnum,
    QgsProcessingParameterExpression,
    QgsProcessingParameterField,
    QgsProcessingParameterFile,
    QgsProcessingParameterFileDestination,
    QgsProcessingParameterGeometry,
    QgsProcessingParameterLayoutItem,
    QgsProcessingParameterMatrix,
    QgsProcessingParameterMeshDatasetGroups,
    QgsProcessingParameterMeshDatasetTime,
    QgsProcessingParameterMultipleLayers,
    QgsProcessingParameterNumber,
    QgsProcessingParameterPoint,
    QgsProcessingParameterProviderConnection,
    QgsProcessingParameterRange,
    QgsProcessingParameterScale,
    QgsProcessingParameterString,
    QgsProject,
    QgsProperty,
    QgsProviderRegistry,
    QgsReferencedGeometry,
    QgsReferencedPointXY,
    QgsUnitTypes,
)
from qgis.PyQt.QtCore import QDate, QDateTime, Qt, QTime
from qgis.PyQt.QtGui import QColor

from qgswps import forms, jsonschema
from qgswps.errors import OWSError
from qgswps.model import (
    ComplexType,
    ComplexValue,
    FileValue,
    Format,
    InputValue,
    LiteralType,
    LiteralValue,
    Metadata,
    Omission,
    ProjectPart,
    Range,
    WorkerSettings,
)
from qgswps.worker import catalogue, parameters
from qgswps.worker.parameters import base, connections
from tests import formtexts
from tests.worker.qgisside.support import JobCase

INTEGER = QgsProcessingParameterNumber.Type.Integer
DOUBLE = QgsProcessingParameterNumber.Type.Double
OPTIONS = ["red", "green", "blue"]
URN = "urn:ogc:def:crs:EPSG::4326"
WKT = Format("application/wkt")
CUSTOM = "+proj=merc +ellps=bessel"

OF_GROUPS = ProjectPart("group", "IN")

POINT = QgsProcessingParameterPoint("P", "P")
GEOMETRY = QgsProcessingParameterGeometry("P", "P")
POLYGON = QgsProcessingParameterGeometry("P", "P", None, False, [2], False)
RANGE = QgsProcessingParameterRange("P", "P", INTEGER, "0,255")
RANGES = QgsProcessingParameterRange("P", "P", DOUBLE)
COLOR = QgsProcessingParameterColor("P", "P", QColor(255, 128, 0))
EXPRESSION = QgsProcessingParameterExpression("P", "P", "1+1", "IN")
TABLE = QgsProcessingParameterMatrix("P", "P", 1, False, ["low", "high"])
FIXED = QgsProcessingParameterMatrix("P", "P", 2, True, ["low", "high"])
FREE = QgsProcessingParameterMatrix("P", "P")
OPERATION = QgsProcessingParameterCoordinateOperation("P", "P")
GROUPS = QgsProcessingParameterMeshDatasetGroups("P", "P", "IN")
MESH_TIME = QgsProcessingParameterMeshDatasetTime("P", "P", "IN")
MOMENT = QgsProcessingParameterDateTime("P", "P")
DAY = QgsProcessingParameterDateTime(
    "P",
    "P",
    QgsProcessingParameterDateTime.Type.Date,
    QDate(2024, 5, 1),
    False,
    QDateTime(QDate(2024, 1, 1), QTime(0, 0)),
    QDateTime(QDate(2024, 12, 31), QTime(0, 0)),
)
CLOCK = QgsProcessingParameterDateTime(
    "P", "P", QgsProcessingParameterDateTime.Type.Time
)
DURATION = QgsProcessingParameterDuration("P", "P", 2)
DURATION.setDefaultUnit(QgsUnitTypes.TemporalUnit.TemporalHours)
DISTANCE = QgsProcessingParameterDistance("P", "P", 1, "IN", False, 0, 100)
METRES = QgsProcessingParameterDistance("P", "P", 1)
METRES.setDefaultUnit(QgsUnitTypes.DistanceUnit.DistanceMeters)
SCALE = QgsProcessingParameterScale("P", "P", 1000)
LAYOUT_ITEM = QgsProcessingParameterLayoutItem("P", "P", None, "LAYOUT")
CONNECTION = QgsProcessingParameterProviderConnection("P", "P", "spatialite")
AUTHCFG = QgsProcessingParameterAuthConfig("P", "P")
SCHEMA = QgsProcessingParameterDatabaseSchema("P", "P", "DB", "public")
DB_TABLE = QgsProcessingParameterDatabaseTable("P", "P", "DB", "SCHEMA")
FILES = QgsProcessingParameterMultipleLayers("P", "P", QgsProcessing.TypeFile)


def dynamic(param: Any) -> Any:
    """The parameter, of which each feature may have its own value."""
    param.setIsDynamic(True)
    param.setDynamicLayerParameterName("IN")
    return param


NUMBER = dynamic(QgsProcessingParameterNumber("P", "P", DOUBLE, 1, False, 0))
FLAG = dynamic(QgsProcessingParameterBoolean("P", "P", False))


class Unseen(QgsProcessingParameterDefinition):
    """Of a type that nobody knows."""

    def type(self) -> str:
        return "unseen"

    def clone(self) -> Unseen:
        return Unseen(self.name())

    def checkValueIsAcceptable(self, value: Any, context: Any = None) -> bool:
        return value is None or isinstance(value, (dict, str))


class Formula(QgsProcessingParameterString):
    """Of a type of Python's that is a kind of text."""

    def type(self) -> str:
        return "raster_formula"


class Attribute(QgsProcessingParameterDefinition):
    """As the attributes of point clouds in QGIS 3.32."""

    def __init__(self, several: bool) -> None:
        super().__init__("P", "P")
        self._several = several

    def type(self) -> str:
        return "attribute"

    def allowMultiple(self) -> bool:
        """Whether there may be several."""
        return self._several


class Measure(QgsProcessingParameterNumber):
    """As the areas and volumes of QGIS 3.40."""

    def __init__(self, type_: str, unit: Any) -> None:
        super().__init__("P", "P", DOUBLE)
        self._type = type_
        self._unit = unit

    def type(self) -> str:
        return self._type

    def defaultUnit(self) -> Any:
        """That of a bare number."""
        return self._unit


class Destination(QgsProcessingParameterFileDestination):
    """As the destinations of QGIS 3.24."""

    def __init__(self, type_: str, extension: str) -> None:
        super().__init__("P", "P")
        self._type = type_
        self._extension = extension

    def type(self) -> str:
        return self._type

    def defaultFileExtension(self) -> str:
        return self._extension


def file(extension: str = "", fileFilter: str = "", folder: bool = False) -> Any:
    """A parameter that is a file or a folder."""
    behavior = QgsProcessingParameterFile.Behavior
    return QgsProcessingParameterFile(
        "P",
        "P",
        behavior.Folder if folder else behavior.File,
        extension,
        None,
        False,
        fileFilter,
    )


def archive(**members: str) -> str:
    """A zip archive in base64; C{__} in a name is a slash, C{_} a dot."""
    data = io.BytesIO()
    with zipfile.ZipFile(data, "w") as made:
        for name, text in members.items():
            made.writestr(name.replace("__", "/").replace("_", "."), text)
    return base64.b64encode(data.getvalue()).decode()


def geoJson(members: Any, crs: str | None = None) -> str:
    """A GeoJSON object, with a CRS as older GeoJSON names one."""
    named = {"crs": {"type": "name", "properties": {"name": crs}}} if crs else {}
    return json.dumps({**members, **named})


PAIR = {"type": "Point", "coordinates": [9, 50]}


class ParameterCase(JobCase):
    """A case that describes and converts."""

    def convert(self, param: Any, *inputs: InputValue | str) -> Any:
        # Each is another job's.
        shutil.rmtree(Path(self.directory, "inputs"), ignore_errors=True)
        values = [LiteralValue(i) if isinstance(i, str) else i for i in inputs]
        return parameters.value(param, values, self.job())

    def refused(self, param: Any, *inputs: InputValue | str) -> str:
        """The text of the fault."""
        with self.assertRaises(OWSError) as caught:
            self.convert(param, *inputs)
        (fault,) = caught.exception.faults
        self.assertEqual((fault.code, fault.locator), ("InvalidParameterValue", "P"))
        return fault.text


class TypeTests(ParameterCase):
    """The description of each type."""

    def test_literals(self) -> None:
        """Data type, default, bounds, occurrences."""
        bounds = (Range("2024-01-01", "2024-12-31"),)
        for param, data, occurs in (
            (EXPRESSION, LiteralType("string", "1+1", form="expression"), (0, 1)),
            (RANGE, LiteralType("string", "0,255", form="integerrange"), (0, 1)),
            (RANGES, LiteralType("string", form="range"), (1, 1)),
            (COLOR, LiteralType("string", "#ff8000", form="color"), (0, 1)),
            (OPERATION, LiteralType("string", form="operation"), (1, 1)),
            (GROUPS, LiteralType("string", part=OF_GROUPS), (1, 1000)),
            (MESH_TIME, LiteralType("string", form="meshtime"), (1, 1)),
            (MOMENT, LiteralType("dateTime"), (1, 1)),
            (DAY, LiteralType("date", "2024-05-01", ranges=bounds), (0, 1)),
            (CLOCK, LiteralType("time"), (1, 1)),
            (LAYOUT_ITEM, LiteralType("string"), (1, 1)),
            (CONNECTION, LiteralType("string"), (1, 1)),
            (AUTHCFG, LiteralType("string"), (1, 1)),
            (SCHEMA, LiteralType("string", "public"), (0, 1)),
            (DB_TABLE, LiteralType("string"), (1, 1)),
            (SCALE, LiteralType("float", "1000", uoms=("1",)), (0, 1)),
            (Formula("P", "P", "a"), LiteralType("string", "a"), (0, 1)),
        ):
            with self.subTest(param.type()):
                described = parameters.describe(param)
                self.assertEqual(described.data, data)
                self.assertEqual((described.minOccurs, described.maxOccurs), occurs)

    def test_units(self) -> None:
        """The unit of a bare number comes first."""
        for param, first, others in (
            (DISTANCE, "map units", {"m", "km", "ft", "deg"}),
            (METRES, "m", {"km", "ft"}),
            (DURATION, "h", {"s", "min", "d", "a"}),
        ):
            data = parameters.describe(param).data
            assert isinstance(data, LiteralType)
            self.assertEqual(data.uoms[0], first)
            self.assertLessEqual(others, set(data.uoms))
            self.assertEqual(len(data.uoms), len(set(data.uoms)))

    def test_files(self) -> None:
        """By extension, with and without the dot and without any."""
        for param, first, metadata in (
            (file("csv"), "text/csv", ["csv"]),
            (file(".CSV"), "text/csv", ["csv"]),
            (file("*.csv"), "text/csv", ["csv"]),
            (file("gpkg"), "application/geopackage+sqlite3", ["gpkg"]),
            (file(), "text/plain", []),
            (file("", "Any (*.*)"), "text/plain", []),
            (file("", "GPX (*.gpx *.GPX);;All (*)"), "application/gpx+xml", ["gpx"]),
            (file("", "", True), "application/zip", []),
            (FILES, "text/plain", []),
        ):
            described = parameters.describe(param)
            assert isinstance(described.data, ComplexType)
            self.assertEqual(described.data.formats[0].mimeType, first)
            titles = [Metadata("processing:extension", each) for each in metadata]
            for each in titles:
                self.assertIn(each, described.metadata)
        self.assertGreater(parameters.describe(FILES).maxOccurs, 1)

    def test_structures(self) -> None:
        """JSON with a schema, and a default."""
        TABLE.setDefaultValue([1, 2, 3, 4])
        self.addCleanup(TABLE.setDefaultValue, None)
        data = parameters.describe(TABLE).data
        assert isinstance(data, ComplexType)
        self.assertEqual(data.default, "[[1, 2], [3, 4]]")
        schema = json.loads(data.jsonSchema or "")
        for value, fits in (
            ([[1, 2], [3, "a"]], True),
            ([1, 2, 3, 4], True),
            ([[1, 2, 3]], False),
            ([[1, {}]], False),
            ({}, False),
        ):
            wrong = list(jsonschema.faults(value, schema))
            self.assertEqual(not wrong, fits, (value, wrong))
        unseen = parameters.describe(Unseen("P")).data
        assert isinstance(unseen, ComplexType)
        self.assertEqual(unseen.formats[0], Format("application/json"))

    def test_everyTypeOfQgis(self) -> None:
        """None of QGIS's types is left to the fallback."""
        registry = QgsApplication.processingRegistry()
        known = {each.id() for each in registry.parameterTypes()}
        self.assertGreaterEqual(len(known), 47)
        self.assertEqual(known - set(base._handlers), set())

    def test_nothingIsLost(self) -> None:
        """Of QGIS's own algorithms no parameter is left out."""
        omitted: list[Omission] = []
        count = 0
        for algorithm in QgsApplication.processingRegistry().algorithms():
            if algorithm.provider().id() not in ("3d", "gdal", "native", "qgis"):
                continue
            if not catalogue.isPublished(algorithm):
                continue
            count += 1
            described = catalogue.describe(algorithm, omitted)
            names = [each.identifier for each in described.inputs]
            shown = [
                param.name()
                for param in algorithm.parameterDefinitions()
                if not parameters.isHidden(param)
            ]
            self.assertEqual(names, shown, algorithm.id())
            for param in algorithm.parameterDefinitions():
                self.assertIn(param.type(), base._handlers, algorithm.id())
        self.assertEqual(omitted, [])
        self.assertGreaterEqual(count, 328)

    def test_parents(self) -> None:
        """What a parameter belongs to."""
        layer = "processing:parentLayerParameterName"
        for param, title, name in (
            (EXPRESSION, layer, "IN"),
            (GROUPS, layer, "IN"),
            (MESH_TIME, layer, "IN"),
            (LAYOUT_ITEM, "processing:parentLayoutParameterName", "LAYOUT"),
            (SCHEMA, "processing:parentConnectionParameterName", "DB"),
            (DB_TABLE, "processing:parentSchemaParameterName", "SCHEMA"),
            (CONNECTION, "processing:providerId", "spatialite"),
            (NUMBER, "processing:dynamicLayerParameterName", "IN"),
        ):
            metadata = parameters.describe(param).metadata
            self.assertIn(Metadata(title, name), metadata)
            self.assertEqual(len(metadata), len(set(metadata)))

    def test_multipleEnums(self) -> None:
        """One value, several, static strings, and defaults that are texts."""
        static = QgsProcessingParameterEnum("P", "P", OPTIONS, True, "red,blue", True)
        static.setUsesStaticStrings(True)
        one = QgsProcessingParameterEnum("P", "P", OPTIONS, True, "2", True)
        two = QgsProcessingParameterEnum("P", "P", OPTIONS, True, [2, 0], True)
        word = QgsProcessingParameterEnum("P", "P", OPTIONS, True, "green", True)
        word.setUsesStaticStrings(True)
        for param, given, expected, default in (
            (one, ("red",), [0], "blue"),
            (one, ("blue", "green"), [2, 1], "blue"),
            (two, ("1", "red"), [1, 0], "blue red"),
            (static, ("red",), ["red"], "red blue"),
            (static, ("red", "blue"), ["red", "blue"], "red blue"),
            (word, ("blue",), ["blue"], "green"),
        ):
            described = parameters.describe(param)
            first, *others = default.split()
            data = LiteralType(
                "string",
                None if others else first,
                tuple(OPTIONS),
                defaults=(first, *others) if others else (),
            )
            self.assertEqual(described.data, data)
            self.assertEqual((described.minOccurs, described.maxOccurs), (0, 3))
            value = self.convert(param, *given)
            self.assertEqual(value, expected)
            self.assertTrue(param.checkValueIsAcceptable(value))

    def test_numbersAsOptions(self) -> None:
        """A default is the number of an option, a value its text."""
        for static, default in ((False, "2"), (True, "1")):
            param = QgsProcessingParameterEnum("P", "P", ["1", "2", "3"], False, 1)
            param.setUsesStaticStrings(static)
            param.setDefaultValue("1" if static else 1)
            data = parameters.describe(param).data
            self.assertEqual(data, LiteralType("string", default, ("1", "2", "3")))
            self.assertEqual(self.convert(param, "2"), "2" if static else 1)

    def test_severalDefaults(self) -> None:
        """Of fields and bands, in each way that QGIS's plugins write them."""
        types = QgsProcessingParameterField.DataType
        for value in (["a", "b"], "a;b"):
            param = QgsProcessingParameterField(
                "P", "P", value, "IN", types.Any, True, True
            )
            data = parameters.describe(param).data
            assert isinstance(data, LiteralType)
            self.assertEqual((data.default, data.defaults), (None, ("a", "b")))
        bands = QgsProcessingParameterBand("P", "P", [1, 3], "IN", True, True)
        data = parameters.describe(bands).data
        assert isinstance(data, LiteralType)
        self.assertEqual((data.default, data.defaults), (None, ("1", "3")))
        self.assertEqual(parameters.describe(bands).maxOccurs, 1000)


class NewerTypeTests(ParameterCase):
    """Types that QGIS has since 3.24, as stand-ins where this one has not."""

    def test_attribute(self) -> None:
        """The names of attributes of a point cloud, one or several."""
        for several, value in ((False, "Z"), (True, ["Z", "Intensity"])):
            param = Attribute(several)
            told = parameters.describe(param)
            self.assertEqual(told.data, LiteralType("string"))
            self.assertEqual((told.minOccurs, told.maxOccurs > 1), (1, several))
            given = value if isinstance(value, list) else [value]
            self.assertEqual(self.convert(param, *given), value)
        self.assertIn("at most 1", self.refused(Attribute(False), "Z", "X"))

    def test_measures(self) -> None:
        """Areas and volumes, in the unit that they have."""
        areas, volumes = QgsUnitTypes.AreaUnit, QgsUnitTypes.VolumeUnit
        for type_, unit, first, given, expected in (
            ("area", areas.AreaSquareMeters, "m2", "ha", 2e4),
            ("volume", volumes.VolumeCubicMeters, "m3", "l", 0.002),
        ):
            param = Measure(type_, unit)
            data = parameters.describe(param).data
            assert isinstance(data, LiteralType)
            self.assertEqual((data.dataType, data.uoms[0]), ("float", first))
            self.assertIn(given, data.uoms)
            self.assertEqual(self.convert(param, "2"), 2)
            value = self.convert(param, LiteralValue("2", None, given))
            self.assertAlmostEqual(value, expected)
            text = self.refused(param, LiteralValue("2", None, "km"))
            self.assertIn(f"a unit that converts to {first}", text)

    def test_destinations(self) -> None:
        """Point clouds and vector tiles go into files of the job."""
        for type_, suffix in (
            ("pointCloudDestination", ".las"),
            ("vectorTileDestination", ".mbtiles"),
        ):
            param = Destination(type_, suffix[1:])
            told = parameters.describe(param)
            self.assertEqual((told.data, told.minOccurs), (LiteralType("string"), 0))
            value = parameters.value(param, [LiteralValue("../a title")], self.job())
            path = Path(value.sink.staticValue())
            self.assertEqual(path, Path(self.directory, "outputs", f"P{suffix}"))


class LiteralTests(ParameterCase):
    """Values that one text says."""

    def test_values(self) -> None:
        """Texts become what QGIS takes."""
        utc, offset = Qt.TimeSpec.UTC, Qt.TimeSpec.OffsetFromUTC
        noon, day = QTime(12, 0), QDate(2024, 5, 31)
        for param, given, expected in (
            (EXPRESSION, '"a" + 1', '"a" + 1'),
            (RANGE, "1,5", [1, 5]),
            (RANGE, " [5, 1] ", [5, 1]),
            (RANGES, "-0.5,1e3", [-0.5, 1000.0]),
            (COLOR, "#00ff00", QColor(0, 255, 0)),
            (COLOR, "Red", QColor(255, 0, 0)),
            (COLOR, "rgba(0, 0, 255, 0.5)", QColor(0, 0, 255, 128)),
            (OPERATION, "+proj=noop", "+proj=noop"),
            (MESH_TIME, "static", {"type": "static"}),
            (MESH_TIME, "current-context-time", {"type": "current-context-time"}),
            (MESH_TIME, "1,2", {"type": "dataset-time-step", "value": [1, 2]}),
            (
                MESH_TIME,
                '{"type": "dataset-time-step", "value": [1, 2]}',
                {"type": "dataset-time-step", "value": [1, 2]},
            ),
            (
                MESH_TIME,
                "2024-05-31T12:00:00Z",
                {"type": "defined-date-time", "value": QDateTime(day, noon, utc)},
            ),
            (MOMENT, "2024-05-31T12:00:00", QDateTime(day, noon)),
            (MOMENT, "2024-05-31T12:00:00Z", QDateTime(day, noon, utc)),
            (MOMENT, "2024-05-31T12:00:00+02:00", QDateTime(day, noon, offset, 7200)),
            (DAY, "2024-05-31", day),
            (CLOCK, "12:00", noon),
            (SCALE, "25000", 25000),
            (SCHEMA, "a schema", "a schema"),
            (DB_TABLE, "t", "t"),
            (Formula("P"), "a@1", "a@1"),
        ):
            with self.subTest(f"{param.type()} {given}"):
                value = self.convert(param, given)
                self.assertEqual(value, expected)
                self.assertTrue(param.checkValueIsAcceptable(value))
        self.assertEqual(self.convert(GROUPS, "1", "0"), [1, 0])

    def test_timeZone(self) -> None:
        """The zone stays with the time."""
        value = self.convert(MOMENT, "2024-05-31T12:00:00-05:30")
        self.assertEqual(value.offsetFromUtc(), -19800)
        self.assertEqual(value.toUTC().time(), QTime(17, 30))

    def test_refused(self) -> None:
        """What was expected is said."""
        for param, given, text in (
            (EXPRESSION, "1 +", "expected an expression"),
            (EXPRESSION, "env('HOME')", "without the function env"),
            (EXPRESSION, "@project_path", "without the variable @project_path"),
            (RANGE, "1", "expected two integers as min,max"),
            (RANGE, "1,2,3", "expected two integers"),
            (RANGE, "1.5,2", "expected two integers"),
            (RANGES, "nan,1", "not finite"),
            (RANGES, "0,inf", "not finite"),
            (COLOR, "reddish", "expected a colour as CSS"),
            (OPERATION, "/etc/passwd", "expected an operation"),
            (OPERATION, "+proj=hgridshift +grids=/etc/passwd", "expected an op"),
            (OPERATION, "+init=epsg:4326", "expected an operation"),
            (GROUPS, "-1", "from 0"),
            (GROUPS, "x", "expected a group of datasets, by name or number"),
            (MESH_TIME, "soon", "expected static, current-context-time, a date"),
            (MOMENT, "31.5.2024", "expected a date and time such as 2024-05-31T"),
            (MOMENT, "2024-05-31T25:00:00", "expected a date and time"),
            (DAY, "2023-05-31", "expected 2024-01-01 or later"),
            (DAY, "2025-05-31", "expected 2024-12-31 or earlier"),
            (CLOCK, "noon", "expected a time such as 12:00:00"),
            (CONNECTION, "dbname='/etc/x'", "a connection that the server has"),
            (AUTHCFG, "abc1234", "that clients may use: there is none"),
        ):
            with self.subTest(f"{param.type()} {given}"):
                self.assertIn(text, self.refused(param, given))

    def test_layoutItems(self) -> None:
        """Of the layout that another parameter names, by id."""
        project = QgsProject.instance()
        layout = QgsPrintLayout(project)
        layout.setName("A4")
        item = QgsLayoutItemMap(layout)
        item.setId("map")
        layout.addLayoutItem(item)
        project.layoutManager().addLayout(layout)
        job = self.job()
        job.values["LAYOUT"] = "A4"
        for given in ("map", item.uuid()):
            value = parameters.value(LAYOUT_ITEM, [LiteralValue(given)], job)
            self.assertEqual(value, given)
        with self.assertRaisesRegex(OWSError, "expected an item of the layout 'A4'"):
            parameters.value(LAYOUT_ITEM, [LiteralValue("legend")], job)

    def test_connections(self) -> None:
        """Those of QGIS's settings, by name."""
        provider = QgsProviderRegistry.instance().providerMetadata("spatialite")
        made = provider.createConnection("dbname='/nowhere/x.sqlite'", {})
        provider.saveConnection(made, "mine")
        self.addCleanup(provider.deleteConnection, "mine")
        data = parameters.describe(CONNECTION).data
        self.assertEqual(data, LiteralType("string", None, ("mine",)))
        self.assertEqual(self.convert(CONNECTION, "mine"), "mine")
        self.assertIn("has: mine", self.refused(CONNECTION, "other"))

    def test_authentication(self) -> None:
        """Only what settings allow."""
        connections.install(WorkerSettings("", "", authConfigs=("abc1234",)))
        self.addCleanup(connections.install, WorkerSettings("", ""))
        self.assertEqual(self.convert(AUTHCFG, "abc1234"), "abc1234")
        self.assertIn("abc1234", self.refused(AUTHCFG, "def5678"))

    def test_dataDefined(self) -> None:
        """Each feature may have its own value, where QGIS takes that."""
        for param, given, expected in (
            (NUMBER, '{"field": "size"}', QgsProperty.fromField("size")),
            (FLAG, ' {"expression": "x > 1"}', QgsProperty.fromExpression("x > 1")),
        ):
            value = self.convert(param, given)
            self.assertEqual(value, expected)
            self.assertTrue(param.checkValueIsAcceptable(value))
            data = parameters.describe(param).data
            assert isinstance(data, LiteralType)
            self.assertTrue(data.dynamic)
        self.assertEqual(self.convert(NUMBER, "2"), 2)
        for given, text in (
            ('{"expression": "1 +"}', "expected an expression"),
            ('{"expression": "env(1)"}', "without the function env"),
            ('{"size": "a"}', 'expected a value, {"field": NAME}'),
            ('{"field": 1}', "expected a value"),
            ('{"field": "a", "expression": "b"}', "expected a value"),
            ("{", "expected a value"),
        ):
            self.assertIn(text, self.refused(NUMBER, given))
        self.assertIn("no number", self.refused(RANGES, '{"field": "a"},1'))

    def test_units(self) -> None:
        """Numbers are converted to the unit that QGIS takes."""
        for param, given, uom, expected in (
            (DURATION, "90", "min", 1.5),
            (DURATION, "2", None, 2),
            (DURATION, "2", "h", 2),
            (DURATION, "1", "urn:ogc:def:uom:UCUM::d", 24),
            (METRES, "2", "km", 2000),
            (METRES, "1", "feet", 0.3048),
            (DISTANCE, "2", "map units", 2),
            (SCALE, "500", "1", 500),
        ):
            value = self.convert(param, LiteralValue(given, None, uom))
            self.assertAlmostEqual(value, expected, msg=f"{given} {uom}")
        whole = QgsProcessingParameterDuration("P", "P")
        whole.setDefaultUnit(QgsUnitTypes.TemporalUnit.TemporalHours)
        whole.setDataType(INTEGER)
        value = self.convert(whole, LiteralValue("120", None, "min"))
        self.assertIs(type(value), int)
        self.assertEqual(value, 2)
        text = self.refused(whole, LiteralValue("90", None, "min"))
        self.assertIn("1.5 h, expected an integer", text)
        for param, uom, text in (
            (METRES, "deg", "expected a unit that converts to m"),
            (DISTANCE, "km", "expected a number without a unit"),
        ):
            self.assertIn(text, self.refused(param, LiteralValue("1", None, uom)))


class FormTests(ParameterCase):
    """What the server says of texts without QGIS, and what QGIS says."""

    PARAMS: ClassVar[dict[str, Any]] = {
        "crs": QgsProcessingParameterCrs("P", "P"),
        "operation": OPERATION,
        "point": POINT,
        "geometry": GEOMETRY,
        "range": RANGES,
        "integerrange": RANGE,
        "color": COLOR,
        "meshtime": MESH_TIME,
        "expression": EXPRESSION,
    }

    def test_described(self) -> None:
        """Each type is described with its form."""
        self.assertEqual(set(self.PARAMS), set(forms.FORMS))
        for form, param in self.PARAMS.items():
            data = parameters.describe(param).data
            assert isinstance(data, (LiteralType, ComplexType))
            self.assertEqual(data.form, form)

    def test_agreement(self) -> None:
        """What the server lets pass is taken; what it refuses would be refused."""
        for form, param in self.PARAMS.items():
            for given in formtexts.GOOD[form]:
                with self.subTest(f"{form} {given}"):
                    self.assertIsNotNone(self.convert(param, given))
            for given in formtexts.BAD[form]:
                with self.subTest(f"{form} {given}"):
                    self.assertIn("expected", self.refused(param, given))

    def test_expressions(self) -> None:
        """No expression is refused by the server that QGIS would take."""
        chance = random.Random(6)
        pieces = [
            *("'", "'", '"', "\\", "(", ")", "[", "]", "--", "\n", "/*", "*/"),
            *("a", "1", "+", " ", ",", "||", "upper(", "array("),
        ]
        refused = taken = 0
        for _ in range(20_000):
            text = "".join(chance.choices(pieces, k=chance.randint(1, 9)))
            fits = not QgsExpression(text).hasParserError()
            taken += fits
            if forms.fault("expression", text) is not None:
                refused += 1
                self.assertFalse(fits, text)
        self.assertGreater(min(taken, refused), 200)


class DataTests(ParameterCase):
    """Values that are data."""

    def test_points(self) -> None:
        """All forms, with the order of axes that the CRS's form asks for."""
        feature = {"type": "Feature", "properties": {}, "geometry": PAIR}
        gml = (
            "<gml:Point xmlns:gml='http://www.opengis.net/gml' srsName='{}'>"
            "<gml:pos>{}</gml:pos></gml:Point>"
        )
        in4326 = "9.0,50.0 [EPSG:4326]"
        for given, expected in (
            ("9,50", "9.0,50.0"),
            ("9 50", "9.0,50.0"),
            ("(9, 50)", "9.0,50.0"),
            ("9,50 [EPSG:4326]", in4326),
            (f"50,9 [{URN}]", in4326),
            ("POINT(9 50)", "9.0,50.0"),
            ("Point Z (9 50 3)", "9.0,50.0"),
            ("SRID=4326;POINT(9 50)", in4326),
            ("srid=3857; POINT(9 50)", "9.0,50.0 [EPSG:3857]"),
            (geoJson(PAIR), in4326),
            (geoJson(PAIR, "EPSG:3857"), "9.0,50.0 [EPSG:3857]"),
            (geoJson(PAIR, URN), in4326),
            (geoJson(feature), in4326),
            (geoJson({"type": "FeatureCollection", "features": [feature]}), in4326),
            (gml.format("EPSG:4326", "9 50"), in4326),
            (gml.format(URN, "50 9"), in4326),
            (
                "<?xml version='1.0'?>" + gml.format("EPSG:3857", "9 50"),
                "9.0,50.0 [EPSG:3857]",
            ),
        ):
            for value in (given, ComplexValue(given, WKT)):
                with self.subTest(given):
                    self.assertEqual(self.convert(POINT, value), expected)
        custom = self.convert(POINT, f"9,50 [{CUSTOM}]")
        self.assertIsInstance(custom, QgsReferencedPointXY)

    def test_pointsRefused(self) -> None:
        """What is no point."""
        evil = "<!DOCTYPE a [<!ENTITY x SYSTEM 'file:///etc/passwd'>]><a>&x;</a>"
        for given, text in (
            ("x", "expected a point as x,y"),
            ("1,2,3", "expected a point"),
            ("nan,1", "expected a point"),
            ("LINESTRING(0 0, 1 1)", "expected a point"),
            ("POINT EMPTY", "expected a point"),
            ("9,50 [EPSG:999999]", "is not known as a CRS"),
            ('{"type": "Point"', "expected a point"),
            ('{"type": "Topology"}', "it is no geometry"),
            (
                geoJson({"type": "FeatureCollection", "features": []}),
                "it is not one feature",
            ),
            ("<a", "it is not XML"),
            (evil, "document type"),
        ):
            with self.subTest(given):
                self.assertIn(text, self.refused(POINT, given))

    def test_geometries(self) -> None:
        """With and without a CRS, of the types that are allowed."""
        square = "POLYGON((0 0, 0 1, 1 1, 1 0, 0 0))"
        value = self.convert(GEOMETRY, f"SRID=3857;{square}")
        self.assertIsInstance(value, QgsReferencedGeometry)
        self.assertEqual(value.crs().authid(), "EPSG:3857")
        self.assertEqual(value.area(), 1)
        bare = self.convert(GEOMETRY, square)
        self.assertNotIsInstance(bare, QgsReferencedGeometry)
        self.assertTrue(POLYGON.checkValueIsAcceptable(bare))
        self.assertEqual(
            self.convert(POLYGON, bare.asJson()).crs().authid(), "EPSG:4326"
        )
        for given, text in (
            ("POINT(1 1)", "is a point, expected a polygon"),
            (f"MULTI{square.replace('((', '(((').replace('))', ')))')}", "a single"),
            ("nothing", "expected a polygon as GeoJSON"),
        ):
            self.assertIn(text, self.refused(POLYGON, given))
        metadata = parameters.describe(POLYGON).metadata
        self.assertIn(Metadata("processing:geometryType", "Polygon"), metadata)
        self.assertIn(Metadata("processing:allowMultipart", "false"), metadata)

    def test_tables(self) -> None:
        """Rows, all cells, CSV with and without its header."""
        for given, expected in (
            ("[[1, 2], [3.5, null]]", [1, 2, 3.5, None]),
            ("[1, 2, 3, 4]", [1, 2, 3, 4]),
            ("1,2\n3.5,a", [1, 2, 3.5, "a"]),
            ("low,high\r\n1,2\r\n", [1, 2]),
            ('"a,b",2\n', ["a,b", 2]),
            ("1,2,3,4", [1, 2, 3, 4]),
        ):
            for value in (given, ComplexValue(given, Format("text/csv"))):
                with self.subTest(given):
                    self.assertEqual(self.convert(TABLE, value), expected)
        self.assertEqual(self.convert(FREE, "[1, 2]"), [1, 2])
        self.assertEqual(self.convert(FIXED, "[[1, 2], [3, 4]]"), [1, 2, 3, 4])
        for param, given, text in (
            (TABLE, "[[1, 2], [3]]", "at least 2 are needed"),
            (TABLE, "[1, 2, 3]", "expected 2 in each row: low, high"),
            (TABLE, "[[1, {}]]", "expected an array of rows"),
            (TABLE, "[[1, NaN]]", "NaN is no number"),
            (TABLE, "[[1,", "not readable"),
            (FIXED, "[[1, 2]]", "is 1 rows, expected 2"),
        ):
            with self.subTest(given):
                self.assertIn(text, self.refused(param, given))

    def test_files(self) -> None:
        """What was sent is in a file of the job, whose extension fits."""
        encoded = base64.b64encode(b"\0\1").decode()
        Path(self.directory, "fetched").write_bytes(b"fetched")
        octets = Format("application/octet-stream", "base64")
        for param, given, suffix, data in (
            (file("csv"), "a,b", ".csv", b"a,b"),
            (file(".csv"), "/etc/passwd", ".csv", b"/etc/passwd"),
            (file(), ComplexValue("x", Format("text/plain")), ".txt", b"x"),
            (file("", "All (*.*)"), "x", ".txt", b"x"),
            (file("hdf"), ComplexValue(encoded, octets), ".hdf", b"\0\1"),
            (file("txt"), FileValue("fetched", Format("")), ".txt", b"fetched"),
            (
                file("", "T (*.txt *.csv)"),
                ComplexValue("x", Format("text/csv")),
                ".csv",
                b"x",
            ),
        ):
            path = Path(self.convert(param, given))
            self.assertEqual(path.parent, Path(self.directory, "inputs"))
            self.assertEqual(path.suffix, suffix)
            self.assertEqual(path.read_bytes(), data)
        two = parameters.value(
            FILES, [LiteralValue("a"), LiteralValue("b")], self.job()
        )
        self.assertEqual([Path(each).read_text() for each in two], ["a", "b"])
        for param, given, text in (
            (file("hdf"), ComplexValue("?", octets), "not valid base64"),
            (file("txt"), FileValue("../x", Format("")), "without data"),
        ):
            self.assertIn(text, self.refused(param, given))

    def test_archives(self) -> None:
        """Folders, and files of several parts, come packed."""
        packed = Format("application/zip", "base64")
        sent = ComplexValue(archive(a_shp="1", a_dbf="2"), packed)
        path = Path(self.convert(file("", "Shapefiles (*.shp)"), sent))
        self.assertEqual(path.name, "a.shp")
        self.assertEqual(path.with_suffix(".dbf").read_text(), "2")

    def test_folders(self) -> None:
        """A folder comes packed; no name in the archive leads out of it."""
        packed = Format("application/zip", "base64")
        evil = archive(______x_txt="1", sub__y_txt="2")
        folder = Path(self.convert(file("", "", True), ComplexValue(evil, packed)))
        self.assertEqual(folder.parent.name, "inputs")
        found = sorted(str(p.relative_to(folder)) for p in folder.rglob("*.txt"))
        self.assertEqual(found, ["sub/y.txt", "x.txt"])

    def test_folderToWrite(self) -> None:
        """Where an algorithm without outputs writes to is a folder of the job."""
        algorithm = QgsApplication.processingRegistry().algorithmById(
            "native:atlaslayouttoimage"
        )
        param = algorithm.parameterDefinition("FOLDER")
        described = parameters.describe(param)
        self.assertEqual(described.data, LiteralType("string"))
        for given, name in (
            ("../../pages", "pages"),
            ("/etc", "etc"),
            ("..", "FOLDER"),
        ):
            path = Path(self.convert(param, given))
            self.assertEqual(path, Path(self.directory, "outputs", name))
            self.assertTrue(path.is_dir())

    def test_archivesRefused(self) -> None:
        """What is no archive, or has not the one file."""
        packed = Format("application/zip", "base64")
        for param, given, text in (
            (file("", "", True), "/etc", "expected a zip archive"),
            (file("", "", True), ComplexValue("aGk=", packed), "not usable"),
            (
                file("shp"),
                ComplexValue(archive(a_txt=""), packed),
                "an archive with 0 files with the extension shp, expected one",
            ),
        ):
            self.assertIn(text, self.refused(param, given))

    def test_unseen(self) -> None:
        """JSON, or a text, that the parameter itself accepts; never a place."""
        param = Unseen("P")
        self.assertEqual(self.convert(param, '{"a": [1]}'), {"a": [1]})
        self.assertEqual(self.convert(param, "plain"), "plain")
        for given, text in (
            ("[1]", "what QGIS takes for the type unseen"),
            ("/etc/passwd", "no file of the server"),
            ('{"a": ["http://example.org/"]}', "no address"),
            ('{"a": "../x"}', "no file of the server"),
            ('{"/vsicurl/x": 1}', "no file of the server"),
        ):
            self.assertIn(text, self.refused(param, given))
