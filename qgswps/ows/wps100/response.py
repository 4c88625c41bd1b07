"""The ExecuteResponse document (WPS 1.0.0, section 10.3)."""

from __future__ import annotations

import base64
import re
from collections.abc import Callable, Iterable, Mapping
from datetime import UTC, datetime

from qgswps.errors import Fault
from qgswps.model import (
    BoundingBoxValue,
    ComplexValue,
    ExecuteRequest,
    FileValue,
    Format,
    Input,
    InputValue,
    Job,
    LayerValue,
    LiteralType,
    LiteralValue,
    OutputData,
    OutputDescription,
    OutputRequest,
    ProcessDescription,
    ReferenceValue,
    Result,
    State,
)
from qgswps.ows.wps100.common import (
    complexEncoding,
    literalText,
    processBrief,
    responseBase,
)
from qgswps.ows.wps100.common import (
    description as describe,
)
from qgswps.ows.wps100.exceptions import exceptionElement
from qgswps.ows.xmlio import Markup, anyURI, document, element, escape, fragment


def embedded(request: ExecuteRequest, result: Result) -> list[str]:
    """
    The outputs whose files go into the document: the C{contents} that
    L{executeResponse} wants, by their identifiers.
    """
    return [
        wanted.identifier
        for wanted in _wanted(request, result.outputs)
        if isinstance(result.outputs.get(wanted.identifier), FileValue)
        and not wanted.asReference
    ]


def executeResponse(
    job: Job,
    request: ExecuteRequest,
    description: ProcessDescription | None,
    result: Result | None = None,
    contents: Mapping[str, bytes] | None = None,
    statusLocation: str | None = None,
    serviceInstance: str = "",
    fileURL: Callable[[str], str] = str,
    now: float | None = None,
    language: str = "en",
    layerURL: Callable[[LayerValue], str] = str,
) -> bytes:
    """
    The state of a job and, when it has succeeded, its outputs.

    @param description: of the process, or None if it is no longer published.
    @param contents: what is in the files of the L{embedded} outputs; one
        that is not there is referenced.
    @param statusLocation: the URL where this document is to be had again.
    @param serviceInstance: the URL of the service's Capabilities.
    @param fileURL: from the path of a L{FileValue} to its URL.
    @param now: the time, in seconds since the epoch, for the documents of
        jobs that are not finished.
    @param layerURL: from a L{LayerValue} to the URL of its service.
    """
    process = description or ProcessDescription(
        job.processId, job.processTitle, job.processVersion
    )
    outputs = None
    if job.state is State.SUCCEEDED and result is not None:
        outputs = _outputs(request, process, result, contents or {}, fileURL, layerURL)
    return document(
        "wps:ExecuteResponse",
        element(
            "wps:Process",
            processBrief(process),
            attributes={"wps:processVersion": process.version},
        ),
        _status(job, request, now, language),
        _inputs(request, fileURL) if request.lineage else None,
        _definitions(request, process) if request.lineage else None,
        outputs,
        attributes={
            **responseBase(language),
            "serviceInstance": anyURI(serviceInstance),
            "statusLocation": anyURI(statusLocation) if statusLocation else None,
        },
    )


# Status


def _dateTime(seconds: float) -> str:
    moment = datetime.fromtimestamp(int(seconds), UTC)
    return moment.strftime("%Y-%m-%dT%H:%M:%SZ")


def _status(
    job: Job, request: ExecuteRequest, now: float | None, language: str
) -> Markup:
    """The Status of a job (WPS 1.0.0, table 55)."""
    if job.finished is not None and job.state.terminal:
        time = job.finished
    else:
        time = now if now is not None else job.started or job.created
    return element(
        "wps:Status",
        _progress(job, request, language),
        attributes={"creationTime": _dateTime(time)},
    )


def _progress(job: Job, request: ExecuteRequest, language: str) -> Markup:
    # Clients need a text.
    message = job.message if job.message.strip() else ""
    match job.state:
        case State.SUCCEEDED:
            return element(
                "wps:ProcessSucceeded", escape(message or "The process has succeeded")
            )
        case State.FAILED | State.DISMISSED:
            faults = job.faults or (
                Fault("NoApplicableCode", message or f"The job is {job.state.value}"),
            )
            # birdy cuts the text of each state, so let there be one.
            return element(
                "wps:ProcessFailed", Markup("\n"), exceptionElement(faults, language)
            )
        case State.STARTED if request.status:
            return element(
                "wps:ProcessStarted",
                escape(message or "The process is running"),
                attributes={"percentCompleted": _percent(job.percent)},
            )
    # Without C{status} the document has no news until the end (WPS 1.0.0,
    # table 50).
    text = message if job.state is State.ACCEPTED else ""
    return element("wps:ProcessAccepted", escape(text or "The job is accepted"))


