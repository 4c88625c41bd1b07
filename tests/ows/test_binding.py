"""Tests of L{qgswps.ows.binding}."""

from __future__ import annotations

from typing import Any

import attrs
from twisted.trial.unittest import SynchronousTestCase

from qgswps.errors import OWSError
from qgswps.forms import FORMS
from qgswps.model import (
    BoundingBoxType,
    BoundingBoxValue,
    ComplexType,
    ComplexValue,
    DataType,
    ExecuteRequest,
    FieldSummary,
    FileValue,
    Format,
    Input,
    InputDescription,
    InputValue,
    LayerSummary,
    LayerType,
    LiteralType,
    LiteralValue,
    OutputDescription,
    OutputRequest,
    ProcessDescription,
    ProjectPart,
    ProjectSummary,
    Range,
    ReferenceValue,
)
from qgswps.ows.binding import bind, unknownProcess
from tests import formtexts

GEOJSON = Format("application/geo+json")
GML = Format("text/xml; subtype=gml/3.1.1", schema="http://gml.xsd")
TIFF = Format("image/tiff", "base64")
WFS = Format("application/x-ogc-wfs")
ZIP = Format("application/zip", "base64")
VECTOR = (GEOJSON, GML, ZIP)
INVALID = "InvalidParameterValue"
MISSING = "MissingParameterValue"

PROJECT = ProjectSummary(
    "",
    "EPSG:4326",
    (
        LayerSummary("id1", "Roads", "line"),
        LayerSummary("id2", "Relief", "raster"),
        LayerSummary("id3", "Twin", "line"),
        LayerSummary("id4", "Twin", "point"),
        LayerSummary("id5", "{odd}", "line"),
        LayerSummary("id6", "Gone", "line", valid=False),
        LayerSummary("id7", "layer:Roads?x=1", "line"),
        LayerSummary("id8", "A&B? 50%", "line"),
    ),
    layouts=("Map", "A4 "),
    themes=("Night",),
)


def text(value: str, **others: Any) -> LiteralValue:
    return LiteralValue(value, **others)


class BindTestCase(SynchronousTestCase):
    """Helpers to bind one input or some outputs."""

    def bindInput(
        self,
        data: DataType,
        *values: InputValue,
        minOccurs: int = 1,
        maxOccurs: int = 1,
        map: str | None = None,
        layers: ProjectSummary | None = None,
    ) -> tuple[InputValue, ...]:
        described = InputDescription("A", "A", data, "", minOccurs, maxOccurs)
        bound = bind(
            ExecuteRequest("p", tuple(Input("A", value) for value in values), map=map),
            ProcessDescription("p", "P", inputs=(described,)),
            layers,
        )
        return tuple(item.value for item in bound.inputs)

    def refused(self, *args: Any, code: str = INVALID, **keywords: Any) -> str:
        error = self.assertRaises(OWSError, self.bindInput, *args, **keywords)
        fault = error.faults[0]
        self.assertEqual((fault.code, fault.locator), (code, "A"), args)
        self.assertEqual(len(error.faults), 1, args)
        return fault.text


