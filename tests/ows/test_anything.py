"""
Requests that nobody thought of: what is written in either encoding is read as
it was meant, and nothing at all brings the readers down.
"""

from __future__ import annotations

import unittest
from collections.abc import Iterable
from urllib.parse import quote

from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from lxml import etree

from qgswps.errors import OWSError
from qgswps.model import (
    BoundingBoxValue,
    ComplexValue,
    ExecuteRequest,
    Format,
    Input,
    LiteralValue,
    OutputRequest,
    ReferenceValue,
)
from qgswps.ows import kvp
from qgswps.ows.operations import Execute
from qgswps.ows.wps100 import requests

_WPS = "http://www.opengis.net/wps/1.0.0"
_OWS = "http://www.opengis.net/ows/1.1"
_XLINK = "http://www.w3.org/1999/xlink"

#: The same examples each time.
settings.register_profile(
    "qgswps",
    derandomize=True,
    deadline=None,
    max_examples=150,
    database=None,
    suppress_health_check=list(HealthCheck),
)
settings.load_profile("qgswps")

# Values

_identifiers = st.from_regex(r"[A-Za-z][A-Za-z0-9_.:-]{0,12}", fullmatch=True)
_mimeTypes = st.sampled_from(
    ("application/json", "text/xml; subtype=gml/3.1.1", "image/tiff", "text/csv")
)

#: What XML can say, and as it says it: without the blanks around it.
_texts = (
    st.text(
        st.characters(
            blacklist_categories=("Cs", "Cc", "Cn"),
            blacklist_characters="\ufffe\uffff",
        ),
        max_size=30,
    )
    .map(str.strip)
    .filter(lambda text: text == " ".join(text.split()))
)
_words = _texts.filter(bool)
_formats = st.builds(
    Format,
    _mimeTypes,
    st.none() | st.sampled_from(("base64", "UTF-8")),
    st.none() | st.just("http://example.org/a?b=c&d=e#f"),
)
_numbers = st.floats(-1e6, 1e6).map(lambda number: round(number, 3))
_corners = st.tuples(_numbers, _numbers)
_literals = st.builds(
    LiteralValue,
    _words,
    st.none() | st.sampled_from(("string", "xs:double")),
    st.none() | st.sampled_from(("m", "urn:ogc:def:uom:OGC::degree")),
)
_complex = st.builds(ComplexValue, _words, _formats)
_references = st.builds(
    ReferenceValue,
    st.just("http://example.org/x?a=1;2&b=%3B@c"),
    _formats,
)
_boxes = st.builds(
    BoundingBoxValue,
    _corners,
    _corners,
    st.none() | st.sampled_from(("EPSG:4326", "urn:ogc:def:crs:EPSG::4326")),
)
_outputs = st.lists(
    st.builds(
        OutputRequest,
        _identifiers,
        st.none() | _formats,
        st.none() | st.just("m"),
        st.booleans(),
    ),
    max_size=3,
    unique_by=lambda output: output.identifier,
)
_stored = st.booleans()


def _requests(values: Iterable[st.SearchStrategy[object]]) -> st.SearchStrategy[object]:
    return st.builds(
        ExecuteRequest,
        _identifiers,
        st.lists(st.builds(Input, _identifiers, st.one_of(*values)), max_size=4).map(
            tuple
        ),
        _outputs.map(tuple),
        asynchronous=_stored,
        lineage=st.booleans(),
        map=st.none() | _words,
        timeout=st.none() | st.integers(1, 999_999_999),
    )


# KVP


def _attributes(form: Format | None, **others: str | None) -> str:
    named: dict[str, str | None] = dict(others)
    if form is not None:
        named |= {
            "mimeType": form.mimeType,
            "encoding": form.encoding,
            "schema": form.schema,
        }
    return "".join(
        f"@{name}={quote(value, safe='')}" for name, value in named.items() if value
    )


def _itemKVP(each: Input) -> str:
    name = quote(each.identifier, safe="")
    match each.value:
        case LiteralValue(value=text, dataType=dataType, uom=uom):
            return (
                f"{name}={quote(text, safe='')}"
                f"{_attributes(None, dataType=dataType, uom=uom)}"
            )
        case ComplexValue(data=text, format=form):
            return f"{name}={quote(text, safe='')}{_attributes(form)}"
        case ReferenceValue(href=href, format=form):
            return f"{name}=@xlink:href={quote(href, safe='')}{_attributes(form)}"
    raise TypeError(each.value)