def _percent(percent: float) -> str:
    # Not a number compares false, and becomes 0.
    return str(int(min(percent, 99)) if percent > 0 else 0)


# Outputs


def _wanted(request: ExecuteRequest, names: Iterable[str]) -> tuple[OutputRequest, ...]:
    return request.outputs or tuple(OutputRequest(name) for name in names)


def _outputs(
    request: ExecuteRequest,
    process: ProcessDescription,
    result: Result,
    contents: Mapping[str, bytes],
    fileURL: Callable[[str], str],
    layerURL: Callable[[LayerValue], str],
) -> Markup | None:
    order = [item.identifier for item in process.outputs]
    names = [
        *(name for name in order if name in result.outputs),
        *(name for name in result.outputs if name not in order),
    ]
    rendered = []
    for wanted in _wanted(request, names):
        value = result.outputs.get(wanted.identifier)
        if value is not None:
            described = process.output(wanted.identifier)
            data = contents.get(wanted.identifier)
            rendered.append(
                element(
                    "wps:Output",
                    _titles(wanted, described, value),
                    _output(wanted, described, value, data, fileURL, layerURL),
                )
            )
    return element("wps:ProcessOutputs", *rendered) if rendered else None


def _titles(
    wanted: OutputRequest, described: OutputDescription | None, value: OutputData
) -> Markup:
    title = wanted.title or (described.title if described else "")
    if not title and isinstance(value, (FileValue, LayerValue)):
        title = value.title
    abstract = wanted.abstract or (described.abstract if described else "")
    return describe(wanted.identifier, title, abstract)


def _output(
    wanted: OutputRequest,
    described: OutputDescription | None,
    value: OutputData,
    data: bytes | None,
    fileURL: Callable[[str], str],
    layerURL: Callable[[LayerValue], str],
) -> Markup:
    match value:
        case LiteralValue():
            return element("wps:Data", _literal(value, described))
        case BoundingBoxValue():
            return element("wps:Data", _box(value))
        case FileValue():
            if data is None or wanted.asReference:
                return _fileReference("href", value, fileURL)
            return element("wps:Data", _complex(value.format, data, wanted.format))
        case LayerValue():
            attributes: dict[str, str | None] = {
                "href": anyURI(layerURL(value)),
                **complexEncoding(value.format),
            }
            return _referenceElement(attributes=attributes)


def _literal(value: LiteralValue, described: OutputDescription | None = None) -> Markup:
    dataType = value.dataType
    if dataType is None and described and isinstance(described.data, LiteralType):
        dataType = described.data.dataType
    return element(
        "wps:LiteralData",
        escape(literalText(value.value, dataType)),
        attributes={
            "dataType": anyURI(dataType) if dataType else None,
            "uom": anyURI(value.uom) if value.uom else None,
        },
    )


def _box(value: BoundingBoxValue) -> Markup:
    return element(
        "wps:BoundingBoxData",
        element("ows:LowerCorner", _position(value.lower)),
        element("ows:UpperCorner", _position(value.upper)),
        attributes={
            "crs": anyURI(value.crs) if value.crs else None,
            "dimensions": str(len(value.lower)) if value.lower else None,
        },
    )


def corners(value: BoundingBoxValue) -> str:
    """
    A bounding box as one text, as KVP has it (OWS Common 1.1.0, section
    10.2.3): the raw form of such an output.
    """
    numbers = ",".join(_double(number) for number in (*value.lower, *value.upper))
    return f"{numbers},{value.crs}" if value.crs else numbers


def _position(numbers: tuple[float, ...]) -> str:
    return " ".join(_double(number) for number in numbers)


def _double(number: float) -> str:
    """A number as xs:double writes it."""
    text = repr(float(number))
    special = {"inf": "INF", "-inf": "-INF", "nan": "NaN"}
    return special.get(text, text[:-2] if text.endswith(".0") else text)


def _referenceElement(
    *contents: Markup | None, attributes: Mapping[str, str | None]
) -> Markup:
    """A Reference on a line of its own: Lizmap looks for one a line."""
    return Markup(
        "\n" + element("wps:Reference", *contents, attributes=attributes) + "\n"
    )


def _fileReference(
    href: str, value: FileValue, fileURL: Callable[[str], str]
) -> Markup:
    # The URL gives the file as it is, whatever inline data would need.
    encoding = None if _isBase64(value.format) else value.format.encoding
    form = Format(value.format.mimeType, encoding, value.format.schema)
    return _referenceElement(
        attributes={href: anyURI(fileURL(value.path)), **complexEncoding(form)}
    )


