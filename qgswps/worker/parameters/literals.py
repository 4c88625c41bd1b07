"""Parameters whose value one text says."""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import Any, ClassVar

import attrs
from qgis.core import QgsProcessingParameterDefinition, QgsUnitTypes

from qgswps import forms, units
from qgswps.model import (
    InputValue,
    LiteralType,
    LiteralValue,
    Metadata,
    ProjectPart,
    Range,
)
from qgswps.worker import compat
from qgswps.worker.job import Job
from qgswps.worker.parameters.base import (
    MANY,
    Handler,
    default,
    listed,
    mustBe,
    register,
    text,
    unexpected,
)

_TRUE = {"true", "1", "yes", "on"}
_FALSE = {"false", "0", "no", "off"}

#: QGIS's way to say that a number has no bound: the limits of C++'s types.
_UNBOUNDED = 1.7e308
_UNBOUNDED_INTEGERS = {2147483647, -2147483648, -2147483647}

_INTEGER = 0
_FIELD_TYPES = {
    -1: "Any",
    0: "Numeric",
    1: "String",
    2: "DateTime",
    3: "Binary",
    4: "Boolean",
}

#: The same in the words of the model.
_FIELD_KINDS = {
    number: name.lower() for number, name in _FIELD_TYPES.items() if number >= 0
}


def numberText(number: float, integer: bool = False) -> str:
    """A number as published: the shortest text that says it."""
    if integer or (float(number).is_integer() and abs(number) < 1e15):
        return str(int(number))
    return repr(float(number))


def toNumber(
    param: QgsProcessingParameterDefinition, given: str, integer: bool = False
) -> float:
    """A number from a text; neither infinite nor NaN."""
    expected = "an integer" if integer else "a number"
    try:
        number = float(given.strip())
    except ValueError:
        raise unexpected(param, repr(given), expected) from None
    if not math.isfinite(number) or (integer and not number.is_integer()):
        raise unexpected(param, repr(given), expected)
    # A large integer is not exactly a float.
    if integer:
        return int(given) if given.strip().lstrip("+-").isdigit() else int(number)
    return number


def toBoolean(param: QgsProcessingParameterDefinition, given: str) -> bool:
    """A boolean from a text."""
    word = given.strip().lower()
    if word in _TRUE:
        return True
    if word in _FALSE:
        return False
    raise unexpected(param, repr(given), "true or false")


@register
class BooleanHandler(Handler):
    """C{true} or C{false}."""

    types = ("boolean",)

    def data(self, param: QgsProcessingParameterDefinition) -> LiteralType:
        value = default(param)
        if value is not None:
            word = str(value).strip().lower()
            value = "true" if word in _TRUE else "false"
        return LiteralType("boolean", value)

    def value(
        self,
        param: QgsProcessingParameterDefinition,
        inputs: Sequence[InputValue],
        job: Job,
    ) -> bool:
        return toBoolean(param, text(param, inputs[0]))


@register
class StringHandler(Handler):
    """Any text."""

    types: ClassVar[tuple[str, ...]] = ("string",)

    def data(self, param: QgsProcessingParameterDefinition) -> LiteralType:
        value = default(param)
        return LiteralType("string", None if value is None else str(value))

    def value(
        self,
        param: QgsProcessingParameterDefinition,
        inputs: Sequence[InputValue],
        job: Job,
    ) -> str:
        return text(param, inputs[0])


