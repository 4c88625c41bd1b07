"""
The table: each way to ask for a run, with data of each kind.

{KVP, XML} x {synchronous, asynchronous} x {document, raw} x {value, reference}
x {kinds of data} x {0, 1, several outputs named}: each cell is a test, and ends
with the right answer or with the error that the standard asks for.  That the
documents are valid is seen by L{live.LiveServer}.
"""

from __future__ import annotations

import base64
import functools
import itertools
import json
from collections.abc import Callable
from urllib.parse import parse_qs, quote, urlsplit
from xml.sax.saxutils import escape, quoteattr

import attrs
from lxml import etree
from twisted.trial import unittest

from tests import live

OWS = "{http://www.opengis.net/ows/1.1}"
WPS = "{http://www.opengis.net/wps/1.0.0}"
NAMES = {"ows": OWS[1:-1], "wps": WPS[1:-1]}

PNG = b"\x89PNG\r\n\x1a\n\0\xff"
#: A text with all that separates in KVP and means something in XML.
TEXT = "a;b=c@d&<e>, +%20 ä"
BOX = "1.5,-2,3,4,EPSG:4326"
POINTS = json.dumps(
    {
        "type": "FeatureCollection",
        "features": [
            {
                "type": "Feature",
                "properties": {"name": name},
                "geometry": {"type": "Point", "coordinates": [x, 0.5]},
            }
            for name, x in (("west", -1.5), ("east", 1.5))
        ],
    }
)


@attrs.frozen
class Given:
    """
    An input.

    @ivar form: C{literal}, C{box} or C{data}.
    """

    name: str
    text: str
    form: str = "literal"
    mimeType: str = ""
    encoding: str = ""

    @property
    def kvp(self) -> str:
        """In C{DataInputs}, as the standard has it: the value is escaped."""
        written = f"{self.name}={quote(self.text, safe='')}"
        if self.mimeType:
            written += f"@mimeType={quote(self.mimeType, safe='')}"
        if self.encoding:
            written += f"@encoding={self.encoding}"
        return written

    @property
    def xml(self) -> str:
        """As an element."""
        if self.form == "box":
            west, south, east, north, crs = self.text.split(",")
            value = (
                f"<wps:BoundingBoxData crs={quoteattr(crs)} dimensions='2'>"
                f"<ows:LowerCorner>{west} {south}</ows:LowerCorner>"
                f"<ows:UpperCorner>{east} {north}</ows:UpperCorner>"
                "</wps:BoundingBoxData>"
            )
        elif self.form == "data":
            encoding = f" encoding={quoteattr(self.encoding)}" if self.encoding else ""
            value = (
                f"<wps:ComplexData mimeType={quoteattr(self.mimeType)}{encoding}>"
                f"{escape(self.text)}</wps:ComplexData>"
            )
        else:
            value = f"<wps:LiteralData>{escape(self.text)}</wps:LiteralData>"
        return (
            f"<wps:Input><ows:Identifier>{self.name}</ows:Identifier>"
            f"<wps:Data>{value}</wps:Data></wps:Input>"
        )


@attrs.frozen
class Kind:
    """
    A kind of data, with a process that has it as output.

    @ivar output: the output of this kind.
    @ivar other: another output of the process.
    @ivar every: all outputs that the process makes unless some are named.
    @ivar check: whether the output's content is right; what it is given is
        bytes of complex data, else the text as raw data has it.
    @ivar mimeType: of complex data; empty for other.
    """

    process: str
    inputs: tuple[Given, ...]
    output: str
    other: str
    every: frozenset[str]
    check: Callable[[bytes], bool]
    mimeType: str = ""


def _names(data: bytes) -> set[str]:
    return {each["properties"]["name"] for each in json.loads(data)["features"]}


def _isRaster(data: bytes) -> bool:
    # TIFF, of either order of bytes.
    return data[:4] in (b"II*\0", b"MM\0*")