# Complex data

_XML_TYPE = re.compile(r"[^;]*[/+]xml\s*(;.*)?|.*gml.*", re.IGNORECASE | re.DOTALL)
_TEXT_TYPE = re.compile(
    r"text/.*|[^;]*[/+.-]json\s*(;.*)?|.*(wkt|javascript|csv|geojson).*",
    re.IGNORECASE | re.DOTALL,
)


def _isBase64(form: Format | None) -> bool:
    return form is not None and (form.encoding or "").lower() == "base64"


def _complex(form: Format, data: bytes, wanted: Format | None) -> Markup:
    """
    Data of a file in the document (WPS 1.0.0, table 43): XML as elements,
    text as text, all else, or if the client wants it so, in base64.
    """
    content: Markup | None = None
    if not _isBase64(form) and not _isBase64(wanted):
        isXML = _XML_TYPE.fullmatch(form.mimeType) is not None
        if isXML:
            content = fragment(data)
        if content is None and (isXML or _TEXT_TYPE.fullmatch(form.mimeType)):
            content = _decoded(data)
    encoding = form.encoding if not _isBase64(form) else None
    if content is None:
        content = Markup(base64.b64encode(data).decode("ascii"))
        encoding = "base64"
    return element(
        "wps:ComplexData",
        content,
        attributes=complexEncoding(Format(form.mimeType, encoding, form.schema)),
    )


def _decoded(data: bytes) -> Markup | None:
    try:
        return escape(data.decode("utf-8-sig"))
    except UnicodeDecodeError:
        return None


# Lineage


def _inputs(request: ExecuteRequest, fileURL: Callable[[str], str]) -> Markup | None:
    """Each input as it was given, every occurrence (WPS 1.0.0, table 54)."""
    if not request.inputs:
        return None
    return element(
        "wps:DataInputs", *(_input(item, fileURL) for item in request.inputs)
    )


def _input(item: Input, fileURL: Callable[[str], str]) -> Markup:
    return element(
        "wps:Input",
        element("ows:Identifier", escape(item.identifier)),
        element("ows:Title", escape(item.title)) if item.title else None,
        element("ows:Abstract", escape(item.abstract)) if item.abstract else None,
        _inputValue(item.value, fileURL),
    )


def _inputValue(value: InputValue, fileURL: Callable[[str], str]) -> Markup:
    match value:
        case LiteralValue():
            return element("wps:Data", _literal(value))
        case BoundingBoxValue():
            return element("wps:Data", _box(value))
        case ComplexValue():
            return element(
                "wps:Data",
                element(
                    "wps:ComplexData",
                    _text(value.data, value.format),
                    attributes=complexEncoding(value.format),
                ),
            )
        case ReferenceValue():
            return _reference(value)
        case FileValue():
            return _fileReference("xlink:href", value, fileURL)


def _text(text: str, form: Format) -> Markup:
    inner = None
    if not _isBase64(form) and text.lstrip().startswith("<"):
        inner = fragment(text)
    return escape(text) if inner is None else inner


def _reference(value: ReferenceValue) -> Markup:
    headers = [
        element("wps:Header", attributes={"key": key, "value": text})
        for key, text in value.headers
    ]
    body = None
    if value.body is not None:
        body = element("wps:Body", _text(value.body, Format("")))
    elif value.bodyHref:
        body = element(
            "wps:BodyReference", attributes={"xlink:href": anyURI(value.bodyHref)}
        )
    return _referenceElement(
        *headers,
        body,
        attributes={
            "xlink:href": anyURI(value.href),
            "method": value.method if value.method == "POST" else None,
            **complexEncoding(value.format),
        },
    )


def _definitions(request: ExecuteRequest, process: ProcessDescription) -> Markup | None:
    """The outputs asked for; none named means all of them."""
    wanted = _wanted(request, (item.identifier for item in process.outputs))
    if not wanted:
        return None
    return element("wps:OutputDefinitions", *(_definition(item) for item in wanted))


def _definition(item: OutputRequest) -> Markup:
    return element(
        "wps:Output",
        element("ows:Identifier", escape(item.identifier)),
        element("ows:Title", escape(item.title)) if item.title else None,
        element("ows:Abstract", escape(item.abstract)) if item.abstract else None,
        attributes={
            "asReference": "true" if item.asReference else None,
            "uom": anyURI(item.uom) if item.uom else None,
            **(complexEncoding(item.format) if item.format else {}),
        },
    )
