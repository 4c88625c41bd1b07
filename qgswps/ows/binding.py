"""
Requests against descriptions: does what is asked fit the process?

This is the same for every protocol.  What a protocol's encoding leaves open,
as the type of a value in KVP, is settled here too.
"""

from __future__ import annotations

import datetime
import math
import re
from collections import Counter
from collections.abc import Callable, Iterable
from typing import Any

import attrs

from qgswps import forms, jsonschema, layerref, units
from qgswps.errors import Fault, OWSError, invalid
from qgswps.model import (
    VECTOR,
    BoundingBoxType,
    BoundingBoxValue,
    ComplexType,
    ComplexValue,
    ExecuteRequest,
    FileValue,
    Format,
    Input,
    InputDescription,
    InputValue,
    LayerSummary,
    LayerType,
    LiteralType,
    LiteralValue,
    OutputDescription,
    OutputRequest,
    ProcessDescription,
    ProjectPart,
    ProjectSummary,
    Range,
    ReferenceValue,
    fits,
)
from qgswps.ows import naming
from qgswps.ows.context import Context

INTEGERS = frozenset(
    (
        "integer",
        "int",
        "long",
        "short",
        "byte",
        "nonNegativeInteger",
        "positiveInteger",
        "unsignedInt",
        "unsignedLong",
    )
)
FLOATS = frozenset(("float", "double", "decimal"))
_INTEGER = re.compile(r"[+-]?[0-9]+(\.0*)?", re.ASCII)
_TIMES: dict[str, tuple[Callable[[str], object], str]] = {
    "dateTime": (datetime.datetime.fromisoformat, "2024-05-31T12:00:00Z"),
    "date": (datetime.date.fromisoformat, "2024-05-31"),
    "time": (datetime.time.fromisoformat, "12:00:00"),
}
_BOOLEANS = {"true": "true", "1": "true", "false": "false", "0": "false"}


class _Unfit(Exception):
    """A value that does not fit; the text says why."""

    def __init__(self, text: str, code: str = "InvalidParameterValue") -> None:
        super().__init__(text)
        self.code = code


def unknownProcess(identifier: str) -> OWSError:
    """There is no process of that name (WPS 1.0.0, tables 31 and 62)."""
    return invalid("identifier", f"there is no process {identifier!r}")


def bind(
    request: ExecuteRequest,
    description: ProcessDescription,
    layers: ProjectSummary | None = None,
    known: Iterable[Fault] = (),
) -> ExecuteRequest:
    """
    Check a request against the description of its process (without a
    project), and give its values the forms that the description says (WPS
    1.0.0, section 10.2).

    @param layers: what is known of the project that C{request.map} names.
    @param known: what is wrong already; the inputs that it names were given.
    @raise OWSError: all that is wrong.
    """
    faults = list(known)
    unread = {fault.locator for fault in faults}
    inputs = []
    project = Context(layers) if layers is not None else None
    for item in request.inputs:
        described = naming.find(description, item.identifier)
        if described is None:
            faults.append(
                Fault(
                    "InvalidParameterValue",
                    f"{description.identifier} has no input {item.identifier!r}",
                    item.identifier,
                )
            )
        elif not _absent(item.value, described):
            try:
                value = _value(item.value, described, request.map is not None, project)
            except _Unfit as why:
                text = f"the input {item.identifier} {why}"
                faults.append(Fault(why.code, text, item.identifier))
                # It was given, so that it is not called missing as well.
                value = item.value
            name = described.identifier
            inputs.append(attrs.evolve(item, identifier=name, value=value))
    faults.extend(
        fault
        for fault in _occurrences(inputs, description.inputs)
        if fault.locator not in unread
    )
    if project is not None:
        faulty = {fault.locator for fault in faults}
        fine = [item for item in inputs if item.identifier not in faulty]
        faults.extend(_parts(fine, description, project))
    outputs, wrong = _outputs(request, description)
    faults.extend(wrong)
    if faults:
        raise OWSError(faults)
    return attrs.evolve(request, inputs=tuple(inputs), outputs=outputs)


