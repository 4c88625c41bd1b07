"""The registry of parameter types, and what they have in common."""

from __future__ import annotations

import base64
import binascii
import os
import shutil
from collections.abc import Callable, Sequence
from functools import cache
from typing import Any, ClassVar, TypeVar

import attrs
from qgis.core import (
    QgsApplication,
    QgsExpression,
    QgsProcessingParameterDefinition,
    QgsProperty,
)

from qgswps import forms, jsonschema
from qgswps.errors import OWSError, invalid
from qgswps.model import (
    ComplexValue,
    DataType,
    FileValue,
    InputDescription,
    InputValue,
    LiteralType,
    LiteralValue,
    Metadata,
)
from qgswps.worker import compat, expressions
from qgswps.worker.job import Job, encoded

#: WPS 1.0.0 has no way to say "any number".
MANY = 1000


class Unpublished(Exception):
    """Something that is not published; its text is the reason."""


class Handler:
    """
    Describes and converts the parameters of one type.

    @cvar types: QGIS's ids of the types that it handles.
    """

    types: ClassVar[tuple[str, ...]] = ()

    def data(self, param: QgsProcessingParameterDefinition) -> DataType:
        """What values are like."""
        raise NotImplementedError

    def minOccurs(self, param: QgsProcessingParameterDefinition) -> int:
        """0 where QGIS has a default or does not need a value."""
        optional = compat.isSet(param.flags(), compat.PARAMETER_OPTIONAL)
        return 0 if optional or default(param) is not None else 1

    def maxOccurs(self, param: QgsProcessingParameterDefinition) -> int:
        """How many values there may be."""
        return 1

    def metadata(self, param: QgsProcessingParameterDefinition) -> list[Metadata]:
        """Further facts beside those that all parameters have."""
        return []

    def value(
        self,
        param: QgsProcessingParameterDefinition,
        inputs: Sequence[InputValue],
        job: Job,
    ) -> Any:
        """
        What QGIS takes; None to leave the parameter out.

        @param inputs: never empty, but for destinations.
        @raise OWSError: the client sent what can't be used.
        """
        raise NotImplementedError


HandlerClass = TypeVar("HandlerClass", bound=Callable[[], Handler])

_handlers: dict[str, Handler] = {}


def register(cls: HandlerClass) -> HandlerClass:
    """Class decorator: this handles its C{types}."""
    handler = cls()
    for type_ in handler.types:
        _handlers[type_] = handler
    return cls


def registerFallback(cls: HandlerClass) -> HandlerClass:
    """Class decorator: this handles what nobody else does."""
    _fallbacks.append(cls())
    return cls


_fallbacks: list[Handler] = []


def handlerOf(param: QgsProcessingParameterDefinition) -> Handler:
    """
    Who handles a parameter: by its type, else by the class of QGIS that its
    own derives from, as in Python's algorithms.

    @raise Unpublished: it is a destination of a type that nobody handles;
        where results go is never what a client says.
    """
    handler = _handlers.get(param.type())
    if handler is not None:
        return handler
    known = _typesOfClasses()
    for cls in type(param).__mro__:
        handler = _handlers.get(known.get(cls.__name__, ""))
        if handler is not None:
            return handler
    if param.isDestination():
        raise Unpublished(f"parameters of type {param.type()} are not handled")
    return _fallbacks[0]


@cache
def _typesOfClasses() -> dict[str, str]:
    """QGIS's ids of types by their classes."""
    types = QgsApplication.processingRegistry().parameterTypes()
    return {each.className(): each.id() for each in types if each.className()}


#: The methods by which parameters name others, and what clients know these as.
_PARENTS = (
    ("parentLayerParameterName", "processing:parentLayerParameterName"),
    ("parentParameterName", "processing:parentLayerParameterName"),
    ("meshLayerParameterName", "processing:parentLayerParameterName"),
    ("meshDatasetGroupParameterName", "processing:datasetGroupParameterName"),
    ("parentLayoutParameterName", "processing:parentLayoutParameterName"),
    ("parentConnectionParameterName", "processing:parentConnectionParameterName"),
    ("parentSchemaParameterName", "processing:parentSchemaParameterName"),
    ("sourceCrsParameterName", "processing:sourceCrsParameterName"),
    ("destinationCrsParameterName", "processing:destinationCrsParameterName"),
)


def _metadata(param: QgsProcessingParameterDefinition) -> list[Metadata]:
    """What is published of all parameters alike."""
    found = []
    for method, title in _PARENTS:
        name = getattr(param, method)() if hasattr(param, method) else ""
        if name:
            found.append(Metadata(title, str(name)))
    if param.isDynamic():
        layer = param.dynamicLayerParameterName()
        found.append(Metadata("processing:dynamicLayerParameterName", layer))
    if compat.isSet(param.flags(), compat.PARAMETER_ADVANCED):
        found.append(Metadata("processing:advanced", "true"))
    return found


def isHidden(param: QgsProcessingParameterDefinition) -> bool:
    """Whether QGIS does not show a parameter to users."""
    return compat.isSet(param.flags(), compat.PARAMETER_HIDDEN)


def default(param: QgsProcessingParameterDefinition) -> Any:
    """
    The default value of a parameter as Python's; None if there is none.

    Some algorithms have defaults that QGIS does not accept as values, to make
    users of its dialogs choose: these are none.
    """
    value = compat.plain(param.defaultValue())
    if value is None or param.checkValueIsAcceptable(value):
        return value
    if isinstance(value, list) and len(value) == 1:
        # Some give a list of one where one is meant.
        return value[0] if param.checkValueIsAcceptable(value[0]) else None
    return None


