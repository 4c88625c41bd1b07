"""
What the server writes: the forms of documents, the ways to a job's document,
lineage, the attributes of single outputs, and the codes of faults.

That documents are valid is seen by L{live.LiveServer}.
"""

from __future__ import annotations

import base64
import http.client
import json
import os
import re
import threading
from collections.abc import Callable
from datetime import UTC, datetime
from urllib.parse import quote, urlencode
from xml.sax.saxutils import escape

from lxml import etree
from twisted.trial import unittest

from tests import live

OWS = "{http://www.opengis.net/ows/1.1}"
WPS = "{http://www.opengis.net/wps/1.0.0}"
XLINK = "{http://www.w3.org/1999/xlink}"
LANG = "{http://www.w3.org/XML/1998/namespace}lang"
INVALID, MISSING = "InvalidParameterValue", "MissingParameterValue"
STORED = {"storeExecuteResponse": "true", "status": "true"}

#: Made with each of the ways to say what is in it.
LINEAGE = """
<wps:DataInputs>
  <wps:Input><ows:Identifier>literal</ows:Identifier><ows:Title>Mine</ows:Title>
    <ows:Abstract>It is</ows:Abstract>
    <wps:Data><wps:LiteralData dataType="xs:string"> a &lt; b </wps:LiteralData>
    </wps:Data></wps:Input>
  <wps:Input><ows:Identifier>quantity</ows:Identifier>
    <wps:Data><wps:LiteralData dataType="xs:double" uom="km">2.50</wps:LiteralData>
    </wps:Data></wps:Input>
  <wps:Input><ows:Identifier>complex</ows:Identifier>
    <wps:Data><wps:ComplexData mimeType="text/xml" schema="http://example.org/s.xsd"
      ><a xmlns="http://example.org/"><b c="1">ä</b></a></wps:ComplexData>
    </wps:Data></wps:Input>
  <wps:Input><ows:Identifier>boundingBox</ows:Identifier>
    <wps:Data><wps:BoundingBoxData crs="urn:ogc:def:crs:EPSG::4326" dimensions="2">
      <ows:LowerCorner>1.5 -2</ows:LowerCorner><ows:UpperCorner>3 4</ows:UpperCorner>
    </wps:BoundingBoxData></wps:Data></wps:Input>
</wps:DataInputs>
<wps:ResponseForm><wps:ResponseDocument lineage="true">
  <wps:Output asReference="true"><ows:Identifier>literal</ows:Identifier>
    <ows:Title>Yours</ows:Title><ows:Abstract>It was</ows:Abstract></wps:Output>
  <wps:Output asReference="true" mimeType="text/xml">
    <ows:Identifier>complex</ows:Identifier></wps:Output>
  <wps:Output uom="m"><ows:Identifier>quantity</ows:Identifier></wps:Output>
  <wps:Output><ows:Identifier>boundingBox</ows:Identifier></wps:Output>
</wps:ResponseDocument></wps:ResponseForm>
"""


def execute(inner: str, process: str = "echo") -> str:
    """An Execute in XML."""
    return (
        f'<wps:Execute xmlns:wps="{WPS[1:-1]}" xmlns:ows="{OWS[1:-1]}"'
        f' xmlns:xlink="{XLINK[1:-1]}" service="WPS" version="1.0.0">'
        f"<ows:Identifier>{process}</ows:Identifier>{inner}</wps:Execute>"
    )


def plain(element: etree._Element) -> object:
    """An element without the blanks between elements, to be compared."""
    children = [plain(child) for child in element]
    text = (element.text or "") if not children else ""
    return (element.tag, sorted(element.attrib.items()), text, children)


