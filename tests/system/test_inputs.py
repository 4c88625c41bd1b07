"""Inputs of all families over HTTP, against a real server."""

from __future__ import annotations

import json
from xml.sax.saxutils import escape

from lxml import etree
from twisted.trial import unittest

from tests import live, schemas

OWS = "{http://www.opengis.net/ows/1.1}"
POINTS = {
    "type": "FeatureCollection",
    "crs": {"type": "name", "properties": {"name": "EPSG:3857"}},
    "features": [
        {
            "type": "Feature",
            "properties": {"size": size},
            "geometry": {"type": "Point", "coordinates": [size, 0]},
        }
        for size in (100, 200)
    ],
}
LAYER = json.dumps(POINTS)
MAPPING = json.dumps([{"name": "n", "type": "integer", "expression": "size * 2"}])

_HEAD = (
    '<wps:Execute service="WPS" version="1.0.0"'
    ' xmlns:wps="http://www.opengis.net/wps/1.0.0"'
    ' xmlns:ows="http://www.opengis.net/ows/1.1">'
)


def complexData(text: str, mimeType: str = "application/json") -> str:
    """An input's data, inline."""
    return f'<wps:ComplexData mimeType="{mimeType}">{escape(text)}</wps:ComplexData>'


def literalData(text: str, uom: str = "") -> str:
    """An input's data as a literal."""
    unit = f' uom="{uom}"' if uom else ""
    return f"<wps:LiteralData{unit}>{escape(text)}</wps:LiteralData>"


