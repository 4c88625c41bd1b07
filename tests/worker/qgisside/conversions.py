"""What clients send becomes what QGIS takes, or a fault that says why not."""

from __future__ import annotations

from typing import Any

from qgis.core import (
    QgsCoordinateReferenceSystem,
    QgsProcessing,
    QgsProcessingParameterBand,
    QgsProcessingParameterBoolean,
    QgsProcessingParameterCrs,
    QgsProcessingParameterDefinition,
    QgsProcessingParameterDistance,
    QgsProcessingParameterEnum,
    QgsProcessingParameterExtent,
    QgsProcessingParameterFeatureSink,
    QgsProcessingParameterFeatureSource,
    QgsProcessingParameterField,
    QgsProcessingParameterFileDestination,
    QgsProcessingParameterFolderDestination,
    QgsProcessingParameterNumber,
    QgsProcessingParameterRasterDestination,
    QgsProcessingParameterRasterLayer,
    QgsProcessingParameterString,
    QgsReferencedRectangle,
)

from qgswps.errors import OWSError
from qgswps.model import (
    BoundingBoxType,
    BoundingBoxValue,
    ComplexValue,
    Format,
    InputDescription,
    InputValue,
    LayerType,
    LiteralType,
    LiteralValue,
    Metadata,
    ProjectPart,
    Range,
)
from qgswps.worker import parameters
from qgswps.worker.parameters import destinations
from qgswps.worker.parameters.layers import kindsOf
from qgswps.worker.parameters.spatial import readCrs
from tests.worker.qgisside.support import JobCase

INTEGER = QgsProcessingParameterNumber.Type.Integer
DOUBLE = QgsProcessingParameterNumber.Type.Double
OPTIONS = ["red", "green", "blue"]

BOOLEAN = QgsProcessingParameterBoolean("P", "P", defaultValue=True)
WHOLE = QgsProcessingParameterNumber("P", "P", INTEGER, 5, False, 1, 10)
FREE = QgsProcessingParameterNumber("P", "P", DOUBLE)
ENUM = QgsProcessingParameterEnum("P", "P", OPTIONS, False, 1)
ENUMS = QgsProcessingParameterEnum("P", "P", OPTIONS, True, [0, 1], True)
STATIC = QgsProcessingParameterEnum("P", "P", OPTIONS, False, "blue")
STATIC.setUsesStaticStrings(True)
FIELD = QgsProcessingParameterField("P", "P", None, "IN")
FIELDS = QgsProcessingParameterField("P", "P", None, "IN", allowMultiple=True)
CRS = QgsProcessingParameterCrs("P", "P", "EPSG:3857")
EXTENT = QgsProcessingParameterExtent("P", "P")
BAND = QgsProcessingParameterBand("P", "P", 1, "IN")
BANDS = QgsProcessingParameterBand("P", "P", None, "IN", False, True)
STRING = QgsProcessingParameterString("P", "P", "text")

OF_FIELDS = ProjectPart("field", "IN")
OF_BANDS = ProjectPart("band", "IN")

URN = "urn:ogc:def:crs:EPSG::4326"


def box(crs: str | None, *numbers: float) -> BoundingBoxValue:
    """A rectangle as a client gives it."""
    return BoundingBoxValue(numbers[:2], numbers[2:], crs)


