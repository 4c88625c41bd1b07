"""
The main job: an algorithm on a real layer through HTTP gives what QGIS gives.
"""

from __future__ import annotations

import base64
import functools
import http.client
import json
import os
import re
import select
import subprocess
import sys
import tempfile
from typing import Any

import attrs
from lxml import etree
from osgeo import gdal
from twisted.trial import unittest

from tests import live, oracle, schemas

WPS = "{http://www.opengis.net/wps/1.0.0}"
OWS = "{http://www.opengis.net/ows/1.1}"
WORLD = os.path.join(live.PROJECTS, "world.gpkg")
ELEVATION = os.path.join(live.PROJECTS, "elevation.tif")


def execute(
    process: str,
    inputs: str,
    form: str = "",
) -> str:
    """An Execute request as XML."""
    return (
        '<wps:Execute xmlns:wps="http://www.opengis.net/wps/1.0.0"'
        ' xmlns:ows="http://www.opengis.net/ows/1.1"'
        ' xmlns:xlink="http://www.w3.org/1999/xlink" service="WPS" version="1.0.0">'
        f"<ows:Identifier>{process}</ows:Identifier>"
        f"<wps:DataInputs>{inputs}</wps:DataInputs>{form}</wps:Execute>"
    )


def literal(identifier: str, value: str) -> str:
    """A literal input."""
    return _input(identifier, f"<wps:LiteralData>{value}</wps:LiteralData>")


def complexData(identifier: str, mimeType: str, data: str, encoding: str = "") -> str:
    """A complex input."""
    attribute = f' encoding="{encoding}"' if encoding else ""
    return _input(
        identifier,
        f'<wps:ComplexData mimeType="{mimeType}"{attribute}>{data}</wps:ComplexData>',
    )


def _input(identifier: str, data: str) -> str:
    return (
        f"<wps:Input><ows:Identifier>{identifier}</ows:Identifier>"
        f"<wps:Data>{data}</wps:Data></wps:Input>"
    )


GEOJSON = "application/geo+json"

#: With a project, a reference to a map service would be the default.
AS_GEOJSON = f"OUTPUT@mimeType={GEOJSON}"


def responseForm(
    output: str, asReference: bool = False, stored: bool = False, mimeType: str = ""
) -> str:
    """A ResponseDocument with one output."""
    form = f' mimeType="{mimeType}"' if mimeType else ""
    return (
        "<wps:ResponseForm><wps:ResponseDocument"
        f' storeExecuteResponse="{str(stored).lower()}"'
        f' status="{str(stored).lower()}">'
        f'<wps:Output asReference="{str(asReference).lower()}"{form}>'
        f"<ows:Identifier>{output}</ows:Identifier></wps:Output>"
        "</wps:ResponseDocument></wps:ResponseForm>"
    )


def rawForm(output: str) -> str:
    """A RawDataOutput."""
    return (
        "<wps:ResponseForm><wps:RawDataOutput>"
        f"<ows:Identifier>{output}</ows:Identifier>"
        "</wps:RawDataOutput></wps:ResponseForm>"
    )


@attrs.frozen
class Buffered:
    """
    The countries as a client sends them, and buffered by QGIS itself.

    @ivar expected: the features of the buffer.
    @ivar expectedOfGML: the same of the GML, whose digits are fewer.
    """

    geojson: str
    gml: str
    expected: list[dict[str, Any]]
    expectedOfGML: list[dict[str, Any]]


@functools.cache
def buffered() -> Buffered:
    """Made once, since a plain QGIS takes seconds to start."""
    with tempfile.TemporaryDirectory() as folder:
        geojson = os.path.join(folder, "countries.geojson")
        gml = os.path.join(folder, "countries.gml")
        gdal.VectorTranslate(
            geojson,
            WORLD,
            format="GeoJSON",
            layers=["countries"],
            layerCreationOptions=["COORDINATE_PRECISION=17"],
        )
        gdal.VectorTranslate(
            gml,
            WORLD,
            format="GML",
            layers=["countries"],
            datasetCreationOptions=["FORMAT=GML3"],
        )
        output = os.path.join(folder, "buffer.geojson")
        ofGML = os.path.join(folder, "buffer-of-gml.geojson")
        parameters = {"DISTANCE": 0.5, "SEGMENTS": 3}
        source = f"{WORLD}|layername=countries"
        oracle.run(
            ("native:buffer", {**parameters, "INPUT": source, "OUTPUT": output}),
            ("native:buffer", {**parameters, "INPUT": gml, "OUTPUT": ofGML}),
        )
        texts = []
        for path in (geojson, gml, output, ofGML):
            with open(path) as file:
                texts.append(file.read())
    return Buffered(
        texts[0],
        re.sub(r"^<\?xml[^>]*\?>", "", texts[1]),
        oracle.features(texts[2]),
        oracle.features(texts[3]),
    )