def _outputKVP(output: OutputRequest) -> str:
    flag = "true" if output.asReference else None
    return quote(output.identifier, safe="") + _attributes(
        output.format, uom=output.uom, asReference=flag
    )


def _asKVP(request: ExecuteRequest, again: bool) -> bytes:
    """
    A query.

    @param again: whether the lists are escaped once more as a whole.
    """
    lists = {
        "DataInputs": ";".join(map(_itemKVP, request.inputs)),
        "ResponseDocument": ";".join(map(_outputKVP, request.outputs)),
    }
    if again:
        lists = {name: quote(text, safe="") for name, text in lists.items()}
    plain = {
        "service": "wps",
        "VERSION": "1.0.0",
        "Request": "Execute",
        "Identifier": request.processId,
        "storeExecuteResponse": str(request.asynchronous).lower(),
        "lineage": str(request.lineage).lower(),
        "MAP": request.map,
        "TIMEOUT": str(request.timeout) if request.timeout else None,
    }
    parts = [f"{n}={quote(v, safe='')}" for n, v in plain.items() if v is not None]
    parts += [f"{name}={text}" for name, text in lists.items() if text]
    return "&".join(parts).encode()


class KVPTests(unittest.TestCase):
    """L{requests.parseKVP}"""

    @given(_requests([_literals, _complex, _references]), st.booleans())
    def test_roundTrip(self, request: ExecuteRequest, again: bool) -> None:
        """What is escaped in either way is read as it was."""
        query = _asKVP(request, again)
        read = requests.parseKVP(kvp.parseQuery(query))
        assert isinstance(read, Execute)
        self.assertEqual(read.request, request, query)

    @given(st.binary(max_size=200))
    def test_bytes(self, query: bytes) -> None:
        """Any bytes are a query, or there is something wrong with it."""
        _attempt(query)

    @given(
        st.lists(
            st.tuples(
                st.sampled_from(
                    (
                        *("service", "request", "version", "identifier", "uuid"),
                        *("datainputs", "responsedocument", "rawdataoutput", "status"),
                        *("storeexecuteresponse", "lineage", "timeout", "map"),
                        *("acceptversions", "language"),
                    )
                ),
                st.sampled_from(
                    (
                        *("WPS", "Execute", "GetCapabilities", "DescribeProcess"),
                        *("1.0.0", "all", "true", "a=b;c=d@uom=m", "a%3Db%3Bc%3Dd"),
                    )
                )
                | st.text(";=@%&[]+ab", max_size=20),
            ),
            max_size=8,
        )
    )
    def test_parameters(self, pairs: list[tuple[str, str]]) -> None:
        """Known parameters with values that are odd."""
        _attempt("&".join(f"{name}={value}" for name, value in pairs).encode())


def _attempt(query: bytes) -> None:
    try:
        requests.parseKVP(kvp.parseQuery(query))
    except OWSError as error:
        # Each fault is to be told: it has a code and a text.
        assert all(fault.code and fault.text for fault in error.faults)


# XML


def _sub(parent: etree._Element, name: str, text: str = "") -> etree._Element:
    prefix, _, local = name.partition(":")
    uri = {"wps": _WPS, "ows": _OWS}[prefix]
    node = etree.SubElement(parent, f"{{{uri}}}{local}")
    if text:
        node.text = text
    return node


def _mark(node: etree._Element, **attributes: str | None) -> etree._Element:
    for name, value in attributes.items():
        if value is not None:
            node.set(name, value)
    return node


def _form(node: etree._Element, form: Format | None) -> None:
    if form is not None:
        _mark(node, mimeType=form.mimeType, encoding=form.encoding, schema=form.schema)


