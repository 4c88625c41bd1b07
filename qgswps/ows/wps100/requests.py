"""
WPS 1.0.0 requests, as KVP and as XML, to operations.

What is harmless is forgiven: letter case, blanks, foreign namespaces and
attributes, a missing C{version} or C{ResponseForm}.
"""

from __future__ import annotations

import math
import re
from collections.abc import Callable, Iterable
from typing import Any, TypeVar

from lxml import etree

from qgswps.errors import Fault, OWSError, failure, invalid, missing, unsupported
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
from qgswps.ows import kvp
from qgswps.ows.kvp import Item, Parameters
from qgswps.ows.limits import DEFAULT, RequestLimits, tooMany
from qgswps.ows.operations import (
    DescribeProcess,
    Execute,
    GetCapabilities,
    GetResults,
    Operation,
)
from qgswps.ows.xmlio import (
    attribute,
    child,
    children,
    content,
    localName,
    parse,
    textOf,
)

VERSION = "1.0.0"

# The name of an HTTP header (RFC 9110, section 5.6.2).
_TOKEN = re.compile(r"[!#$%&'*+.^_`|~0-9A-Za-z-]+")

Read = TypeVar("Read")


class _Reading:
    """
    Parts of a request that are read one by one.

    @ivar faults: what is wrong with them, all of it.
    """

    def __init__(self) -> None:
        self.faults: list[Fault] = []

    def part(self, read: Callable[..., Read], *arguments: Any) -> Read | None:
        """What a function makes of a part; None if that is wrong."""
        try:
            return read(*arguments)
        except OWSError as error:
            self.faults += error.faults
            return None

    def parts(self, read: Callable[[Any], Read], items: Iterable[Any]) -> list[Read]:
        """What a function makes of each, without those that are wrong."""
        found = (self.part(read, item) for item in items)
        return [each for each in found if each is not None]


# Values that both encodings share


def _checkService(service: str) -> None:
    if service.upper() != "WPS":
        raise invalid("service", f"the service is WPS, not {service!r}")


def _checkVersion(version: str | None) -> None:
    if version and version not in (VERSION, "1.0"):
        raise invalid("version", f"the version is {VERSION}, not {version!r}")


def _negotiate(accepted: tuple[str, ...]) -> None:
    """Version negotiation (OWS Common 1.1.0, section 7.3.2)."""
    if accepted and VERSION not in accepted:
        raise OWSError(
            Fault(
                "VersionNegotiationFailed",
                f"none of the versions {', '.join(accepted)} is served, "
                f"but {VERSION} is",
            )
        )


def _boolean(locator: str, text: str | None) -> bool:
    match (text or "false").strip().lower():
        case "true" | "1":
            return True
        case "false" | "0" | "":
            return False
    raise invalid(locator, f"{locator} is true or false, not {text!r}")


def _seconds(locator: str, text: str | None) -> int | None:
    """TIMEOUT and EXPIRE: a positive number of seconds."""
    if text is None or not text.strip():
        return None
    digits = text.strip()
    # More than nine digits are no waiting time, but could break a timer.
    if (
        not (digits.isascii() and digits.isdigit())
        or len(digits) > 9
        or not int(digits)
    ):
        raise invalid(
            locator,
            f"{locator} is {text[:40]!r}: expected a whole number of seconds from 1"
            " to 999999999",
        )
    return int(digits)


def _checked(request: ExecuteRequest, reading: _Reading) -> Execute:
    """A request that was read, and what is wrong with it so far."""
    if not {fault.locator for fault in reading.faults} & {
        "storeExecuteResponse",
        "status",
    }:
        reading.part(_checkForm, request)
    return Execute(request, tuple(reading.faults))


def _checkForm(request: ExecuteRequest) -> None:
    """What the response form can't ask for (WPS 1.0.0, section 10.2.1)."""
    if request.raw and request.asynchronous:
        raise invalid(
            "storeExecuteResponse", "raw data output can't be asked for with a store"
        )
    if request.status and not request.asynchronous:
        raise invalid("status", "status needs storeExecuteResponse to be true")


# KVP