class LiteralTests(BindTestCase):
    """Literals and their types."""

    def test_types(self) -> None:
        """A text is written as its type has it, or refused."""
        for dataType, given, expected in [
            ("string", " a ", " a "),
            ("string", "", ""),
            ("boolean", "True", "true"),
            ("boolean", "FALSE", "false"),
            ("boolean", " 1 ", "true"),
            ("boolean", "0", "false"),
            ("boolean", "yes", None),
            ("boolean", "", None),
            ("integer", "5", "5"),
            ("integer", " -5 ", "-5"),
            ("integer", "+5", "+5"),
            ("integer", "5.0", "5"),
            ("integer", "5.5", None),
            ("integer", "5e1", None),
            ("integer", "1_0", None),
            ("integer", "٣", None),
            ("integer", "", None),
            ("integer", "NaN", None),
            ("float", "5", "5"),
            ("float", " -1.5e3 ", "-1.5e3"),
            ("float", "a", None),
            ("float", "", None),
            ("float", "nan", None),
            ("float", "inf", None),
            ("float", "-Infinity", None),
            ("float", "1e999", None),
            ("float", "1_0", None),
            ("double", "x", None),
            ("dateTime", "2020-01-01", "2020-01-01"),
        ]:
            data = LiteralType(dataType)
            if expected is None:
                self.refused(data, text(given))
            else:
                (bound,) = self.bindInput(data, text(given))
                self.assertEqual(bound, text(expected), (dataType, given))

    def test_allowed(self) -> None:
        """A value is one of the allowed ones, numbers by what they mean."""
        words = LiteralType(allowed=("Round", "Flat cap"))
        numbers = LiteralType("float", allowed=("1", "2.50"))
        integers = LiteralType("integer", allowed=("1", "2"))
        for data, given, expected in [
            (words, "Round", "Round"),
            (words, " Flat cap ", "Flat cap"),
            (words, "round", None),
            (words, "", None),
            (numbers, "2.5", "2.50"),
            (numbers, "1.0", "1"),
            (numbers, "2", None),
            (integers, "2.0", "2"),
            (integers, "3", None),
        ]:
            if expected is None:
                self.refused(data, text(given))
            else:
                self.assertEqual(self.bindInput(data, text(given)), (text(expected),))
        self.assertIn("Round, Flat cap", self.refused(words, text("x")))
        many = LiteralType(allowed=tuple(map(str, range(1000))))
        self.assertLess(len(self.refused(many, text("y" * 5000))), 500)

    def test_ranges(self) -> None:
        """A number is within a range, its bounds included."""
        data = LiteralType("float", ranges=(Range("0", "1"), Range("10", None)))
        low = LiteralType("integer", ranges=(Range(None, "5"),))
        both = LiteralType("integer", allowed=("-1",), ranges=(Range("1", "5"),))
        for kind, given, good in [
            (data, "0", True),
            (data, "1.0", True),
            (data, "1.01", False),
            (data, "-1e-9", False),
            (data, "10", True),
            (data, "1e12", True),
            (low, "-99", True),
            (low, "6", False),
            (both, "-1", True),
            (both, "0", False),
            (both, "3", True),
        ]:
            if good:
                self.assertEqual(self.bindInput(kind, text(given)), (text(given),))
            else:
                self.refused(kind, text(given))

    def test_units(self) -> None:
        """A unit is one of those described; without any it is let be."""
        data = LiteralType("float", uoms=("meters", "feet"))
        (bound,) = self.bindInput(data, text("1", uom="FEET"))
        self.assertEqual(bound, text("1", uom="feet"))
        self.refused(data, text("1", uom="degrees"))
        (bound,) = self.bindInput(LiteralType("float"), text("1", uom="x"))
        self.assertEqual(bound, text("1", uom="x"))
        data = LiteralType("float", uoms=("map units", "m", "ft"))
        for given, expected in (
            ("Map units", "map units"),
            ("meters", "m"),
            ("urn:ogc:def:uom:UCUM::[ft_i]", "ft"),
        ):
            (bound,) = self.bindInput(data, text("1", uom=given))
            self.assertEqual(bound, text("1", uom=expected))
        self.refused(data, text("1", uom="km"))

    def test_boundsInUnits(self) -> None:
        """Bounds are those of the default unit."""
        data = LiteralType("float", ranges=(Range("0", "10"),), uoms=("m", "km", "cm"))
        (bound,) = self.bindInput(data, text("500", uom="cm"))
        self.assertEqual(bound, text("500", uom="cm"))
        for value in (text("1", uom="km"), text("-1", uom="cm"), text("11", uom="m")):
            self.assertIn("0 to 10", self.refused(data, value))
        unknown = LiteralType("float", ranges=(Range("0", "10"),), uoms=("map", "m"))
        # Only the layer tells how long its units are.
        (bound,) = self.bindInput(unknown, text("500", uom="m"))
        self.assertEqual(bound, text("500", uom="m"))

    def test_times(self) -> None:
        """Dates and times, with a time zone and without; bounds are left alone."""
        for dataType, given, good in [
            ("dateTime", " 2024-05-31T12:00:00 ", True),
            ("dateTime", "2024-05-31T12:00:00.5Z", True),
            ("dateTime", "2024-05-31T12:00:00+02:00", True),
            ("dateTime", "2024-05-31T25:00:00", False),
            ("dateTime", "now", False),
            ("date", "2024-05-31", True),
            ("date", "2024-02-30", False),
            ("time", "12:00", True),
            ("time", "noon", False),
        ]:
            data = LiteralType(dataType, ranges=(Range("2000-01-01"),))
            if good:
                self.assertEqual(
                    self.bindInput(data, text(given)), (text(given.strip()),)
                )
            else:
                self.assertIn("is like ", self.refused(data, text(given)))

    def test_bounds(self) -> None:
        """Times are within their bounds, as far as time zones let that be told."""
        start = Range("2024-01-01T00:00:00Z")
        for dataType, bounds, given, said in [
            ("date", Range("2024-01-01", "2024-12-31"), "2024-05-31", None),
            ("date", Range("2024-01-01", "2024-12-31"), "2025-01-01", " to 2024"),
            ("date", Range("2024-01-01", None), "2023-12-31", "2024-01-01 or more"),
            ("time", Range(None, "18:00:00"), "18:00:01", "18:00:00 or less"),
            ("time", Range(None, "18:00:00"), "18:00", None),
            ("dateTime", start, "2023-12-31T23:00:00Z", "or more"),
            ("dateTime", start, "2024-01-01T00:30:00+01:00", "or more"),
            ("dateTime", Range("2024-01-01T00:00:00"), "2023-12-31T23:00:00Z", None),
        ]:
            data = LiteralType(dataType, ranges=(bounds,))
            if said is None:
                self.assertEqual(self.bindInput(data, text(given)), (text(given),))
            else:
                self.assertIn(said, self.refused(data, text(given)))

    def test_textForms(self) -> None:
        """Texts that have a form of their own, as literals and as data."""
        plain = Format("text/plain")
        for form, (said, _) in FORMS.items():
            isData = form in ("point", "geometry")
            data = (
                ComplexType((plain,), form=form) if isData else LiteralType(form=form)
            )
            for given in formtexts.GOOD[form]:
                expected = ComplexValue(given, plain) if isData else text(given)
                self.assertEqual(self.bindInput(data, text(given)), (expected,))
            for given in filter(None, formtexts.BAD[form]):
                self.assertIn(said, self.refused(data, text(given)))
            if form != "expression":
                self.assertEqual(self.bindInput(data, text(" "), minOccurs=0), ())

    def test_dynamic(self) -> None:
        """A number, or what gives each feature its own."""
        data = LiteralType("float", ranges=(Range("0"),), dynamic=True)
        for given in ("1", '{"field": "a"}', ' {"expression": "a + 1"}'):
            self.assertEqual(self.bindInput(data, text(given)), (text(given),))
        form = Format("application/json")
        (bound,) = self.bindInput(data, ComplexValue('{"field": "a"}', form))
        self.assertEqual(bound, text('{"field": "a"}'))
        for given in (
            "-1",
            "{",
            "{}",
            '{"field": ""}',
            '{"field": 1}',
            '{"other": "a"}',
            '{"field": "a", "expression": "b"}',
            '{"expression": "(a"}',
        ):
            self.refused(data, text(given))
        self.refused(LiteralType("float"), text('{"field": "a"}'))

    def test_forms(self) -> None:
        """A text in ComplexData is a text; other forms are no literals."""
        data = LiteralType()
        long = ComplexValue("a\nb", Format("text/plain"))
        self.assertEqual(self.bindInput(data, long), (text("a\nb"),))
        for value in [
            ComplexValue("YQ==", Format("text/plain", "base64")),
            ReferenceValue("http://h/", Format("")),
            BoundingBoxValue((0, 0), (1, 1)),
            FileValue("a", Format("text/plain")),
        ]:
            self.refused(data, value)


