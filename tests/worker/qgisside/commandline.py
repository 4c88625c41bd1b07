"""Texts of clients on command lines."""

from __future__ import annotations

import os
import unittest

from qgis.core import (
    QgsApplication,
    QgsProcessingParameterField,
    QgsProcessingParameterRasterLayer,
    QgsProcessingParameterString,
    QgsProcessingParameterVectorDestination,
)

from qgswps.model import OutputRequest
from qgswps.worker import commandline
from tests.worker.qgisside.support import GEOJSON, WORLD, JobCase, features, literal

DEFINITIONS = [
    QgsProcessingParameterString("TEXT", "t"),
    QgsProcessingParameterString("EXTRA", "e"),
    QgsProcessingParameterField("FIELD", "f"),
    QgsProcessingParameterRasterLayer("INPUT", "i"),
    QgsProcessingParameterVectorDestination("OUTPUT", "o"),
]


class Algorithm:
    """An algorithm of some provider."""

    def __init__(self, provider: str) -> None:
        self._provider = provider

    def provider(self) -> Algorithm:
        """Itself, which is enough."""
        return self

    def id(self) -> str:
        """The provider's."""
        return self._provider

    def parameterDefinitions(self) -> list[object]:
        """Parameters."""
        return DEFINITIONS


class CommandLineTests(unittest.TestCase):
    """L{commandline.faults}"""

    def refused(self, provider: str, **values: object) -> list[str | None]:
        """The names of inputs that are refused."""
        found = commandline.faults(Algorithm(provider), values)
        self.assertLessEqual({each.code for each in found}, {"InvalidParameterValue"})
        return [each.locator for each in found]

    def test_gdal(self) -> None:
        """A text can be neither an option nor several arguments."""
        for text, fits in [
            ("ELEV", True),
            ("my field; $(x)", True),
            ("-9999", True),
            ("-1 -2", True),
            ("", True),
            ("-co", False),
            ("--optfile x", False),
            ("-.5", False),
            ("a\t-co", False),
            ("a\n-co", False),
            ("a\u2003-co", False),
        ]:
            expected = [] if fits else ["TEXT"]
            self.assertEqual(self.refused("gdal", TEXT=text), expected, text)
            self.assertEqual(self.refused("native", TEXT=text), [], text)
        self.assertEqual(self.refused("gdal", FIELD=["a", "-b"]), ["FIELD"])
        # What is meant to be options, if the policy lets it be.
        self.assertEqual(self.refused("gdal", EXTRA="-co X"), [])

    def test_shell(self) -> None:
        """A text can't end its quotes, nor hold what the shell looks for."""
        for provider in ("grass", "grass7"):
            for text, fits in [
                ("A*2 > 3 ? 'x' : 4; -5", True),
                ("$(touch x)", False),
                ("`x`", False),
                ('a" b', False),
                ("a\\", False),
                ("a\nb", False),
            ]:
                for name in ("TEXT", "EXTRA"):
                    expected = [] if fits else [name]
                    found = self.refused(provider, **{name: text})
                    self.assertEqual(found, expected, text)
            for text, fits in [
                ("größe_1", True),
                ("a;b", False),
                ("a b", False),
                ("a>b", False),
                ("", True),
            ]:
                expected = [] if fits else ["FIELD"]
                self.assertEqual(self.refused(provider, FIELD=[text]), expected, text)

    def test_ours(self) -> None:
        """Values that the server makes, and those that are no text, pass."""
        for provider in ("gdal", "grass7"):
            found = self.refused(provider, INPUT="-$(x)", OUTPUT="-$(x)", TEXT=5)
            self.assertEqual(found, [])

    def test_all(self) -> None:
        """All that is wrong is told at once."""
        found = self.refused("gdal", TEXT="-a", FIELD=["-b"])
        self.assertEqual(sorted(map(str, found)), ["FIELD", "TEXT"])

    def test_types(self) -> None:
        """Types that pass are ones that QGIS has."""
        registry = QgsApplication.processingRegistry()
        known = {each.id() for each in registry.parameterTypes()}
        self.assertLessEqual(commandline._OURS, known)


class CommandLineJobTests(JobCase):
    """Jobs with such texts."""

    def test_polygonize(self) -> None:
        """A field's name is one, or the program does not run."""
        for name in ("height of it", "-nothing"):
            result = self.run_(
                "gdal:polygonize",
                literal("INPUT", "elevation"),
                literal("FIELD", name),
                outputs=(OutputRequest("OUTPUT", GEOJSON),),
                project=WORLD,
            )
            if name.startswith("-"):
                text = self.fault(result, "InvalidParameterValue", "FIELD")
                self.assertIn("expected a value", text)
                self.assertFalse(os.listdir(os.path.join(self.directory, "outputs")))
            else:
                [first, *_] = features(self.file(result))
                self.assertIn(name, first["properties"])