def parseKVP(parameters: Parameters, limits: RequestLimits = DEFAULT) -> Operation:
    """
    Read a request in KVP (WPS 1.0.0, sections 8.2.1, 9.2.1 and 10.2.2).

    @raise OWSError: what is wrong with it.
    """
    operation = parameters.get("request")
    service = parameters.get("service")
    if service is not None:
        _checkService(service)
    if operation is None:
        raise missing("request")
    name = operation.lower()
    if name in ("getresults", "getexecutionstatus"):
        uuid = parameters.get("uuid") or parameters.get("executionid")
        if uuid is None:
            raise missing("uuid")
        return GetResults(uuid)
    if service is None:
        raise missing("service")
    if name == "getcapabilities":
        _negotiate(parameters.parts("acceptversions"))
        return GetCapabilities()
    if name not in ("describeprocess", "execute"):
        raise unsupported(operation, f"there is no operation {operation!r}", 400)
    _checkVersion(parameters.get("version"))
    if name == "describeprocess":
        identifiers = parameters.parts("identifier")
        if not identifiers:
            raise missing("identifier")
        return DescribeProcess(
            tuple(dict.fromkeys(identifiers)), map=parameters.get("map")
        )
    return _executeKVP(parameters, limits)


def _executeKVP(parameters: Parameters, limits: RequestLimits) -> Execute:
    identifier = parameters.get("identifier")
    if identifier is None:
        raise missing("identifier")
    rawForm = parameters.raw.get("rawdataoutput", b"")
    documentForm = parameters.raw.get("responsedocument", b"")
    given = parameters.raw.get("datainputs", b"")
    for raw in (rawForm, documentForm, given):
        # Values may have some that are escaped.
        if raw.count(b";") + raw.upper().count(b"%3B") // 100 > limits.inputs:
            raise tooMany("inputs or outputs", limits.inputs)
    if rawForm and documentForm:
        raise invalid(
            "RawDataOutput", "RawDataOutput and ResponseDocument exclude each other"
        )
    if rawForm:
        outputs = kvp.parseOutputs(rawForm, "RawDataOutput")
    else:
        outputs = kvp.parseOutputs(documentForm, "ResponseDocument")
    inputs = kvp.parseInputs(given)
    if max(len(inputs), len(outputs)) > limits.inputs:
        raise tooMany("inputs or outputs", limits.inputs)
    reading = _Reading()

    def flag(name: str) -> bool:
        return bool(reading.part(_boolean, name, parameters.get(name.lower())))

    def seconds(name: str) -> int | None:
        return reading.part(_seconds, name, parameters.get(name.lower()))

    request = ExecuteRequest(
        processId=identifier,
        inputs=tuple(reading.parts(_inputKVP, inputs)),
        outputs=tuple(reading.parts(_outputKVP, outputs)),
        raw=bool(rawForm),
        asynchronous=flag("storeExecuteResponse"),
        status=flag("status"),
        lineage=flag("lineage"),
        map=parameters.get("map"),
        timeout=seconds("TIMEOUT"),
        expire=seconds("EXPIRE"),
    )
    return _checked(request, reading)


def _inputKVP(item: Item) -> Input:
    return Input(item.identifier, _valueKVP(item))


def _formatKVP(item: Item) -> Format | None:
    names = ("mimetype", "encoding", "schema")
    values = [item.attributes.get(name) or None for name in names]
    if not any(values):
        return None
    mimeType, encoding, schema = values
    return Format(mimeType or "", encoding, schema)


def _valueKVP(item: Item) -> InputValue:
    form = _formatKVP(item)
    href = item.attributes.get("href")
    if href:
        method = item.attributes.get("method", "GET")
        return ReferenceValue(
            href, form or Format(""), _method(method, item.identifier)
        )
    if form is not None:
        return ComplexValue(item.value or "", form)
    return LiteralValue(
        item.value or "",
        item.attributes.get("datatype") or None,
        item.attributes.get("uom") or None,
    )


def _outputKVP(item: Item) -> OutputRequest:
    return OutputRequest(
        item.identifier,
        format=_formatKVP(item),
        uom=item.attributes.get("uom") or None,
        asReference=_boolean("asReference", item.attributes.get("asreference")),
    )


def _method(text: str, locator: str) -> str:
    method = text.strip().upper()
    if method not in ("GET", "POST"):
        raise invalid(locator, f"a reference is fetched by GET or POST, not {text!r}")
    return method