class BufferTests(unittest.TestCase):
    """native:buffer of the demo's countries, asked for in all ways."""

    def setUp(self) -> None:
        self.server = live.sharedServer()
        self.expected = buffered().expected
        self.countries = buffered().geojson
        self.gml = buffered().gml

    def assertFeatures(self, data: bytes | str, inline: bool = False) -> None:
        """
        Same features, same geometries as QGIS itself gives.

        @param inline: the layer was sent as GeoJSON, which has no C{fid}.
        """
        found = oracle.features(data)
        self.assertEqual(len(found), len(self.expected))
        self.assertGreater(len(found), 100)
        for ours, theirs in zip(found, self.expected, strict=True):
            properties = dict(theirs["properties"])
            if inline:
                del properties["fid"]
            self.assertEqual(ours["properties"], properties)
            self.assertSameGeometry(ours, theirs)

    def assertSameGeometry(self, ours: dict[str, Any], theirs: dict[str, Any]) -> None:
        """Equal to the last digit; a diff of two countries would help nobody."""
        self.assertTrue(
            ours["geometry"] == theirs["geometry"], theirs["properties"]["name"]
        )

    def output(self, body: bytes, identifier: str = "OUTPUT") -> etree._Element:
        """The element of an output of a valid ExecuteResponse."""
        schemas.assertValid(self, body, "ExecuteResponse")
        for output in etree.fromstring(body).iter(f"{WPS}Output"):
            if output.findtext(f"{OWS}Identifier") == identifier:
                return output
        raise AssertionError(f"no {identifier} in {body[:2000]!r}")

    def embedded(self, body: bytes) -> str:
        """The complex data of OUTPUT."""
        text: str = self.output(body).findtext(f"{WPS}Data/{WPS}ComplexData")
        return text

    def ended(self, body: bytes) -> bytes:
        """The last document of an asynchronous job."""
        schemas.assertValid(self, body, "ExecuteResponse")
        root = etree.fromstring(body)
        self.assertIsNotNone(root.find(f"{WPS}Status/{WPS}ProcessAccepted"))
        location = root.get("statusLocation")

        def succeeded() -> bytes | None:
            answer = self.server.get(location).body
            schemas.assertValid(self, answer, "ExecuteResponse")
            self.assertNotIn(b"ProcessFailed", answer)
            return answer if b"ProcessSucceeded" in answer else None

        found: bytes = self.server.waitUntil(succeeded, "the job does not end")
        return found

    def smallLayer(self) -> tuple[str, int]:
        """A layer with one small country, as a URL is short, and its place."""
        layer = json.loads(self.countries)
        sizes = [len(json.dumps(each["geometry"])) for each in layer["features"]]
        smallest = sizes.index(min(sizes))
        layer["features"] = [layer["features"][smallest]]
        return json.dumps(layer), smallest

    parameters = literal("DISTANCE", "0.5") + literal("SEGMENTS", "3")

    def inlineInputs(self) -> str:
        data = f"<![CDATA[{self.countries}]]>"
        return complexData("INPUT", "application/geo+json", data) + self.parameters

    def test_kvpByMap(self) -> None:
        inputs = {"INPUT": "countries", "DISTANCE": 0.5, "SEGMENTS": 3}
        answer = self.server.execute(
            "native:buffer", inputs, map="world", responsedocument=AS_GEOJSON
        )
        self.assertFeatures(self.embedded(answer.body))
        raw = self.server.execute(
            "native:buffer", inputs, map="world", rawdataoutput="OUTPUT"
        )
        self.assertEqual(raw.headers["content-type"], "application/geo+json")
        self.assertFeatures(raw.body)

    def test_kvpByMapAsynchronous(self) -> None:
        answer = self.server.execute(
            "native:buffer",
            {"INPUT": "countries", "DISTANCE": 0.5, "SEGMENTS": 3},
            map="world",
            responsedocument=AS_GEOJSON,
            storeExecuteResponse="true",
            status="true",
        )
        self.assertFeatures(self.embedded(self.ended(answer.body)))

    def test_kvpInline(self) -> None:
        """The layer in the URL."""
        layer, smallest = self.smallLayer()
        answer = self.server.execute(
            "native:buffer",
            {"INPUT": layer, "DISTANCE": 0.5, "SEGMENTS": 3},
            rawdataoutput="OUTPUT",
        )
        self.assertEqual(answer.status, 200, answer.body[:500])
        (found,) = oracle.features(answer.body)
        self.assertSameGeometry(found, self.expected[smallest])

    def test_kvpInlineAsynchronous(self) -> None:
        """The same, looked after later."""
        layer, smallest = self.smallLayer()
        answer = self.server.execute(
            "native:buffer",
            {"INPUT": layer, "DISTANCE": 0.5, "SEGMENTS": 3},
            storeExecuteResponse="true",
        )
        (found,) = oracle.features(self.embedded(self.ended(answer.body)))
        self.assertSameGeometry(found, self.expected[smallest])

    def test_postByMap(self) -> None:
        inputs = literal("INPUT", "countries") + self.parameters
        form = responseForm("OUTPUT", mimeType=GEOJSON)
        answer = self.server.post(
            execute("native:buffer", inputs, form), "?map=world.qgs"
        )
        self.assertFeatures(self.embedded(answer.body))

    def test_postByMapAsynchronous(self) -> None:
        inputs = literal("INPUT", "countries") + self.parameters
        form = responseForm("OUTPUT", stored=True, mimeType=GEOJSON)
        answer = self.server.post(execute("native:buffer", inputs, form), "?MAP=world")
        self.assertFeatures(self.embedded(self.ended(answer.body)))

    def test_postInline(self) -> None:
        answer = self.server.post(execute("native:buffer", self.inlineInputs()))
        self.assertFeatures(self.embedded(answer.body), inline=True)

    def test_postInlineRaw(self) -> None:
        request = execute("native:buffer", self.inlineInputs(), rawForm("OUTPUT"))
        self.assertFeatures(self.server.post(request).body, inline=True)

    def test_postInlineAsynchronous(self) -> None:
        form = responseForm("OUTPUT", stored=True)
        answer = self.server.post(execute("native:buffer", self.inlineInputs(), form))
        self.assertFeatures(self.embedded(self.ended(answer.body)), inline=True)

    def test_postReference(self) -> None:
        form = responseForm("OUTPUT", asReference=True)
        answer = self.server.post(execute("native:buffer", self.inlineInputs(), form))
        reference = self.output(answer.body).find(f"{WPS}Reference")
        self.assertEqual(reference.get("mimeType"), "application/geo+json")
        file = self.server.get(reference.get("href"))
        self.assertEqual(file.headers["content-type"], "application/geo+json")
        self.assertFeatures(file.body, inline=True)

    def test_postGML(self) -> None:
        """From GML as from GeoJSON."""
        inputs = complexData("INPUT", "application/gml+xml", self.gml) + self.parameters
        answer = self.server.post(execute("native:buffer", inputs, rawForm("OUTPUT")))
        self.assertEqual(answer.status, 200, answer.body[:500])
        found = oracle.features(answer.body)
        expected = buffered().expectedOfGML
        self.assertEqual(len(found), len(expected))
        for ours, theirs in zip(found, expected, strict=True):
            self.assertEqual(ours["properties"], theirs["properties"])
            self.assertSameGeometry(ours, theirs)


