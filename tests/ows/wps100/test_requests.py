"""Tests of L{qgswps.ows.wps100.requests}."""

# The rows of the tables hold whole requests.
# ruff: noqa: E501

from __future__ import annotations

import contextlib
import random
from typing import Any

from twisted.trial.unittest import SynchronousTestCase

from qgswps.errors import OWSError
from qgswps.model import (
    BoundingBoxValue,
    ComplexValue,
    ExecuteRequest,
    Format,
    Input,
    InputValue,
    LiteralValue,
    OutputRequest,
    ReferenceValue,
)
from qgswps.ows.kvp import Parameters, parseQuery
from qgswps.ows.operations import (
    DescribeProcess,
    Execute,
    GetCapabilities,
    GetResults,
    Operation,
)
from qgswps.ows.wps100.requests import parseKVP, parseXML

INVALID = "InvalidParameterValue"
MISSING = "MissingParameterValue"
UNSUPPORTED = "OperationNotSupported"

NAMESPACES = (
    'xmlns:wps="http://www.opengis.net/wps/1.0.0" '
    'xmlns:ows="http://www.opengis.net/ows/1.1" '
    'xmlns:xlink="http://www.w3.org/1999/xlink"'
)


def readable(operation: Operation) -> Operation:
    """Raise what is wrong with an Execute that was read."""
    if isinstance(operation, Execute) and operation.faults:
        raise OWSError(operation.faults)
    return operation


def kvp(query: str) -> Operation:
    return readable(parseKVP(parseQuery(query.encode())))


def execute(query: str) -> ExecuteRequest:
    operation = kvp(f"service=WPS&version=1.0.0&request=Execute&{query}")
    assert isinstance(operation, Execute)
    return operation.request


def xml(body: str, query: str = "") -> Operation:
    return readable(parseXML(body.encode(), parseQuery(query.encode())))


def post(inner: str, query: str = "") -> ExecuteRequest:
    operation = xml(
        f'<wps:Execute service="WPS" version="1.0.0" {NAMESPACES}>'
        f"<ows:Identifier>p:q</ows:Identifier>{inner}</wps:Execute>",
        query,
    )
    assert isinstance(operation, Execute)
    return operation.request


def postInput(inner: str) -> InputValue:
    request = post(
        "<wps:DataInputs><wps:Input><ows:Identifier>A</ows:Identifier>"
        f"{inner}</wps:Input></wps:DataInputs>"
    )
    (item,) = request.inputs
    return item.value


class RequestTestCase(SynchronousTestCase):
    """A helper for faults."""

    def refused(
        self,
        code: str,
        locator: str | None,
        function: Any,
        *args: Any,
        status: int | None = None,
    ) -> None:
        error = self.assertRaises(OWSError, function, *args)
        fault = error.faults[0]
        self.assertEqual((fault.code, fault.locator), (code, locator), args)
        if status is not None:
            self.assertEqual(error.status, status, args)

    def all(self, function: Any, *args: Any) -> list[str | None]:
        """The locators of all that is wrong."""
        error = self.assertRaises(OWSError, function, *args)
        return [fault.locator for fault in error.faults]


class LimitTests(RequestTestCase):
    """How many inputs and outputs there may be."""

    def assertTooMany(self, function: Any, *arguments: Any) -> None:
        """There are more than are taken."""
        error = self.assertRaises(OWSError, function, *arguments)
        self.assertEqual(error.status, 413)
        self.assertIn("more than 1000 inputs or outputs", str(error))

    def test_kvp(self) -> None:
        """By KVP, also if the separators are escaped."""
        query = "identifier=p:q&datainputs="
        self.assertEqual(len(execute(query + "A=1;" * 1000).inputs), 1000)
        self.assertEqual(len(execute(query + "A=1%3B" * 1000).inputs), 1000)
        self.assertTooMany(execute, query + "A=1;" * 1001)
        self.assertTooMany(execute, query + "A=1%3B" * 1001)
        self.assertTooMany(execute, query + "A=1%3b" * 1_000_000)
        self.assertTooMany(execute, "identifier=p:q&rawdataoutput=" + "A;" * 1001)

    def test_xml(self) -> None:
        """In XML, wherever they are."""
        one = (
            "<wps:Input><ows:Identifier>A</ows:Identifier><wps:Data><wps:LiteralData>"
            "1</wps:LiteralData></wps:Data></wps:Input>"
        )
        form = "<wps:DataInputs>{}</wps:DataInputs>"
        self.assertEqual(len(post(form.format(one * 1000)).inputs), 1000)
        self.assertTooMany(post, form.format(one * 1001))
        one = "<wps:Output><ows:Identifier>A</ows:Identifier></wps:Output>"
        form = "<wps:ResponseForm><wps:ResponseDocument>{}</wps:ResponseDocument></wps:ResponseForm>"
        self.assertEqual(len(post(form.format(one * 1000)).outputs), 1000)
        self.assertTooMany(post, form.format(one * 1001))