class ResponseTestCase(unittest.TestCase):
    """Requests to the server that the tests share."""

    def setUp(self) -> None:
        self.server = live.sharedServer()

    def document(self, answer: live.Answer, name: str) -> etree._Element:
        """A document of that name, with what all of them have."""
        self.assertEqual(answer.headers["content-type"], "text/xml")
        start = b'<?xml version="1.0" encoding="UTF-8"?>\n<'
        self.assertTrue(answer.body.startswith(start), answer.body[:100])
        document = etree.fromstring(answer.body)
        self.assertEqual(etree.QName(document).localname, name, answer.text[:2000])
        self.assertEqual(document.get("version"), "1.0.0")
        self.assertEqual(document.get(LANG), "en")
        return document

    def response(self, answer: live.Answer) -> etree._Element:
        """An ExecuteResponse."""
        self.assertEqual(answer.status, 200, answer.text[:2000])
        return self.document(answer, "ExecuteResponse")

    def fault(self, answer: live.Answer) -> tuple[int, str, str | None]:
        """Status, code and locator of an ExceptionReport."""
        document = self.document(answer, "ExceptionReport")
        exception = document[0]
        self.assertTrue(exception.findtext(f"{OWS}ExceptionText"))
        self.assertNotIn("Traceback", answer.text)
        code = exception.get("exceptionCode")
        return (answer.status, code, exception.get("locator"))

    def ended(self, location: str) -> etree._Element:
        """The document of a job that ends."""

        def ended() -> list[etree._Element]:
            found = self.response(self.server.get(location))
            status = etree.QName(found.find(f"{WPS}Status")[0]).localname
            return [found] if status in ("ProcessSucceeded", "ProcessFailed") else []

        [found] = self.server.waitUntil(ended, "it does not end")
        return found

    def output(self, document: etree._Element, name: str) -> etree._Element:
        """An output in a document."""
        [found] = [
            output
            for output in document.iter(f"{WPS}Output")
            if output.findtext(f"{OWS}Identifier") == name
            and output.getparent().tag == f"{WPS}ProcessOutputs"
        ]
        return found


class FormTests(ResponseTestCase):
    """What all documents have in common, and each has to have."""

    def test_documents(self) -> None:
        """Media type, declaration, language and version of each document."""
        for answer, name in (
            (self.server.wps("GetCapabilities"), "Capabilities"),
            (
                self.server.wps("DescribeProcess", identifier="echo"),
                "ProcessDescriptions",
            ),
            (self.server.execute("echo"), "ExecuteResponse"),
            (self.server.wps("Nothing"), "ExceptionReport"),
        ):
            document = self.document(answer, name)
            if name != "ExceptionReport":
                self.assertEqual(document.get("service"), "WPS")

    def test_xmlEmbedded(self) -> None:
        """Nor does data with a declaration of its own bring in another one."""
        data = '<?xml version="1.0" encoding="ISO-8859-1"?>\n<!-- x --><a>ä</a>'
        answer = self.server.execute("echo", {"complex": data})
        self.response(answer)
        self.assertEqual(answer.body.count(b"<?xml"), 1)
        self.assertIn("<a>ä</a>", answer.text)

    def test_unqualified(self) -> None:
        """Elements of a description have no namespace but those of OWS."""
        answer = self.server.wps("DescribeProcess", identifier="echo,native:buffer")
        document = self.document(answer, "ProcessDescriptions")
        for element in document.iterdescendants():
            namespace = etree.QName(element).namespace
            self.assertIn(namespace, (None, OWS[1:-1]), element.tag)
        self.assertEqual(len(document.findall("ProcessDescription")), 2)

    def test_integers(self) -> None:
        """In no description has an integer a decimal point."""
        answer = self.server.wps("DescribeProcess", identifier="all")
        document = self.document(answer, "ProcessDescriptions")
        seen = 0
        for literal in document.iter("LiteralData"):
            if literal.findtext(f"{OWS}DataType") != "integer":
                continue
            for element in literal.iter(
                "DefaultValue",
                *(f"{OWS}{name}" for name in ("Value", "MinimumValue", "MaximumValue")),
            ):
                seen += 1
                self.assertRegex(element.text or "", r"\A[+-]?\d+\Z")
        self.assertGreater(seen, 100)

    def test_supported(self) -> None:
        """Each process can be stored and looked after: it is never refused."""
        answer = self.server.wps("DescribeProcess", identifier="all")
        document = self.document(answer, "ProcessDescriptions")
        for process in document.iter("ProcessDescription"):
            found = (process.get("storeSupported"), process.get("statusSupported"))
            self.assertEqual(found, ("true", "true"))

    def test_texts(self) -> None:
        """Each state has a text, and a time in UTC."""
        accepted = self.server.execute("echo", {"pause": 1, "literal": "a"}, **STORED)
        location = self.response(accepted).get("statusLocation", "")
        seen = set()

        def look() -> bool:
            status = self.response(self.server.get(location)).find(f"{WPS}Status")
            [state] = status
            seen.add(etree.QName(state).localname)
            self.assertTrue((state.text or "").strip(), state.tag)
            time = status.get("creationTime")
            self.assertRegex(time, r"\A\d{4}-\d\d-\d\dT\d\d:\d\d:\d\dZ\Z")
            age = datetime.now(UTC) - datetime.fromisoformat(time)
            self.assertLess(abs(age.total_seconds()), 600)
            if state.tag == f"{WPS}ProcessStarted":
                self.assertIn(int(state.get("percentCompleted")), range(100))
            return bool(state.tag == f"{WPS}ProcessSucceeded")

        self.server.waitUntil(look, "it does not end")
        [state] = self.response(accepted).find(f"{WPS}Status")
        self.assertEqual(state.tag, f"{WPS}ProcessAccepted")
        self.assertTrue((state.text or "").strip())
        self.assertIn("ProcessStarted", seen)