class OccurrenceTests(BindTestCase):
    """How often an input is given."""

    def test_counts(self) -> None:
        """Inputs are given as often as is described."""
        data = LiteralType()
        for minimum, maximum, count, code in [
            (0, 1, 0, None),
            (1, 1, 0, MISSING),
            (1, 1, 1, None),
            (1, 1, 2, INVALID),
            (2, 3, 1, MISSING),
            (2, 3, 3, None),
            (2, 3, 4, INVALID),
            (0, 0, 1, None),
        ]:
            values = (text("x"),) * count
            keywords: dict[str, Any] = {"minOccurs": minimum, "maxOccurs": maximum}
            if code is None:
                self.assertEqual(self.bindInput(data, *values, **keywords), values)
            else:
                self.refused(data, *values, code=code, **keywords)

    def test_empty(self) -> None:
        """An empty text for an optional input is no value, for a string is."""
        kinds: list[DataType] = [
            LiteralType("integer"),
            LiteralType("boolean"),
            LiteralType(allowed=("a",)),
            BoundingBoxType(("EPSG:4326",)),
            ComplexType((GEOJSON,)),
            LayerType((), VECTOR),
        ]
        for data in kinds:
            self.assertEqual(self.bindInput(data, text(" "), minOccurs=0), (), data)
            self.refused(data, text(""))
        layout = LiteralType(part=ProjectPart("layout"))
        self.assertEqual(self.bindInput(layout, text(""), minOccurs=0), ())
        bound = self.bindInput(LiteralType(), text(""), minOccurs=0)
        self.assertEqual(bound, (text(""),))

    def test_unknown(self) -> None:
        """An input that the process does not have is refused."""
        error = self.assertRaises(
            OWSError,
            bind,
            ExecuteRequest("p", (Input("B", text("x")),)),
            ProcessDescription("p", "P"),
        )
        self.assertEqual(error.faults[0].locator, "B")
        self.assertEqual(error.faults[0].code, INVALID)

    def test_all(self) -> None:
        """All that is wrong is told at once."""
        number = InputDescription("N", "N", LiteralType("integer"))
        layer = InputDescription("L", "L", LayerType((), VECTOR))
        error = self.assertRaises(
            OWSError,
            bind,
            ExecuteRequest(
                "p",
                (Input("N", text("x")), Input("?", text("x")), Input("N", text("y"))),
                (OutputRequest("!"),),
                raw=True,
            ),
            ProcessDescription("p", "P", inputs=(number, layer)),
        )
        found = [(fault.code, fault.locator) for fault in error.faults]
        self.assertEqual(
            sorted(found),
            sorted(
                [
                    (INVALID, "N"),
                    (INVALID, "?"),
                    (INVALID, "N"),
                    (INVALID, "N"),
                    (MISSING, "L"),
                    (INVALID, "!"),
                ]
            ),
        )
        self.assertEqual(error.status, 400)

    def test_kept(self) -> None:
        """What needs no change comes out as it went in, titles too."""
        described = InputDescription("A", "A", LiteralType(), maxOccurs=5)
        request = ExecuteRequest(
            "p",
            tuple(Input("A", text(word), "T", "U") for word in "zya"),
            asynchronous=True,
            status=True,
            timeout=5,
        )
        process = ProcessDescription("p", "P", inputs=(described,))
        self.assertEqual(bind(request, process), request)


