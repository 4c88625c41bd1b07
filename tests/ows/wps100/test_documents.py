"""Tests of L{qgswps.ows.wps100.documents}, the documents and their parts."""

from __future__ import annotations

import base64
import re
from typing import Any
from urllib.parse import quote, unquote

import attrs
from lxml import etree
from twisted.trial.unittest import SynchronousTestCase

from qgswps.errors import Fault, OWSError, busy, invalid, missing
from qgswps.model import (
    BoundingBoxType,
    BoundingBoxValue,
    ComplexType,
    ComplexValue,
    ExecuteRequest,
    FileValue,
    Format,
    Input,
    InputDescription,
    Job,
    LayerType,
    LayerValue,
    LiteralType,
    LiteralValue,
    Metadata,
    OutputData,
    OutputDescription,
    OutputRequest,
    ProcessDescription,
    Range,
    ReferenceValue,
    Result,
    State,
)
from qgswps.ows.kvp import Parameters
from qgswps.ows.operations import Execute
from qgswps.ows.service import Contact, ServiceIdentification
from qgswps.ows.wps100.documents import (
    capabilities,
    corners,
    embedded,
    exceptionReport,
    executeResponse,
    processDescription,
    processDescriptions,
)
from qgswps.ows.wps100.requests import parseXML
from qgswps.ows.xmlio import OWS, WPS, XLINK, Markup
from tests.schemas import assertValid

NAMES = {"wps": WPS, "ows": OWS, "xlink": XLINK}
LANG = "{http://www.w3.org/XML/1998/namespace}lang"
#: A text that tries to break documents.
NASTY = "<&\"'>]]>\0\x0b\ud800\uffff é\U0001f600 %zz {}[]\\ \r\n\t"

GEOJSON = Format("application/geo+json")
GML = Format("text/xml; subtype=gml/3.1.1", "UTF-8", "http://schemas.opengis.net/gml")
TIFF = Format("image/tiff", "base64")
NUMBER = OutputDescription("N", "A number", LiteralType("integer"))

PROCESS = ProcessDescription(
    "native:buffer",
    "Buffer",
    version="3.22",
    abstract="Makes <buffers>",
    inputs=(
        InputDescription(
            "INPUT",
            "Input layer",
            LayerType(("vector",), (GEOJSON, GML), default="Roads"),
            abstract="What to buffer",
            metadata=(
                Metadata("processing:type", "source"),
                Metadata("processing:dataTypes", "TypeVectorAnyGeometry"),
                Metadata("processing:flag"),
            ),
        ),
        InputDescription(
            "DISTANCE",
            "Distance",
            LiteralType("float", "10.0", uoms=("map units", "m", "ft")),
            minOccurs=0,
        ),
        InputDescription(
            "SEGMENTS",
            "Segments",
            LiteralType("integer", "5.0", ranges=(Range("1", None), Range(None, "99"))),
            minOccurs=0,
        ),
        InputDescription(
            "END_CAP_STYLE",
            "End cap style",
            LiteralType("string", "", allowed=("Round", "Flat & <square>")),
            minOccurs=0,
            maxOccurs=2,
        ),
        InputDescription(
            "DISSOLVE", "Dissolve", LiteralType("boolean", "False"), minOccurs=0
        ),
        InputDescription(
            "EXTENT",
            "Extent",
            BoundingBoxType(("EPSG:4326", "EPSG:3857"), (-180.0, -90.0, 180.0, 90.5)),
            minOccurs=0,
        ),
        InputDescription("FILE", "File", ComplexType((Format("text/csv"), TIFF), 7)),
        InputDescription("NONE", "", ComplexType(()), maxOccurs=0),
        InputDescription(
            "WAYS",
            "Ways",
            LiteralType(
                allowed=("on foot", "by bus", "by air"), defaults=("by bus", "on foot")
            ),
            minOccurs=0,
            maxOccurs=3,
        ),
        InputDescription(
            "ROWS",
            "Rows",
            ComplexType(
                (Format("application/json"), Format("text/csv")),
                default="[1]",
                jsonSchema='{"type": "array"}',
            ),
        ),
    ),
    outputs=(
        OutputDescription(
            "OUTPUT", "Buffered", LayerType(("polygon",), (GEOJSON, GML)), "All of it"
        ),
        NUMBER,
        OutputDescription("LENGTH", "Length", LiteralType("float", uoms=("m",))),
        OutputDescription("BOX", "Box", BoundingBoxType(())),
        OutputDescription("RASTER", "Raster", ComplexType((TIFF,))),
    ),
    metadata=(Metadata("processing:flags", "a b"),),
    keywords=("geometry",),
)


class DocumentTestCase(SynchronousTestCase):
    """Helpers to look into documents."""

    def valid(self, body: bytes, root: str) -> etree._Element:
        assertValid(self, body, root)
        return etree.fromstring(body)

    def texts(self, element: etree._Element, path: str) -> list[str]:
        return [str(text) for text in element.xpath(path, namespaces=NAMES)]