_ECHOED = (
    Given("literal", TEXT),
    Given("boundingBox", BOX, "box"),
    Given("complex", base64.b64encode(PNG).decode(), "data", "image/png", "base64"),
)
_ALL_ECHOED = frozenset(each.name for each in _ECHOED)


@functools.cache
def _raster() -> str:
    """A small GeoTIFF in base64."""
    answer = live.sharedServer().execute(
        "native:createconstantrasterlayer",
        {
            "EXTENT": "0,0,4,4,EPSG:4326",
            "TARGET_CRS": "EPSG:4326",
            "PIXEL_SIZE": 1,
            "NUMBER": 7,
        },
        RawDataOutput="OUTPUT@mimeType=image/tiff",
    )
    assert answer.status == 200, answer.text
    return base64.b64encode(answer.body).decode()


#: Made when they are first used, since one needs a server.
KINDS: dict[str, Callable[[], Kind]] = {
    "literal": lambda: Kind(
        *("echo", _ECHOED, "literal", "boundingBox", _ALL_ECHOED),
        lambda text: text.decode() == TEXT,
    ),
    "bbox": lambda: Kind(
        *("echo", _ECHOED, "boundingBox", "complex", _ALL_ECHOED),
        lambda text: text.decode() == BOX,
    ),
    "binary": lambda: Kind(
        *("echo", _ECHOED, "complex", "literal", _ALL_ECHOED),
        lambda data: data == PNG,
        "image/png",
    ),
    "vector": lambda: Kind(
        "native:extractbyattribute",
        (
            Given("INPUT", POINTS, "data", "application/geo+json"),
            Given("FIELD", "name"),
            Given("VALUE", "east"),
        ),
        *("OUTPUT", "FAIL_OUTPUT", frozenset({"OUTPUT"})),
        lambda data: _names(data) == {"east"},
        "application/geo+json",
    ),
    "raster": lambda: Kind(
        "native:cellstatistics",
        (
            Given("INPUT", _raster(), "data", "image/tiff", "base64"),
            Given("REFERENCE_LAYER", _raster(), "data", "image/tiff", "base64"),
        ),
        *("OUTPUT", "WIDTH_IN_PIXELS"),
        frozenset(
            (
                *("OUTPUT", "EXTENT", "CRS_AUTHID", "WIDTH_IN_PIXELS"),
                *("HEIGHT_IN_PIXELS", "TOTAL_PIXEL_COUNT"),
            )
        ),
        _isRaster,
        "image/tiff",
    ),
    "file": lambda: Kind(
        *("script:outputs", (Given("NUMBER", "5"),), "TEXT", "STRING"),
        frozenset(
            (
                *("TEXT", "INTEGER", "FLOAT", "NAN"),
                *("BOOLEAN", "STRING", "HTML", "ELSEWHERE"),
            )
        ),
        lambda data: data == b"text",
        "text/plain",
    ),
}