@register
class NumberHandler(Handler):
    """A number, perhaps within bounds, perhaps with a unit."""

    types = ("number", "distance", "duration", "scale", "area", "volume")

    @staticmethod
    def _isInteger(param: QgsProcessingParameterDefinition) -> bool:
        return compat.number(param.dataType()) == _INTEGER

    def data(self, param: QgsProcessingParameterDefinition) -> LiteralType:
        integer = self._isInteger(param)
        value = default(param)
        try:
            value = None if value is None else numberText(float(value), integer)
        except (TypeError, ValueError):
            # A default that an expression computes has no text.
            value = None
        minimum = self._bound(param.minimum(), integer)
        maximum = self._bound(param.maximum(), integer)
        bounded = minimum is not None or maximum is not None
        return LiteralType(
            "integer" if integer else "float",
            value,
            ranges=(Range(minimum, maximum),) if bounded else (),
            uoms=self._units(param),
        )

    @staticmethod
    def _unit(param: QgsProcessingParameterDefinition) -> str | None:
        """The unit that a bare number is in; None if none or unknown."""
        if param.type() == "scale":
            return "1"
        if not hasattr(param, "defaultUnit"):
            return None
        unit = units.find(QgsUnitTypes.encodeUnit(param.defaultUnit()))
        return None if unit is None else unit.name

    def _units(self, param: QgsProcessingParameterDefinition) -> tuple[str, ...]:
        """What units it may be given in, that of a bare number first."""
        default = self._unit(param)
        match param.type():
            case "distance":
                known = default or units.MAP_UNITS
                return tuple(dict.fromkeys([*units.names("length", known), "deg"]))
            case "area" | "volume" | "duration" | "scale" as quantity:
                return units.names(quantity, default)
        return ()

    def _converted(
        self,
        param: QgsProcessingParameterDefinition,
        number: float,
        given: InputValue,
        job: Job,
    ) -> float:
        """A number in the unit that QGIS takes it in."""
        uom = given.uom if isinstance(given, LiteralValue) else None
        offered = self._units(param)
        if not uom or not offered or uom == units.MAP_UNITS:
            return number
        target = self._unit(param) or self._unitOfParent(param, job)
        if target is None:
            # Of a unit that is not known no number can be converted.
            raise unexpected(param, f"in {uom}", "a number without a unit")
        found = units.convert(number, uom, target)
        if found is None:
            raise unexpected(param, f"in {uom}", f"a unit that converts to {target}")
        if not self._isInteger(param):
            return found
        if not float(found).is_integer():
            raise unexpected(param, f"{found} {target}", "an integer")
        return int(found)

    @staticmethod
    def _unitOfParent(param: QgsProcessingParameterDefinition, job: Job) -> str | None:
        """The unit of the CRS of the layer, or the CRS, that it belongs to."""
        parent = param.parentParameterName()
        algorithm = param.algorithm()
        if not parent or algorithm is None or parent not in job.values:
            return None
        crs = algorithm.parameterAsCrs(job.values, parent, job.context)
        if not crs.isValid():
            return None
        unit = units.find(QgsUnitTypes.encodeUnit(crs.mapUnits()))
        return None if unit is None else unit.name

    @staticmethod
    def _bound(bound: float, integer: bool) -> str | None:
        if not math.isfinite(bound) or abs(bound) > _UNBOUNDED:
            return None
        if bound in _UNBOUNDED_INTEGERS:
            return None
        return numberText(bound, integer)

    def metadata(self, param: QgsProcessingParameterDefinition) -> list[Metadata]:
        metadata = []
        if hasattr(param, "defaultUnit"):
            unit = QgsUnitTypes.toString(param.defaultUnit())
            if "unknown" not in unit:
                metadata.append(Metadata("processing:defaultUnit", unit))
        return metadata

    def value(
        self,
        param: QgsProcessingParameterDefinition,
        inputs: Sequence[InputValue],
        job: Job,
    ) -> float:
        number = toNumber(param, text(param, inputs[0]), self._isInteger(param))
        number = self._converted(param, number, inputs[0], job)
        if not param.minimum() <= number <= param.maximum():
            integer = self._isInteger(param)
            low = self._bound(param.minimum(), integer)
            high = self._bound(param.maximum(), integer)
            limits = []
            if low is not None:
                limits.append(f"at least {low}")
            if high is not None:
                limits.append(f"at most {high}")
            raise unexpected(
                param, numberText(number, integer), " and ".join(limits) or "less"
            )
        return number


