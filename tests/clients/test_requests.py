"""
The requests of Lizmap's module, wps-js and MapStore, as they send them, and
the answers, read as they read them.

C{tests/data/requests} has the requests. Lizmap is a server in PHP that looks
for references by regular expressions, a line at a time; wps-js takes elements
by their local names; MapStore compares the content type as a whole and strips
prefixes.
"""

from __future__ import annotations

import json
import os
import re
import time
from collections.abc import Callable
from urllib.parse import parse_qs, urlsplit

from lxml import etree
from twisted.trial import unittest

from qgswps.model import ReferenceValue
from qgswps.ows import kvp
from qgswps.ows.operations import Execute
from qgswps.ows.wps100 import requests
from tests import live, schemas
from tests.clients import data

_FOLDER = os.path.join(live.HERE, "data", "requests")
_WPS = "{http://www.opengis.net/wps/1.0.0}"


def body(name: str) -> bytes:
    """A request in XML."""
    with open(os.path.join(_FOLDER, f"{name}.xml"), "rb") as file:
        return file.read()


def queries() -> dict[str, str]:
    """The requests in KVP."""
    with open(os.path.join(_FOLDER, "kvp.txt")) as file:
        lines = [line.rstrip("\n") for line in file if not line.startswith("#")]
    return dict(line.split("\t") for line in lines)


class ClientTestCase(unittest.TestCase):
    """Sends what a client sends."""

    def setUp(self) -> None:
        self.server = live.sharedServer()

    def get(self, name: str) -> live.Answer:
        """A request in KVP, answered by a document."""
        answer = self.server.get("ows/?" + queries()[name])
        self.assertEqual(answer.status, 200, answer.text)
        return answer

    def valid(self, answer: live.Answer, root: str = "ExecuteResponse") -> live.Answer:
        """Valid, and of the content type that MapStore compares with."""
        self.assertEqual(answer.status, 200, answer.text)
        self.assertEqual(answer.headers["content-type"], "text/xml")
        schemas.assertValid(self, answer.body, root)
        return answer

    def poll(
        self, ask: Callable[[], live.Answer], ended: Callable[[live.Answer], bool]
    ) -> live.Answer:
        """Ask until a job has ended."""
        deadline = time.monotonic() + live.PATIENCE
        while True:
            answer = ask()
            if ended(answer):
                return answer
            self.assertLess(time.monotonic(), deadline, answer.text)
            time.sleep(0.05)


class LizmapTests(ClientTestCase):
    """
    POST with parameters in the URL beside the body, later asked for by KVP
    and by the status API.
    """

    # One a line: what is greedy must not run over to the next one.
    references = re.compile(r'wps:Reference.*href="([^"]+)"', re.IGNORECASE)

    def post(self, name: str) -> live.Answer:
        """Execute, as Lizmap's proxy passes it on."""
        return self.server.request(
            "POST",
            "ows/?service=WPS&version=1.0.0&request=Execute&map=world",
            body(name),
            {
                "Content-Type": "text/xml",
                "X-Lizmap-User": "marie",
                "X-Lizmap-User-Groups": "editors,admins",
            },
        )

    def results(self, accepted: live.Answer) -> live.Answer:
        """What GetResults says when the job has ended."""
        self.valid(accepted)
        root = etree.fromstring(accepted.body)
        self.assertIsNotNone(root.find(f".//{_WPS}ProcessAccepted"))
        location = str(root.get("statusLocation"))
        uuid = parse_qs(urlsplit(location).query)["uuid"][0]
        # Lizmap asks by the job's id, and its record in between.
        record = self.poll(
            lambda: self.server.get(f"status/{uuid}?SERVICE=WPS"),
            lambda answer: answer.json()["status"]["status"] == "DONE_STATUS",
        )
        # Then by the query of the URL in that record.
        query = record.json()["status"]["status_url"].split("?")[1]
        return self.valid(self.server.get(f"ows/?{query}"))

    def test_layer(self) -> None:
        """A buffer of a layer becomes a layer on the map."""
        answer = self.results(self.post("lizmap-execute"))
        [url] = self.references.findall(answer.text)
        query = url.replace("&amp;", "&").partition("?")[2]
        found = {key.lower(): value for key, value in parse_qs(query).items()}
        self.assertEqual(found["service"], ["WMS"])
        self.assertEqual(found["layers"], ["wide lands"])
        capabilities = self.server.get(f"ows/?{query}")
        self.assertIn("<Title>wide lands</Title>", capabilities.text)

    def test_kinds(self) -> None:
        """Several values, an empty one, a box; a reference on a line each."""
        answer = self.results(self.post("lizmap-kinds"))
        found = [
            url.replace("&amp;", "&") for url in self.references.findall(answer.text)
        ]
        self.assertEqual(len(found), 3, answer.text)
        self.assertEqual(self.server.get(found[0]).text, "text")
        self.assertEqual(self.server.get(found[1]).text, "<p>report</p>")
        self.assertIn("service=WMS", found[2])
        [literal] = etree.fromstring(answer.body).iter(f"{_WPS}LiteralData")
        self.assertIn("7.00,46.00 : 8.00,47.00", str(literal.text))
        self.assertIn("[1, 2]", str(literal.text))

    def test_kvp(self) -> None:
        """The same by GET, C{map} in small letters."""
        capabilities = self.valid(self.get("lizmap-capabilities"), "Capabilities")
        # Its own URL goes where the server's stands.
        self.assertIn(f'xlink:href="{self.server.url}ows/"', capabilities.text)
        described = self.valid(self.get("lizmap-describe"), "ProcessDescriptions")
        self.assertIn("<ows:Value>large countries</ows:Value>", described.text)
        answer = self.valid(self.get("lizmap-execute"))
        [url] = self.references.findall(answer.text)
        self.assertIn("layers=zones", url)