class BoxTests(BindTestCase):
    """Bounding boxes."""

    data = BoundingBoxType(("EPSG:4326",))

    def test_text(self) -> None:
        """A text has four numbers and may have a CRS."""
        for given, crs in [
            ("1,2,3.5,4", None),
            (" 1 , 2 ,3.5, 4", None),
            ("1,2,3.5,4,EPSG:3857", "EPSG:3857"),
            ("1,2,3.5,4,urn:ogc:def:crs:EPSG::4326", "urn:ogc:def:crs:EPSG::4326"),
            ("1,2,3.5,4,EPSG:3857,2", "EPSG:3857"),
            ("1,2,3.5,4,", None),
        ]:
            (bound,) = self.bindInput(self.data, text(given))
            self.assertEqual(bound, BoundingBoxValue((1, 2), (3.5, 4), crs), given)

    def test_wrong(self) -> None:
        """Other texts and other forms are refused."""
        for given in [
            text("1,2,3"),
            text("a,2,3,4"),
            text("1,2,3,nan"),
            text("1,2,3,4,EPSG:1,3"),
            text("1 2 3 4"),
            text("1,2,3,4,5,6,7"),
            BoundingBoxValue((1, 2, 3), (4, 5, 6)),
            BoundingBoxValue((1, 2), (4, float("inf"))),
            BoundingBoxValue((1, 2), (0, 3)),
            BoundingBoxValue((1, 2), (2, 1), "EPSG:4326"),
            BoundingBoxValue((1, 2), (3, 4), "nonsense"),
            text("1,2,3,4,EPSG:x"),
            ComplexValue("1,2,3,4", GEOJSON),
            ReferenceValue("http://h/", Format("")),
        ]:
            self.refused(self.data, given)

    def test_value(self) -> None:
        """A box stays as it was given."""
        value = BoundingBoxValue((1, 2), (3, 4), "EPSG:3857")
        self.assertEqual(self.bindInput(self.data, value), (value,))