class ExceptionTests(DocumentTestCase):
    """ExceptionReports."""

    def test_faults(self) -> None:
        """Each fault is an exception with its code, locator and text."""
        error = OWSError(
            [Fault("A", "text", "loc"), Fault("B", ""), Fault("C", NASTY, NASTY)]
        )
        root = self.valid(exceptionReport(error), "ExceptionReport")
        self.assertEqual(root.get("version"), "1.0.0")
        self.assertEqual(root.get(LANG), "en")
        self.assertEqual(self.texts(root, "//@exceptionCode"), ["A", "B", "C"])
        self.assertEqual(self.texts(root, "//@locator")[0], "loc")
        self.assertEqual(len(self.texts(root, "//@locator")), 2)
        self.assertEqual(self.texts(root, "//ows:ExceptionText/text()")[0], "text")

    def test_errors(self) -> None:
        """All that the package raises makes a valid report."""
        for error in [missing("a"), invalid("a", "b"), busy("c")]:
            self.valid(exceptionReport(error), "ExceptionReport")


class CapabilitiesTests(DocumentTestCase):
    """Capabilities."""

    def test_full(self) -> None:
        """All of the service's metadata has its place."""
        fields = [field.name for field in attrs.fields(Contact)]
        service = ServiceIdentification(
            title="My service",
            abstract="About it",
            keywords=("QGIS", "a & b"),
            keywordsType="theme",
            fees="none",
            accessConstraints=("x", "", "y"),
            providerName="We",
            providerSite="http://example.org/é",
            contact=Contact(**{name: f"my {name}" for name in fields}),
            language="fr",
        )
        body = capabilities(service, [PROCESS], "http://h/ows/?a=1&b=[2]")
        root = self.valid(body, "Capabilities")
        self.assertEqual(root.get(LANG), "fr")
        self.assertEqual(root.get("version"), "1.0.0")
        text = "|".join(str(t) for t in root.itertext())
        for name in set(fields) - {"url"}:
            self.assertIn(f"my {name}", text)
        self.assertEqual(self.texts(root, "//ows:Title[1]/text()")[0], "My service")
        self.assertEqual(
            self.texts(root, "//ows:Operation/@name"),
            ["GetCapabilities", "DescribeProcess", "Execute"],
        )
        hrefs = self.texts(root, "//ows:HTTP/*/@xlink:href")
        self.assertEqual(set(hrefs), {"http://h/ows/?a=1&b=%5B2%5D"})
        self.assertEqual(len(hrefs), 6)
        self.assertEqual(
            self.texts(root, "//wps:Languages//ows:Language/text()"), ["fr", "fr"]
        )
        self.assertEqual(self.texts(root, "//ows:Keyword/text()"), ["QGIS", "a & b"])
        self.assertEqual(self.texts(root, "//ows:AccessConstraints/text()"), ["x", "y"])

    def test_process(self) -> None:
        """A process is there in short."""
        body = capabilities(ServiceIdentification(), [PROCESS], "http://h/")
        root = self.valid(body, "Capabilities")
        (process,) = root.xpath("//wps:Process", namespaces=NAMES)
        self.assertEqual(process.get(f"{{{WPS}}}processVersion"), "3.22")
        self.assertEqual(
            self.texts(process, "ows:Identifier/text()"), ["native:buffer"]
        )
        self.assertEqual(
            self.texts(process, "ows:Abstract/text()"), ["Makes <buffers>"]
        )
        self.assertEqual(
            self.texts(process, "ows:Metadata/@xlink:title"), ["processing:flags"]
        )

    def test_bare(self) -> None:
        """Empty texts leave their elements out."""
        empty = ServiceIdentification("", "", ("",), "", "", (), "", "", Contact())
        root = self.valid(capabilities(empty, [PROCESS], "http://h/"), "Capabilities")
        for path in ["//ows:Keywords", "//ows:ContactInfo", "//ows:Fees"]:
            self.assertEqual(root.xpath(path, namespaces=NAMES), [])

    def test_nasty(self) -> None:
        """No text breaks the document."""
        service = ServiceIdentification(
            *(NASTY, NASTY, (NASTY,), NASTY, NASTY, (NASTY,), NASTY, NASTY),
            contact=Contact(*(NASTY for _ in attrs.fields(Contact))),
            language=NASTY,
        )
        process = ProcessDescription(NASTY, NASTY, NASTY, NASTY, outputs=(NUMBER,))
        for url in [NASTY, ""]:
            self.valid(capabilities(service, [process], url), "Capabilities")

    def test_outputs(self) -> None:
        """Processes without outputs can't be offered; without any it fails."""
        silent = ProcessDescription("a:silent", "Silent")
        body = capabilities(ServiceIdentification(), [silent, PROCESS], "http://h/")
        root = self.valid(body, "Capabilities")
        self.assertEqual(len(root.xpath("//wps:Process", namespaces=NAMES)), 1)
        error = self.assertRaises(
            OWSError, capabilities, ServiceIdentification(), [silent], "http://h/"
        )
        self.assertEqual(error.status, 503)