class WPSJSTests(ClientTestCase):
    """Elements by their local names, attributes without prefix."""

    def find(self, root: etree._Element, name: str) -> list[etree._Element]:
        """What jQuery's C{find(name)} gives of an XML document."""
        return [
            each
            for each in root.iterdescendants(tag=etree.Element)
            if etree.QName(each).localname == name
        ]

    def post(self, name: str) -> live.Answer:
        """Execute by XML."""
        headers = {"Content-Type": "text/xml"}
        return self.server.request("POST", "ows/", body(name), headers)

    def test_document(self) -> None:
        """Stored, with status and lineage; features by value."""
        answer = self.valid(self.post("wps-js-document"))
        location = str(etree.fromstring(answer.body).get("statusLocation"))
        states: list[str] = []

        def ended(answer: live.Answer) -> bool:
            [status] = self.find(etree.fromstring(answer.body), "Status")
            self.assertTrue(status.get("creationTime"))
            state = etree.QName(status[0]).localname
            states.append(state)
            return state not in ("ProcessAccepted", "ProcessStarted")

        answer = self.valid(self.poll(lambda: self.server.get(location), ended))
        self.assertEqual(states[-1], "ProcessSucceeded", answer.text)
        root = etree.fromstring(answer.body)
        [outputs] = self.find(root, "ProcessOutputs")
        [output] = self.find(outputs, "Output")
        [identifier] = self.find(output, "Identifier")
        [complexData] = self.find(output, "ComplexData")
        self.assertEqual(identifier.text, "OUTPUT")
        self.assertEqual(complexData.get("mimeType"), "application/vnd.geo+json")
        self.assertEqual(data.names(complexData.text or ""), ["in"])
        [inputs] = self.find(root, "DataInputs")
        names = [each.text for each in self.find(inputs, "Identifier")]
        self.assertEqual(names, ["INPUT", "EXTENT", "CLIP"])
        self.assertTrue(self.find(root, "OutputDefinitions"))

    def test_raw(self) -> None:
        """GML as elements in, the bare output out."""
        answer = self.post("wps-js-raw")
        self.assertEqual(answer.status, 200, answer.text)
        self.assertEqual(answer.headers["content-type"], "application/vnd.geo+json")
        [feature] = json.loads(answer.body)["features"]
        self.assertEqual(feature["geometry"]["coordinates"], [1, 1])

    def test_kvp(self) -> None:
        """DataInputs escaped as a whole mean what the standard's way means."""
        self.valid(self.get("wps-js-capabilities"), "Capabilities")
        self.valid(self.get("wps-js-describe"), "ProcessDescriptions")
        for name in ("wps-js-execute", "standard-execute"):
            answer = self.valid(self.get(name))
            root = etree.fromstring(answer.body)
            [outputs] = self.find(root, "ProcessOutputs")
            [reference] = self.find(outputs, "Reference")
            [feature] = self.server.get(str(reference.get("href"))).json()["features"]
            self.assertEqual(feature["geometry"]["coordinates"], [7.5, 46.5], name)
            [inputs] = self.find(root, "DataInputs")
            names = [each.text for each in self.find(inputs, "Identifier")]
            self.assertEqual(names, ["INPUT", "ALL_PARTS"])