class ComplexTests(BindTestCase):
    """Complex data and its formats."""

    data = ComplexType(VECTOR, maximumMegabytes=1)

    def test_formats(self) -> None:
        """A format is told in the words of its description, or refused."""
        for given, expected in [
            (Format("application/geo+json"), GEOJSON),
            (Format("Application/Geo+JSON"), GEOJSON),
            (Format("application/geo+json; charset=utf-8"), GEOJSON),
            (Format("text/xml;subtype=GML/3.1.1"), GML),
            (Format("text/xml"), GML),
            (
                Format("text/xml", schema="http://x"),
                Format(GML.mimeType, None, "http://x"),
            ),
            (Format("application/zip"), ZIP),
            (Format("application/zip", "BASE64"), ZIP),
            (
                Format("application/geo+json", "base64"),
                Format(GEOJSON.mimeType, "base64"),
            ),
            (
                Format("application/geo+json", "utf-8"),
                Format(GEOJSON.mimeType, "UTF-8"),
            ),
            (Format("application/geo+json", "utf-16"), None),
            (Format("image/png"), None),
            (Format("nonsense"), None),
        ]:
            value = ComplexValue("x", given)
            if expected is None:
                self.refused(self.data, value)
            else:
                (bound,) = self.bindInput(self.data, value)
                self.assertEqual(bound, ComplexValue("x", expected), given)

    def test_missing(self) -> None:
        """Without a mimeType it is the default, unless the data shows more."""
        for given, expected in [
            ('{"type": 1}', GEOJSON),
            (" <gml/>", GML),
            ("anything", GEOJSON),
        ]:
            values: list[InputValue] = [ComplexValue(given, Format("")), text(given)]
            for value in values:
                (bound,) = self.bindInput(self.data, value)
                self.assertEqual(bound, ComplexValue(given, expected))
        (bound,) = self.bindInput(ComplexType((TIFF, GML)), text("SUkqAA=="))
        self.assertEqual(bound, ComplexValue("SUkqAA==", TIFF))
        # Of the two, the first is the default.
        (bound,) = self.bindInput(ComplexType((GML, GEOJSON)), text("{}"))
        self.assertEqual(bound, ComplexValue("{}", GEOJSON))
        (bound,) = self.bindInput(ComplexType(()), text("{}"))
        self.assertEqual(bound, ComplexValue("{}", Format("")))

    def test_wrong(self) -> None:
        """Nothing, too much and other forms are refused."""
        self.refused(self.data, ComplexValue(" ", GEOJSON))
        self.refused(self.data, text(""))
        self.refused(self.data, BoundingBoxValue((0, 0), (1, 1)))
        self.refused(self.data, FileValue("/etc/passwd", GEOJSON))
        large = ComplexValue("x" * (2**20 + 1), GEOJSON)
        self.refused(self.data, large, code="FileSizeExceeded")
        self.bindInput(ComplexType(VECTOR), large)

    def test_references(self) -> None:
        """A reference may leave its format to what it refers to."""
        for given, expected in [
            (Format(""), Format("")),
            (Format("application/zip"), ZIP),
        ]:
            (bound,) = self.bindInput(self.data, ReferenceValue("http://h/", given))
            value = ReferenceValue("http://h/", expected, maximumMegabytes=1)
            self.assertEqual(bound, value)
        self.refused(self.data, ReferenceValue("http://h/", Format("image/png")))


