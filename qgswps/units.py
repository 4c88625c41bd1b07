"""Units of measure: their names, their codes in UCUM, and conversion."""

from __future__ import annotations

import re

import attrs


@attrs.frozen
class Unit:
    """
    A unit of measure.

    @ivar name: as published.
    @ivar ucum: its code in the Unified Code for Units of Measure.
    @ivar quantity: what it measures; units of one quantity convert.
    @ivar factor: how many base units of the quantity it is.
    @ivar aliases: further names that are understood, in lower case.
    """

    name: str
    ucum: str
    quantity: str
    factor: float
    aliases: tuple[str, ...] = ()


#: The units of the layer's own coordinates, whatever they are.
MAP_UNITS = "map units"

#: The first of each quantity is its base unit.  Months and years are as long
#: as QGIS has them.
UNITS = (
    Unit("m", "m", "length", 1.0, ("meter", "meters", "metre", "metres")),
    Unit("km", "km", "length", 1000.0, ("kilometers", "kilometres")),
    Unit("cm", "cm", "length", 0.01, ("centimeters", "centimetres")),
    Unit("mm", "mm", "length", 0.001, ("millimeters", "millimetres")),
    Unit("ft", "[ft_i]", "length", 0.3048, ("feet", "foot")),
    Unit("yd", "[yd_i]", "length", 0.9144, ("yards", "yard")),
    Unit("mi", "[mi_i]", "length", 1609.344, ("miles", "mile")),
    Unit("nmi", "[nmi_i]", "length", 1852.0, ("nm", "nautical miles")),
    Unit("in", "[in_i]", "length", 0.0254, ("inches", "inch")),
    Unit("deg", "deg", "angle", 1.0, ("degree", "degrees", "°")),
    Unit("m2", "m2", "area", 1.0, ("m²", "square meters")),
    Unit("km2", "km2", "area", 1e6, ("km²", "square kilometers")),
    Unit("cm2", "cm2", "area", 1e-4, ("cm²", "square centimeters")),
    Unit("mm2", "mm2", "area", 1e-6, ("mm²", "square millimeters")),
    Unit("ha", "har", "area", 1e4, ("hectares", "hectare")),
    Unit("ac", "43560.[ft_i]2", "area", 4046.8564224, ("acres", "acre")),
    Unit("ft2", "[ft_i]2", "area", 0.3048**2, ("ft²", "square feet")),
    Unit("yd2", "[yd_i]2", "area", 0.9144**2, ("y2", "yd²", "square yards")),
    Unit("mi2", "[mi_i]2", "area", 1609.344**2, ("mi²", "square miles")),
    Unit("nmi2", "[nmi_i]2", "area", 1852.0**2, ("nm2", "square nautical miles")),
    Unit("m3", "m3", "volume", 1.0, ("m³", "cubic meters")),
    Unit("dm3", "dm3", "volume", 1e-3, ("dm³", "cubic decimeters")),
    Unit("cm3", "cm3", "volume", 1e-6, ("cm³", "cubic centimeters")),
    Unit("l", "L", "volume", 1e-3, ("liters", "liter", "litres", "litre")),
    Unit("ft3", "[ft_i]3", "volume", 0.3048**3, ("ft³", "cubic feet")),
    Unit("yd3", "[yd_i]3", "volume", 0.9144**3, ("yd³", "cubic yards")),
    Unit("in3", "[in_i]3", "volume", 0.0254**3, ("in³", "cubic inches")),
    Unit("gal", "[gal_us]", "volume", 0.003785411784, ("gallons", "gallon")),
    Unit("bbl", "[bbl_us]", "volume", 0.158987294928, ("barrels", "barrel")),
    Unit("s", "s", "duration", 1.0, ("seconds", "second")),
    Unit("ms", "ms", "duration", 1e-3, ("milliseconds", "millisecond")),
    Unit("min", "min", "duration", 60.0, ("minutes", "minute")),
    Unit("h", "h", "duration", 3600.0, ("hours", "hour")),
    Unit("d", "d", "duration", 86400.0, ("days", "day")),
    Unit("wk", "wk", "duration", 604800.0, ("weeks", "week")),
    Unit("mon", "mo", "duration", 2592000.0, ("months", "month")),
    Unit("a", "a", "duration", 31557600.0, ("y", "years", "year")),
    Unit("decade", "10.a", "duration", 315576000.0, ("dec", "decades")),
    Unit("century", "100.a", "duration", 3155760000.0, ("c", "centuries")),
    Unit("1", "1", "scale", 1.0, ()),
)

_BY_WORD = {
    word: unit
    for unit in reversed(UNITS)
    for word in (unit.name, unit.ucum.lower(), *unit.aliases)
}

_PREFIX = re.compile(r"urn:ogc:def:uom:[\w.]*:[\w.]*:|https?://\S+[/#:=]", re.I)


def find(text: str) -> Unit | None:
    """The unit of that name, code, URN or URL; None if there is none."""
    return _BY_WORD.get(_PREFIX.sub("", text.strip()).lower())


def names(quantity: str, first: str | None = None) -> tuple[str, ...]:
    """The names of the units of a quantity, that one first."""
    found = [unit.name for unit in UNITS if unit.quantity == quantity]
    return tuple(dict.fromkeys([*([first] if first else []), *found]))


def reference(name: str) -> str | None:
    """The URN of a unit that has a code in UCUM."""
    unit = find(name)
    return None if unit is None else f"urn:ogc:def:uom:UCUM::{unit.ucum}"


def convert(number: float, source: str, target: str) -> float | None:
    """A number in another unit; None if that can't be."""
    one, other = find(source), find(target)
    if one is None or other is None or one.quantity != other.quantity:
        return None
    return number if one is other else number * one.factor / other.factor