def _asXML(request: ExecuteRequest) -> bytes:
    root = etree.Element(f"{{{_WPS}}}Execute", service="WPS", version="1.0.0")
    _sub(root, "ows:Identifier", request.processId)
    inputs = _sub(root, "wps:DataInputs")
    for each in request.inputs:
        node = _sub(inputs, "wps:Input")
        _sub(node, "ows:Identifier", each.identifier)
        value = each.value
        if isinstance(value, ReferenceValue):
            reference = _sub(node, "wps:Reference")
            reference.set(f"{{{_XLINK}}}href", value.href)
            _form(reference, value.format)
            continue
        data = _sub(node, "wps:Data")
        match value:
            case LiteralValue(value=text, dataType=dataType, uom=uom):
                _mark(_sub(data, "wps:LiteralData", text), dataType=dataType, uom=uom)
            case ComplexValue(data=text, format=form):
                _form(_sub(data, "wps:ComplexData", text), form)
            case BoundingBoxValue(lower=lower, upper=upper, crs=crs):
                box = _mark(_sub(data, "wps:BoundingBoxData"), crs=crs)
                _sub(box, "ows:LowerCorner", " ".join(map(str, lower)))
                _sub(box, "ows:UpperCorner", " ".join(map(str, upper)))
    document = _mark(
        _sub(_sub(root, "wps:ResponseForm"), "wps:ResponseDocument"),
        storeExecuteResponse=str(request.asynchronous).lower(),
        lineage=str(request.lineage).lower(),
    )
    for output in request.outputs:
        flag = "true" if output.asReference else None
        node = _mark(_sub(document, "wps:Output"), uom=output.uom, asReference=flag)
        _form(node, output.format)
        _sub(node, "ows:Identifier", output.identifier)
    return etree.tostring(root, encoding="utf-8")


class XMLTests(unittest.TestCase):
    """L{requests.parseXML}"""

    @given(_requests([_literals, _complex, _references, _boxes]))
    def test_roundTrip(self, request: ExecuteRequest) -> None:
        """What a document says is read as it was."""
        query = {
            "MAP": request.map,
            "timeout": str(request.timeout) if request.timeout else None,
        }
        parameters = "&".join(
            f"{name}={quote(value, safe='')}" for name, value in query.items() if value
        )
        body = _asXML(request)
        read = requests.parseXML(body, kvp.parseQuery(parameters.encode()))
        assert isinstance(read, Execute)
        self.assertEqual(read.request, request, body)

    @given(st.binary(max_size=300))
    def test_bytes(self, body: bytes) -> None:
        """Any bytes are a document, or there is something wrong with it."""
        self.attempt(body)

    @given(_requests([_literals, _complex, _references, _boxes]), st.data())
    def test_damaged(self, request: ExecuteRequest, data: st.DataObject) -> None:
        """A document that lost, doubled or changed some bytes."""
        body = bytearray(_asXML(request))
        for _ in range(data.draw(st.integers(1, 4))):
            at = data.draw(st.integers(0, len(body) - 1))
            length = data.draw(st.integers(0, 40))
            match data.draw(st.sampled_from(["lose", "double", "change"])):
                case "lose":
                    del body[at : at + length]
                case "double":
                    body[at:at] = body[at : at + length]
                case "change":
                    body[at : at + 1] = data.draw(st.binary(max_size=3))
            if not body:
                break
        self.attempt(bytes(body))

    @given(
        st.recursive(
            st.builds(list),
            lambda inner: st.lists(
                st.tuples(
                    st.sampled_from(
                        (
                            *("Execute", "Identifier", "DataInputs", "Input", "Data"),
                            *("LiteralData", "ComplexData", "BoundingBoxData"),
                            *("Reference", "Header", "LowerCorner", "Body"),
                            "ResponseForm",
                            *("ResponseDocument", "RawDataOutput", "Output", "Version"),
                        )
                    ),
                    st.sampled_from(("", "1", "a b", "1 2", "EPSG:4326")),
                    inner,
                ),
                max_size=3,
            ),
            max_leaves=15,
        ),
        st.sampled_from(("Execute", "DescribeProcess", "GetCapabilities")),
    )
    def test_anyTree(self, tree: list[object], name: str) -> None:
        """Known elements at odd places."""

        def grow(parent: etree._Element, items: Iterable[object]) -> None:
            for item in items:
                assert isinstance(item, tuple)
                local, text, inner = item
                grow(_mark(_sub(parent, f"wps:{local}", text), crs=text), inner)

        root = etree.Element(f"{{{_WPS}}}{name}", service="WPS", version="1.0.0")
        _sub(root, "ows:Identifier", "a")
        grow(root, tree)
        self.attempt(etree.tostring(root))

    def attempt(self, body: bytes) -> None:
        """Read it, or be told what is wrong."""
        try:
            requests.parseXML(body, kvp.Parameters())
        except OWSError as error:
            assert all(fault.code and fault.text for fault in error.faults)