class SchemaTests(BindTestCase):
    """JSON that has a schema."""

    data = ComplexType(
        (Format("application/json"), Format("text/csv")),
        jsonSchema='{"type": "array", "items": {"type": "number"}}',
    )

    def test_fits(self) -> None:
        """What fits, and what is no JSON or too long to be looked at here."""
        form = Format("application/json")
        for given in ("[1, 2]", " [] ", "a::~::b", "[" + "1," * 40000 + "x]"):
            expected = (ComplexValue(given, form),)
            self.assertEqual(self.bindInput(self.data, text(given)), expected)
        csv = ComplexValue("[1", Format("text/csv"))
        self.assertEqual(self.bindInput(self.data, csv), (csv,))

    def test_refused(self) -> None:
        """What is wrong is said."""
        for given, said in (
            ('["a"]', '[0] is "a", not a number'),
            ("{}", "not an array"),
            ("[1, NaN]", "NaN is no number"),
            ("[1", "is not JSON"),
        ):
            self.assertIn(said, self.refused(self.data, text(given)))


class LayerTests(BindTestCase):
    """Layers: names with a project, data in any case."""

    data = LayerType(("line",), VECTOR)

    def test_withoutMap(self) -> None:
        """Without a project a text is data."""
        (bound,) = self.bindInput(self.data, text('{"type": 1}'))
        self.assertEqual(bound, ComplexValue('{"type": 1}', GEOJSON))

    def test_names(self) -> None:
        """With a project a text is the name or the id of a fitting layer."""
        for given, expected in [
            ("Roads", "Roads"),
            (" Roads ", "Roads"),
            ("id1", "id1"),
            ("Twin", "Twin"),
            ("id3", "id3"),
            ("{odd}", "{odd}"),
            ("A&B? 50%", "A&B? 50%"),
            ("Gone", None),
            ("roads", None),
            ("Relief", None),
            ("id2", None),
            ("id4", None),
            ("/etc/passwd", None),
            ("", None),
        ]:
            value = text(given)
            if expected is None:
                self.refused(self.data, value, map="m", layers=PROJECT)
            else:
                (bound,) = self.bindInput(self.data, value, map="m", layers=PROJECT)
                self.assertEqual(bound, text(expected))

    def test_unchecked(self) -> None:
        """Without a summary of the project any name will do."""
        self.assertEqual(self.bindInput(self.data, text("x"), map="m"), (text("x"),))
        self.refused(self.data, text(" "), map="m")

    def test_data(self) -> None:
        """Data is taken with a project too, as text as well."""
        inline = ComplexValue("<gml/>", Format("text/xml"))
        rows: list[tuple[InputValue, InputValue]] = [
            (text('{"a": 1}'), ComplexValue('{"a": 1}', GEOJSON)),
            (text("<gml/>"), ComplexValue("<gml/>", GML)),
            (inline, ComplexValue("<gml/>", GML)),
            (
                ReferenceValue("http://h/", GEOJSON),
                ReferenceValue("http://h/", GEOJSON),
            ),
        ]
        for value, expected in rows:
            for layers in (None, PROJECT):
                bound = self.bindInput(self.data, value, map="m", layers=layers)
                self.assertEqual(bound, (expected,))