class RasterTests(unittest.TestCase):
    """native:slope of the demo's elevation."""

    def setUp(self) -> None:
        self.server = live.sharedServer()

    def checksum(self, data: bytes) -> tuple[int, int, int]:
        """Size and checksum of the first band of a GeoTIFF."""
        path = f"/vsimem/{self.id()}.tif"
        gdal.FileFromMemBuffer(path, data)
        dataset = gdal.Open(path)
        self.assertIsNotNone(dataset, data[:200])
        band = dataset.GetRasterBand(1)
        found = dataset.RasterXSize, dataset.RasterYSize, band.Checksum()
        band = dataset = None
        gdal.Unlink(path)
        return found

    def test_raster(self) -> None:
        """By MAP and inline, raw, embedded and by reference: what QGIS gives."""
        expected = os.path.join(self.server.workdir, "slope.tif")
        oracle.run(
            ("native:slope", {"INPUT": ELEVATION, "Z_FACTOR": 2, "OUTPUT": expected})
        )
        with open(expected, "rb") as file:
            right = self.checksum(file.read())
        factor = literal("Z_FACTOR", "2")
        with open(ELEVATION, "rb") as file:
            data = base64.b64encode(file.read()).decode()
        named = literal("INPUT", "elevation") + factor
        inline = complexData("INPUT", "image/tiff", data, "base64") + factor
        for inputs, query in ((named, "?map=world"), (inline, "")):
            raw = self.server.post(
                execute("native:slope", inputs, rawForm("OUTPUT")), query
            )
            self.assertEqual(raw.headers["content-type"], "image/tiff", raw.body[:500])
            self.assertEqual(self.checksum(raw.body), right)
            form = responseForm("OUTPUT", mimeType="image/tiff")
            document = self.server.post(execute("native:slope", inputs, form), query)
            schemas.assertValid(self, document.body, "ExecuteResponse")
            element = etree.fromstring(document.body).find(f".//{WPS}ComplexData")
            self.assertEqual(element.get("encoding"), "base64")
            self.assertEqual(self.checksum(base64.b64decode(element.text)), right)
            form = responseForm("OUTPUT", asReference=True, mimeType="image/tiff")
            linked = self.server.post(execute("native:slope", inputs, form), query)
            href = etree.fromstring(linked.body).find(f".//{WPS}Reference").get("href")
            self.assertEqual(self.checksum(self.server.get(href).body), right)


