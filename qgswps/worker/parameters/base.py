"""The registry of parameter types, and what they have in common."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any, ClassVar, TypeVar

from qgis.core import QgsProcessingParameterDefinition

from qgswps.errors import OWSError, invalid
from qgswps.model import (
    ComplexValue,
    DataType,
    InputDescription,
    InputValue,
    LiteralValue,
    Metadata,
)
from qgswps.worker import compat
from qgswps.worker.job import Job

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

    @raise Unpublished: nobody handles its type.
    """
    handler = _handlers.get(param.type())
    if handler is None:
        raise Unpublished(f"parameters of type {param.type()} are not handled")
    metadata = [Metadata("processing:type", param.type()), *handler.metadata(param)]
    if compat.isSet(param.flags(), compat.PARAMETER_ADVANCED):
        metadata.append(Metadata("processing:advanced", "true"))
    return InputDescription(
        identifier=param.name(),
        title=param.description() or param.name(),
        abstract=param.help(),
        data=handler.data(param),
        minOccurs=handler.minOccurs(param),
        maxOccurs=handler.maxOccurs(param),
        metadata=tuple(metadata),
    )


def value(
    param: QgsProcessingParameterDefinition, inputs: Sequence[InputValue], job: Job
) -> Any:
    """What QGIS takes for a parameter, from all that a client sent for it."""
    handler = _handlers.get(param.type())
    if handler is None:
        if not inputs:
            return None
        raise invalid(param.name(), f"{param.name()} can't be given")
    most = handler.maxOccurs(param)
    if len(inputs) > most:
        raise invalid(
            param.name(),
            f"{param.name()} was given {len(inputs)} times, expected at most {most}",
        )
    return handler.value(param, inputs, job)


def text(param: QgsProcessingParameterDefinition, given: InputValue) -> str:
    """The text of a value that is one."""
    if isinstance(given, LiteralValue):
        return given.value
    if isinstance(given, ComplexValue) and given.format.encoding != "base64":
        # Some clients wrap any text into ComplexData.
        return given.data
    raise unexpected(param, "data", "a text")


def unexpected(
    param: QgsProcessingParameterDefinition, given: str, expected: str
) -> OWSError:
    """What a client is told of a value that can't be used."""
    return invalid(param.name(), f"{param.name()} is {given}, expected {expected}")