class DescriptionTests(DocumentTestCase):
    """ProcessDescriptions."""

    def describe(self, *processes: ProcessDescription) -> etree._Element:
        return self.valid(processDescriptions(processes), "ProcessDescriptions")

    def test_process(self) -> None:
        """The process itself; the elements of the schema are unqualified."""
        root = self.describe(PROCESS)
        (process,) = root
        self.assertEqual(process.tag, "ProcessDescription")
        self.assertEqual(process.get("storeSupported"), "true")
        self.assertEqual(process.get("statusSupported"), "true")
        self.assertEqual(process.get(f"{{{WPS}}}processVersion"), "3.22")
        self.assertEqual(
            self.texts(process, "ows:Metadata/@xlink:title"),
            ["processing:flags", "geometry"],
        )
        self.assertEqual(root.get(LANG), "en")

    def test_inputs(self) -> None:
        """Each type of input has its form."""
        root = self.describe(PROCESS)
        inputs = {
            self.texts(i, "ows:Identifier/text()")[0]: i for i in root.iter("Input")
        }
        for path, expected in [
            ("INPUT/@minOccurs", ["1"]),
            ("INPUT/ComplexData/Default/Format/MimeType/text()", [GEOJSON.mimeType]),
            (
                "INPUT/ComplexData/Supported/Format/MimeType/text()",
                [GEOJSON.mimeType, GML.mimeType],
            ),
            ("INPUT/ComplexData/Supported/Format/Encoding/text()", ["UTF-8"]),
            ("INPUT/ComplexData/Supported/Format/Schema/text()", [GML.schema]),
            ("INPUT/ComplexData/@maximumMegabytes", []),
            ("INPUT/ows:Abstract/text()", ["What to buffer\nDefault: Roads"]),
            ("DISTANCE/@minOccurs", ["0"]),
            ("DISTANCE/LiteralData/ows:DataType/text()", ["float"]),
            (
                "DISTANCE/LiteralData/ows:DataType/@ows:reference",
                ["http://www.w3.org/TR/xmlschema-2/#float"],
            ),
            ("DISTANCE/LiteralData/UOMs/Default/ows:UOM/text()", ["map units"]),
            (
                "DISTANCE/LiteralData/UOMs/Supported/ows:UOM/text()",
                ["map units", "m", "ft"],
            ),
            (
                "DISTANCE/LiteralData/UOMs/Supported/ows:UOM/@ows:reference",
                ["urn:ogc:def:uom:UCUM::m", "urn:ogc:def:uom:UCUM::%5Bft_i%5D"],
            ),
            ("DISTANCE/LiteralData/DefaultValue/text()", ["10.0"]),
            ("SEGMENTS/LiteralData/DefaultValue/text()", ["5"]),
            ("SEGMENTS/LiteralData//ows:MinimumValue/text()", ["1"]),
            ("SEGMENTS/LiteralData//ows:MaximumValue/text()", ["99"]),
            ("END_CAP_STYLE/@maxOccurs", ["2"]),
            (
                "END_CAP_STYLE/LiteralData/ows:AllowedValues/ows:Value/text()",
                ["Round", "Flat & <square>"],
            ),
            ("DISSOLVE/LiteralData/DefaultValue/text()", ["false"]),
            ("EXTENT/BoundingBoxData/Default/CRS/text()", ["EPSG:4326"]),
            ("EXTENT/BoundingBoxData/Supported/CRS/text()", ["EPSG:4326", "EPSG:3857"]),
            ("EXTENT/ows:Abstract/text()", ["Default: -180,-90,180,90.5"]),
            ("FILE/ComplexData/@maximumMegabytes", ["7"]),
            ("NONE/@maxOccurs", ["1"]),
            ("ROWS/ows:Abstract/text()", ["Default: [1]"]),
            (
                "ROWS/ComplexData/Supported/Format/Schema/text()",
                ["data:application/schema+json,%7B%22type%22:%20%22array%22%7D"],
            ),
            ("WAYS/LiteralData/DefaultValue/text()", []),
            ("WAYS/ows:Abstract/text()", ["Default: by bus, on foot"]),
            ("WAYS/ows:Metadata/@xlink:title", ["processing:default"] * 2),
            ("WAYS/ows:Metadata/@xlink:href", ["by%20bus", "on%20foot"]),
            ("NONE/ows:Title/text()", ["NONE"]),
            (
                "NONE/ComplexData/Default/Format/MimeType/text()",
                ["application/octet-stream"],
            ),
        ]:
            name, _, rest = path.partition("/")
            self.assertEqual(self.texts(inputs[name], rest), expected, path)
        self.assertEqual(
            len(inputs["DISTANCE"].findall(f"LiteralData/{{{OWS}}}AnyValue")), 1
        )
        self.assertEqual(
            len(inputs["END_CAP_STYLE"].findall("LiteralData/DefaultValue")), 1
        )

    def test_outputs(self) -> None:
        """Each type of output has its form."""
        root = self.describe(PROCESS)
        forms = [output[-1].tag for output in root.iter("Output")]
        self.assertEqual(
            forms,
            [
                "ComplexOutput",
                "LiteralOutput",
                "LiteralOutput",
                "BoundingBoxOutput",
                "ComplexOutput",
            ],
        )

    def test_metadata(self) -> None:
        """The value of a further fact is a URI, and readable."""
        values = ["source", "TypeVector Point", "EPSG:4326", NASTY, "1:2", "//x:y", ""]
        process = ProcessDescription(
            "a",
            "A",
            outputs=(NUMBER,),
            metadata=tuple(Metadata("t", value) for value in values),
        )
        root = self.describe(process)
        hrefs = self.texts(root, "//ows:Metadata/@xlink:href")
        self.assertEqual(hrefs[:3], ["source", "TypeVector%20Point", "EPSG%3A4326"])
        self.assertEqual(unquote(hrefs[5]), "//x:y")
        self.assertEqual(len(hrefs), 6)

    def test_nasty(self) -> None:
        """No text breaks the document."""
        form = Format(NASTY, NASTY, NASTY)
        types: list[Any] = [
            LiteralType(
                NASTY, NASTY, (NASTY,), (Range(NASTY, NASTY), Range()), (NASTY,)
            ),
            ComplexType((form, Format("font/woff"), Format("a/b")), -1),
            BoundingBoxType((NASTY,), (float("nan"), float("inf"), 0, 0)),
            LayerType((NASTY,), (form,), NASTY),
        ]
        facts = (Metadata(NASTY, NASTY),)
        process = ProcessDescription(
            *(NASTY, NASTY, NASTY, NASTY),
            inputs=tuple(
                InputDescription(NASTY, NASTY, t, NASTY, -1, -1, facts) for t in types
            ),
            outputs=tuple(
                OutputDescription(NASTY, NASTY, t, NASTY, facts) for t in types
            ),
            metadata=facts,
            keywords=(NASTY,),
        )
        self.describe(process)

    def test_several(self) -> None:
        """Processes keep their order; without outputs there is nothing."""
        others = [attrs.evolve(PROCESS, identifier=name, inputs=()) for name in "cab"]
        silent = ProcessDescription("s", "S")
        root = self.describe(others[0], silent, *others[1:])
        found = self.texts(root, "ProcessDescription/ows:Identifier/text()")
        self.assertEqual(found, ["c", "a", "b"])
        self.assertRaises(OWSError, processDescriptions, [silent])
        self.assertRaises(OWSError, processDescriptions, [])

    def test_cache(self) -> None:
        """The element of a process can be kept by the caller."""
        kept: dict[str, Markup] = {}

        def render(process: ProcessDescription) -> Markup:
            if process.identifier not in kept:
                kept[process.identifier] = processDescription(process)
            return kept[process.identifier]

        body = processDescriptions([PROCESS], render=render)
        self.assertEqual(body, processDescriptions([PROCESS]))
        self.assertEqual(processDescriptions([PROCESS], render=render), body)
        self.assertEqual(list(kept), ["native:buffer"])

    def test_cap(self) -> None:
        """A cap of the server's holds for inputs without one of their own."""
        body = processDescriptions(
            [PROCESS], render=lambda process: processDescription(process, 9)
        )
        root = self.valid(body, "ProcessDescriptions")
        self.assertEqual(self.texts(root, "//@maximumMegabytes"), ["9", "7", "9", "9"])