# XML


def parseXML(
    body: bytes, parameters: Parameters, limits: RequestLimits = DEFAULT
) -> Operation:
    """
    Read a request in XML (WPS 1.0.0, sections 8.2.2, 9.2.2 and 10.2.1).

    @param parameters: those of the URL; MAP, TIMEOUT and EXPIRE count, as
        XML has no place for them.
    @raise OWSError: what is wrong with it.
    """
    if not body.strip():
        raise failure("a POST request has its parameters in the body, in XML", 400)
    root = parse(body, limits)
    name = localName(root)
    if name == "Envelope":
        raise failure("SOAP is not understood, only the plain request", 400)
    _checkService(attribute(root, "service") or "WPS")
    if name == "GetCapabilities":
        _negotiate(
            tuple(
                textOf(version)
                for accepted in children(root, "AcceptVersions")
                for version in children(accepted, "Version")
            )
        )
        return GetCapabilities()
    if name not in ("DescribeProcess", "Execute"):
        raise unsupported(name, f"there is no operation {name!r}", 400)
    _checkVersion(attribute(root, "version"))
    if name == "DescribeProcess":
        identifiers = [textOf(item) for item in children(root, "Identifier")]
        if not any(identifiers):
            raise missing("Identifier")
        return DescribeProcess(
            tuple(dict.fromkeys(item for item in identifiers if item)),
            map=parameters.get("map"),
        )
    return _executeXML(root, parameters, limits)


def _executeXML(
    root: etree._Element, parameters: Parameters, limits: RequestLimits
) -> Execute:
    identifier = textOf(child(root, "Identifier"))
    if not identifier:
        raise missing("Identifier")
    if _most(root) > limits.inputs:
        raise tooMany("inputs or outputs", limits.inputs)
    reading = _Reading()
    inputs = [
        each
        for group in children(root, "DataInputs")
        for each in reading.parts(_inputXML, children(group, "Input"))
    ]
    outputs: list[OutputRequest] = []
    asynchronous = status = lineage = raw = False
    timeout = reading.part(_seconds, "TIMEOUT", parameters.get("timeout"))
    expire = reading.part(_seconds, "EXPIRE", parameters.get("expire"))
    form = child(root, "ResponseForm")
    for part in form if form is not None else ():
        if localName(part) == "RawDataOutput":
            raw = True
            outputs += reading.parts(_outputXML, [part])
        elif localName(part) != "ResponseDocument":
            continue
        # Raw data has no place for these two, but to ignore them would keep
        # the client waiting for what it does not expect.
        name = "storeExecuteResponse"
        asynchronous |= bool(reading.part(_boolean, name, attribute(part, name)))
        status |= bool(reading.part(_boolean, "status", attribute(part, "status")))
        if not raw:
            given = attribute(part, "lineage")
            lineage = bool(reading.part(_boolean, "lineage", given))
            own, kept = (
                reading.part(_seconds, name.upper(), attribute(part, name))
                for name in ("timeout", "expire")
            )
            timeout, expire = own or timeout, kept or expire
            # MapStore has the RawDataOutput in here.
            named = children(part, "Output", "RawDataOutput")
            outputs += reading.parts(_outputXML, named)
    if raw and child(form, "ResponseDocument") is not None:
        raise invalid(
            "ResponseForm", "RawDataOutput and ResponseDocument exclude each other"
        )
    request = ExecuteRequest(
        processId=identifier,
        inputs=tuple(inputs),
        outputs=tuple(outputs),
        raw=raw,
        asynchronous=asynchronous,
        status=status,
        lineage=lineage,
        map=parameters.get("map"),
        timeout=timeout,
        expire=expire,
    )
    return _checked(request, reading)


def _most(root: etree._Element) -> int:
    """How many inputs there are, or parts of the response, whichever are more."""
    counts = (
        sum(1 for _ in group.iterchildren("{*}Input", "{*}Output", "{*}RawDataOutput"))
        for part in root
        for group in (part, *children(part, "ResponseDocument"))
    )
    return max(counts, default=0)


def _formatXML(element: etree._Element) -> Format:
    return Format(
        (attribute(element, "mimeType") or "").strip(),
        (attribute(element, "encoding") or "").strip() or None,
        (attribute(element, "schema") or "").strip() or None,
    )