class MapStoreTests(ClientTestCase):
    """The content type as a whole, elements without prefix, executionId."""

    def post(self, name: str, accept: str = "application/xml") -> live.Answer:
        """Execute by XML, SERVICE and REQUEST in the URL too."""
        return self.server.request(
            "POST",
            "ows/?service=WPS&version=1.0.0&REQUEST=Execute",
            body(name),
            {"Content-Type": "application/xml", "Accept": accept},
        )

    def test_literal(self) -> None:
        """No ResponseForm; data in CDATA; the literals of the answer."""
        answer = self.valid(self.post("mapstore-literal"))
        outputs = etree.fromstring(answer.body).iterfind(f".//{_WPS}Output")
        found = {output[0].text: output for output in outputs}
        literals = {
            name: output.findtext(f".//{_WPS}LiteralData")
            for name, output in found.items()
        }
        self.assertEqual((literals["INTEGER"], literals["BOOLEAN"]), ("3", "true"))
        # The layer that was sent came back.
        text = found["SAME"].findtext(f".//{_WPS}ComplexData")
        self.assertEqual(data.names(text or ""), ["a < b"])

    def test_raw(self) -> None:
        """An archive, which is no XML by its content type."""
        answer = self.post("mapstore-raw", "application/xml, application/zip")
        self.assertEqual(answer.status, 200, answer.body)
        self.assertEqual(answer.headers["content-type"], "application/zip")
        self.assertEqual(answer.body[:2], b"PK")

    def test_asynchronous(self) -> None:
        """RawDataOutput in a ResponseDocument, then GetExecutionStatus."""
        answer = self.valid(self.post("mapstore-async"))
        location = str(etree.fromstring(answer.body).get("statusLocation"))
        # It is cut out, whatever else the URL has.
        job = location.partition("executionId=")[2].partition("&")[0]
        self.assertTrue(job, location)
        url = (
            "ows/?service=WPS&version=1.0.0&REQUEST=GetExecutionStatus"
            f"&executionId={job}"
        )
        headers = {"Accept": "application/xml"}
        answer = self.poll(
            lambda: self.server.request("GET", url, headers=headers),
            lambda answer: "ProcessSucceeded" in answer.text,
        )
        self.valid(answer)
        [output] = etree.fromstring(answer.body).iter(f"{_WPS}Output")
        [complexData] = output.iter(f"{_WPS}ComplexData")
        self.assertEqual(complexData.get("mimeType"), "application/zip")
        self.assertEqual(complexData.get("encoding"), "base64")

    def test_failure(self) -> None:
        """A fault of the process, in a document."""
        broken = body("mapstore-literal").replace(
            b"<wps:LiteralData><", b"<wps:LiteralData>processing<"
        )
        answer = self.server.request(
            "POST", "ows/?service=WPS", broken, {"Content-Type": "application/xml"}
        )
        self.valid(answer)
        failed = etree.fromstring(answer.body).find(f".//{_WPS}ProcessFailed")
        assert failed is not None
        [text] = failed.iter("{http://www.opengis.net/ows/1.1}ExceptionText")
        self.assertIn("it can't be done", text.text or "")

    def test_reference(self) -> None:
        """A GetFeature in a Body is read as it was written."""
        operation = requests.parseXML(
            body("mapstore-reference"), kvp.parseQuery(b"service=WPS")
        )
        assert isinstance(operation, Execute)
        [item] = operation.request.inputs
        value = item.value
        assert isinstance(value, ReferenceValue)
        self.assertEqual(value.method, "POST")
        self.assertEqual(value.format.mimeType, "text/xml; subtype=gml/3.1.1")
        feature = etree.fromstring(value.body or "")
        self.assertEqual(feature.tag, "{http://www.opengis.net/wfs}GetFeature")
        literal = feature.findtext(".//{http://www.opengis.net/ogc}Literal")
        self.assertEqual(literal, "a < b")