class LocationTests(ResponseTestCase):
    """Where a job's document is."""

    def test_synchronous(self) -> None:
        """A job that was waited for can be asked for again, in each way."""
        document = self.response(self.server.execute("echo", {"literal": "a"}))
        location = document.get("statusLocation", "")
        [uuid] = re.findall(r"[?&]uuid=([0-9a-f-]{36})\Z", location)
        capabilities = self.server.get(document.get("serviceInstance", ""))
        self.document(capabilities, "Capabilities")
        outputs = plain(document.find(f"{WPS}ProcessOutputs"))
        for path in (
            location,
            f"ows/?REQUEST=GetResults&UUID={uuid}",
            f"ows/?service=WPS&request=GetResults&uuid={uuid}",
            f"ows/?service=wps&version=1.0.0&request=getresults&executionId={uuid}",
            f"ows/?service=WPS&request=GetExecutionStatus&executionId={uuid}",
            f"ows/?request=GetExecutionStatus&uuid={uuid}",
            f"ows?service=WPS&request=GetResults&uuid={uuid}",
        ):
            again = self.response(self.server.get(path))
            self.assertEqual(plain(again.find(f"{WPS}ProcessOutputs")), outputs, path)
            self.assertEqual(again.get("statusLocation"), location)

    def test_failed(self) -> None:
        """So can one that has failed."""
        first = self.server.execute("script:mishap", {"KIND": "fail"})
        location = self.response(first).get("statusLocation", "")
        for answer in (first, self.server.get(location)):
            failed = self.response(answer).find(f"{WPS}Status/{WPS}ProcessFailed")
            [report] = failed
            text = report.findtext(f"{OWS}Exception/{OWS}ExceptionText")
            self.assertIn("the moon is in the way", text)

    def test_raw(self) -> None:
        """And one whose answer was raw data, by the record of it."""
        answer = self.server.execute(
            "echo", {"literal": "raw"}, rawdataoutput="literal"
        )
        self.assertEqual(answer.text, "raw")
        [latest] = self.server.get("status/?limit=1").json()["status"]
        document = self.response(self.server.wps("GetResults", uuid=latest["uuid"]))
        self.assertEqual(self.output(document, "literal")[-1][0].text, "raw")

    def test_unknown(self) -> None:
        """What is not there is a fault that names the parameter."""
        for query, expected in (
            ("request=GetResults&uuid=x", (404, INVALID, "uuid")),
            ("request=GetExecutionStatus&executionId=x", (404, INVALID, "uuid")),
            ("request=GetResults", (400, MISSING, "uuid")),
            ("request=GetResults&service=WMS&uuid=x", (400, INVALID, "service")),
        ):
            answer = self.server.get(f"ows/?{query}")
            if "WMS" not in query:
                self.assertEqual(self.fault(answer), expected, query)

    def test_headers(self) -> None:
        """Who says that he is a proxy is not believed."""
        query = urlencode(
            {
                "service": "WPS",
                "version": "1.0.0",
                "request": "Execute",
                "identifier": "echo",
            }
        )
        headers = {
            "Forwarded": "host=evil.example;proto=https",
            "X-Forwarded-Host": "evil.example",
            "X-Forwarded-Proto": "https",
            "X-Forwarded-Url": "https://evil.example/",
        }
        answer = self.server.request("GET", f"ows/?{query}", headers=headers)
        self.assertNotIn("evil", answer.text)
        location = self.response(answer).get("statusLocation", "")
        self.assertTrue(location.startswith(self.server.url), location)