class KVPTests(RequestTestCase):
    """Requests in the query of a URL."""

    def test_several(self) -> None:
        """All that is wrong is told at once, and what follows from it is not."""
        self.assertEqual(
            self.all(
                execute,
                "identifier=a&storeExecuteResponse=maybe&status=true&lineage=perhaps"
                "&TIMEOUT=soon&EXPIRE=-1&datainputs=A=1;B=@href=http://h/@method=PUT"
                "&responsedocument=O@asReference=yes",
            ),
            [
                *("B", "asReference", "storeExecuteResponse", "lineage"),
                *("TIMEOUT", "EXPIRE"),
            ],
        )
        self.assertEqual(
            self.all(execute, "identifier=a&datainputs=A=1;B;C"), ["DataInputs"]
        )

    def test_operations(self) -> None:
        """Names come in any letter case."""
        all3 = ("a:b", "c:d", "e")
        for query, expected in [
            ("service=WPS&request=GetCapabilities", GetCapabilities()),
            ("SERVICE=wps&REQUEST=getcapabilities&VERSION=9", GetCapabilities()),
            ("service=WPS&request=GetCapabilities&AcceptVersions=2.0.0,1.0.0", GetCapabilities()),
            ("service=WPS&version=1.0.0&request=DescribeProcess&identifier=a:b", DescribeProcess(("a:b",))),
            ("service=WPS&request=DescribeProcess&Identifier=a:b,c%3Ad,,e,a:b", DescribeProcess(all3)),
            ("service=WPS&version=1.0.0&request=DescribeProcess&identifier=all&map=/m.qgs", DescribeProcess(("all",), "/m.qgs")),
            ("service=WPS&request=GetResults&uuid=u-1", GetResults("u-1")),
            ("request=getresults&UUID=u-1&version=1.0.0", GetResults("u-1")),
            ("service=WPS&request=GetExecutionStatus&executionId=u-1", GetResults("u-1")),
            ("service=WPS&version=1.0.0&request=Execute&identifier=a", Execute(ExecuteRequest("a"))),
            ("service=WPS&request=Execute&identifier=a", Execute(ExecuteRequest("a"))),
        ]:  # fmt: skip
            self.assertEqual(kvp(query), expected, query)

    def test_faults(self) -> None:
        """Each fault has its code and names its parameter."""
        run = "service=WPS&version=1.0.0&request=Execute&identifier=a&"
        for query, code, locator in [
            ("", MISSING, "request"),
            ("service=WPS", MISSING, "request"),
            ("request=GetCapabilities", MISSING, "service"),
            ("service=&request=GetCapabilities", MISSING, "service"),
            ("service=WMS&request=GetCapabilities", INVALID, "service"),
            ("service=WMS", INVALID, "service"),
            ("service=WPS&request=GetMap", UNSUPPORTED, "GetMap"),
            ("service=WPS&request=GetCapabilities&AcceptVersions=2.0.0", "VersionNegotiationFailed", None),
            ("service=WPS&version=2.0.0&request=Execute&identifier=a", INVALID, "version"),
            ("service=WPS&version=1.1&request=DescribeProcess&identifier=a", INVALID, "version"),
            ("service=WPS&request=DescribeProcess", MISSING, "identifier"),
            ("service=WPS&request=DescribeProcess&identifier=,", MISSING, "identifier"),
            ("service=WPS&request=Execute", MISSING, "identifier"),
            ("service=WPS&request=GetResults", MISSING, "uuid"),
            (run + "DataInputs=a", INVALID, "DataInputs"),
            (run + "ResponseDocument=a=1", INVALID, "ResponseDocument"),
            (run + "RawDataOutput=a=1", INVALID, "RawDataOutput"),
            (run + "ResponseDocument=a&RawDataOutput=b", INVALID, "RawDataOutput"),
            (run + "storeExecuteResponse=maybe", INVALID, "storeExecuteResponse"),
            (run + "storeExecuteResponse=true&status=2", INVALID, "status"),
            (run + "lineage=x", INVALID, "lineage"),
            (run + "status=true", INVALID, "status"),
            (run + "RawDataOutput=a&storeExecuteResponse=true", INVALID, "storeExecuteResponse"),
            (run + "ResponseDocument=a@asReference=x", INVALID, "asReference"),
            (run + "DataInputs=a=@href=http://h/@method=PUT", INVALID, "a"),
            (run + "TIMEOUT=0", INVALID, "TIMEOUT"),
            (run + "TIMEOUT=-1", INVALID, "TIMEOUT"),
            (run + "TIMEOUT=1.5", INVALID, "TIMEOUT"),
            (run + "TIMEOUT=x", INVALID, "TIMEOUT"),
            (run + "TIMEOUT=9999999999", INVALID, "TIMEOUT"),
            (run + "TIMEOUT=%D9%A3", INVALID, "TIMEOUT"),
            (run + "expire=nan", INVALID, "EXPIRE"),
        ]:  # fmt: skip
            self.refused(code, locator, kvp, query)

    def test_statuses(self) -> None:
        """What is wrong is a client's fault, what is not done the server's."""
        self.refused(MISSING, "request", kvp, "", status=400)
        self.refused(UNSUPPORTED, "X", kvp, "service=WPS&request=X", status=400)

    def test_execute(self) -> None:
        """All of an Execute."""
        self.assertEqual(
            execute(
                "Identifier=native:buffer&MAP=/a%20b.qgs&DataInputs="
                "INPUT=Roads;DISTANCE=5@dataType=float@uom=m"
                ";DATA=%7B%7D@mimeType=application/geo%2Bjson@encoding=UTF-8"
                ";LINK=@xlink:href=http%3A%2F%2Fh%2F@mimeType=text/xml@schema=s"
                "&ResponseDocument=OUT@mimeType=text/xml@asReference=true;N@uom=m"
                "&storeExecuteResponse=true&status=1&lineage=TRUE"
                "&TIMEOUT=60&EXPIRE=3600"
            ),
            ExecuteRequest(
                "native:buffer",
                (
                    Input("INPUT", LiteralValue("Roads")),
                    Input("DISTANCE", LiteralValue("5", "float", "m")),
                    Input(
                        "DATA",
                        ComplexValue("{}", Format("application/geo+json", "UTF-8")),
                    ),
                    Input(
                        "LINK",
                        ReferenceValue("http://h/", Format("text/xml", None, "s")),
                    ),
                ),
                (
                    OutputRequest("OUT", Format("text/xml"), asReference=True),
                    OutputRequest("N", uom="m"),
                ),
                asynchronous=True,
                status=True,
                lineage=True,
                map="/a b.qgs",
                timeout=60,
                expire=3600,
            ),
        )

    def test_forms(self) -> None:
        """The response forms of KVP."""
        for query, expected in [
            ("", ExecuteRequest("a")),
            ("ResponseDocument=&RawDataOutput=", ExecuteRequest("a")),
            ("status=false&storeExecuteResponse=false", ExecuteRequest("a")),
            ("storeExecuteResponse=true", ExecuteRequest("a", asynchronous=True)),
            ("timeout=&expire=%20", ExecuteRequest("a")),
            ("RawDataOutput=O", ExecuteRequest("a", outputs=(OutputRequest("O"),), raw=True)),
            ("RawDataOutput=O@mimeType=image/png&storeExecuteResponse=false", ExecuteRequest("a", outputs=(OutputRequest("O", Format("image/png")),), raw=True)),
            ("RawDataOutput=O;P", ExecuteRequest("a", outputs=(OutputRequest("O"), OutputRequest("P")), raw=True)),
        ]:  # fmt: skip
            self.assertEqual(execute(f"identifier=a&{query}"), expected, query)