@attrs.frozen
class Cell:
    """One way to ask for a run."""

    encoding: str
    mode: str
    form: str
    transmission: str
    kind: str
    count: str

    @property
    def name(self) -> str:
        """What its test is called."""
        return "_".join(attrs.astuple(self))

    @property
    def isStored(self) -> bool:
        """The answer comes at once."""
        return self.mode == "async"

    @property
    def isRaw(self) -> bool:
        """
        Raw data is asked for.  A parameter of KVP without a value is as good as
        none, so that it is the document with all outputs then.
        """
        return self.form == "raw" and (self.encoding, self.count) != ("KVP", "0")

    def outputs(self, kind: Kind) -> list[str]:
        """The outputs that are named."""
        return [kind.output, kind.other][: {"0": 0, "1": 1, "n": 2}[self.count]]

    @property
    def isReferenced(self) -> bool:
        """Complex data of the outputs that are named is asked for by reference."""
        return self.transmission == "reference" and self.count != "0"

    @property
    def faults(self) -> set[tuple[str, str]]:
        """Codes and locators of all that is wrong with the request."""
        found: set[tuple[str, str]] = set()
        if not self.isRaw:
            return found
        if self.count == "0":
            found.add(("MissingParameterValue", "Identifier"))
        if self.isStored:
            found.add(("InvalidParameterValue", "storeExecuteResponse"))
        if self.count != "1":
            found.add(("InvalidParameterValue", "RawDataOutput"))
        return found

    def send(self, server: live.LiveServer, kind: Kind) -> live.Answer:
        """Ask for the run."""
        send = self._sendKVP if self.encoding == "KVP" else self._sendXML
        return send(server, kind)

    def _sendKVP(self, server: live.LiveServer, kind: Kind) -> live.Answer:
        items = []
        for name in self.outputs(kind):
            item = name
            if name == kind.output and kind.mimeType:
                item += f"@mimeType={kind.mimeType}"
            if self.isReferenced:
                item += "@asReference=true"
            items.append(item)
        parameters = {"DataInputs": ";".join(each.kvp for each in kind.inputs)}
        if items or self.form == "raw":
            name = "RawDataOutput" if self.form == "raw" else "ResponseDocument"
            parameters[name] = ";".join(items)
        if self.isStored:
            parameters |= {"storeExecuteResponse": "true", "status": "true"}
        return server.wps("Execute", identifier=kind.process, **parameters)

    def _sendXML(self, server: live.LiveServer, kind: Kind) -> live.Answer:
        stored = ' storeExecuteResponse="true" status="true"' if self.isStored else ""
        shared = ' asReference="true"' if self.isReferenced else ""
        items = []
        for name in self.outputs(kind):
            isComplex = name == kind.output and kind.mimeType
            form = f' mimeType="{kind.mimeType}"' if isComplex else ""
            items.append((name, form + shared))
        if self.form == "document":
            inner = "".join(
                f"<wps:Output{more}><ows:Identifier>{name}</ows:Identifier>"
                "</wps:Output>"
                for name, more in items
            )
            inner = f"<wps:ResponseDocument{stored}>{inner}</wps:ResponseDocument>"
        else:
            # The schema has no way to say some of this.
            inner = "".join(
                f"<wps:RawDataOutput{more}{stored}>"
                f"<ows:Identifier>{name}</ows:Identifier></wps:RawDataOutput>"
                for name, more in items
            )
            inner = inner or f"<wps:RawDataOutput{stored}/>"
        return server.post(
            f'<wps:Execute xmlns:wps="{WPS[1:-1]}" xmlns:ows="{OWS[1:-1]}"'
            f' service="WPS" version="1.0.0">'
            f"<ows:Identifier>{kind.process}</ows:Identifier>"
            f"<wps:DataInputs>{''.join(each.xml for each in kind.inputs)}"
            f"</wps:DataInputs><wps:ResponseForm>{inner}</wps:ResponseForm>"
            "</wps:Execute>"
        )