# Inputs


def _occurrences(
    inputs: Iterable[Input], described: Iterable[InputDescription]
) -> Iterable[Fault]:
    counts = Counter(item.identifier for item in inputs)
    for item in described:
        count = counts[item.identifier]
        if count == 0 and item.minOccurs > 0:
            yield Fault(
                "MissingParameterValue",
                f"the input {item.identifier} is missing",
                item.identifier,
            )
        elif count < item.minOccurs:
            yield Fault(
                "MissingParameterValue",
                f"the input {item.identifier} is given {count} times, "
                f"at least {item.minOccurs} are needed",
                item.identifier,
            )
        elif count > max(item.maxOccurs, 1):
            yield Fault(
                "InvalidParameterValue",
                f"the input {item.identifier} is given {count} times, "
                f"at most {max(item.maxOccurs, 1)} are taken",
                item.identifier,
            )


def _absent(value: InputValue, described: InputDescription) -> bool:
    """
    Whether an empty text stands for no value: forms send one for each
    optional field that is left empty.
    """
    if not isinstance(value, LiteralValue) or value.value.strip():
        return False
    data = described.data
    free = (
        isinstance(data, LiteralType)
        and data.dataType == "string"
        and data.part is None
        and not data.allowed
        and data.form in ("", "expression")
    )
    return described.minOccurs == 0 and not free


def _value(
    value: InputValue,
    described: InputDescription,
    withMap: bool,
    project: Context | None,
) -> InputValue:
    if isinstance(value, FileValue):
        # No protocol has a word for files of the server.
        raise _Unfit("can't be a file of the server")
    data = described.data
    match data:
        case LiteralType():
            literal = _literal(value, data)
            if project is not None and data.part is not None:
                return _part(literal, data.part, project.summary)
            return literal
        case BoundingBoxType():
            return _box(value, data)
        case ComplexType():
            given = _complex(value, data.formats, data.maximumMegabytes)
            if isinstance(given, ComplexValue) and not _isBase64(given.format.encoding):
                _mustBe(data.form, given.data)
                if data.jsonSchema is not None:
                    _checkJson(given, data.jsonSchema)
            return given
        case LayerType():
            if isinstance(value, LiteralValue) and withMap:
                name = _layer(value, data, project)
                if name is not None:
                    return name
            return _complex(value, data.formats, None)


def _layer(
    value: LiteralValue, data: LayerType, project: Context | None
) -> LiteralValue | None:
    """
    The name of a layer, or a reference to some of its features; None if it
    is neither but data.
    """
    text = value.value
    if project is not None:
        names = project.names(data.kinds)
        # A layer of such a name goes before what the name may mean.
        for candidate in (text, text.strip()):
            if candidate in names:
                return attrs.evolve(value, value=candidate)
    text = text.strip()
    if text[:1] in ("{", "<"):
        return None
    if not text:
        raise _Unfit("is the name of a layer, not empty")
    try:
        reference = layerref.parse(text)
    except ValueError as why:
        raise _Unfit(str(why)) from None
    if reference is not None:
        _mustBe("expression", reference.select or "")
    if project is not None:
        meant = text if reference is None else reference.name
        layer = _meant(meant, data, project)
        if reference is not None and reference.isSubset and layer.kind not in VECTOR:
            raise _Unfit(f"selects features, which the layer {meant!r} has none of")
    return attrs.evolve(value, value=text)


def _meant(name: str, data: LayerType, project: Context) -> LayerSummary:
    """The layer that an input takes by that name or id."""
    known = [
        layer for layer in project.summary.layers if name in (layer.name, layer.id)
    ]
    if not known:
        raise _Unfit(f"is {_short(name)}, and the project has no such layer")
    fitting = [layer for layer in known if fits(data.kinds, layer.kind)]
    if not fitting:
        raise _Unfit(f"can't be the layer {name!r}, which is not of a fitting kind")
    for layer in fitting:
        if layer.valid:
            return layer
    raise _Unfit(f"can't be the layer {name!r}, which can't be opened")