JOB = Job("j-1", "native:buffer", "server", created=1.5, started=2.5)


class ResponseTests(DocumentTestCase):
    """ExecuteResponses."""

    def respond(
        self,
        job: Job,
        request: ExecuteRequest = ExecuteRequest("native:buffer"),  # noqa: B008
        result: Result | None = None,
        contents: dict[str, bytes] | None = None,
        **others: Any,
    ) -> etree._Element:
        body = executeResponse(
            job,
            request,
            others.pop("description", PROCESS),
            result,
            contents or {},
            "http://h/ows/?service=WPS&request=GetResults&uuid=j-1",
            "http://h/ows/?service=WPS&request=GetCapabilities",
            lambda path: "http://h/jobs/j-1/files/" + quote(path),
            **others,
        )
        return self.valid(body, "ExecuteResponse")

    def succeeded(
        self,
        outputs: dict[str, Any],
        *wanted: OutputRequest,
        contents: dict[str, bytes] | None = None,
    ) -> etree._Element:
        job = attrs.evolve(JOB, state=State.SUCCEEDED, finished=3.9)
        request = ExecuteRequest("native:buffer", outputs=wanted)
        return self.respond(job, request, Result(outputs), contents)

    def complexData(self, value: FileValue, data: bytes, *wanted: OutputRequest) -> Any:
        root = self.succeeded({"OUTPUT": value}, *wanted, contents={"OUTPUT": data})
        (element,) = root.iter(f"{{{WPS}}}ComplexData")
        return element

    def test_head(self) -> None:
        """The process and the places to look at."""
        root = self.respond(JOB)
        self.assertEqual(
            root.get("statusLocation"),
            "http://h/ows/?service=WPS&request=GetResults&uuid=j-1",
        )
        self.assertIn("GetCapabilities", root.get("serviceInstance") or "")
        self.assertEqual(root.get(LANG), "en")
        self.assertEqual(self.texts(root, "wps:Process/ows:Title/text()"), ["Buffer"])
        self.assertEqual(self.texts(root, "wps:Process/@wps:processVersion"), ["3.22"])
        self.assertEqual(self.texts(root, "wps:DataInputs"), [])

    def test_least(self) -> None:
        """A document needs no more than a job and its request."""
        body = executeResponse(JOB, ExecuteRequest("p"), PROCESS)
        root = self.valid(body, "ExecuteResponse")
        self.assertIsNone(root.get("statusLocation"))

    def test_layers(self) -> None:
        """A layer of the result project is a reference to its service."""
        job = attrs.evolve(JOB, state=State.SUCCEEDED, finished=3.9)
        value = LayerValue("a b", Format("application/x-ogc-wms"), "A B")
        result = Result({"OUTPUT": value})
        for asReference in (False, True):
            wanted = OutputRequest("OUTPUT", value.format, asReference=asReference)
            request = ExecuteRequest("native:buffer", outputs=(wanted,), lineage=True)
            self.assertEqual(embedded(request, result), [])
            root = self.respond(
                job, request, result, layerURL=lambda value: f"http://m?{value.layer}"
            )
            (reference,) = root.iter(f"{{{WPS}}}Reference")
            self.assertEqual(
                dict(reference.attrib),
                {"href": "http://m?a%20b", "mimeType": "application/x-ogc-wms"},
            )
        unknown = self.respond(job, result=result, description=None)
        self.assertEqual(
            self.texts(unknown, "wps:ProcessOutputs/wps:Output/ows:Title/text()"),
            ["A B"],
        )

    def test_withdrawn(self) -> None:
        """A process that is no longer known is told from the job."""
        job = attrs.evolve(JOB, processTitle="Old", processVersion="2")
        root = self.respond(job, description=None)
        self.assertEqual(self.texts(root, "wps:Process/ows:Title/text()"), ["Old"])
        self.assertEqual(self.texts(root, "wps:Process/@wps:processVersion"), ["2"])

    def test_status(self) -> None:
        """Each state has its element, its text and its time."""
        progress = ExecuteRequest("native:buffer", asynchronous=True, status=True)
        quiet = ExecuteRequest("native:buffer", asynchronous=True)
        failed = (Fault("NoApplicableCode", "It <failed>"), Fault("X", "y", "z"))
        end = {"finished": 86400.9}
        rows: list[tuple[dict[str, Any], ExecuteRequest, str, str | None, int]] = [
            ({}, progress, "ProcessAccepted", "The job is accepted", 2),
            (
                {"message": "3rd in the queue"},
                progress,
                "ProcessAccepted",
                "3rd in the queue",
                2,
            ),
            (
                {"state": State.STARTED},
                progress,
                "ProcessStarted",
                "The process is running",
                2,
            ),
            (
                {"state": State.STARTED, "message": " \n"},
                progress,
                "ProcessStarted",
                "The process is running",
                2,
            ),
            (
                {"state": State.STARTED, "message": "half"},
                progress,
                "ProcessStarted",
                "half",
                2,
            ),
            (
                {"state": State.STARTED, "message": "half"},
                quiet,
                "ProcessAccepted",
                "The job is accepted",
                2,
            ),
            (
                {"state": State.SUCCEEDED, **end},
                progress,
                "ProcessSucceeded",
                "The process has succeeded",
                86400,
            ),
            (
                {"state": State.SUCCEEDED, "message": "done", **end},
                quiet,
                "ProcessSucceeded",
                "done",
                86400,
            ),
            (
                {"state": State.FAILED, "faults": failed, **end},
                quiet,
                "ProcessFailed",
                "It <failed>y",
                86400,
            ),
            (
                {"state": State.FAILED, "message": "why", **end},
                quiet,
                "ProcessFailed",
                "why",
                86400,
            ),
            (
                {"state": State.DISMISSED, **end},
                quiet,
                "ProcessFailed",
                "The job is dismissed",
                86400,
            ),
            (
                {"state": State.SUCCEEDED, "message": NASTY},
                quiet,
                "ProcessSucceeded",
                None,
                2,
            ),
        ]
        for changes, request, tag, text, time in rows:
            root = self.respond(attrs.evolve(JOB, **changes), request)
            (status,) = root.iter(f"{{{WPS}}}Status")
            self.assertEqual(etree.QName(status[0]).localname, tag)
            # Clients cut this text without a look whether there is one.
            self.assertTrue(status[0].text)
            if text is not None:
                found = "".join(map(str, status.itertext()))
                self.assertEqual(found.removeprefix("\n"), text)
            day = "1970-01-02" if time == 86400 else "1970-01-01"
            second = time % 86400
            self.assertEqual(status.get("creationTime"), f"{day}T00:00:0{second}Z")

    def test_now(self) -> None:
        """A document of a job under way has the time that it was made."""
        for state, expected in [
            (State.STARTED, "T00:01:39Z"),
            (State.FAILED, "T00:00:03Z"),
        ]:
            job = attrs.evolve(JOB, state=state, finished=3)
            (status,) = self.respond(job, now=99.9).iter(f"{{{WPS}}}Status")
            self.assertTrue((status.get("creationTime") or "").endswith(expected))

    def test_percent(self) -> None:
        """Progress is an integer from 0 to 99."""
        request = ExecuteRequest("p", status=True)
        for percent, expected in [
            (0, "0"),
            (-5, "0"),
            (12.7, "12"),
            (99.9, "99"),
            (100, "99"),
            (1e300, "99"),
            (float("nan"), "0"),
            (float("inf"), "99"),
        ]:
            job = attrs.evolve(JOB, state=State.STARTED, percent=percent)
            root = self.respond(job, request)
            self.assertEqual(self.texts(root, "//@percentCompleted"), [expected])

    def test_outputs(self) -> None:
        """Outputs come as asked for, or all in the order described."""
        outputs = {
            "LENGTH": LiteralValue("1.50", "float", "m"),
            "EXTRA": LiteralValue("x"),
            "N": LiteralValue("5.0"),
        }
        path = "//wps:Output/ows:Identifier/text()"
        for wanted, expected in [
            ((), ["N", "LENGTH", "EXTRA"]),
            (("LENGTH",), ["LENGTH"]),
            (("LENGTH", "N"), ["LENGTH", "N"]),
            (("OUTPUT", "N"), ["N"]),
            (("OUTPUT",), []),
        ]:
            root = self.succeeded(outputs, *map(OutputRequest, wanted))
            self.assertEqual(self.texts(root, path), expected)
            self.assertEqual(
                len(root.findall(f"{{{WPS}}}ProcessOutputs")), bool(expected)
            )

    def test_unfinished(self) -> None:
        """There are no outputs before the end."""
        root = self.respond(
            attrs.evolve(JOB, state=State.STARTED),
            result=Result({"N": LiteralValue("1")}),
        )
        self.assertEqual(root.findall(f"{{{WPS}}}ProcessOutputs"), [])

    def test_literals(self) -> None:
        """Literals have the type described, and no needless decimals."""
        root = self.succeeded(
            {
                "N": LiteralValue("5.0"),
                "LENGTH": LiteralValue("2.0", "float", "m"),
                "E": LiteralValue(""),
            }
        )
        n, length, e = root.iter(f"{{{WPS}}}LiteralData")
        self.assertEqual(
            (n.text, n.get("dataType"), n.get("uom")), ("5", "integer", None)
        )
        self.assertEqual(
            (length.text, length.get("dataType"), length.get("uom")),
            ("2.0", "float", "m"),
        )
        self.assertEqual((e.text, e.get("dataType")), (None, None))

    def test_reference(self) -> None:
        """asReference counts for files, and is ignored for literals."""
        file = FileValue("outputs/a b.tif", TIFF, "Title")
        root = self.succeeded(
            {"RASTER": file, "N": LiteralValue("1")},
            OutputRequest("RASTER", asReference=True),
            OutputRequest("N", asReference=True),
            contents={"RASTER": b"II*"},
        )
        (reference,) = root.iter(f"{{{WPS}}}Reference")
        self.assertEqual(
            dict(reference.attrib),
            {
                "href": "http://h/jobs/j-1/files/outputs/a%20b.tif",
                "mimeType": "image/tiff",
            },
        )
        self.assertEqual(len(list(root.iter(f"{{{WPS}}}LiteralData"))), 1)
        # What is not at hand is referenced.
        root = self.succeeded({"RASTER": file})
        self.assertEqual(len(list(root.iter(f"{{{WPS}}}Reference"))), 1)

    def test_referenceLines(self) -> None:
        """Each Reference is on a line of its own, where Lizmap looks for it."""
        job = attrs.evolve(JOB, state=State.SUCCEEDED, finished=3.9)
        request = ExecuteRequest(
            "native:buffer",
            inputs=(Input("A", ReferenceValue("http://h/?a=b", TIFF)),),
            outputs=(OutputRequest("R", asReference=True), OutputRequest("S")),
            lineage=True,
        )
        result = Result({name: FileValue(name, TIFF) for name in "RS"})
        body = executeResponse(
            job, request, PROCESS, result, fileURL=lambda path: f"http://h/{path}"
        )
        found = re.findall(r'wps:Reference.*href="([^"]+)"', body.decode())
        self.assertEqual(found, ["http://h/?a=b", "http://h/R", "http://h/S"])

    def test_titles(self) -> None:
        """A title is the client's, the description's, the file's or the name."""
        file = FileValue("a.tif", TIFF, "File")
        for name, request, expected in [
            ("RASTER", OutputRequest("RASTER"), ["Raster"]),
            (
                "RASTER",
                OutputRequest("RASTER", title="Mine", abstract="A"),
                ["Mine", "A"],
            ),
            ("OUTPUT", OutputRequest("OUTPUT"), ["Buffered", "All of it"]),
            ("E", OutputRequest("E"), ["File"]),
        ]:
            root = self.succeeded({name: file}, request)
            path = "//wps:Output/ows:Title/text()|//wps:Output/ows:Abstract/text()"
            self.assertEqual(self.texts(root, path), expected)

    def test_box(self) -> None:
        """A bounding box has two corners."""
        for value, lower, upper in [
            (
                BoundingBoxValue((1.0, -2.5), (3e20, 4), "EPSG:4326"),
                "1 -2.5",
                "3e+20 4",
            ),
            (BoundingBoxValue((1,), (float("inf"),), NASTY), "1", "INF"),
            (BoundingBoxValue((), ()), None, None),
        ]:
            root = self.succeeded({"BOX": value})
            (box,) = root.iter(f"{{{WPS}}}BoundingBoxData")
            self.assertEqual([box[0].text, box[1].text], [lower, upper])

    def test_corners(self) -> None:
        """As raw data a bounding box is a text."""
        box = BoundingBoxValue((1.0, -2.5), (3, 4), "EPSG:4326")
        self.assertEqual(corners(box), "1,-2.5,3,4,EPSG:4326")
        self.assertEqual(corners(attrs.evolve(box, crs=None)), "1,-2.5,3,4")

    def test_embedXML(self) -> None:
        """XML is embedded as elements if it can be, else as text."""
        gml = '<g:P xmlns:g="http://g" g:id="1"><g:pos>é</g:pos></g:P>'
        for mimeType in [
            "text/xml",
            GML.mimeType,
            "application/gml+xml",
            "image/svg+xml",
            "application/xml; charset=x",
        ]:
            value = FileValue("a.gml", Format(mimeType, "UTF-8", "http://s s"))
            data = f'<?xml version="1.0" encoding="UTF-8"?>\n<!-- x -->{gml}\n'.encode()
            element = self.complexData(value, data)
            self.assertEqual(
                etree.tostring(element[0], encoding="unicode").split(">")[-2], "</g:P"
            )
            self.assertEqual(element[0].tag, "{http://g}P")
            self.assertEqual(element.get("mimeType"), mimeType)
            self.assertEqual(element.get("encoding"), "UTF-8")
            self.assertEqual(element.get("schema"), "http://s%20s")
        for text in ["<a", "a & b", "<!DOCTYPE a><a/>", '<a xml:lang="?"/>']:
            element = self.complexData(FileValue("a", GML), text.encode())
            self.assertEqual((element.text, len(element)), (text, 0))
        element = self.complexData(FileValue("a", GML), b"\xff\xfe\xff")
        self.assertEqual(element.get("encoding"), "base64")

    def test_embedText(self) -> None:
        """Text is embedded as text; what XML forbids in it is replaced."""
        for mimeType in [
            "application/json",
            "application/geo+json",
            "application/vnd.geo+json",
            "text/csv",
            "text/html",
            "application/wkt",
            "application/javascript",
        ]:
            text = '{"a": "<é&]]>"}\r\n'
            element = self.complexData(FileValue("a", Format(mimeType)), text.encode())
            self.assertEqual(element.text, text)
            self.assertIsNone(element.get("encoding"))
        element = self.complexData(FileValue("a", GEOJSON), b"a\0\x0b\xef\xbf\xbfb")
        self.assertEqual(element.text, "a\ufffd\ufffd\ufffdb")
        element = self.complexData(FileValue("a", GEOJSON), b"\xef\xbb\xbfa")
        self.assertEqual(element.text, "a")
        element = self.complexData(FileValue("a", GEOJSON), b"\xe9")
        self.assertEqual((element.text, element.get("encoding")), ("6Q==", "base64"))
        element = self.complexData(FileValue("a", GEOJSON), b"")
        self.assertIsNone(element.text)

    def test_embedBinary(self) -> None:
        """All else is embedded in base64, and text too if asked for so."""
        data = bytes(range(256))
        sheet = "application/vnd.openxmlformats-officedocument.spreadsheetml.sheet"
        for form in [
            TIFF,
            Format("image/png"),
            Format("application/zip"),
            Format(""),
            Format(sheet),
            Format(NASTY),
        ]:
            element = self.complexData(FileValue("a", form), data)
            self.assertEqual(element.get("encoding"), "base64", form)
            self.assertEqual(base64.b64decode(element.text), data)
        wanted = OutputRequest("OUTPUT", Format(GEOJSON.mimeType, "base64"))
        element = self.complexData(FileValue("a", GEOJSON), b"{}", wanted)
        self.assertEqual((element.text, element.get("encoding")), ("e30=", "base64"))

    def test_embedded(self) -> None:
        """The files to read are those that go into the document."""
        file = FileValue("a", GEOJSON)
        result = Result({"A": file, "B": LiteralValue("x"), "C": file})
        for outputs, expected in [
            ((), ["A", "C"]),
            ((OutputRequest("C"), OutputRequest("B")), ["C"]),
            ((OutputRequest("A", asReference=True), OutputRequest("D")), []),
        ]:
            request = ExecuteRequest("p", outputs=outputs)
            self.assertEqual(embedded(request, result), expected)

    def test_lineage(self) -> None:
        """Every occurrence of an input and the outputs asked for are there."""
        form = Format("text/xml", "UTF-8", "http://s")
        request = ExecuteRequest(
            "native:buffer",
            (
                Input("A", LiteralValue(" 1 <", "float", "m"), "T", "U"),
                Input("A", LiteralValue("")),
                Input("B", BoundingBoxValue((1, 2), (3, 4.5), "EPSG:4326")),
                Input("C", ComplexValue("<a>1</a>", form)),
                Input("C", ComplexValue("<a", form)),
                Input("C", ComplexValue('{"a": "<"}', GEOJSON)),
                Input("C", ComplexValue("PGEvPg==", Format("text/xml", "base64"))),
                Input("D", ReferenceValue("http://h/?a=1&b=2", form)),
                Input(
                    "D",
                    ReferenceValue(
                        "http://h/", Format(""), "POST", (("K", "v"),), "<b/>"
                    ),
                ),
                Input("D", ReferenceValue("http://h/", Format(""), "POST", (), "a=1")),
                Input(
                    "D",
                    ReferenceValue(
                        "http://h/", Format(""), "POST", (), None, "http://b/"
                    ),
                ),
            ),
            (
                OutputRequest(
                    "OUTPUT", form, asReference=True, title="T", abstract="U"
                ),
                OutputRequest("LENGTH", uom="m"),
                OutputRequest("N"),
            ),
            lineage=True,
        )
        root = self.respond(JOB, request)
        # A response repeats what a request says: so read it as one.
        for name in ("DataInputs", "OutputDefinitions"):
            self.assertEqual(len(root.findall(f"{{{WPS}}}{name}")), 1)
        body = etree.tostring(root).replace(b"ExecuteResponse", b"Execute")
        body = body.replace(b"OutputDefinitions", b"ResponseDocument")
        execute = etree.fromstring(body)
        execute.append(execute.makeelement(f"{{{WPS}}}ResponseForm"))
        execute[-1].append(execute.find(f"{{{WPS}}}ResponseDocument"))
        execute.insert(0, execute.find(f"{{{WPS}}}Process")[0])
        operation = parseXML(etree.tostring(execute), Parameters())
        assert isinstance(operation, Execute)
        for before, after in zip(request.inputs, operation.request.inputs, strict=True):
            if before.value == ComplexValue("<a>1</a>", form):
                assert isinstance(after.value, ComplexValue)
                self.assertIn(">1</a>", after.value.data)
            elif isinstance(before.value, ReferenceValue) and before.value.headers:
                assert isinstance(after.value, ReferenceValue)
                self.assertEqual(after.value.headers, before.value.headers)
                self.assertTrue((after.value.body or "").startswith("<b"))
            else:
                self.assertEqual(before, after)
        self.assertEqual(operation.request.outputs, request.outputs)

    def test_lineageAll(self) -> None:
        """No outputs named means all of them; no inputs leave the list out."""
        root = self.respond(JOB, ExecuteRequest("native:buffer", lineage=True))
        found = self.texts(
            root, "wps:OutputDefinitions/wps:Output/ows:Identifier/text()"
        )
        self.assertEqual(found, [item.identifier for item in PROCESS.outputs])
        self.assertEqual(self.texts(root, "wps:DataInputs"), [])
        root = self.respond(JOB, ExecuteRequest("x", lineage=True), description=None)
        self.assertEqual(self.texts(root, "wps:OutputDefinitions"), [])

    def test_nasty(self) -> None:
        """No text breaks the document."""
        form = Format(NASTY, NASTY, NASTY)
        request = ExecuteRequest(
            NASTY,
            (
                Input(NASTY, LiteralValue(NASTY, NASTY, NASTY), NASTY, NASTY),
                Input(NASTY, ComplexValue(NASTY, form)),
                Input(NASTY, BoundingBoxValue((float("nan"),), (), NASTY)),
                Input(
                    NASTY, ReferenceValue(NASTY, form, NASTY, ((NASTY, NASTY),), NASTY)
                ),
                Input(NASTY, ReferenceValue(NASTY, form, "POST", (), None, NASTY)),
                Input(NASTY, FileValue(NASTY, form, NASTY)),
                Input("", ReferenceValue("", Format(""))),
            ),
            (OutputRequest(NASTY, form, NASTY, True, NASTY, NASTY),),
            lineage=True,
            status=True,
        )
        values: tuple[OutputData, ...] = (
            LiteralValue(NASTY, NASTY, NASTY),
            FileValue(NASTY, form, NASTY),
            LayerValue(NASTY, form, NASTY),
        )
        for state in State:
            for value in values:
                job = Job(NASTY, NASTY, NASTY, 0, state, NASTY, NASTY, message=NASTY)
                body = executeResponse(
                    *(job, request, None, Result({NASTY: value}), {}, NASTY, NASTY),
                    language="en",
                    layerURL=lambda value: value.layer,
                )
                self.valid(body, "ExecuteResponse")