class LineageTests(ResponseTestCase):
    """What was asked for is repeated."""

    def test_xml(self) -> None:
        """All inputs and output definitions, as they were sent."""
        sent = etree.fromstring(execute(LINEAGE))
        answer = self.server.post(execute(LINEAGE))
        first = self.response(answer)
        again = self.response(self.server.get(first.get("statusLocation", "")))
        form = sent.find(f"{WPS}ResponseForm/{WPS}ResponseDocument")
        for document in (first, again):
            found = document.find(f"{WPS}DataInputs")
            self.assertEqual(plain(found), plain(sent.find(f"{WPS}DataInputs")))
            definitions = document.find(f"{WPS}OutputDefinitions")
            self.assertEqual(
                [plain(output) for output in definitions],
                [plain(output) for output in form],
            )

    def test_occurrences(self) -> None:
        """Several values of one input are several inputs."""
        answer = self.server.wps(
            "Execute",
            identifier="script:outputs",
            datainputs="MANY=one;MANY=three;NUMBER=5",
            responsedocument="STRING",
            lineage="true",
        )
        document = self.response(answer)
        given = [
            (each.findtext(f"{OWS}Identifier"), each[-1][0].text)
            for each in document.find(f"{WPS}DataInputs")
        ]
        self.assertEqual(given, [("MANY", "one"), ("MANY", "three"), ("NUMBER", "5")])

    def test_kvp(self) -> None:
        """What KVP says is in the form that XML would have."""
        point = '{"type": "Point", "coordinates": [1, 2]}'
        answer = self.server.wps(
            "Execute",
            identifier="echo",
            datainputs=";".join(
                (
                    "boundingBox=1,2,3,4,EPSG:4326",
                    "quantity=2@uom=ft@datatype=double",
                    f"complex={quote(point)}@mimeType=application/json",
                )
            ),
            lineage="true",
        )
        document = self.response(answer)
        box, number, data = [each[-1][0] for each in document.find(f"{WPS}DataInputs")]
        self.assertEqual(box.tag, f"{WPS}BoundingBoxData")
        self.assertEqual((box.get("crs"), box[0].text), ("EPSG:4326", "1 2"))
        found = (number.text, number.get("uom"), number.get("dataType"))
        self.assertEqual(found, ("2", "ft", "double"))
        self.assertEqual((data.text, data.get("mimeType")), (point, "application/json"))
        names = [
            each.findtext(f"{OWS}Identifier")
            for each in document.find(f"{WPS}OutputDefinitions")
        ]
        # None were named, so these are all.
        self.assertEqual(names, ["literal", "quantity", "complex", "boundingBox"])

    def test_reference(self) -> None:
        """A reference is repeated as one, though it was fetched."""
        inner = (
            "<wps:DataInputs><wps:Input><ows:Identifier>complex</ows:Identifier>"
            '<wps:Reference xlink:href="data:text/plain,some%20text"'
            ' mimeType="text/plain"/></wps:Input></wps:DataInputs><wps:ResponseForm>'
            '<wps:ResponseDocument lineage="true"/></wps:ResponseForm>'
        )
        first = self.response(self.server.post(execute(inner)))
        again = self.response(self.server.get(first.get("statusLocation", "")))
        for document in (first, again):
            [data] = self.output(document, "complex")[-1]
            self.assertEqual(data.text, "some text")
            [reference] = document.find(f"{WPS}DataInputs").iter(f"{WPS}Reference")
            found = (reference.get(f"{XLINK}href"), reference.get("mimeType"))
            self.assertEqual(found, ("data:text/plain,some%20text", "text/plain"))

    def test_off(self) -> None:
        """Who does not ask for it does not get it."""
        for more in ({}, {"lineage": "false"}):
            answer = self.server.execute("echo", {"literal": "a"}, **more)
            for name in ("DataInputs", "OutputDefinitions"):
                self.assertIsNone(self.response(answer).find(f"{WPS}{name}"))