class TableTests(unittest.TestCase):
    """A test for each cell; see the end of the module."""

    def setUp(self) -> None:
        self.server = live.sharedServer()

    def cell(self, cell: Cell) -> None:
        """Ask, and look at the answer."""
        kind = KINDS[cell.kind]()
        answer = cell.send(self.server, kind)
        if cell.faults:
            self.assertFaults(answer, cell.faults)
        elif cell.isRaw:
            self.assertEqual(answer.status, 200, answer.body[:2000])
            expected = kind.mimeType or "text/plain"
            found = answer.headers["content-type"].partition(";")[0]
            self.assertEqual(found, expected)
            self.assertTrue(kind.check(answer.body), answer.body[:2000])
        else:
            self.assertDocument(answer, cell, kind)

    def assertFaults(self, answer: live.Answer, expected: set[tuple[str, str]]) -> None:
        """A report with an exception for each fault."""
        self.assertEqual(answer.status, 400, answer.body[:2000])
        document = etree.fromstring(answer.body)
        self.assertEqual(document.tag, f"{OWS}ExceptionReport")
        found = [(each.get("exceptionCode"), each.get("locator")) for each in document]
        self.assertEqual(sorted(found), sorted(expected))
        for each in document:
            self.assertTrue(each.findtext(f"{OWS}ExceptionText"))

    def assertDocument(self, answer: live.Answer, cell: Cell, kind: Kind) -> None:
        """A response, and the same again from where it says that it is."""
        document = self.response(answer)
        location = document.get("statusLocation")
        assert location is not None, answer.text
        self.assertTrue(location.startswith(self.server.url), location)
        self.assertIn("uuid", parse_qs(urlsplit(location).query))
        stored = self.response(self.server.get(location))
        if cell.isStored:

            def ended() -> list[etree._Element]:
                latest = self.response(self.server.get(location))
                waits = latest.find(f"{WPS}Status/{WPS}ProcessAccepted")
                runs = latest.find(f"{WPS}Status/{WPS}ProcessStarted")
                return [latest] if waits is None and runs is None else []

            [document] = self.server.waitUntil(ended, "it does not end")
        else:
            self.assertEqual(*map(self.outputsOf, (document, stored)))
        succeeded = document.findtext(f"{WPS}Status/{WPS}ProcessSucceeded")
        self.assertTrue(succeeded, etree.tostring(document)[:2000])
        found = {
            each.findtext(f"{OWS}Identifier"): each
            for each in document.iter(f"{WPS}Output")
        }
        self.assertEqual(set(found), set(cell.outputs(kind)) or kind.every)
        for name, output in found.items():
            self.assertTrue(output.findtext(f"{OWS}Title"), name)
        content = self.contentOf(found[kind.output], cell, kind)
        self.assertTrue(kind.check(content), content[:2000])

    def response(self, answer: live.Answer) -> etree._Element:
        """The document, of a request that there is nothing wrong with."""
        self.assertEqual(answer.status, 200, answer.body[:2000])
        document = etree.fromstring(answer.body)
        self.assertEqual(document.tag, f"{WPS}ExecuteResponse")
        return document

    def outputsOf(self, document: etree._Element) -> bytes:
        """The outputs, to be compared."""
        return etree.tostring(document.find(f"{WPS}ProcessOutputs"))

    def contentOf(self, output: etree._Element, cell: Cell, kind: Kind) -> bytes:
        """What is in an output, embedded or not as the cell has it."""
        if kind.mimeType and cell.isReferenced:
            reference = output.find(f"{WPS}Reference")
            assert reference is not None, etree.tostring(output)
            self.assertEqual(reference.get("mimeType"), kind.mimeType)
            answer = self.server.get(reference.get("href", ""))
            self.assertEqual(answer.status, 200)
            found = answer.headers["content-type"].partition(";")[0]
            self.assertEqual(found, kind.mimeType)
            return answer.body
        [data] = output.find(f"{WPS}Data")
        if data.tag == f"{WPS}BoundingBoxData":
            lower, upper = (data[0].text or "").split(), (data[1].text or "").split()
            return ",".join([*lower, *upper, data.get("crs", "")]).encode()
        content = (data.text or "").encode()
        if not kind.mimeType:
            self.assertEqual(data.tag, f"{WPS}LiteralData")
            return content
        self.assertEqual(data.tag, f"{WPS}ComplexData")
        self.assertEqual(data.get("mimeType"), kind.mimeType)
        isText = kind.mimeType.startswith("text/") or "json" in kind.mimeType
        self.assertEqual(data.get("encoding"), None if isText else "base64")
        return content if isText else base64.b64decode(content)


def _test(cell: Cell) -> Callable[[TableTests], None]:
    return lambda case: case.cell(cell)


for _parts in itertools.product(
    ("KVP", "XML"),
    ("sync", "async"),
    ("document", "raw"),
    ("value", "reference"),
    KINDS,
    ("0", "1", "n"),
):
    _cell = Cell(*_parts)
    setattr(TableTests, f"test_{_cell.name}", _test(_cell))