@register
class EnumHandler(Handler):
    """One or several of a list of texts."""

    types = ("enum",)

    def data(self, param: QgsProcessingParameterDefinition) -> LiteralType:
        options = tuple(dict.fromkeys(param.options()))
        return _withDefaults(
            LiteralType("string", allowed=options), self._defaults(param)
        )

    def _defaults(self, param: QgsProcessingParameterDefinition) -> list[str]:
        value = default(param)
        if value is None or value == "":
            return []
        if isinstance(value, str) and param.allowMultiple():
            value = value.split(",")
        values = value if isinstance(value, (list, tuple)) else [value]
        found = [self._option(param, each) for each in values]
        return [] if None in found else list(map(str, found))

    @staticmethod
    def _option(param: QgsProcessingParameterDefinition, value: Any) -> str | None:
        """The option that one of QGIS's values means."""
        options = param.options()
        try:
            index = None if param.usesStaticStrings() else int(value)
        except (TypeError, ValueError):
            index = None
        if index is not None:
            return str(options[index]) if 0 <= index < len(options) else None
        return str(value) if str(value) in options else None

    def maxOccurs(self, param: QgsProcessingParameterDefinition) -> int:
        return max(1, len(param.options())) if param.allowMultiple() else 1

    def value(
        self,
        param: QgsProcessingParameterDefinition,
        inputs: Sequence[InputValue],
        job: Job,
    ) -> Any:
        values = [self._one(param, text(param, given)) for given in inputs]
        return values if param.allowMultiple() else values[0]

    @staticmethod
    def _one(param: QgsProcessingParameterDefinition, given: str) -> Any:
        options = param.options()
        if given in options:
            return given if param.usesStaticStrings() else options.index(given)
        # QGIS's own numbers are understood too.
        word = given.strip()
        if word.isdecimal() and int(word) < len(options):
            return options[int(word)] if param.usesStaticStrings() else int(word)
        raise unexpected(param, repr(given), f"one of: {listed(options)}")


def _withDefaults(data: LiteralType, values: Sequence[str]) -> LiteralType:
    """A description with the values that QGIS takes when none is given."""
    if len(values) == 1:
        return attrs.evolve(data, default=values[0])
    return attrs.evolve(data, defaults=tuple(values))


def _defaultTexts(param: QgsProcessingParameterDefinition) -> list[str]:
    """The defaults of a parameter that may take several values."""
    value = default(param)
    if isinstance(value, str) and param.allowMultiple():
        # QGIS's own separator.
        value = value.split(";")
    values = value if isinstance(value, (list, tuple)) else [value]
    return [str(each) for each in values if each is not None and each != ""]


@register
class AttributeHandler(Handler):
    """The name of an attribute of a point cloud."""

    types: ClassVar[tuple[str, ...]] = ("attribute",)

    def data(self, param: QgsProcessingParameterDefinition) -> LiteralType:
        return _withDefaults(LiteralType("string"), _defaultTexts(param))

    def maxOccurs(self, param: QgsProcessingParameterDefinition) -> int:
        return MANY if param.allowMultiple() else 1

    def value(
        self,
        param: QgsProcessingParameterDefinition,
        inputs: Sequence[InputValue],
        job: Job,
    ) -> Any:
        names = [text(param, given) for given in inputs]
        return names if param.allowMultiple() else names[0]


@register
class FieldHandler(AttributeHandler):
    """The name of an attribute of a layer."""

    types = ("field",)

    def data(self, param: QgsProcessingParameterDefinition) -> LiteralType:
        part = ProjectPart(
            "field",
            param.parentLayerParameterName() or None,
            _FIELD_KINDS.get(compat.number(param.dataType())),
        )
        return _withDefaults(LiteralType("string", part=part), _defaultTexts(param))

    def metadata(self, param: QgsProcessingParameterDefinition) -> list[Metadata]:
        kind = _FIELD_TYPES.get(compat.number(param.dataType()), "Any")
        return [Metadata("processing:dataType", kind)]