class OutputTests(ResponseTestCase):
    """What a client wants of single outputs."""

    def echo(self, inputs: dict[str, object], outputs: str) -> etree._Element:
        """The document with some outputs."""
        answer = self.server.execute("echo", inputs, responsedocument=outputs)
        return self.response(answer)

    def test_named(self) -> None:
        """Only what is named is there; of none named, all."""
        inputs = {"literal": "a", "quantity": 1, "boundingBox": "1,2,3,4"}
        for outputs, expected in (
            ("quantity", {"quantity"}),
            ("quantity;literal", {"quantity", "literal"}),
            ("", set(inputs)),
        ):
            document = self.echo(inputs, outputs)
            found = {
                each.findtext(f"{OWS}Identifier")
                for each in document.find(f"{WPS}ProcessOutputs")
            }
            self.assertEqual(found, expected)

    def test_uom(self) -> None:
        """A number comes in the unit that is asked for, by any of its names."""
        for given, outputs, text, unit in (
            ("2.5", "quantity", "2.5", "m"),
            ("2.5", "quantity@uom=km", "0.0025", "km"),
            ("2.5@uom=km", "quantity", "2.5", "km"),
            ("2.5@uom=km", "quantity@uom=metre", "2500", "m"),
        ):
            answer = self.server.wps(
                "Execute",
                identifier="echo",
                datainputs=f"quantity={given}",
                responsedocument=outputs,
            )
            [data] = self.output(self.response(answer), "quantity")[-1]
            found = (data.text, data.get("uom"), data.get("dataType"))
            self.assertEqual(found, (text, unit, "float"))

    def test_encoding(self) -> None:
        """Text is in base64 for those who want it so."""
        [data] = self.output(
            self.echo(
                {"complex": '{"a": "ä"}'},
                "complex@mimeType=application/json@encoding=base64",
            ),
            "complex",
        )[-1]
        self.assertEqual(data.get("encoding"), "base64")
        self.assertEqual(json.loads(base64.b64decode(data.text)), {"a": "ä"})

    def test_binary(self) -> None:
        """What is no text is always in base64."""
        inner = (
            "<wps:DataInputs><wps:Input><ows:Identifier>complex</ows:Identifier>"
            '<wps:Data><wps:ComplexData mimeType="image/png" encoding="base64">AAEC/w=='
            "</wps:ComplexData></wps:Data></wps:Input></wps:DataInputs>"
        )
        document = self.response(self.server.post(execute(inner)))
        [data] = self.output(document, "complex")[-1]
        found = (data.get("mimeType"), data.get("encoding"), data.text)
        self.assertEqual(found, ("image/png", "base64", "AAEC/w=="))

    def test_reference(self) -> None:
        """C{href} is an attribute without a namespace, and leads to the data."""
        document = self.echo(
            {"complex": "<a/>", "literal": "b"},
            "complex@asReference=true;literal@asReference=true",
        )
        [reference] = self.output(document, "complex").iter(f"{WPS}Reference")
        self.assertEqual(set(reference.attrib), {"href", "mimeType"})
        href = reference.get("href")
        self.assertTrue(href.startswith(f"{self.server.url}jobs/"), href)
        answer = self.server.get(href)
        self.assertEqual((answer.status, answer.body), (200, b"<a/>"))
        [literal] = self.output(document, "literal").iter(f"{WPS}LiteralData")
        self.assertEqual(literal.text, "b")

    def test_titles(self) -> None:
        """An output is called as the client wants, else as it is described."""
        document = self.response(self.server.post(execute(LINEAGE)))
        output = self.output(document, "literal")
        self.assertEqual(output.findtext(f"{OWS}Title"), "Yours")
        self.assertEqual(output.findtext(f"{OWS}Abstract"), "It was")
        output = self.output(document, "boundingBox")
        self.assertEqual(output.findtext(f"{OWS}Title"), "The bounding box")


