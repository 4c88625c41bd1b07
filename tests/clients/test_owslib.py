"""OWSLib, Debian's and the newest: all kinds of input and output, both modes."""

from __future__ import annotations

import ast
import base64
import os
from typing import Any

from twisted.trial import unittest

from tests import live, schemas
from tests.clients import data
from tests.clients.session import DEBIAN, NEWEST, sharedSession

#: The formats of features that are sent and received.
BINARY = (
    "application/geopackage+sqlite3",
    "application/flatgeobuf",
    "application/x-zipped-shp",
    "application/zip",
)
VECTOR = (
    *BINARY,
    "application/geo+json",
    "application/vnd.geo+json",
    "application/gml+xml",
    "text/csv",
    "application/vnd.google-earth.kml+xml",
)
MODES = ("sync", "async")


class OWSLibTests(unittest.TestCase):
    """The version that Debian has."""

    python = DEBIAN

    def setUp(self) -> None:
        self.server = live.sharedServer()
        self.session = sharedSession(self.python, "owslibclient.py")
        self.url = self.server.url + "ows/"
        self.project = self.url + "?MAP=world"

    def execute(self, identifier: str, *inputs: Any, **options: Any) -> dict[str, Any]:
        """Run a process that has to succeed."""
        url = options.pop("url", self.url)
        found = self.session.ask(
            "execute", url=url, identifier=identifier, inputs=inputs, **options
        )
        self.assertTrue(found["succeeded"], found)
        return dict(found)

    def content(self, output: dict[str, Any]) -> bytes:
        """An output, in whatever way it was sent."""
        if output["reference"]:
            self.assertEqual(output["data"], [])
            return base64.b64decode(output["content"])
        [text] = output["data"]
        return str(text).encode()

    def given(self, outputs: dict[str, Any]) -> list[Any]:
        """What script:outputs was given, without the extent."""
        [text] = outputs["STRING"]["data"]
        many, static, number, crs, _, sink = ast.literal_eval(text)
        return [many, static, number, crs, sink]

    # What there is

    def test_lists(self) -> None:
        found = self.session.ask("capabilities", url=self.url)
        self.assertEqual(found["type"], "WPS")
        self.assertTrue(found["title"])
        self.assertEqual(
            found["operations"], ["GetCapabilities", "DescribeProcess", "Execute"]
        )
        self.assertIn("native:buffer", found["processes"])
        self.assertTrue(all(found["titles"]))

    def test_describes(self) -> None:
        """Types, defaults, choices, formats and numbers of each kind of input."""
        found = self.session.ask("describe", url=self.url, identifier="native:buffer")
        self.assertTrue(found["store"] and found["status"])
        inputs = found["inputs"]
        self.assertEqual(inputs["INPUT"]["dataType"], "ComplexData")
        self.assertEqual(inputs["INPUT"]["minOccurs"], 1)
        self.assertEqual(inputs["INPUT"]["default"], "application/geo+json")
        self.assertLessEqual(set(VECTOR), set(inputs["INPUT"]["formats"]))
        for name, dataType, default in (
            ("DISTANCE", "float", 10),
            ("SEGMENTS", "integer", 5),
            ("DISSOLVE", "boolean", False),
            ("END_CAP_STYLE", "string", "Round"),
        ):
            item = inputs[name]
            self.assertEqual((item["dataType"], item["minOccurs"]), (dataType, 0), name)
            self.assertEqual(item["default"], default, name)
        self.assertEqual(
            inputs["END_CAP_STYLE"]["allowed"], ["Round", "Flat", "Square"]
        )
        self.assertEqual(list(found["outputs"]), ["OUTPUT"])
        self.assertEqual(found["outputs"]["OUTPUT"]["dataType"], "ComplexData")

        found = self.session.ask("describe", url=self.url, identifier="script:outputs")
        self.assertEqual(found["inputs"]["MANY"]["maxOccurs"], 3)
        self.assertEqual(found["inputs"]["EXTENT"]["dataType"], "BoundingBoxData")
        types = {name: item["dataType"] for name, item in found["outputs"].items()}
        for name, dataType in (
            ("INTEGER", "float"),
            ("BOOLEAN", "boolean"),
            ("STRING", "string"),
            ("TEXT", "ComplexData"),
        ):
            self.assertEqual(types[name], dataType)

    def test_describesProject(self) -> None:
        """With MAP, the layers to choose from."""
        found = self.session.ask(
            "describe", url=self.project, identifier="native:buffer"
        )
        self.assertIn("large countries", found["inputs"]["INPUT"]["allowed"])

    # Inputs

    def test_literals(self) -> None:
        """Strings, numbers, choices, several ones, and what is left out."""
        for mode in MODES:
            found = self.execute(
                "script:outputs",
                ("MANY", "two"),
                ("MANY", "three"),
                ("STATIC", "red"),
                ("NUMBER", "-2"),
                ("CRS", "EPSG:3857"),
                outputs=[["STRING", False], ["INTEGER", False], ["BOOLEAN", False]],
                mode=mode,
            )["outputs"]
            self.assertEqual(
                self.given(found), [[1, 2], "red", -2.0, "EPSG:3857", False]
            )
            self.assertEqual(found["INTEGER"]["data"], ["3"])
            self.assertEqual(found["BOOLEAN"]["data"], ["true"])
        found = self.execute("script:outputs", outputs=[["STRING", False]])["outputs"]
        self.assertEqual(self.given(found), [[0, 2], "green", 7.0, "", False])

    def test_booleans(self) -> None:
        """In each way of writing them."""
        layer = {"data": data.GEOJSON, "mimeType": "application/geo+json"}
        for text, count in (
            *((text, 1) for text in ("true", "True", "1")),
            *((text, 2) for text in ("false", "False", "0")),
        ):
            outputs = self.execute(
                "native:buffer",
                ("INPUT", layer),
                ("DISTANCE", "1"),
                ("SEGMENTS", "2"),
                ("DISSOLVE", text),
                outputs=[["OUTPUT", False]],
            )["outputs"]
            self.assertEqual(len(data.names(self.content(outputs["OUTPUT"]))), count)

    def test_box(self) -> None:
        """A bounding box as such and as a text."""
        for box in (
            {"box": [7, 46, 8, 47], "crs": "EPSG:4326"},
            "7,46,8,47,EPSG:4326",
        ):
            for mode in MODES:
                outputs = self.execute(
                    "native:extenttolayer",
                    ("INPUT", box),
                    outputs=[["OUTPUT", False, "text/csv"]],
                    mode=mode,
                )["outputs"]
                self.assertIn(b"8 47", self.content(outputs["OUTPUT"]))

    def test_vector(self) -> None:
        """Features in each format, embedded, by reference, out and in again."""
        first = {"data": data.GEOJSON, "mimeType": "application/geo+json"}
        for number, mimeType in enumerate(VECTOR):
            mode = MODES[number % 2]
            contents = {}
            for asReference in (True, False):
                outputs = self.execute(
                    "native:fixgeometries",
                    ("INPUT", first),
                    outputs=[["OUTPUT", asReference, mimeType]],
                    mode=mode,
                )["outputs"]
                output = outputs["OUTPUT"]
                self.assertEqual(output["mimeType"], mimeType)
                self.assertEqual(bool(output["reference"]), asReference)
                contents[asReference] = self.content(output)
            # What has come is sent back as it is.
            again = {"data": contents[False].decode(), "mimeType": mimeType}
            if mimeType in BINARY:
                embedded = base64.b64decode(contents[False], validate=True)
                self.assertEqual(embedded[:4], contents[True][:4])
                again["encoding"] = "base64"
            outputs = self.execute(
                "native:fixgeometries",
                ("INPUT", again),
                outputs=[["OUTPUT", False]],
                mode=mode,
            )["outputs"]
            found = self.content(outputs["OUTPUT"])
            self.assertEqual(data.kinds(found), {"Point"}, mimeType)
            names = [
                each.get("name", each.get("Name")) for each in data.properties(found)
            ]
            # FlatGeobuf sorts by place.
            self.assertEqual(sorted(names), sorted(data.NAMES), mimeType)

    def test_gml(self) -> None:
        """GML as elements of the request."""
        for mimeType in ("application/gml+xml", "text/xml; subtype=gml/3.1.1"):
            outputs = self.execute(
                "native:buffer",
                ("INPUT", {"data": data.GML, "mimeType": mimeType}),
                ("DISTANCE", "0.25"),
                outputs=[["OUTPUT", False]],
            )["outputs"]
            found = self.content(outputs["OUTPUT"])
            self.assertEqual(data.names(found), ["west", "east"])
            self.assertEqual(data.kinds(found), {"Polygon"})

    def test_severalLayers(self) -> None:
        """Several occurrences of complex data."""
        layer = {"data": data.GEOJSON, "mimeType": "application/geo+json"}
        outputs = self.execute(
            "native:mergevectorlayers",
            ("LAYERS", layer),
            ("LAYERS", layer),
            outputs=[["OUTPUT", False]],
            mode="async",
        )["outputs"]
        self.assertEqual(
            data.names(self.content(outputs["OUTPUT"])), [*data.NAMES, *data.NAMES]
        )

    def test_raster(self) -> None:
        """A raster in base64 in, by value and by reference out."""
        raster = {
            "data": data.encoded(data.ELEVATION),
            "mimeType": "image/tiff",
            "encoding": "base64",
        }
        for mode in MODES:
            for asReference in (True, False):
                outputs = self.execute(
                    "native:slope",
                    ("INPUT", raster),
                    outputs=[["OUTPUT", asReference, "image/tiff"]],
                    mode=mode,
                )["outputs"]
                content = self.content(outputs["OUTPUT"])
                if not asReference:
                    content = base64.b64decode(content)
                with open(data.ELEVATION, "rb") as file:
                    self.assertEqual(data.size(content), data.size(file.read()))

    def test_fileInput(self) -> None:
        """A file as a text and in base64."""
        raster = {
            "data": data.encoded(data.ELEVATION),
            "mimeType": "image/tiff",
            "encoding": "base64",
        }
        table = {"data": data.COLORS, "mimeType": "text/plain"}
        text = base64.b64encode(data.COLORS.encode()).decode()
        encoded = {"data": text, "mimeType": "text/plain", "encoding": "base64"}
        for mode, colors in zip(MODES, (table, encoded), strict=True):
            outputs = self.execute(
                "gdal:colorrelief",
                ("INPUT", raster),
                ("COLOR_TABLE", colors),
                outputs=[["OUTPUT", True, "image/tiff"]],
                mode=mode,
            )["outputs"]
            content = self.content(outputs["OUTPUT"])
            with open(data.ELEVATION, "rb") as file:
                self.assertEqual(data.size(content), data.size(file.read()))

    def test_file(self) -> None:
        """A file that an algorithm writes, in both ways."""
        for mode in MODES:
            for asReference in (True, False):
                outputs = self.execute(
                    "script:outputs", outputs=[["TEXT", asReference]], mode=mode
                )["outputs"]
                self.assertEqual(self.content(outputs["TEXT"]), b"text")

    # Projects

    def test_project(self) -> None:
        """A layer by name; the result as a map, as data and by reference."""
        for mode in MODES:
            outputs = self.execute(
                "native:buffer",
                ("INPUT", "large countries"),
                ("OUTPUT", "wide lands"),
                url=self.project,
                outputs=[["OUTPUT", True]],
                mode=mode,
            )["outputs"]
            output = outputs["OUTPUT"]
            self.assertEqual(output["mimeType"], "application/x-ogc-wms")
            self.assertIn("layers=wide%20lands", output["reference"])
            content = base64.b64decode(output["content"])
            self.assertIn(b"WMS_Capabilities", content)
            self.assertIn(b"<Title>wide lands</Title>", content)
        outputs = self.execute(
            "native:centroids",
            ("INPUT", "cities"),
            url=self.project,
            outputs=[["OUTPUT", False, "application/vnd.geo+json"]],
        )["outputs"]
        self.assertIn("Tokyo", data.names(self.content(outputs["OUTPUT"])))

    # All of it

    def test_noOutputs(self) -> None:
        """None named are all of them."""
        for mode in MODES:
            found = self.execute("script:outputs", mode=mode)["outputs"]
            self.assertLessEqual({"INTEGER", "FLOAT", "STRING", "TEXT"}, set(found))

    def test_lineage(self) -> None:
        """Each occurrence of an input comes back."""
        found = self.execute(
            "script:outputs",
            ("MANY", "two"),
            ("MANY", "three"),
            ("EXTENT", {"box": [7, 46, 8, 47], "crs": "EPSG:4326"}),
            outputs=[["STRING", False]],
            lineage=True,
        )
        self.assertEqual(
            [(name, item["data"]) for name, item in found["inputs"]][:2],
            [("MANY", ["two"]), ("MANY", ["three"])],
        )
        self.assertEqual(found["inputs"][2][0], "EXTENT")

    def test_progress(self) -> None:
        """An asynchronous job tells how far it is, with a text in each state."""
        found = self.execute(
            "script:mishap",
            ("KIND", "progress"),
            outputs=[["PID", False]],
            mode="async",
        )
        seen = found["seen"]
        self.assertEqual(seen[0]["status"], "ProcessAccepted")
        self.assertIn("ProcessStarted", [each["status"] for each in seen])
        percents = [each["percent"] for each in seen]
        self.assertEqual(percents, sorted(percents))
        self.assertEqual(percents[-1], 100)
        self.assertGreater(len(set(percents)), 2)
        self.assertTrue(all(each["message"] for each in seen))
        self.assertIn("uuid=", found["statusLocation"])

    def test_later(self) -> None:
        """The statusLocation has a result again, of a synchronous job too."""
        for mode in MODES:
            found = self.execute("script:outputs", mode=mode)
            again = self.session.ask("check", url=found["statusLocation"])
            self.assertEqual(again["status"], "ProcessSucceeded")
            self.assertEqual(again["creationTime"], found["creationTime"])
            answer = self.server.get(found["statusLocation"])
            schemas.assertValid(self, answer.body, "ExecuteResponse")

    def test_failure(self) -> None:
        """What goes wrong within the process is an error that OWSLib tells."""
        for mode in MODES:
            found = self.session.ask(
                "execute",
                url=self.url,
                identifier="script:mishap",
                inputs=[["KIND", "fail"]],
                mode=mode,
            )
            self.assertFalse(found["succeeded"])
            self.assertIn("the moon is in the way", found["errors"][0]["text"])

    def test_refused(self) -> None:
        """Faults of the request have a code and a locator."""
        for inputs, code, locator in (
            ([["DISTANCE", "wide"]], "InvalidParameterValue", "DISTANCE"),
            ([["DISTANCE", "1"]], "MissingParameterValue", "INPUT"),
            ([["INPOT", "1"]], "InvalidParameterValue", "INPOT"),
        ):
            with self.assertRaises(AssertionError) as raised:
                self.session.ask(
                    "execute",
                    url=self.url,
                    identifier="native:buffer",
                    inputs=inputs,
                    mode="async",
                )
            self.assertIn("ServiceException", str(raised.exception))
            self.assertIn(
                f'exceptionCode="{code}" locator="{locator}"', str(raised.exception)
            )

    def test_dismissed(self) -> None:
        """A job that was dismissed has failed, and says why."""
        found = self.session.ask(
            "execute",
            url=self.url,
            identifier="script:mishap",
            inputs=[["KIND", "patient"]],
            outputs=[["PID", False]],
            mode="async",
            wait=False,
        )
        location = found["statusLocation"]
        self.session.ask("wait", url=location, status="ProcessStarted")
        uuid = location.partition("uuid=")[2].partition("&")[0]
        self.assertEqual(self.server.request("DELETE", f"status/{uuid}").status, 200)
        state = self.session.ask("wait", url=location, status="Exception")
        self.assertIn("dismissed", state["errors"][0]["text"])


class NewestTests(OWSLibTests):
    """The newest version."""

    python = NEWEST

    def test_version(self) -> None:
        """It is the one that is pinned."""
        with open(os.path.join(live.ROOT, "requirements-clients.txt")) as file:
            self.assertIn(f"OWSLib=={self.session.ask('version')}\n", file.read())