@register
class BandHandler(Handler):
    """The number of a band of a raster layer, from 1."""

    types = ("band",)

    def data(self, param: QgsProcessingParameterDefinition) -> LiteralType:
        data = LiteralType(
            "integer",
            ranges=(Range("1"),),
            part=ProjectPart("band", param.parentLayerParameterName() or None),
        )
        return _withDefaults(data, _defaultTexts(param))

    def maxOccurs(self, param: QgsProcessingParameterDefinition) -> int:
        return MANY if param.allowMultiple() else 1

    def value(
        self,
        param: QgsProcessingParameterDefinition,
        inputs: Sequence[InputValue],
        job: Job,
    ) -> Any:
        bands = [int(toNumber(param, text(param, given), True)) for given in inputs]
        if min(bands) < 1:
            raise unexpected(param, str(min(bands)), "the number of a band, from 1")
        return bands if param.allowMultiple() else bands[0]


class PartHandler(Handler):
    """
    The name of something that a project has beside its layers.

    @cvar part: as in L{ProjectPart.kind}.
    @cvar said: what clients are told that it is.
    """

    part: ClassVar[str]
    said: ClassVar[str]

    def data(self, param: QgsProcessingParameterDefinition) -> LiteralType:
        value = default(param)
        return LiteralType(
            "string",
            None if value is None else str(value),
            part=ProjectPart(self.part),
        )

    def names(self, job: Job) -> list[str]:
        """What there is."""
        raise NotImplementedError

    def value(
        self,
        param: QgsProcessingParameterDefinition,
        inputs: Sequence[InputValue],
        job: Job,
    ) -> str:
        given = text(param, inputs[0])
        names = sorted(self.names(job))
        if given not in names:
            raise unexpected(
                param,
                repr(given),
                f"{self.said} of the project: {listed(names) or 'it has none'}"
                if job.hasProject
                else f"{self.said} of a project that MAP names",
            )
        return given


@register
class LayoutHandler(PartHandler):
    """The name of a print layout."""

    types = ("layout",)
    part = "layout"
    said = "a layout"

    def names(self, job: Job) -> list[str]:
        return [each.name() for each in job.project.layoutManager().printLayouts()]


@register
class MapThemeHandler(PartHandler):
    """The name of a map theme."""

    types = ("maptheme",)
    part = "theme"
    said = "a map theme"

    def names(self, job: Job) -> list[str]:
        return list(job.project.mapThemeCollection().mapThemes())


@register
class LayoutItemHandler(StringHandler):
    """An item of a print layout, by its id or UUID."""

    types = ("layoutitem",)

    def value(
        self,
        param: QgsProcessingParameterDefinition,
        inputs: Sequence[InputValue],
        job: Job,
    ) -> str:
        given = text(param, inputs[0])
        name = job.values.get(param.parentLayoutParameterName())
        layout = job.project.layoutManager().layoutByName(name) if name else None
        if layout is None:
            # QGIS says what is wrong with the layout.
            return given
        if layout.itemById(given) is None and layout.itemByUuid(given) is None:
            raise unexpected(
                param, repr(given), f"an item of the layout {name!r}, by its id"
            )
        return given


@register
class RangeHandler(Handler):
    """Two numbers as C{min,max}."""

    types = ("range",)

    def data(self, param: QgsProcessingParameterDefinition) -> LiteralType:
        value = default(param)
        if isinstance(value, (list, tuple)):
            value = ",".join(numberText(float(each)) for each in value)
        shown = str(value) if value else None
        return LiteralType("string", shown, form=self._form(param))

    @staticmethod
    def _isInteger(param: QgsProcessingParameterDefinition) -> bool:
        return compat.number(param.dataType()) == _INTEGER

    def _form(self, param: QgsProcessingParameterDefinition) -> str:
        return "integerrange" if self._isInteger(param) else "range"

    def metadata(self, param: QgsProcessingParameterDefinition) -> list[Metadata]:
        kind = "Integer" if self._isInteger(param) else "Double"
        return [Metadata("processing:dataType", kind)]

    def value(
        self,
        param: QgsProcessingParameterDefinition,
        inputs: Sequence[InputValue],
        job: Job,
    ) -> list[float]:
        given = text(param, inputs[0])
        mustBe(param, self._form(param), given)
        low, high = forms.numbers(given)
        return [int(low), int(high)] if self._isInteger(param) else [low, high]