def _part(
    value: LiteralValue, part: ProjectPart, summary: ProjectSummary
) -> LiteralValue:
    """The name of a layout or a theme; of other parts the layer decides."""
    names = {"layout": summary.layouts, "theme": summary.themes}.get(part.kind)
    if names is None:
        return value
    for candidate in (value.value, value.value.strip()):
        if candidate in names:
            return attrs.evolve(value, value=candidate)
    choices = f"one of {_list(names)}" if names else f"a {part.kind}, but there is none"
    raise _Unfit(f"is {choices}, not {_short(value.value)}")


def _parts(
    inputs: list[Input], description: ProcessDescription, project: Context
) -> Iterable[Fault]:
    """
    What is wrong with the fields, bands and groups that are named: a layer of
    the project tells which it has.
    """
    for item in inputs:
        described = description.input(item.identifier)
        data = described.data if described is not None else None
        if not isinstance(data, LiteralType) or data.part is None:
            continue
        parent = description.input(data.part.parent or "")
        if parent is None or not isinstance(parent.data, LayerType):
            continue
        layers = [
            _meant(_nameOf(each.value.value, project), parent.data, project)
            for each in inputs
            if each.identifier == parent.identifier
            and isinstance(each.value, LiteralValue)
        ]
        if layers and isinstance(item.value, LiteralValue):
            names = dict.fromkeys(n for layer in layers for n in _has(layer, data.part))
            why = _unknownPart(item.value.value, data.part, tuple(names))
            if why is not None:
                text = f"the input {item.identifier} {why}"
                yield Fault("InvalidParameterValue", text, item.identifier)


def _nameOf(text: str, project: Context) -> str:
    """The layer that a bound value names."""
    reference = None if text in project.names(()) else layerref.parse(text)
    return text if reference is None else reference.name


def _has(layer: LayerSummary, part: ProjectPart) -> Iterable[str]:
    match part.kind:
        case "field":
            return (field.name for field in layer.fields)
        case "band":
            return (str(number + 1) for number in range(layer.bands))
    return layer.groups


def _unknownPart(text: str, part: ProjectPart, names: tuple[str, ...]) -> str | None:
    """Why there is no such field, band or group; None if there is."""
    if part.kind == "group" and text.strip().isdecimal():
        # Its number, which the worker knows.
        return None
    # QGIS does not heed the case of the letters of fields.
    known = {name.lower() for name in names}
    if {text.lower(), text.strip().lower()} & known:
        return None
    what = {"field": "a field", "band": "a band", "group": "a group of datasets"}
    said = what.get(part.kind, "a part")
    if not names:
        return f"is {said}, but the layer has none"
    return f"is one of {_list(names)}, not {_short(text)}"


def _literal(value: InputValue, data: LiteralType) -> LiteralValue:
    if isinstance(value, ComplexValue) and not _isBase64(value.format.encoding):
        # A long text is sent as complex data by some.
        value = LiteralValue(value.data)
    if isinstance(value, ReferenceValue):
        raise _Unfit("is literal data, which can't be sent by reference")
    if not isinstance(value, LiteralValue):
        raise _Unfit("is literal data")
    if data.dynamic and value.value.lstrip().startswith("{"):
        _checkDynamic(value.value)
        return value
    text = _typed(value.value, data.dataType)
    _mustBe(data.form, text)
    if value.uom and data.uoms:
        value = attrs.evolve(value, uom=_uom(value.uom, data))
        if value.uom != data.uoms[0]:
            # The bounds are in the default unit.
            inDefault = units.convert(_number(text), value.uom or "", data.uoms[0])
            if inDefault is not None and data.ranges:
                _chosen(repr(inDefault), data)
            return attrs.evolve(value, value=text)
    if data.dataType in _TIMES:
        _inTime(text, data)
    elif data.allowed or data.ranges:
        text = _chosen(text, data)
    return attrs.evolve(value, value=text)


