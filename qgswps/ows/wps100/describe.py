"""
The ProcessDescriptions document (WPS 1.0.0, section 9.3).

Its schema leaves the elements of descriptions unqualified, those of OWS
Common excepted.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator
from itertools import chain
from urllib.parse import quote

import attrs

from qgswps import units
from qgswps.errors import failure
from qgswps.model import (
    BoundingBoxType,
    ComplexType,
    DataType,
    Format,
    InputDescription,
    LayerType,
    LiteralType,
    Metadata,
    OutputDescription,
    ProcessDescription,
    Range,
)
from qgswps.ows.naming import published
from qgswps.ows.wps100.common import (
    UNKNOWN_TYPE,
    description,
    literalText,
    mimeTypeOf,
    processBrief,
    responseBase,
)
from qgswps.ows.xmlio import Markup, anyURI, document, element, escape, optional


def processDescriptions(
    descriptions: Iterable[ProcessDescription],
    language: str = "en",
    render: Callable[[ProcessDescription], Markup] | None = None,
) -> bytes:
    """
    Processes in full.

    @param descriptions: in the order asked for; those without an output
        can't be described and are passed over.
    @param render: makes the element of one process; a cache around
        L{processDescription} fits.
    @raise OWSError: no process is left.
    """
    return b"".join(processDescriptionParts(descriptions, language, render))


def processDescriptionParts(
    descriptions: Iterable[ProcessDescription],
    language: str = "en",
    render: Callable[[ProcessDescription], Markup] | None = None,
) -> Iterator[bytes]:
    """
    The same document in parts: that of a whole toolbox has megabytes.

    @raise OWSError: at once, no process is left.
    """
    make = processDescription if render is None else render
    described = (process for process in descriptions if process.outputs)
    first = next(described, None)
    if first is None:
        raise failure("a process without outputs can't be described")
    place = Markup("<?here?>")
    whole = document(
        "wps:ProcessDescriptions", place, attributes=responseBase(language)
    )
    before, after = whole.split(place.encode())
    yield before
    for process in chain((first,), described):
        yield make(process).encode()
    yield after


def processDescription(
    process: ProcessDescription, maximumMegabytes: int | None = None
) -> Markup:
    """
    One process as an element of that document.

    @param maximumMegabytes: the server's cap on complex inputs, for those
        that have none of their own.
    """
    keywords = [Metadata(word) for word in process.keywords]
    names = published(process)
    inputs = [
        _input(item, names[item.identifier], maximumMegabytes)
        for item in process.inputs
    ]
    return element(
        "ProcessDescription",
        processBrief(process, [*process.metadata, *keywords]),
        element("DataInputs", *inputs) if inputs else None,
        element("ProcessOutputs", *(_output(item) for item in process.outputs)),
        attributes={
            "wps:processVersion": process.version,
            "storeSupported": "true",
            "statusSupported": "true",
        },
    )


def _input(item: InputDescription, name: str, maximumMegabytes: int | None) -> Markup:
    minimum = max(item.minOccurs, 0)
    return element(
        "Input",
        description(name, item.title, _abstract(item), _metadata(item)),
        _inputForm(item.data, maximumMegabytes),
        attributes={
            "minOccurs": str(minimum),
            "maxOccurs": str(max(item.maxOccurs, minimum, 1)),
        },
    )


def _abstract(item: InputDescription) -> str:
    """
    The abstract of an input, with the default that only a literal has an
    element for, and for one value alone (WPS 1.0.0, table 26).
    """
    default = ""
    if isinstance(item.data, BoundingBoxType) and item.data.default is not None:
        default = ",".join(f"{number:.12g}" for number in item.data.default)
    elif isinstance(item.data, (LayerType, ComplexType)) and item.data.default:
        default = item.data.default
    elif isinstance(item.data, LiteralType):
        default = ", ".join(item.data.defaults)
    return f"{item.abstract}\nDefault: {default}".strip() if default else item.abstract


def _metadata(item: InputDescription) -> list[Metadata]:
    """The metadata of an input, and of several defaults each."""
    values = item.data.defaults if isinstance(item.data, LiteralType) else ()
    return [*item.metadata, *(Metadata("processing:default", each) for each in values)]


def _inputForm(data: DataType, maximumMegabytes: int | None) -> Markup:
    match data:
        case LiteralType():
            return _literalInput(data)
        case BoundingBoxType():
            return _boundingBox("BoundingBoxData", data)
        case ComplexType():
            cap = data.maximumMegabytes or maximumMegabytes
            formats = tuple(_withSchema(form, data.jsonSchema) for form in data.formats)
            return _complex("ComplexData", formats, cap)
        case LayerType():
            return _complex("ComplexData", data.formats, maximumMegabytes)


def _withSchema(form: Format, jsonSchema: str | None) -> Format:
    """The schema of JSON stands in the document itself (RFC 2397)."""
    if jsonSchema is None or form.schema or form.mimeType != "application/json":
        return form
    url = "data:application/schema+json," + quote(jsonSchema, safe=":,/")
    return attrs.evolve(form, schema=url)


def _output(item: OutputDescription) -> Markup:
    data = item.data
    match data:
        case LiteralType():
            form = element("LiteralOutput", _dataType(data), _uoms(data))
        case BoundingBoxType():
            form = _boundingBox("BoundingBoxOutput", data)
        case ComplexType() | LayerType():
            form = _complex("ComplexOutput", data.formats, None)
    return element(
        "Output",
        description(item.identifier, item.title, item.abstract, item.metadata),
        form,
    )


def _dataType(data: LiteralType) -> Markup:
    return element(
        "ows:DataType",
        escape(data.dataType),
        attributes={
            "ows:reference": anyURI(
                f"http://www.w3.org/TR/xmlschema-2/#{data.dataType}"
            )
        },
    )


def _uoms(data: LiteralType) -> Markup | None:
    if not data.uoms:
        return None
    elements = [
        element(
            "ows:UOM", escape(name), attributes={"ows:reference": _unitReference(name)}
        )
        for name in data.uoms
    ]
    return element(
        "UOMs", element("Default", elements[0]), element("Supported", *elements)
    )


def _unitReference(name: str) -> str | None:
    reference = units.reference(name)
    return None if reference is None else anyURI(reference)


def _literalInput(data: LiteralType) -> Markup:
    values = [element("ows:Value", escape(text)) for text in data.allowed]
    values.extend(_range(interval) for interval in data.ranges)
    default = data.default
    return element(
        "LiteralData",
        _dataType(data),
        _uoms(data),
        element("ows:AllowedValues", *values) if values else element("ows:AnyValue"),
        element("DefaultValue", escape(literalText(default, data.dataType)))
        if default is not None
        else None,
    )


def _range(interval: Range) -> Markup:
    return element(
        "ows:Range",
        optional("ows:MinimumValue", interval.minimum),
        optional("ows:MaximumValue", interval.maximum),
    )


def _boundingBox(name: str, data: BoundingBoxType) -> Markup:
    crss = data.crss or ("EPSG:4326",)
    elements = [element("CRS", anyURI(crs)) for crs in crss]
    return element(
        name, element("Default", elements[0]), element("Supported", *elements)
    )


def _complex(name: str, formats: tuple[Format, ...], megabytes: int | None) -> Markup:
    elements = [_format(form) for form in formats or (Format(UNKNOWN_TYPE),)]
    return element(
        name,
        element("Default", elements[0]),
        element("Supported", *elements),
        attributes={"maximumMegabytes": str(megabytes) if megabytes else None},
    )


def _format(form: Format) -> Markup:
    return element(
        "Format",
        element("MimeType", escape(mimeTypeOf(form) or UNKNOWN_TYPE)),
        element("Encoding", anyURI(form.encoding)) if form.encoding else None,
        element("Schema", anyURI(form.schema)) if form.schema else None,
    )