class ServiceTests(unittest.TestCase):
    """What is asked before and beside Execute."""

    def setUp(self) -> None:
        self.server = live.sharedServer()

    def identifiers(self, answer: live.Answer) -> list[str]:
        found = etree.fromstring(answer.body).iter(f"{OWS}Identifier")
        return [element.text for element in found]

    def test_capabilities(self) -> None:
        answer = self.server.wps("GetCapabilities")
        schemas.assertValid(self, answer.body, "Capabilities")
        found = self.identifiers(answer)
        providers = {each.partition(":")[0] for each in found}
        self.assertLessEqual({"native", "qgis", "gdal", "script"}, providers)
        self.assertGreater(len(found), 200)
        root = self.server.get("?SERVICE=wps&REQUEST=getcapabilities")
        self.assertEqual(self.identifiers(root), found)

    def test_describe(self) -> None:
        published = self.identifiers(self.server.wps("GetCapabilities"))
        for query, count in (
            ("native:buffer", 1),
            ("native:buffer,native:slope", 2),
            ("all", len(published)),
        ):
            for parameters in ({}, {"map": "world"}):
                answer = self.server.wps(
                    "DescribeProcess", identifier=query, **parameters
                )
                schemas.assertValid(self, answer.body, "ProcessDescriptions")
                described = etree.fromstring(answer.body).findall("ProcessDescription")
                self.assertEqual(len(described), count)

    def test_describeInProject(self) -> None:
        """With MAP a layer input is a choice of the layers that fit."""
        answer = self.server.wps(
            "DescribeProcess", identifier="native:slope", map="world"
        )
        values = [e.text for e in etree.fromstring(answer.body).iter(f"{OWS}Value")]
        self.assertIn("elevation", values)
        self.assertNotIn("countries", values)

    def test_errors(self) -> None:
        """Bad requests: code, locator and status say what is wrong."""
        missing, invalid = "MissingParameterValue", "InvalidParameterValue"
        execute = "request=Execute&identifier=native:buffer"
        cases = [
            ("request=GetCapabilities", 400, missing, "service"),
            ("service=CSW&request=GetCapabilities", 400, invalid, "service"),
            ("service=WPS", 400, missing, "request"),
            ("service=WPS&request=Fly", 400, "OperationNotSupported", "Fly"),
            *(
                (f"service=WPS&version=1.0.0&{query}", status, code, locator)
                for query, status, code, locator in (
                    ("request=DescribeProcess", 400, missing, "identifier"),
                    (
                        "request=DescribeProcess&identifier=no:such",
                        400,
                        invalid,
                        "identifier",
                    ),
                    ("request=Execute&identifier=no:such", 400, invalid, "identifier"),
                    (execute, 400, missing, "INPUT"),
                    (f"{execute}&map=world&datainputs=INPUT=no", 400, invalid, "INPUT"),
                    (
                        f"{execute}&map=world&datainputs=INPUT=cities;DISTANCE=far",
                        400,
                        invalid,
                        "DISTANCE",
                    ),
                    (
                        f"{execute}&map=../world&datainputs=INPUT=cities",
                        400,
                        invalid,
                        "MAP",
                    ),
                    ("request=GetResults&uuid=nothing", 404, invalid, "uuid"),
                )
            ),
        ]
        for query, status, code, locator in cases:
            answer = self.server.get(f"ows/?{query}")
            schemas.assertValid(self, answer.body, "ExceptionReport")
            exception = etree.fromstring(answer.body).find(f"{OWS}Exception")
            found = exception.get("exceptionCode"), exception.get("locator").lower()
            self.assertEqual(
                (answer.status, *found), (status, code, locator.lower()), query
            )

    def test_pathIsNoLayer(self) -> None:
        """A client can't name a file of the server as a layer."""
        for source in (
            WORLD,
            f"{WORLD}|layername=countries",
            "/vsicurl/http://127.0.0.1/",
        ):
            for query in ({}, {"map": "world"}):
                answer = self.server.execute(
                    "native:buffer", {"INPUT": source}, rawdataoutput="OUTPUT", **query
                )
                self.assertEqual(answer.status, 400, answer.body[:500])

    def test_status(self) -> None:
        self.server.execute("script:state")
        listed = self.server.get("status/").json()["status"]
        self.assertEqual(listed[0]["status"], "DONE_STATUS")
        one = self.server.get(f"status/{listed[0]['uuid']}").json()["status"]
        self.assertEqual(one.pop("output_files"), [])
        self.assertEqual(one, listed[0])
        missing = self.server.get("status/nothing")
        self.assertEqual(missing.status, 404)
        self.assertIn("error", missing.json())

    def test_serverHasNoQGIS(self) -> None:
        """The server's process has not loaded QGIS, and is small."""
        self.server.execute("script:state")
        with open(f"/proc/{self.server.process.pid}/maps") as file:
            loaded = file.read()
        self.assertNotIn("qgis", loaded.replace("qgswps", ""))
        self.assertNotIn("libQt", loaded)
        with open(f"/proc/{self.server.forkServer()}/maps") as file:
            self.assertIn("libqgis_core", file.read())

    def test_clientsDoNotWait(self) -> None:
        """A long synchronous job holds up nobody else."""
        connection = http.client.HTTPConnection("127.0.0.1", self.server.port)
        self.addCleanup(connection.close)
        connection.request(
            "GET",
            "/ows/?service=WPS&version=1.0.0&request=Execute&identifier=script:mishap"
            "&datainputs=KIND=loop&timeout=5",
        )
        for _ in range(20):
            self.assertEqual(self.server.wps("GetCapabilities").status, 200)
        answered, _, _ = select.select([connection.sock], [], [], 0)
        self.assertEqual(answered, [], "the long job has ended already")


class ImportTests(unittest.TestCase):
    def test_serverImportsNoQGIS(self) -> None:
        """Nothing that the server imports imports QGIS."""
        program = (
            "import sys; import qgswps.tap, qgswps.application;"
            "print([n for n in sys.modules if n.split('.')[0] in ('qgis', 'processing',"
            " 'osgeo', 'PyQt5', 'PyQt6')])"
        )
        found = subprocess.run(
            [sys.executable, "-c", program],
            cwd=live.ROOT,
            capture_output=True,
            text=True,
            check=True,
        )
        self.assertEqual(found.stdout.strip(), "[]")