class ReferenceTests(BindTestCase):
    """References to layers of a project, and to some of their features."""

    line = LayerType(("line",), VECTOR)
    any = LayerType((), VECTOR)

    def test_taken(self) -> None:
        """What fits is left as it is."""
        for given in [
            "layer:Roads",
            "layer:id1",
            "layer:Twin",
            "layer:A%26B%3F%2050%25",
            "layer:Roads?select=%22a%22%20%3E%201",
            "layer:Roads?rect=0,0,1,1",
            "layer:Roads?rect=0,0,1,1,EPSG:4326&select=a",
            "layer:Roads?x=1",  # there is a layer of that name
        ]:
            for layers in (PROJECT, None):
                if given.endswith("x=1") and layers is None:
                    continue
                for data in (self.line, self.any):
                    (bound,) = self.bindInput(
                        data, text(f" {given} "), map="m", layers=layers
                    )
                    self.assertEqual(bound, text(given))
        (bound,) = self.bindInput(
            self.any, text("layer:Relief"), map="m", layers=PROJECT
        )
        self.assertEqual(bound, text("layer:Relief"))

    def test_several(self) -> None:
        """Of an input that takes several, each may be one."""
        values = (text("layer:Roads?select=a"), text("Twin"), text("layer:id3"))
        bound = self.bindInput(self.line, *values, maxOccurs=3, map="m", layers=PROJECT)
        self.assertEqual(bound, values)

    def test_refused(self) -> None:
        """What is wrong is named."""
        for given, said in [
            ("layer:", "needs the name"),
            ("layer:Rivers", "'Rivers', and the project has no such layer"),
            ("layer:Relief", "not of a fitting kind"),
            ("layer:Gone", "can't be opened"),
            ("layer:Roads?x=2", "not 'x=2'"),
            ("layer:Roads?select=", "empty select="),
            ("layer:Roads?rect=0,0,1", "rect=minx,miny,maxx,maxy"),
            ("layer:A&B? 50%", "not ' 50%'"),
        ]:
            told = self.refused(self.line, text(given), map="m", layers=PROJECT)
            self.assertIn(said, told)
        for given in ("layer:Relief?rect=0,0,1,1", "layer:id2?select=a"):
            told = self.refused(self.any, text(given), map="m", layers=PROJECT)
            self.assertIn("selects features", told)

    def test_withoutMap(self) -> None:
        """Without a project there are no layers."""
        (bound,) = self.bindInput(self.line, text("layer:Roads"))
        self.assertIsInstance(bound, ComplexValue)


class PartTests(BindTestCase):
    """Layouts and themes."""

    def test_parts(self) -> None:
        """What the project does not have is refused."""
        for kind, given, expected in [
            ("layout", "Map", "Map"),
            ("layout", " Map ", "Map"),
            ("layout", "A4 ", "A4 "),
            ("layout", "A4", None),
            ("layout", "Night", None),
            ("theme", "Night", "Night"),
            ("theme", "Day", None),
            ("field", "anything", "anything"),
        ]:
            data = LiteralType(part=ProjectPart(kind))
            if expected is None:
                told = self.refused(data, text(given), map="m", layers=PROJECT)
                self.assertIn("is one of", told)
            else:
                bound = self.bindInput(data, text(given), map="m", layers=PROJECT)
                self.assertEqual(bound, (text(expected),))

    def test_ofLayers(self) -> None:
        """Fields, bands and groups are those of the layer that is named."""
        project = ProjectSummary(
            "",
            "EPSG:4326",
            (
                LayerSummary("a", "A", "point", fields=(FieldSummary("Size"),)),
                LayerSummary("b", "B", "point", fields=(FieldSummary("n"),)),
                LayerSummary("r", "R", "raster", bands=2),
                LayerSummary("m", "M", "mesh", groups=("Depth",)),
                LayerSummary("e", "E", "nogeometry"),
            ),
        )
        inline = ComplexValue("{}", GEOJSON)
        rows: list[tuple[str, list[InputValue], str, str | None]] = [
            ("field", [text("A")], "Size", None),
            ("field", [text("A")], " size ", None),
            ("field", [text("a")], "n", "is one of Size, not 'n'"),
            ("field", [text("layer:A?select=1")], "n", "is one of Size, not 'n'"),
            ("field", [text("A"), text("B")], "n", None),
            ("field", [text("E")], "n", "is a field, but the layer has none"),
            ("field", [inline], "anything", None),
            ("field", [], "anything", None),
            ("band", [text("R")], "2", None),
            ("band", [text("R")], "3", "is one of 1, 2, not '3'"),
            ("group", [text("M")], "Depth", None),
            ("group", [text("M")], "7", None),
            ("group", [text("M")], "depths", "is one of Depth, not 'depths'"),
        ]
        for kind, layers, given, said in rows:
            parent = InputDescription(
                "L", "L", LayerType((), VECTOR), minOccurs=0, maxOccurs=2
            )
            data = LiteralType(
                "integer" if kind == "band" else "string", part=ProjectPart(kind, "L")
            )
            part = InputDescription("P", "P", data)
            request = ExecuteRequest(
                "p",
                (Input("P", text(given)), *(Input("L", each) for each in layers)),
                map="m",
            )
            process = ProcessDescription("p", "P", inputs=(part, parent))
            if said is None:
                bind(request, process, project)
                continue
            error = self.assertRaises(OWSError, bind, request, process, project)
            (fault,) = error.faults
            self.assertEqual((fault.code, fault.locator), (INVALID, "P"))
            self.assertIn(said, fault.text)

    def test_none(self) -> None:
        """A project without any has none to name."""
        data = LiteralType(part=ProjectPart("theme"))
        bare = ProjectSummary("", "", ())
        told = self.refused(data, text("Night"), map="m", layers=bare)
        self.assertIn("there is none", told)
        self.assertEqual(self.bindInput(data, text("Night")), (text("Night"),))