def describe(param: QgsProcessingParameterDefinition) -> InputDescription:
    """
    The input that a parameter is published as.

    @raise Unpublished: it can't be an input.
    """
    handler = handlerOf(param)
    metadata = dict.fromkeys(
        [
            Metadata("processing:type", param.type()),
            *handler.metadata(param),
            *_metadata(param),
        ]
    )
    data = handler.data(param)
    if param.isDynamic() and isinstance(data, LiteralType):
        data = attrs.evolve(data, dynamic=True)
    return InputDescription(
        identifier=param.name(),
        title=param.description() or param.name(),
        abstract=param.help(),
        data=data,
        minOccurs=handler.minOccurs(param),
        maxOccurs=handler.maxOccurs(param),
        metadata=tuple(metadata),
    )


def value(
    param: QgsProcessingParameterDefinition, inputs: Sequence[InputValue], job: Job
) -> Any:
    """What QGIS takes for a parameter, from all that a client sent for it."""
    try:
        handler = handlerOf(param)
    except Unpublished:
        if not inputs:
            return None
        raise invalid(param.name(), f"{param.name()} can't be given") from None
    most = handler.maxOccurs(param)
    if len(inputs) > most:
        raise invalid(
            param.name(),
            f"{param.name()} was given {len(inputs)} times, expected at most {most}",
        )
    if inputs and param.isDynamic():
        found = _property(param, inputs[0])
        if found is not None:
            return found
    return handler.value(param, inputs, job)


def _property(
    param: QgsProcessingParameterDefinition, given: InputValue
) -> QgsProperty | None:
    """What gives each feature a value of its own; None if it is one for all."""
    if not isinstance(given, (LiteralValue, ComplexValue)):
        return None
    source = text(param, given).strip()
    if not source.startswith("{"):
        return None
    try:
        found = jsonschema.parse(source)
    except ValueError:
        found = {}
    match found:
        case {"field": str(name)} if name and len(found) == 1:
            return QgsProperty.fromField(name)
        case {"expression": str(formula)} if formula and len(found) == 1:
            checkExpression(param, formula)
            return QgsProperty.fromExpression(formula)
    raise unexpected(
        param, repr(source), 'a value, {"field": NAME} or {"expression": TEXT}'
    )


def checkExpression(param: QgsProcessingParameterDefinition, source: str) -> None:
    """
    See whether a text is an expression, and one that a client may use.

    @raise OWSError: it is not.
    """
    expression = QgsExpression(source)
    if expression.hasParserError():
        why = " ".join(expression.parserErrorString().split())
        raise unexpected(param, repr(source), f"an expression: {why}")
    refused = expressions.forbidden(expression)
    if refused is not None:
        raise unexpected(param, repr(source), f"an expression without {refused}")


def _isBase64(given: ComplexValue) -> bool:
    return (given.format.encoding or "").lower() == "base64"


def mustBe(param: QgsProcessingParameterDefinition, form: str, given: str) -> None:
    """
    See whether a text is of one of L{forms.FORMS}.

    @raise OWSError: it is not.
    """
    expected = forms.fault(form, given)
    if expected is not None:
        raise unexpected(param, repr(given), expected)


def content(
    param: QgsProcessingParameterDefinition, given: InputValue, job: Job
) -> bytes:
    """The bytes of data, in whatever way they came."""
    match given:
        case FileValue():
            with open(filePath(param, given, job), "rb") as file:
                return file.read()
        case ComplexValue() if _isBase64(given):
            try:
                return base64.b64decode("".join(given.data.split()), validate=True)
            except (binascii.Error, ValueError):
                raise unexpected(param, "not valid base64", "that") from None
        case ComplexValue():
            return encoded(given.data)
        case LiteralValue():
            return given.value.encode("utf-8", "surrogateescape")
    raise unexpected(param, "of another kind", "data")


def filePath(
    param: QgsProcessingParameterDefinition, given: FileValue, job: Job
) -> str:
    """The absolute path of data that is in a file."""
    path = os.path.join(job.directory, given.path)
    if job.relative(path) is None or not os.path.isfile(path):
        raise unexpected(param, "without data", "some")
    return path


def copied(
    param: QgsProcessingParameterDefinition, given: InputValue, path: str, job: Job
) -> None:
    """Put data into a file; large data that is in one already stays on the disk."""
    if isinstance(given, FileValue):
        source = filePath(param, given, job)
        try:
            os.link(source, path)
        except OSError:
            shutil.copyfile(source, path)
        return
    with open(path, "wb") as file:
        file.write(content(param, given, job))


def written(
    param: QgsProcessingParameterDefinition, given: InputValue, job: Job
) -> str:
    """The text of data that is one, without blanks around it."""
    if isinstance(given, ComplexValue) and not _isBase64(given):
        return given.data.strip()
    try:
        return content(param, given, job).decode("utf-8-sig").strip()
    except UnicodeDecodeError:
        raise unexpected(param, "not in UTF-8", "a text") from None


def text(param: QgsProcessingParameterDefinition, given: InputValue) -> str:
    """The text of a value that is one."""
    if isinstance(given, LiteralValue):
        return given.value
    if isinstance(given, ComplexValue) and given.format.encoding != "base64":
        # Some clients wrap any text into ComplexData.
        return given.data
    raise unexpected(param, "data", "a text")


def listed(names: Sequence[str]) -> str:
    """Names for the text of a fault; of many only the first ones."""
    return ", ".join(names[:30]) + (" …" if len(names) > 30 else "")


def unexpected(
    param: QgsProcessingParameterDefinition, given: str, expected: str
) -> OWSError:
    """What a client is told of a value that can't be used."""
    return invalid(param.name(), f"{param.name()} is {given}, expected {expected}")