class InputTests(unittest.TestCase):
    """From the wire to the result."""

    def execute(self, process: str, **inputs: str) -> live.Answer:
        """Ask for the raw result in the CRS that it has."""
        given = "".join(
            f"<wps:Input><ows:Identifier>{name}</ows:Identifier>"
            f"<wps:Data>{data}</wps:Data></wps:Input>"
            for name, data in inputs.items()
        )
        return live.sharedServer().post(
            f"{_HEAD}<ows:Identifier>{process}</ows:Identifier>"
            f"<wps:DataInputs>{given}</wps:DataInputs><wps:ResponseForm>"
            '<wps:RawDataOutput mimeType="application/vnd.geo+json">'
            "<ows:Identifier>OUTPUT</ows:Identifier></wps:RawDataOutput>"
            "</wps:ResponseForm></wps:Execute>"
        )

    def widths(self, answer: live.Answer) -> list[float]:
        """How wide each polygon of a result is."""
        self.assertEqual(answer.status, 200, answer.text)
        found = []
        for feature in answer.json()["features"]:
            coordinates = feature["geometry"]["coordinates"]
            while isinstance(coordinates[0][0], list):
                coordinates = coordinates[0]
            xs = [x for x, *_ in coordinates]
            found.append(round(max(xs) - min(xs), 3))
        return found

    def test_units(self) -> None:
        """A distance in the layer's unit, in another, and one for each feature."""
        for distance, expected in (
            (literalData("5"), [10, 10]),
            (literalData("5", "map units"), [10, 10]),
            (literalData("2", "urn:ogc:def:uom:UCUM::km"), [4000, 4000]),
            (literalData('{"field": "size"}'), [200, 400]),
            (literalData('{"expression": "size / 2"}'), [100, 200]),
        ):
            answer = self.execute(
                "native:buffer", INPUT=complexData(LAYER), DISTANCE=distance
            )
            self.assertEqual(self.widths(answer), expected, distance)

    def test_extents(self) -> None:
        """The same place in three CRSs, each with its own order of axes."""
        boxes = []
        for crs, low, high in (
            ("EPSG:4326", "7 46", "8 47"),
            ("urn:ogc:def:crs:EPSG::4326", "46 7", "47 8"),
            ("urn:ogc:def:crs:OGC:1.3:CRS84", "7 46", "8 47"),
        ):
            answer = self.execute(
                "native:extenttolayer",
                INPUT=f'<wps:BoundingBoxData ows:crs="{crs}">'
                f"<ows:LowerCorner>{low}</ows:LowerCorner>"
                f"<ows:UpperCorner>{high}</ows:UpperCorner></wps:BoundingBoxData>",
            )
            self.assertEqual(answer.status, 200, answer.text)
            (feature,) = answer.json()["features"]
            boxes.append(sorted(map(tuple, feature["geometry"]["coordinates"][0])))
        self.assertEqual(boxes[0], boxes[1])
        self.assertEqual(boxes[0], boxes[2])
        self.assertEqual((boxes[0][0], boxes[0][-1]), ((7, 46), (8, 47)))

    def test_structure(self) -> None:
        """JSON that the published schema describes."""
        answer = self.execute(
            "native:refactorfields",
            INPUT=complexData(LAYER),
            FIELDS_MAPPING=complexData(MAPPING),
        )
        self.assertEqual(answer.status, 200, answer.text)
        found = [each["properties"] for each in answer.json()["features"]]
        self.assertEqual(found, [{"n": 200}, {"n": 400}])

    def test_point(self) -> None:
        """A point as text and as GML."""
        gml = (
            '<gml:Point xmlns:gml="http://www.opengis.net/gml"'
            ' srsName="urn:ogc:def:crs:EPSG::4326"><gml:pos>47 7</gml:pos></gml:Point>'
        )
        for point in (
            literalData("7,47 [EPSG:4326]"),
            literalData("SRID=4326;POINT(7 47)"),
            complexData(gml, "application/gml+xml"),
        ):
            answer = self.execute("native:pointtolayer", INPUT=point)
            self.assertEqual(answer.status, 200, answer.text)
            (feature,) = answer.json()["features"]
            self.assertEqual(feature["geometry"]["coordinates"], [7, 47], point)

    def test_faults(self) -> None:
        """All that is wrong, in one report, with what was expected."""
        answer = self.execute(
            "native:refactorfields",
            INPUT=complexData(LAYER),
            FIELDS_MAPPING=complexData('[{"name": "n", "type": "float"}]'),
            NOTHING=literalData("1"),
        )
        self.assertEqual(answer.status, 400)
        schemas.assertValid(self, answer.body, "ExceptionReport")
        root = etree.fromstring(answer.body)
        texts = {
            each.get("locator"): each.findtext(f"{OWS}ExceptionText")
            for each in root.iter(f"{OWS}Exception")
        }
        self.assertEqual(set(texts), {"FIELDS_MAPPING", "NOTHING"})
        self.assertIn("[0].expression is missing", texts["FIELDS_MAPPING"])
        self.assertIn('not one of "boolean"', texts["FIELDS_MAPPING"])

    def locators(self, answer: live.Answer) -> dict[str, str]:
        """The texts of a report, by what is meant."""
        self.assertEqual(answer.status, 400, answer.text)
        schemas.assertValid(self, answer.body, "ExceptionReport")
        found = [
            (each.get("locator", ""), each.findtext(f"{OWS}ExceptionText") or "")
            for each in etree.fromstring(answer.body).iter(f"{OWS}Exception")
        ]
        self.assertEqual(len(dict(found)), len(found), found)
        return dict(found)

    def test_allAtOnce(self) -> None:
        """All faults that the server finds by itself."""
        answer = live.sharedServer().execute(
            "native:buffer",
            {
                "INPUT": "nowhere",
                "DISTANCE": "far",
                "SEGMENTS": "0",
                "END_CAP_STYLE": "pointed",
                "DISSOLVE": "perhaps",
                "OTHER": "1",
            },
            MAP="world",
            TIMEOUT="soon",
            responsedocument="NOTHING",
        )
        texts = self.locators(answer)
        expected = {
            "INPUT": "the project has no such layer",
            "DISTANCE": "is a number, not 'far'",
            "SEGMENTS": "is one of 1 or more, not '0'",
            "END_CAP_STYLE": "is one of Round, Flat, Square",
            "DISSOLVE": "is true or false",
            "OTHER": "has no input",
            "TIMEOUT": "whole number of seconds",
            "NOTHING": "has no output",
        }
        self.assertEqual(set(texts), set(expected))
        for locator, said in expected.items():
            self.assertIn(said, texts[locator])

    def test_allInTheWorker(self) -> None:
        """All faults that only QGIS can find."""
        answer = self.execute(
            "native:shortestpathpointtopoint",
            INPUT=complexData('{"type": "Nothing"}'),
            STRATEGY=literalData("Shortest"),
            START_POINT=literalData("1,2 [EPSG:999999]"),
            END_POINT=literalData("SRID=999999;POINT(1 2)"),
            TOLERANCE=literalData("1", "km"),
        )
        texts = self.locators(answer)
        expected = {
            "INPUT": "is not valid GeoJSON",
            "START_POINT": "is not known as a CRS",
            "END_POINT": "is not known as a CRS",
            "TOLERANCE": "expected a number without a unit",
        }
        self.assertEqual(set(texts), set(expected))
        for locator, said in expected.items():
            self.assertIn(said, texts[locator])

    def test_described(self) -> None:
        """Descriptions with units, schemas and defaults are valid."""
        server = live.sharedServer()
        for process, text in (
            ("native:buffer", "urn:ogc:def:uom:UCUM::km"),
            ("native:refactorfields", "data:application/schema+json,"),
            ("native:reclassifybytable", "text/csv"),
            ("qgis:idwinterpolation", "data:application/schema+json,"),
        ):
            answer = server.wps("DescribeProcess", identifier=process)
            schemas.assertValid(self, answer.body, "ProcessDescriptions")
            self.assertIn(text, answer.text)