class DescriptionTests(JobCase):
    """How parameters are described."""

    def described(self, param: QgsProcessingParameterDefinition) -> InputDescription:
        return parameters.describe(param)

    def test_literals(self) -> None:
        """Data type, default, allowed values, bounds and occurrences."""
        for param, data, occurs in (
            (BOOLEAN, LiteralType("boolean", "true"), (0, 1)),
            (STRING, LiteralType("string", "text"), (0, 1)),
            (WHOLE, LiteralType("integer", "5", ranges=(Range("1", "10"),)), (0, 1)),
            (FREE, LiteralType("float"), (1, 1)),
            (
                QgsProcessingParameterNumber("P", "P", DOUBLE, 0.5, False, -1.5),
                LiteralType("float", "0.5", ranges=(Range("-1.5", None),)),
                (0, 1),
            ),
            (
                QgsProcessingParameterNumber("P", "P", INTEGER, None, True),
                LiteralType("integer"),
                (0, 1),
            ),
            (ENUM, LiteralType("string", "green", tuple(OPTIONS)), (0, 1)),
            (
                ENUMS,
                LiteralType("string", None, tuple(OPTIONS), defaults=("red", "green")),
                (0, 3),
            ),
            (STATIC, LiteralType("string", "blue", tuple(OPTIONS)), (0, 1)),
            (FIELD, LiteralType("string", part=OF_FIELDS), (1, 1)),
            (FIELDS, LiteralType("string", part=OF_FIELDS), (1, 1000)),
            (CRS, LiteralType("string", "EPSG:3857", form="crs"), (0, 1)),
            (
                BAND,
                LiteralType("integer", "1", ranges=(Range("1"),), part=OF_BANDS),
                (0, 1),
            ),
        ):
            with self.subTest(param.type()):
                described = self.described(param)
                self.assertEqual(described.data, data)
                self.assertEqual((described.minOccurs, described.maxOccurs), occurs)

    def test_metadata(self) -> None:
        """The titles that clients look for."""
        distance = QgsProcessingParameterDistance("P", "P", 1, "IN")
        point = QgsProcessing.SourceType.TypeVectorPoint
        source = QgsProcessingParameterFeatureSource("P", "P", [point])
        file = QgsProcessingParameterFileDestination("P", "P", "Tables (*.csv)")
        sink = QgsProcessingParameterFeatureSink("P", "P", point)
        parent = Metadata("processing:parentLayerParameterName", "IN")
        for param, expected in (
            (WHOLE, Metadata("processing:type", "number")),
            (distance, parent),
            (FIELD, parent),
            (FIELD, Metadata("processing:dataType", "Any")),
            (BAND, parent),
            (source, Metadata("processing:dataTypes", "TypeVectorPoint")),
            (file, Metadata("processing:extension", "csv")),
            (file, Metadata("processing:format", "text/csv")),
            (sink, Metadata("processing:dataType", "0")),
            (sink, Metadata("processing:extension", "gpkg")),
        ):
            with self.subTest(expected):
                self.assertIn(expected, self.described(param).metadata)

    def test_layers(self) -> None:
        """Layers by kind, with the formats they can be sent in."""
        types = QgsProcessing.SourceType
        vector = self.described(
            QgsProcessingParameterFeatureSource("P", "P", [types.TypeVectorLine])
        ).data
        assert isinstance(vector, LayerType)
        self.assertEqual(vector.kinds, ("line",))
        self.assertEqual(vector.formats[0].mimeType, "application/geo+json")
        raster = self.described(QgsProcessingParameterRasterLayer("P", "P")).data
        assert isinstance(raster, LayerType)
        self.assertEqual(raster.kinds, ("raster",))
        self.assertEqual(raster.formats[0], Format("image/tiff", "base64"))

    def test_kinds(self) -> None:
        """QGIS's source types as kinds of layer."""
        for types, kinds in (
            ([-2], ()),
            ([-1], ("point", "line", "polygon")),
            ([1, 2], ("line", "polygon")),
            ([5], ("vector",)),
            ([0, 5], ("vector",)),
            ([3], ("raster",)),
            ([3, -2], ()),
        ):
            self.assertEqual(kindsOf(types), kinds, types)

    def test_extent(self) -> None:
        """The default CRS comes first; a default box has x before y."""
        data = self.described(EXTENT).data
        self.assertEqual(data, BoundingBoxType(("EPSG:4326", "EPSG:3857")))
        param = QgsProcessingParameterExtent("P", "P", "1,2,3,4 [EPSG:3857]")
        expected = BoundingBoxType(("EPSG:3857", "EPSG:4326"), (1.0, 3.0, 2.0, 4.0))
        self.assertEqual(self.described(param).data, expected)

    def test_destinations(self) -> None:
        """Nobody has to say where results go."""
        for param in (
            QgsProcessingParameterFeatureSink("P", "P"),
            QgsProcessingParameterRasterDestination("P", "P"),
            QgsProcessingParameterFileDestination("P", "P"),
            QgsProcessingParameterFolderDestination("P", "P"),
        ):
            described = self.described(param)
            self.assertEqual(described.data, LiteralType("string"))
            self.assertEqual(described.minOccurs, 0)

    def test_fileFormats(self) -> None:
        """All that are one file and have a media type, the default first."""
        for listed, expected in (
            ("HTML files (*.html)", ["text/html"]),
            ("All files (*.*)", ["application/octet-stream"]),
            (
                "GeoPackage (*.gpkg *.GPKG);;Shapefile (*.shp);;GeoJSON (*.geojson)",
                ["application/geopackage+sqlite3", "application/geo+json"],
            ),
        ):
            param = QgsProcessingParameterFileDestination("P", "P", listed)
            found = [form.mimeType for form in destinations.fileFormats(param)]
            self.assertEqual(found, expected)

    def test_defaultThatIsNone(self) -> None:
        """A default that QGIS would not accept is none; one in a list is one."""
        low = QgsProcessingParameterNumber("P", "P", DOUBLE, 0, False, 1)
        described = self.described(low)
        self.assertEqual(described.minOccurs, 1)
        self.assertEqual(
            described.data, LiteralType("float", ranges=(Range("1", None),))
        )
        listed = self.described(
            QgsProcessingParameterEnum("P", "P", OPTIONS, False, [1])
        )
        self.assertEqual(listed.minOccurs, 0)
        self.assertEqual(listed.data, LiteralType("string", "green", tuple(OPTIONS)))

    def test_unhandled(self) -> None:
        """A destination of a type that nobody handles is named."""

        class Unseen(QgsProcessingParameterDefinition):
            def type(self) -> str:
                return "unseen"

            def isDestination(self) -> bool:
                return True

        with self.assertRaisesRegex(parameters.Unpublished, "of type unseen are not"):
            self.described(Unseen("P"))