class FaultTests(ResponseTestCase):
    """Faults of requests, and of processes."""

    def test_requests(self) -> None:
        """Code and locator, in KVP; each is the client's fault."""
        text = "datainputs=literal%3Da"
        for query, code, locator in (
            ("status=true", INVALID, "status"),
            ("storeExecuteResponse=false&status=true", INVALID, "status"),
            ("storeExecuteResponse=maybe", INVALID, "storeExecuteResponse"),
            ("lineage=maybe", INVALID, "lineage"),
            (
                "rawdataoutput=literal&responsedocument=literal",
                INVALID,
                "RawDataOutput",
            ),
            (
                "rawdataoutput=literal&storeExecuteResponse=true",
                INVALID,
                "storeExecuteResponse",
            ),
            ("rawdataoutput=literal&status=true", INVALID, "status"),
            ("rawdataoutput=literal;complex", INVALID, "RawDataOutput"),
            ("rawdataoutput=nothing", INVALID, "nothing"),
            ("responsedocument=nothing", INVALID, "nothing"),
            ("responsedocument=literal;nothing", INVALID, "nothing"),
            ("responsedocument=literal;literal", INVALID, "literal"),
            ("responsedocument=Literal", INVALID, "Literal"),
            ("responsedocument=complex@mimeType=a/b", INVALID, "complex"),
            ("responsedocument=complex@encoding=rot13", INVALID, "complex"),
            ("responsedocument=quantity@uom=kg", INVALID, "quantity"),
            ("responsedocument=literal@uom=m", INVALID, "literal"),
            ("responsedocument=literal@asReference=2", INVALID, "asReference"),
        ):
            path = (
                "ows/?service=WPS&version=1.0.0&request=Execute&identifier=echo"
                f"&{text}&{query}"
            )
            found = self.fault(self.server.get(path))
            self.assertEqual(found, (400, code, locator), query)

    def test_inputs(self) -> None:
        """Likewise of inputs."""
        for inputs, code, locator in (
            ("nothing=1", INVALID, "nothing"),
            ("Literal=1", INVALID, "Literal"),
            ("literal=1;literal=2", INVALID, "literal"),
            ("quantity=many", INVALID, "quantity"),
            ("quantity=1@uom=kg", INVALID, "quantity"),
            ("pause=-1", INVALID, "pause"),
            ("boundingBox=1,2,3", INVALID, "boundingBox"),
            ("complex=a@mimeType=a/b", INVALID, "complex"),
            ("complex=a@mimeType=text/xml@encoding=rot13", INVALID, "complex"),
            ("literal", INVALID, "DataInputs"),
        ):
            answer = self.server.wps("Execute", identifier="echo", datainputs=inputs)
            self.assertEqual(self.fault(answer), (400, code, locator), inputs)
        answer = self.server.execute("script:mishap")
        self.assertEqual(self.fault(answer), (400, MISSING, "KIND"))

    def test_xml(self) -> None:
        """Likewise in XML."""
        output = "<wps:Output><ows:Identifier>{}</ows:Identifier></wps:Output>"
        raw = (
            "<wps:RawDataOutput><ows:Identifier>literal</ows:Identifier>"
            "</wps:RawDataOutput>"
        )
        form = "<wps:ResponseForm>{}</wps:ResponseForm>"
        document = "<wps:ResponseDocument{}>{}</wps:ResponseDocument>"
        for inner, code, locator in (
            (form.format(document.format(' status="true"', "")), INVALID, "status"),
            (
                form.format(document.format(' lineage="2"', "")),
                INVALID,
                "lineage",
            ),
            (
                form.format(document.format("", output.format("no"))),
                INVALID,
                "no",
            ),
            (
                form.format(document.format("", output.format("literal") * 2)),
                INVALID,
                "literal",
            ),
            (
                form.format(document.format("", "<wps:Output/>")),
                MISSING,
                "Identifier",
            ),
            (form.format(raw * 2), INVALID, "RawDataOutput"),
            (form.format(raw + document.format("", "")), INVALID, "ResponseForm"),
            (
                "<wps:DataInputs><wps:Input><ows:Identifier>literal</ows:Identifier>"
                "</wps:Input></wps:DataInputs>",
                MISSING,
                "literal",
            ),
        ):
            found = self.fault(self.server.post(execute(inner)))
            self.assertEqual(found, (400, code, locator), inner)

    def test_several(self) -> None:
        """All that is wrong is told at once."""
        answer = self.server.execute(
            "echo", {"no": 1, "quantity": "x"}, responsedocument="not"
        )
        document = self.document(answer, "ExceptionReport")
        found = [exception.get("locator") for exception in document]
        self.assertEqual(found, ["no", "quantity", "not"])

    def test_processes(self) -> None:
        """
        A process that fails: a document with 200, raw an exception with the
        status of an error; what it says of an input names that.
        """
        for process, inputs, output, status, code, locator in (
            (
                *("script:mishap", {"KIND": "fail"}, "PID"),
                *(500, "NoApplicableCode", None),
            ),
            (
                *("echo", {"complex": "<a/>"}, "complex@mimeType=text/plain"),
                *(400, INVALID, "complex"),
            ),
        ):
            answer = self.server.execute(process, inputs, rawdataoutput=output)
            self.assertEqual(self.fault(answer), (status, code, locator))
            answer = self.server.execute(process, inputs, responsedocument=output)
            document = self.response(answer)
            [report] = document.find(f"{WPS}Status/{WPS}ProcessFailed")
            self.assertEqual(report.get(LANG), "en")
            exception = report[0]
            found = (exception.get("exceptionCode"), exception.get("locator"))
            self.assertEqual(found, (code, locator))
            self.assertIsNone(document.find(f"{WPS}ProcessOutputs"))