class OutputTests(SynchronousTestCase):
    """What is asked for."""

    process = ProcessDescription(
        "p",
        "P",
        outputs=(
            OutputDescription("L", "L", LayerType((), VECTOR)),
            OutputDescription("N", "N", LiteralType("float", uoms=("m", "ft"))),
            OutputDescription("B", "B", BoundingBoxType(("EPSG:4326",))),
            OutputDescription("F", "F", ComplexType((TIFF,))),
            OutputDescription("M", "M", LayerType((), (GEOJSON, WFS))),
            OutputDescription("S", "S", LiteralType()),
        ),
    )

    def bind(self, *outputs: OutputRequest, raw: bool = False) -> Any:
        return bind(ExecuteRequest("p", (), outputs, raw=raw), self.process).outputs

    def refused(self, locator: str, *outputs: OutputRequest, raw: bool = False) -> None:
        error = self.assertRaises(OWSError, self.bind, *outputs, raw=raw)
        fault = error.faults[0]
        self.assertEqual((fault.code, fault.locator), (INVALID, locator), outputs)

    def test_formats(self) -> None:
        """A format is one of those described."""
        for given, expected in [
            (None, None),
            (Format("TEXT/XML"), GML),
            (Format("application/zip"), ZIP),
            (Format("", "base64"), Format(GEOJSON.mimeType, "base64")),
        ]:
            (bound,) = self.bind(OutputRequest("L", given, asReference=True))
            self.assertEqual(bound, OutputRequest("L", expected, asReference=True))
        (bound,) = self.bind(OutputRequest("L", Format("")))
        self.assertEqual(bound, OutputRequest("L"))
        (bound,) = self.bind(OutputRequest("M", Format("application/X-OGC-WFS")))
        self.assertEqual(bound.format, WFS)
        self.refused("L", OutputRequest("L", WFS))
        self.refused("L", OutputRequest("L", Format("image/png")))
        self.refused("F", OutputRequest("F", Format("image/png")))

    def test_literals(self) -> None:
        """A unit is one of those described; what else is asked for is kept."""
        asked = OutputRequest("N", Format("text/plain"), "Feet", True, "T", "A")
        self.assertEqual(self.bind(asked), (attrs.evolve(asked, uom="ft"),))
        self.refused("N", OutputRequest("N", uom="miles"))
        self.refused("S", OutputRequest("S", uom="m"))
        box = OutputRequest("B", asReference=True)
        self.assertEqual(self.bind(box), (box,))

    def test_which(self) -> None:
        """None named means all; unknown or repeated ones are refused."""
        self.assertEqual(self.bind(), ())
        self.refused("X", OutputRequest("X"))
        self.refused("L", OutputRequest("L"), OutputRequest("L"))

    def test_raw(self) -> None:
        """Raw data is exactly one output."""
        self.assertEqual(self.bind(OutputRequest("N"), raw=True), (OutputRequest("N"),))
        self.refused("RawDataOutput", raw=True)
        self.refused("RawDataOutput", OutputRequest("N"), OutputRequest("B"), raw=True)
        single = ProcessDescription("p", "P", outputs=self.process.outputs[:1])
        bound = bind(ExecuteRequest("p", raw=True), single)
        self.assertEqual(bound.outputs, (OutputRequest("L"),))


class ProcessTests(SynchronousTestCase):
    """Processes that are not."""

    def test_unknown(self) -> None:
        """The fault names the parameter."""
        error = unknownProcess("x")
        self.assertEqual(error.status, 400)
        self.assertEqual(error.faults[0].locator, "identifier")