def _outputXML(element: etree._Element) -> OutputRequest:
    identifier = textOf(child(element, "Identifier"))
    if not identifier:
        raise missing("Identifier", "an output has no Identifier")
    form = _formatXML(element)
    return OutputRequest(
        identifier,
        format=form if form != Format("") else None,
        uom=attribute(element, "uom") or None,
        asReference=_boolean("asReference", attribute(element, "asReference")),
        title=textOf(child(element, "Title")),
        abstract=textOf(child(element, "Abstract")),
    )


def _inputXML(element: etree._Element) -> Input:
    identifier = textOf(child(element, "Identifier"))
    if not identifier:
        raise missing("Identifier", "an input has no Identifier")
    reference = child(element, "Reference")
    data = child(element, "Data")
    if reference is not None:
        value: InputValue = _referenceXML(reference, identifier)
    elif data is not None:
        value = _dataXML(data, identifier)
    else:
        raise missing(identifier, f"the input {identifier} has no value")
    return Input(
        identifier,
        value,
        title=textOf(child(element, "Title")),
        abstract=textOf(child(element, "Abstract")),
    )


def _dataXML(data: etree._Element, identifier: str) -> InputValue:
    for element in data:
        match localName(element):
            case "LiteralData":
                return LiteralValue(
                    "".join(str(text) for text in element.itertext()),
                    attribute(element, "dataType") or None,
                    attribute(element, "uom") or None,
                )
            case "ComplexData":
                return ComplexValue(content(element), _formatXML(element))
            case "BoundingBoxData" | "BoundingBox" | "WGS84BoundingBox":
                return _boxXML(element, identifier)
    raise invalid(
        identifier,
        f"the Data of {identifier} is LiteralData, ComplexData or BoundingBoxData",
    )


def _boxXML(element: etree._Element, identifier: str) -> BoundingBoxValue:
    crs = attribute(element, "crs")
    # Some clients put an ows:BoundingBox into the element.
    inner = child(element, "BoundingBox", "WGS84BoundingBox")
    if inner is not None:
        element = inner
        crs = attribute(element, "crs") or crs
    if crs is None and localName(element) == "WGS84BoundingBox":
        crs = "urn:ogc:def:crs:OGC:2:84"
    return BoundingBoxValue(
        _corner(element, "LowerCorner", identifier),
        _corner(element, "UpperCorner", identifier),
        (crs or "").strip() or None,
    )


def _corner(element: etree._Element, name: str, identifier: str) -> tuple[float, ...]:
    text = textOf(child(element, name))
    try:
        numbers = tuple(float(part) for part in text.replace(",", " ").split())
    except ValueError:
        numbers = ()
    if not numbers or not all(math.isfinite(number) for number in numbers):
        raise invalid(
            identifier, f"the {name} of {identifier} has numbers, not {text[:80]!r}"
        )
    return numbers


def _referenceXML(element: etree._Element, identifier: str) -> ReferenceValue:
    href = (attribute(element, "href") or "").strip()
    if not href:
        raise missing(identifier, f"the Reference of {identifier} has no href")
    body = child(element, "Body")
    elsewhere = child(element, "BodyReference")
    bodyHref = None
    if elsewhere is not None:
        bodyHref = (attribute(elsewhere, "href") or "").strip()
        if not bodyHref:
            raise missing(identifier, f"the BodyReference of {identifier} has no href")
    return ReferenceValue(
        href,
        _formatXML(element),
        # Only a POST has a body.
        method=_method(
            attribute(element, "method")
            or ("GET" if body is None and elsewhere is None else "POST"),
            identifier,
        ),
        headers=tuple(
            _header(item, identifier) for item in children(element, "Header")
        ),
        body=content(body) if body is not None else None,
        bodyHref=bodyHref,
    )


def _header(element: etree._Element, identifier: str) -> tuple[str, str]:
    key = (attribute(element, "key") or "").strip()
    value = (attribute(element, "value") or "").strip()
    # A line break would start another header.
    if not _TOKEN.fullmatch(key) or not value.isprintable():
        raise invalid(identifier, f"the reference of {identifier} has a bad Header")
    return key, value
