"""Tests that nothing of the toolbox is left out; see L{tests.system.coverage}."""

from __future__ import annotations

import unittest

from tests import live, schemas
from tests.system import coverage

#: How many algorithms of QGIS 3.22 are neither hidden nor for the desktop.
LEAST = {"3d": 1, "gdal": 56, "native": 222, "qgis": 49}


class CoverageTests(unittest.TestCase):
    """All algorithms of QGIS."""

    def test_described(self) -> None:
        """None is left out, and all descriptions are valid."""
        with live.liveServer(**coverage.ENVIRONMENT) as server:
            body = server.wps("DescribeProcess", identifier="all").body
            schemas.assertValid(self, body, "ProcessDescriptions")
            inProject = server.wps("DescribeProcess", identifier="all", MAP="world")
            schemas.assertValid(self, inProject.body, "ProcessDescriptions")
            text = server.wps("GetCapabilities").text
        for provider, least in LEAST.items():
            count = text.count(f"<ows:Identifier>{provider}:")
            self.assertGreaterEqual(count, least, provider)

    def test_omitted(self) -> None:
        """What is left out is not of QGIS itself."""
        own = tuple(f"{provider}:" for provider in LEAST)
        left = [line for line in coverage.omitted() if line.startswith(own)]
        self.assertEqual(left, [])
