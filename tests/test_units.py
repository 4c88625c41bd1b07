"""Units: names, references, conversion."""

from __future__ import annotations

from twisted.trial import unittest

from qgswps import units


class UnitTests(unittest.TestCase):
    """L{units}."""

    def test_find(self) -> None:
        """By name, code, alias, URN and URL, in any letter case."""
        for text, name in (
            ("m", "m"),
            ("Meters", "m"),
            (" km ", "km"),
            ("[ft_i]", "ft"),
            ("urn:ogc:def:uom:UCUM::[ft_i]", "ft"),
            ("urn:ogc:def:uom:UCUM:1.8:d", "d"),
            ("http://www.opengis.net/def/uom/UCUM/0/km", "km"),
            ("http://unitsofmeasure.org/ucum#h", "h"),
            ("°", "deg"),
            ("L", "l"),
            ("1", "1"),
        ):
            found = units.find(text)
            self.assertEqual(found and found.name, name, text)
        for text in ("", "parsec", "urn:ogc:def:uom:UCUM::", units.MAP_UNITS):
            self.assertIsNone(units.find(text), text)

    def test_convert(self) -> None:
        """Within a quantity, and not from one to another."""
        for number, source, target, expected in (
            (2, "km", "m", 2000.0),
            (1, "mi", "ft", 5280.0),
            (1, "ha", "m2", 10000.0),
            (1, "ac", "ft2", 43560.0),
            (1, "l", "cm3", 1000.0),
            (36, "h", "d", 1.5),
            (0.1, "m", "meters", 0.1),
        ):
            found = units.convert(number, source, target)
            assert found is not None
            self.assertAlmostEqual(found, expected)
        for source, target in (("m", "deg"), ("m", "s"), ("x", "m"), ("m", "x")):
            self.assertIsNone(units.convert(1, source, target))

    def test_names(self) -> None:
        """Each once, that of a bare number first."""
        self.assertEqual(units.names("duration", "h")[:2], ("h", "s"))
        self.assertEqual(units.names("length")[0], "m")
        found = units.names("volume", "m3")
        self.assertEqual(len(found), len(set(found)))

    def test_reference(self) -> None:
        """The URN of the code in UCUM."""
        self.assertEqual(units.reference("yd"), "urn:ogc:def:uom:UCUM::[yd_i]")
        self.assertIsNone(units.reference(units.MAP_UNITS))

    def test_noWordIsTwoUnits(self) -> None:
        """What a word means does not depend on an order."""
        seen: dict[str, str] = {}
        for unit in units.UNITS:
            for word in {unit.name, unit.ucum.lower(), *unit.aliases}:
                self.assertEqual(seen.setdefault(word, unit.name), unit.name, word)
                self.assertEqual(units.find(word), unit, word)