def _mustBe(form: str, text: str) -> None:
    expected = forms.fault(form, text)
    if expected is not None:
        raise _Unfit(f"is {expected}, not {_short(text)}")


def _uom(text: str, data: LiteralType) -> str:
    """A unit as the description names it; its other names are understood."""
    known = {name.lower(): name for name in data.uoms}
    unit = units.find(text)
    found = known.get(text.strip().lower()) or (
        unit.name if unit is not None and unit.name in data.uoms else None
    )
    if found is None:
        raise _Unfit(f"has the unit {text.strip()!r}, not one of {_list(data.uoms)}")
    return found


def _checkDynamic(text: str) -> None:
    """Whether a JSON object says how each feature gives the value."""
    expected = 'is a value, {"field": NAME} or {"expression": TEXT}'
    try:
        found = jsonschema.parse(text)
    except ValueError as why:
        raise _Unfit(f"{expected}, but not JSON: {why}") from None
    if (
        len(found) != 1
        or not {"field", "expression"} & set(found)
        or not all(isinstance(each, str) and each for each in found.values())
    ):
        raise _Unfit(f"{expected}, not {_short(text)}")
    _mustBe("expression", found.get("expression", ""))


def _typed(text: str, dataType: str) -> str:
    """The text as its data type writes it."""
    bare = text.strip()
    if dataType == "boolean":
        if bare.lower() not in _BOOLEANS:
            raise _Unfit(f"is true or false, not {_short(text)}")
        return _BOOLEANS[bare.lower()]
    if dataType in INTEGERS:
        if _INTEGER.fullmatch(bare) is None:
            raise _Unfit(f"is an integer, not {_short(text)}")
        return bare.partition(".")[0]
    if dataType in FLOATS:
        _number(bare)
        return bare
    if dataType in _TIMES:
        read, example = _TIMES[dataType]
        try:
            read(bare)
        except ValueError:
            raise _Unfit(f"is like {example}, not {_short(text)}") from None
        return bare
    return text


def _inTime(text: str, data: LiteralType) -> None:
    """
    See whether a time is within its bounds.  One with a time zone and bounds
    without, or the other way round, are for the worker to compare.
    """
    read: Callable[[str], Any] = _TIMES[data.dataType][0]
    moment = read(text)
    for interval in data.ranges:
        try:
            earliest, latest = (
                None if bound is None else read(bound)
                for bound in (interval.minimum, interval.maximum)
            )
            early = earliest is not None and moment < earliest
            late = latest is not None and moment > latest
        except (TypeError, ValueError):
            continue
        if early or late:
            raise _Unfit(f"is {_interval(interval)}, not {_short(text)}")


def _number(text: str) -> float:
    try:
        # float() knows more than numbers on the wire: "1_000".
        number = float(text) if "_" not in text else math.nan
    except ValueError:
        raise _Unfit(f"is a number, not {_short(text)}") from None
    if not math.isfinite(number):
        raise _Unfit(f"is a finite number, not {_short(text)}")
    return number


def _chosen(text: str, data: LiteralType) -> str:
    """The text, if it is among the allowed values or in a range."""
    for candidate in (text, text.strip()):
        if candidate in data.allowed:
            return candidate
    if data.dataType in INTEGERS | FLOATS:
        number = _number(text)
        for value in data.allowed:
            if _equals(value, number):
                return value
        if any(_inside(number, interval) for interval in data.ranges):
            return text
    choices = [*data.allowed, *(_interval(item) for item in data.ranges)]
    raise _Unfit(f"is one of {_list(choices)}, not {_short(text)}")


def _equals(text: str, number: float) -> bool:
    try:
        return float(text) == number
    except ValueError:
        return False


def _inside(number: float, interval: Range) -> bool:
    return (interval.minimum is None or number >= float(interval.minimum)) and (
        interval.maximum is None or number <= float(interval.maximum)
    )