class XMLTests(RequestTestCase):
    """Requests in the body of a POST."""

    SEVERAL = """<wps:DataInputs>
      <wps:Input><ows:Identifier>A</ows:Identifier></wps:Input>
      <wps:Input><wps:Data><wps:LiteralData>1</wps:LiteralData></wps:Data></wps:Input>
      <wps:Input><ows:Identifier>B</ows:Identifier><wps:Data><wps:BoundingBoxData>
        <ows:LowerCorner>0 NaN</ows:LowerCorner>
      </wps:BoundingBoxData></wps:Data></wps:Input>
      <wps:Input><ows:Identifier>C</ows:Identifier>
        <wps:Reference xlink:href=""/></wps:Input>
    </wps:DataInputs>
    <wps:ResponseForm><wps:ResponseDocument status="no">
      <wps:Output asReference="x"><ows:Identifier>O</ows:Identifier></wps:Output>
    </wps:ResponseDocument></wps:ResponseForm>"""

    def test_several(self) -> None:
        """All that is wrong is told at once."""
        self.assertEqual(
            self.all(post, self.SEVERAL, "TIMEOUT=0"),
            ["A", "Identifier", "B", "C", "TIMEOUT", "status", "asReference"],
        )

    def test_operations(self) -> None:
        """The body decides, whatever the URL says."""
        query = "service=WMS&request=GetMap&version=7"
        wps = 'xmlns="http://www.opengis.net/wps/1.0.0"'
        for body, expected in [
            (f'<GetCapabilities service="WPS" {wps}/>', GetCapabilities()),
            (f"<wps:GetCapabilities {NAMESPACES}><wps:AcceptVersions><ows:Version>0.4.0</ows:Version><ows:Version>1.0.0</ows:Version></wps:AcceptVersions></wps:GetCapabilities>", GetCapabilities()),
            ("<GetCapabilities/>", GetCapabilities()),
            (f'<DescribeProcess service="wps" version="1.0.0" {wps}><Identifier> a </Identifier><Identifier>b</Identifier><Identifier>a</Identifier></DescribeProcess>', DescribeProcess(("a", "b"))),
            ("<Execute><Identifier>a</Identifier></Execute>", Execute(ExecuteRequest("a"))),
        ]:  # fmt: skip
            self.assertEqual(xml(body, query), expected, body)
        describe = xml(
            "<DescribeProcess><Identifier>a</Identifier></DescribeProcess>", "map=m"
        )
        self.assertEqual(describe, DescribeProcess(("a",), "m"))

    def test_faults(self) -> None:
        """Each fault has its code and names its parameter."""
        one = "<Execute><Identifier>a</Identifier>{}</Execute>"
        given = one.format(
            "<DataInputs><Input><Identifier>A</Identifier>{}</Input></DataInputs>"
        )
        form = one.format("<ResponseForm>{}</ResponseForm>")
        box = given.format(
            "<Data><BoundingBoxData><LowerCorner>{}</LowerCorner><UpperCorner>1 1</UpperCorner></BoundingBoxData></Data>"
        )
        link = given.format("<Reference href='http://h/'>{}</Reference>")
        for body, code, locator in [
            ("", "NoApplicableCode", None),
            ("<", "NoApplicableCode", None),
            ("service=WPS", "NoApplicableCode", None),
            ("<Envelope/>", "NoApplicableCode", None),
            ("<GetMap/>", UNSUPPORTED, "GetMap"),
            ("<GetCapabilities service='WFS'/>", INVALID, "service"),
            ("<GetCapabilities><AcceptVersions><Version>2.0.0</Version></AcceptVersions></GetCapabilities>", "VersionNegotiationFailed", None),
            ("<DescribeProcess/>", MISSING, "Identifier"),
            ("<DescribeProcess><Identifier/></DescribeProcess>", MISSING, "Identifier"),
            ("<Execute/>", MISSING, "Identifier"),
            ("<Execute version='2.0.0'><Identifier>a</Identifier></Execute>", INVALID, "version"),
            (one.format("<DataInputs><Input/></DataInputs>"), MISSING, "Identifier"),
            (given.format(""), MISSING, "A"),
            (given.format("<Data/>"), INVALID, "A"),
            (given.format("<Data><X/></Data>"), INVALID, "A"),
            (given.format("<Reference/>"), MISSING, "A"),
            (given.format("<Reference href='http://h/' method='PUT'/>"), INVALID, "A"),
            (link.format("<BodyReference/>"), MISSING, "A"),
            (link.format("<Header key='a b' value='c'/>"), INVALID, "A"),
            (link.format("<Header key='a' value='b&#10;c: d'/>"), INVALID, "A"),
            (link.format("<Header value='b'/>"), INVALID, "A"),
            (box.format(""), INVALID, "A"),
            (box.format("a b"), INVALID, "A"),
            (box.format("1 NaN"), INVALID, "A"),
            (form.format("<ResponseDocument><Output/></ResponseDocument>"), MISSING, "Identifier"),
            (form.format("<ResponseDocument status='true'/>"), INVALID, "status"),
            (form.format("<ResponseDocument lineage='x'/>"), INVALID, "lineage"),
            (form.format("<ResponseDocument timeout='x'/>"), INVALID, "TIMEOUT"),
            (form.format("<ResponseDocument expire='0'/>"), INVALID, "EXPIRE"),
            (form.format("<ResponseDocument/><RawDataOutput><Identifier>O</Identifier></RawDataOutput>"), INVALID, "ResponseForm"),
        ]:  # fmt: skip
            self.refused(code, locator, xml, body)
        # An empty POST is one, whatever its URL says.
        query = "service=WPS&request=GetCapabilities"
        self.refused("NoApplicableCode", None, xml, " ", query, status=400)

    def test_values(self) -> None:
        """The forms of an input's value."""
        gml = '<g:P xmlns:g="http://g"><g:pos>1 2</g:pos></g:P>'
        for inner, expected in [
            ("<wps:Data><wps:LiteralData>5</wps:LiteralData></wps:Data>", LiteralValue("5")),
            ("<wps:Data><wps:LiteralData> a <!-- b --> c</wps:LiteralData></wps:Data>", LiteralValue(" a  c")),
            ("<wps:Data><wps:LiteralData/></wps:Data>", LiteralValue("")),
            ('<wps:Data><wps:LiteralData dataType="xs:float" uom="m">5</wps:LiteralData></wps:Data>', LiteralValue("5", "xs:float", "m")),
            ('<wps:Data><wps:ComplexData mimeType="application/json">{"a": "&lt;"}</wps:ComplexData></wps:Data>', ComplexValue('{"a": "<"}', Format("application/json"))),
            ('<wps:Data><wps:ComplexData mimetype="image/tiff" encoding="base64" schema="">SUkq</wps:ComplexData></wps:Data>', ComplexValue("SUkq", Format("image/tiff", "base64"))),
            ('<wps:Data><wps:ComplexData><![CDATA[<a/>]]></wps:ComplexData></wps:Data>', ComplexValue("<a/>", Format(""))),
            ('<wps:Data><wps:BoundingBoxData ows:crs="EPSG:4326" dimensions="2"><ows:LowerCorner>1 2.5</ows:LowerCorner><ows:UpperCorner> 3\n4 </ows:UpperCorner></wps:BoundingBoxData></wps:Data>', BoundingBoxValue((1, 2.5), (3, 4), "EPSG:4326")),
            ('<wps:Data><wps:BoundingBoxData><ows:LowerCorner>1,2</ows:LowerCorner><ows:UpperCorner>3,4</ows:UpperCorner></wps:BoundingBoxData></wps:Data>', BoundingBoxValue((1, 2), (3, 4))),
            ('<wps:Data><wps:BoundingBoxData><ows:BoundingBox crs="EPSG:1"><ows:LowerCorner>1 2</ows:LowerCorner><ows:UpperCorner>3 4</ows:UpperCorner></ows:BoundingBox></wps:BoundingBoxData></wps:Data>', BoundingBoxValue((1, 2), (3, 4), "EPSG:1")),
            ('<wps:Data><ows:WGS84BoundingBox><ows:LowerCorner>1 2</ows:LowerCorner><ows:UpperCorner>3 4</ows:UpperCorner></ows:WGS84BoundingBox></wps:Data>', BoundingBoxValue((1, 2), (3, 4), "urn:ogc:def:crs:OGC:2:84")),
            ('<wps:Reference xlink:href=" http://h/?a=1&amp;b=2 " mimeType="text/xml" encoding="UTF-8" schema="http://s"/>', ReferenceValue("http://h/?a=1&b=2", Format("text/xml", "UTF-8", "http://s"))),
            ('<wps:Reference href="http://h/" method="post"><wps:Header key="A" value="b"/><wps:Header key="C"/><wps:Body>&lt;x/&gt;</wps:Body></wps:Reference>', ReferenceValue("http://h/", Format(""), "POST", (("A", "b"), ("C", "")), "<x/>")),
            ('<wps:Reference xlink:href="http://h/" method="POST"><wps:Body>a=1</wps:Body></wps:Reference>', ReferenceValue("http://h/", Format(""), "POST", (), "a=1")),
            ('<wps:Reference xlink:href="http://h/" method="POST"><wps:BodyReference xlink:href="http://b/"/></wps:Reference>', ReferenceValue("http://h/", Format(""), "POST", (), None, "http://b/")),
            ('<wps:Reference xlink:href="http://h/"><wps:Body>a=1</wps:Body></wps:Reference>', ReferenceValue("http://h/", Format(""), "POST", (), "a=1")),
        ]:  # fmt: skip
            self.assertEqual(postInput(inner), expected, inner)
        value = postInput(
            f'<wps:Data><wps:ComplexData mimeType="text/xml">\n{gml}\n'
            "</wps:ComplexData></wps:Data>"
        )
        assert isinstance(value, ComplexValue)
        self.assertIn("<g:pos>1 2</g:pos>", value.data)
        self.assertIn('xmlns:g="http://g"', value.data)
        self.assertTrue(value.data.startswith("<g:P"))
        self.assertTrue(value.data.endswith("</g:P>"))

    def test_execute(self) -> None:
        """All of an Execute; what XML has no place for is in the URL."""
        request = post(
            "<wps:DataInputs>"
            "<wps:Input><ows:Identifier>A</ows:Identifier><ows:Title>T</ows:Title>"
            "<ows:Abstract>U</ows:Abstract>"
            "<wps:Data><wps:LiteralData>1</wps:LiteralData></wps:Data></wps:Input>"
            "<wps:Input><ows:Identifier>A</ows:Identifier>"
            "<wps:Data><wps:LiteralData>2</wps:LiteralData></wps:Data></wps:Input>"
            "</wps:DataInputs><wps:ResponseForm>"
            '<wps:ResponseDocument storeExecuteResponse="true" status="true"'
            ' lineage="true" timeout="5">'
            '<wps:Output asReference="true" mimeType="text/xml" encoding="UTF-8"'
            ' schema="http://s"><ows:Identifier>O</ows:Identifier>'
            "<ows:Title>V</ows:Title><ows:Abstract>W</ows:Abstract></wps:Output>"
            '<wps:Output uom="m"><ows:Identifier>N</ows:Identifier></wps:Output>'
            "</wps:ResponseDocument></wps:ResponseForm>",
            "MAP=/a%20b.qgs&TIMEOUT=60&EXPIRE=70&status=false",
        )
        self.assertEqual(
            request,
            ExecuteRequest(
                "p:q",
                (
                    Input("A", LiteralValue("1"), "T", "U"),
                    Input("A", LiteralValue("2")),
                ),
                (
                    OutputRequest(
                        "O",
                        Format("text/xml", "UTF-8", "http://s"),
                        asReference=True,
                        title="V",
                        abstract="W",
                    ),
                    OutputRequest("N", uom="m"),
                ),
                asynchronous=True,
                status=True,
                lineage=True,
                map="/a b.qgs",
                timeout=5,
                expire=70,
            ),
        )

    def test_raw(self) -> None:
        """Raw data output, one and several."""
        one = '<wps:RawDataOutput mimeType="image/png"><ows:Identifier>{}</ows:Identifier></wps:RawDataOutput>'
        outputs = [OutputRequest(name, Format("image/png")) for name in "OP"]
        request = post(f"<wps:ResponseForm>{one.format('O')}</wps:ResponseForm>")
        self.assertEqual((request.raw, request.outputs), (True, (outputs[0],)))
        both = one.format("O") + one.format("P")
        request = post(f"<wps:ResponseForm>{both}</wps:ResponseForm>")
        self.assertEqual((request.raw, request.outputs), (True, tuple(outputs)))
        # What the schema has no place for is not passed over, it can't be done.
        for name in ("storeExecuteResponse", "status"):
            wrong = one.format("O").replace(" mimeType", f' {name}="true" mimeType')
            error = self.assertRaises(
                OWSError, post, f"<wps:ResponseForm>{wrong}</wps:ResponseForm>"
            )
            self.assertEqual(error.faults[0].locator, name)

    def test_rawInDocument(self) -> None:
        """MapStore's way to ask for an output's format in a document."""
        request = post(
            "<wps:ResponseForm><wps:ResponseDocument storeExecuteResponse='true'>"
            '<wps:RawDataOutput mimeType="image/png"><ows:Identifier>O</ows:Identifier>'
            "</wps:RawDataOutput></wps:ResponseDocument></wps:ResponseForm>"
        )
        self.assertFalse(request.raw)
        self.assertTrue(request.asynchronous)
        self.assertEqual(request.outputs, (OutputRequest("O", Format("image/png")),))

    def test_harmless(self) -> None:
        """What breaks the schema without harm is read."""
        expected = ExecuteRequest(
            "p:q", (Input("A", LiteralValue("1")),), (OutputRequest("O"),)
        )
        body = (
            '\n <Execute xmlns="http://www.opengis.net/wps/1.0.0" x="y">\n'
            "<DataInputs>\n <Input><Data><LiteralData>1</LiteralData></Data>"
            "<Identifier> A\n</Identifier></Input> </DataInputs>"
            "<Foreign/><ResponseForm><ResponseDocument lineage=''>"
            "<Output><Identifier>O</Identifier></Output></ResponseDocument>"
            "</ResponseForm>\n<Identifier>p:q </Identifier></Execute>\n"
        )
        self.assertEqual(xml(body), Execute(expected))

    def test_encoding(self) -> None:
        """The encoding that the prolog declares counts."""
        body = (
            '<?xml version="1.0" encoding="ISO-8859-1"?>'
            "<Execute><Identifier>é</Identifier></Execute>"
        )
        operation = parseXML(body.encode("latin-1"), Parameters())
        self.assertEqual(operation, Execute(ExecuteRequest("é")))

    def test_anything(self) -> None:
        """No shuffled request does more than raise an OWSError."""
        rng = random.Random(3)
        names = [
            "Identifier",
            "DataInputs",
            "Input",
            "Data",
            "Reference",
            "LiteralData",
            "ComplexData",
            "BoundingBoxData",
            "BoundingBox",
            "LowerCorner",
            "UpperCorner",
            "ResponseForm",
            "Body",
            "ResponseDocument",
            "RawDataOutput",
            "Output",
            "Header",
            "BodyReference",
            "Title",
        ]
        attributes = (
            "href method key value crs mimeType status lineage asReference timeout"
        )

        def tree(depth: int) -> str:
            name = rng.choice(names)
            chosen = rng.sample(attributes.split(), rng.randint(0, 2))
            values = "".join(f" {a}='{rng.choice(['', '1', 'true'])}'" for a in chosen)
            inner = "".join(
                tree(depth - 1) for _ in range(rng.randint(0, 3 if depth else 0))
            )
            return f"<{name}{values}>{rng.choice(['', '1', ' a '])}{inner}</{name}>"

        for _ in range(3000):
            root = rng.choice(
                ["Execute", "Execute", "DescribeProcess", "GetCapabilities"]
            )
            start = rng.choice(["", "<Identifier>a</Identifier>"])
            with contextlib.suppress(OWSError):
                xml(f"<{root}>{start}{tree(5)}{tree(4)}</{root}>")