class EchoTests(ResponseTestCase):
    """The pause of the process C{echo} is that of any job."""

    def begin(self, seconds: float, **parameters: str) -> str:
        """The location of a job that waits."""
        inputs = {"pause": seconds, "literal": "a"}
        answer = self.server.execute("echo", inputs, **STORED, **parameters)
        location: str = self.response(answer).get("statusLocation", "")
        return location

    def record(self, location: str) -> dict[str, object]:
        """The status record of a job."""
        uuid = location.rpartition("uuid=")[2]
        found: dict[str, object] = self.server.get(f"status/{uuid}").json()["status"]
        return found

    def waitFor(self, location: str, condition: Callable[[object], bool]) -> None:
        """Wait until the job's percentage is such a one."""
        self.server.waitUntil(
            lambda: condition(self.record(location)["percent_done"]), "no progress"
        )

    def test_progress(self) -> None:
        """It says how far it is."""
        location = self.begin(60)
        self.waitFor(location, lambda percent: isinstance(percent, float | int))
        self.server.waitUntil(
            lambda: "Waiting for 60 s" in self.server.get(location).text, "no text"
        )
        self.assertIn("ProcessStarted", self.server.get(location).text)
        self.dismiss(location)

    def dismiss(self, location: str) -> None:
        """End a job."""
        uuid = location.rpartition("uuid=")[2]
        self.assertEqual(self.server.request("DELETE", f"status/{uuid}").status, 200)
        text = self.server.get(location).text
        self.assertIn("ProcessFailed", text)
        self.assertEqual(self.record(location)["status"], "DISMISS_STATUS")

    def test_timeout(self) -> None:
        """TIMEOUT ends it."""
        document = self.ended(self.begin(60, timeout="1"))
        failed = document.find(f"{WPS}Status/{WPS}ProcessFailed")
        self.assertIn("TimeOut", "".join(failed.itertext()))
        answer = self.server.execute("echo", {"pause": 60}, timeout="1")
        self.assertEqual(answer.status, 504)

    def test_disconnect(self) -> None:
        """So does a client that goes away."""
        query = urlencode(
            {
                "service": "WPS",
                "version": "1.0.0",
                "request": "Execute",
                "identifier": "echo",
                "datainputs": "pause=60;literal=" + escape("gone"),
            }
        )
        connection = http.client.HTTPConnection("127.0.0.1", self.server.port)
        connection.request("GET", f"/ows/?{query}")

        [record] = self.server.waitUntil(
            lambda: self.server.get(
                "status/?process=echo&status=started&limit=1"
            ).json()["status"],
            "it does not start",
        )
        uuid = record["uuid"]
        connection.close()
        self.server.waitUntil(
            lambda: (
                self.server.get(f"status/{uuid}").json()["status"]["status"]
                == "DISMISS_STATUS"
            ),
            "it runs on",
        )


class SwitchTests(unittest.TestCase):
    """The process C{echo} is there if it is switched on, and not denied."""

    def test_off(self) -> None:
        """It is off by default, and an access policy can hide it."""
        path = os.path.abspath(self.mktemp())
        with open(path, "w") as file:
            file.write("deny: ['echo']\n")
        found: dict[str, bool] = {}

        def look(name: str, **environment: str) -> None:
            with live.liveServer(**environment) as server:
                text = server.wps("GetCapabilities").text
                found[name] = "<ows:Identifier>echo<" in text
                answer = server.execute("echo", {"literal": "a"})
                self.assertEqual(answer.status, 200 if found[name] else 400)

        threads = [
            threading.Thread(target=look, args=(name,), kwargs=environment)
            for name, environment in (
                ("off", {"QGSWPS_PROCESSING_ECHO": ""}),
                ("denied", {"QGSWPS_PROCESSING_ACCESSPOLICY": path}),
            )
        ]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()
        self.assertEqual(found, {"off": False, "denied": False})