def _interval(interval: Range) -> str:
    if interval.maximum is None:
        return f"{interval.minimum} or more"
    if interval.minimum is None:
        return f"{interval.maximum} or less"
    return f"{interval.minimum} to {interval.maximum}"


def _box(value: InputValue, data: BoundingBoxType) -> BoundingBoxValue:
    if isinstance(value, LiteralValue):
        value = _boxFromText(value.value)
    if isinstance(value, ReferenceValue):
        raise _Unfit("is a bounding box, which can't be sent by reference")
    if not isinstance(value, BoundingBoxValue):
        raise _Unfit("is a bounding box")
    if len(value.lower) != 2 or len(value.upper) != 2:
        raise _Unfit("has two coordinates in each corner")
    if not all(math.isfinite(number) for number in (*value.lower, *value.upper)):
        raise _Unfit("has finite coordinates")
    if value.crs is not None:
        _mustBe("crs", value.crs)
    if any(low > high for low, high in zip(value.lower, value.upper, strict=True)):
        raise _Unfit("has the lower corner first, in the order of axes of its CRS")
    return value


def _boxFromText(text: str) -> BoundingBoxValue:
    """
    C{minx,miny,maxx,maxy[,crs[,dimensions]]} (OWS Common 1.1.0, section
    10.2.3).
    """
    parts = [part.strip() for part in text.split(",")]
    if not 4 <= len(parts) <= 6 or (len(parts) == 6 and parts[5] != "2"):
        raise _Unfit(f"is minx,miny,maxx,maxy[,crs], not {_short(text)}")
    left, bottom, right, top = (_number(part) for part in parts[:4])
    crs = parts[4] if len(parts) > 4 else ""
    return BoundingBoxValue((left, bottom), (right, top), crs or None)


def _complex(
    value: InputValue, formats: tuple[Format, ...], maximumMegabytes: int | None
) -> ComplexValue | ReferenceValue:
    if isinstance(value, LiteralValue):
        value = ComplexValue(value.value, Format(""))
    if isinstance(value, ReferenceValue):
        # Without a mimeType, the answer to the reference may have one.
        form = value.format
        if form.mimeType:
            form = _described(form, formats)
        return attrs.evolve(value, format=form, maximumMegabytes=maximumMegabytes)
    if not isinstance(value, ComplexValue):
        raise _Unfit("is complex data")
    if not value.data.strip():
        raise _Unfit("is empty")
    size = len(value.data)
    if maximumMegabytes is not None and size > maximumMegabytes << 20:
        raise _Unfit(f"has more than {maximumMegabytes} megabytes", "FileSizeExceeded")
    form = value.format
    if not form.mimeType:
        form = attrs.evolve(form, mimeType=_guess(value.data, formats))
    return attrs.evolve(value, format=_described(form, formats))


def _checkJson(value: ComplexValue, schema: str) -> None:
    """
    Whether JSON is as its schema says.  What is none may be in a form of
    QGIS's own, which the worker reads.
    """
    text = value.data.strip()
    if (
        len(text) > forms.LONGEST
        or _essence(value.format.mimeType) != "application/json"
        or text[0] not in "[{"
    ):
        return
    try:
        wrong = list(
            jsonschema.faults(jsonschema.parse(text), jsonschema.parse(schema))
        )
    except ValueError as why:
        raise _Unfit(f"is not JSON: {why}") from None
    if wrong:
        raise _Unfit(f"does not fit: {_list(wrong)}")


def _guess(text: str, formats: tuple[Format, ...]) -> str:
    """
    The media type of data that comes without one: the default, unless a
    look at the data says that it is another one of the text formats.
    """
    sign = {"{": "json", "<": "xml|gml"}.get(text.lstrip()[:1])
    if sign is not None:
        for form in formats:
            if re.search(sign, form.mimeType.lower()):
                return form.mimeType
    return formats[0].mimeType if formats else ""