class ValueTests(JobCase):
    """How values are converted."""

    def convert(self, param: Any, *inputs: InputValue | str) -> Any:
        values = [LiteralValue(i) if isinstance(i, str) else i for i in inputs]
        return parameters.value(param, values, self.job())

    def test_literals(self) -> None:
        """Texts become Python's values."""
        for param, given, expected in (
            (BOOLEAN, ("True",), True),
            (BOOLEAN, ("0",), False),
            (BOOLEAN, (" false ",), False),
            (STRING, ("a b ",), "a b "),
            (STRING, (ComplexValue("x", Format("text/plain")),), "x"),
            (WHOLE, ("7",), 7),
            (WHOLE, ("7.0",), 7),
            (FREE, ("-1e3",), -1000.0),
            (FREE, (" 2.5 ",), 2.5),
            (ENUM, ("blue",), 2),
            (ENUM, ("2",), 2),
            (ENUMS, ("red",), [0]),
            (ENUMS, ("blue", "red"), [2, 0]),
            (STATIC, ("red",), "red"),
            (STATIC, ("1",), "green"),
            (FIELD, ("name",), "name"),
            (FIELDS, ("a", "b c"), ["a", "b c"]),
            (BAND, ("2",), 2),
            (BANDS, ("2", "1"), [2, 1]),
        ):
            with self.subTest(f"{param.type()} {given}"):
                value = self.convert(param, *given)
                self.assertEqual(value, expected)
                self.assertIs(type(value), type(expected))

    def test_unfit(self) -> None:
        """What can't be used is answered with what was expected."""
        bad = Format("image/tiff", "base64")
        for param, given, text in (
            (BOOLEAN, ("maybe",), "expected true or false"),
            (STRING, (ComplexValue("aGk=", bad),), "expected a text"),
            (STRING, ("a", "b"), "expected at most 1"),
            (WHOLE, ("7.5",), "expected an integer"),
            (WHOLE, ("x",), "expected an integer"),
            (WHOLE, ("0",), "expected at least 1 and at most 10"),
            (FREE, ("NaN",), "expected a number"),
            (FREE, ("inf",), "expected a number"),
            (FREE, ("",), "expected a number"),
            (ENUM, ("purple",), "expected one of: red, green, blue"),
            (ENUM, ("3",), "expected one of"),
            (ENUM, ("-1",), "expected one of"),
            (CRS, ("nonsense",), "expected a CRS"),
            (CRS, ("/etc/passwd",), "expected a CRS"),
            (CRS, ("EPSG:999999",), "expected a CRS"),
            (BAND, ("0",), "from 1"),
            (EXTENT, ("1,2,3",), "expected minx,miny,maxx,maxy"),
            (EXTENT, ("/etc/passwd",), "expected minx,miny,maxx,maxy"),
            (EXTENT, (box("EPSG:4326", 5, 0, 1, 1),), "lower corner first"),
            (EXTENT, (box("nonsense", 0, 0, 1, 1),), "expected a CRS"),
            (EXTENT, (box(None, 0, float("nan"), 1, 1),), "a lower and an upper"),
        ):
            with self.subTest(f"{param.type()} {given}"):
                with self.assertRaises(OWSError) as caught:
                    self.convert(param, *given)
                (fault,) = caught.exception.faults
                self.assertEqual(fault.code, "InvalidParameterValue")
                self.assertEqual(fault.locator, "P")
                self.assertIn(text, fault.text)

    def test_crs(self) -> None:
        """All written forms of a CRS; which ones have the CRS's own axes."""
        wkt = QgsCoordinateReferenceSystem("EPSG:2154").toWkt()
        for given, authid, inverted in (
            ("EPSG:4326", "EPSG:4326", False),
            ("epsg:4326", "EPSG:4326", False),
            (URN, "EPSG:4326", True),
            ("urn:x-ogc:def:crs:EPSG:6.9:4326", "EPSG:4326", True),
            ("urn:ogc:def:crs:EPSG::2154", "EPSG:2154", False),
            ("urn:ogc:def:crs:OGC:1.3:CRS84", "EPSG:4326", False),
            ("http://www.opengis.net/def/crs/EPSG/0/4326", "EPSG:4326", True),
            ("http://www.opengis.net/def/crs/OGC/1.3/CRS84", "EPSG:4326", False),
            ("http://www.opengis.net/gml/srs/epsg.xml#4326", "EPSG:4326", False),
            ("CRS:84", "EPSG:4326", False),
            ("ESRI:102003", "ESRI:102003", False),
            (wkt, "EPSG:2154", False),
        ):
            with self.subTest(given):
                crs, isInverted = readCrs(given)
                self.assertEqual(crs.authid(), authid)
                self.assertIs(isInverted, inverted)
        self.assertTrue(self.convert(CRS, "+proj=merc +ellps=bessel").isValid())
        self.assertEqual(self.convert(CRS, "ProjectCrs").authid(), "EPSG:4326")

    def test_extent(self) -> None:
        """A box in any CRS, in the order of axes that the CRS's form asks for."""
        for given, expected in (
            (box("EPSG:4326", 1, 2, 3, 4), "1,3,2,4 [EPSG:4326]"),
            (box(URN, 2, 1, 4, 3), "1,3,2,4 [EPSG:4326]"),
            (box(None, 1, 2, 3, 4), "1,3,2,4 [EPSG:4326]"),
            (box("EPSG:2154", 1.5, 2, 3, 4), "1.5,3,2,4 [EPSG:2154]"),
            (LiteralValue("1,2,3,4"), "1,3,2,4 [EPSG:4326]"),
            (LiteralValue(f"2,1,4,3,{URN}"), "1,3,2,4 [EPSG:4326]"),
        ):
            with self.subTest(given):
                value = self.convert(EXTENT, given)
                self.assertEqual(value.replace(".0", ""), expected)
        custom = self.convert(EXTENT, box("+proj=merc +ellps=bessel", 1, 2, 3, 4))
        self.assertIsInstance(custom, QgsReferencedRectangle)
        self.assertEqual(custom.xMaximum(), 3)

    def test_fileNames(self) -> None:
        """A client names a file, but never where it is."""
        param = QgsProcessingParameterFileDestination("P", "P", "Tables (*.csv)")
        for given, name in (
            ("table.csv", "table.csv"),
            ("table", "table.csv"),
            ("../../etc/cron.d/x", "x.csv"),
            ("/etc/passwd", "passwd.csv"),
            ("..\\..\\x.csv", "x.csv"),
            ("", "P.csv"),
            ("..", "P.csv"),
            ("a\0b\n.csv", "a_b_.csv"),
            ("Zürich 1.csv", "Zürich 1.csv"),
        ):
            with self.subTest(given):
                path = self.convert(param, given)
                self.assertEqual(path, f"{self.directory}/outputs/{name}")

    def test_titles(self) -> None:
        """What a client gives a layer destination is the layer's title."""
        sink = QgsProcessingParameterFeatureSink("P", "Result")
        job = self.job()
        value = parameters.value(sink, [LiteralValue("/etc/My layer")], job)
        path = value.sink.staticValue()
        self.assertEqual(path, f"{self.directory}/outputs/P.geojson")
        self.assertEqual(job.titles, {"P": "/etc/My layer"})
        parameters.value(sink, [], job)
        self.assertEqual(job.titles, {"P": "Result"})
