"""Tests that nothing of the toolbox is left out; see L{tests.system.coverage}."""

from __future__ import annotations

import unittest

from tests import live, schemas
from tests.system import coverage
from tests.toolbox.oracle import Oracle, environment
from tests.toolbox.plain import PlainQGIS

#: How many algorithms of QGIS 3.22 are neither hidden nor for the desktop; later
#: versions have some of qgis's as native ones.
LEAST = {("3d",): 1, ("gdal",): 56, ("native", "qgis"): 271}


class CoverageTests(unittest.TestCase):
    """All algorithms of QGIS."""

    timeout = 1200

    def setUp(self) -> None:
        self.plain = PlainQGIS()
        self.addCleanup(self.plain.stop)
        self.server = live.LiveServer(**environment(self.plain))
        self.addCleanup(self.server.stop)

    def test_described(self) -> None:
        """None is left out, and all descriptions are valid."""
        body = self.server.wps("DescribeProcess", identifier="all").body
        schemas.assertValid(self, body, "ProcessDescriptions")
        inProject = self.server.wps("DescribeProcess", identifier="all", MAP="world")
        schemas.assertValid(self, inProject.body, "ProcessDescriptions")
        text = self.server.wps("GetCapabilities").text
        for providers, least in LEAST.items():
            count = sum(text.count(f"<ows:Identifier>{name}:") for name in providers)
            self.assertGreaterEqual(count, least, providers)

    def test_oracle(self) -> None:
        """No algorithm's result is further from QGIS's than docs/coverage.md says."""
        version, known = coverage.known()
        self.assertGreater(len(known), 300)
        rows = [
            coverage.Row(identifier)
            for identifier, _ in coverage.published(self.server)
            if identifier in known
        ]
        isSame = version.split(".")[:2] == self.plain.version.split(".")[:2]
        if isSame:
            self.assertEqual(len(rows), len(known))
        worse = []
        for row in coverage.judged(Oracle(self.server, self.plain), rows):
            verdict = row.verdict
            assert verdict is not None
            # Another QGIS may not be able to do what this one could.
            if not verdict.equal and (
                isSame or not verdict.note.startswith("fails in QGIS too")
            ):
                worse.append(f"{row.identifier}: {verdict.note}")
        self.assertEqual(worse, [])

    def test_omitted(self) -> None:
        """What is left out is not of QGIS itself."""
        own = tuple(f"{name}:" for providers in LEAST for name in providers)
        left = [line for line in coverage.omitted() if line.startswith(own)]
        self.assertEqual(left, [])