# Formats


def _essence(mimeType: str) -> str:
    return mimeType.partition(";")[0].strip().lower()


def _normal(mimeType: str) -> str:
    return re.sub(r"\s+", "", mimeType).lower()


def _isBase64(encoding: str | None) -> bool:
    return encoding is not None and encoding.strip().lower() == "base64"


def _described(form: Format, formats: tuple[Format, ...]) -> Format:
    """
    A format that is described, in the words of its description.

    @param form: with a C{mimeType}, in any letter case and with or without
        parameters.
    """
    if not formats:
        return form
    fitting = [
        known for known in formats if _normal(known.mimeType) == _normal(form.mimeType)
    ] or [
        known
        for known in formats
        if _essence(known.mimeType) == _essence(form.mimeType)
    ]
    if not fitting:
        offered = dict.fromkeys(known.mimeType for known in formats)
        raise _Unfit(f"is in one of {_list(offered)}, not in {_short(form.mimeType)}")
    found = fitting[0]
    encoding = found.encoding
    if form.encoding:
        wanted = form.encoding.strip().lower()
        known = {item.encoding.lower(): item for item in fitting if item.encoding}
        if wanted in known:
            found = known[wanted]
            encoding = found.encoding
        elif wanted in ("base64", "utf-8", "utf8"):
            encoding = "base64" if wanted == "base64" else "UTF-8"
        else:
            raise _Unfit(f"can't have the encoding {_short(form.encoding)}")
    return Format(found.mimeType, encoding, form.schema or found.schema)


# Outputs


def _outputs(
    request: ExecuteRequest, description: ProcessDescription
) -> tuple[tuple[OutputRequest, ...], list[Fault]]:
    faults: list[Fault] = []
    bound: list[OutputRequest] = []
    wanted = request.outputs
    if request.raw:
        if not wanted and len(description.outputs) == 1:
            wanted = (OutputRequest(description.outputs[0].identifier),)
        if len(wanted) != 1:
            text = f"raw data output is one output, not {len(wanted)}"
            faults.append(Fault("InvalidParameterValue", text, "RawDataOutput"))
    counts = Counter(item.identifier for item in wanted)
    for name, count in counts.items():
        if count > 1:
            text = f"the output {name} is asked for {count} times"
            faults.append(Fault("InvalidParameterValue", text, name))
    for item in wanted:
        described = description.output(item.identifier)
        name = item.identifier
        if described is None:
            text = f"{description.identifier} has no output {name!r}"
            faults.append(Fault("InvalidParameterValue", text, name))
            continue
        try:
            bound.append(_output(item, described))
        except _Unfit as why:
            faults.append(Fault(why.code, f"the output {name} {why}", name))
    return tuple(bound), faults


def _output(item: OutputRequest, described: OutputDescription) -> OutputRequest:
    data = described.data
    if isinstance(data, (ComplexType, LayerType)):
        form = item.format
        if form is None or form == Format(""):
            # What the default is depends on whether there is a project.
            return attrs.evolve(item, format=None)
        if not form.mimeType:
            default = data.formats[0].mimeType if data.formats else ""
            form = attrs.evolve(form, mimeType=default)
        return attrs.evolve(item, format=_described(form, data.formats))
    if isinstance(data, LiteralType) and item.uom:
        if not data.uoms:
            raise _Unfit(f"has no unit, and can't be had in {_short(item.uom)}")
        return attrs.evolve(item, uom=_uom(item.uom, data))
    # Only complex data can be referenced or has a format (WPS 1.0.0, table 50):
    # that is ignored, but a part of what the lineage repeats.
    return item


# Texts


def _short(text: str) -> str:
    return repr(text if len(text) <= 80 else text[:77] + "...")


def _list(values: Iterable[str]) -> str:
    shown = list(values)
    text = ", ".join(shown[:20])
    return text if len(shown) <= 20 else f"{text} and {len(shown) - 20} more"
