"""
The standard itself: its examples, and the page that goes through it line by
line.
"""

from __future__ import annotations

import ast
import os
import re
from pathlib import Path

from twisted.trial.unittest import SkipTest, SynchronousTestCase

from qgswps.model import (
    ComplexValue,
    ExecuteRequest,
    LiteralValue,
    ReferenceValue,
)
from qgswps.ows.kvp import Parameters
from qgswps.ows.operations import DescribeProcess, Execute, GetCapabilities, Operation
from qgswps.ows.wps100.requests import parseXML
from tests import schemas

ROOT = Path(__file__).resolve().parents[3]
PAGE = ROOT / "docs" / "wps-1.0.0.md"


class ExampleTests(SynchronousTestCase):
    """The examples that come with the schemas."""

    def parse(self, name: str) -> Operation:
        """Read a request."""
        folder = "schemas.opengis.net/wps/1.0.0/examples"
        path = Path(schemas.folder(), folder, f"{name}.xml")
        return parseXML(path.read_bytes(), Parameters())

    def execute(self, name: str) -> ExecuteRequest:
        """Read an Execute."""
        operation = self.parse(name)
        assert isinstance(operation, Execute)
        return operation.request

    def test_requests(self) -> None:
        """All plain requests are read, and mean what they say."""
        absent = schemas.missing()
        if absent is not None and not schemas.demanded():
            raise SkipTest(absent)
        operation = self.parse("10_wpsGetCapabilities_request")
        self.assertEqual(operation, GetCapabilities())
        operation = self.parse("30_wpsDescribeProcess_request")
        self.assertEqual(operation, DescribeProcess(("intersection", "union")))

        raw = self.execute("50_wpsExecute_request_RawDataOutput")
        self.assertEqual((raw.raw, len(raw.outputs)), (True, 1))
        polygon, distance = (each.value for each in raw.inputs)
        assert isinstance(polygon, ReferenceValue)
        self.assertTrue(polygon.href.startswith("http://"))
        self.assertIsInstance(distance, LiteralValue)

        document = self.execute("52_wpsExecute_request_ResponseDocument")
        [output] = document.outputs
        found = (document.asynchronous, document.lineage, document.status)
        self.assertEqual(found, (True, True, True))
        self.assertTrue(output.asReference)
        self.assertTrue(output.title)

        inline = self.execute("53_wpsExecute_request_ComplexValue")
        values = [each.value for each in inline.inputs]
        self.assertTrue(any(isinstance(value, ComplexValue) for value in values))


class PageTests(SynchronousTestCase):
    """C{docs/wps-1.0.0.md}"""

    def rows(self) -> list[list[str]]:
        """The cells of each requirement."""
        lines = PAGE.read_text(encoding="utf-8").splitlines()
        cells = [
            [cell.strip() for cell in line.strip("|").split("|")]
            for line in lines
            if line.startswith("|")
        ]
        return [row for row in cells if row[0] != "section" and row[0] != "---"]

    def test_rows(self) -> None:
        """Each has a section, a text, and tests or the word that it is not there."""
        rows = self.rows()
        self.assertGreater(len(rows), 80)
        for row in rows:
            self.assertEqual(len(row), 3, row)
            self.assertRegex(row[0], r"\A(\d|OWS |Annex )", row)
            self.assertTrue(row[1], row)
            names = r"(`tests(\.\w+)+`(, )?)+"
            self.assertRegex(row[2], rf"\A({names}|not offered)\Z", row)

    def test_tests(self) -> None:
        """Each test that is named is there."""
        named = {name for row in self.rows() for name in re.findall("`(.+?)`", row[2])}
        self.assertEqual([name for name in sorted(named) if not _isTest(name)], [])

    def test_isTest(self) -> None:
        """What is no test is told."""
        mine = f"{__name__}.PageTests"
        for name in (mine, f"{mine}.test_isTest"):
            self.assertTrue(_isTest(name))
        for name in (
            f"{mine}.test_nothing",
            f"{mine}.rows",
            f"{__name__}.NoTests",
            __name__,
            "tests.nothing.Tests.test_it",
        ):
            self.assertFalse(_isTest(name))


def _isTest(name: str) -> bool:
    """Whether a test, or a class of tests, is in the sources by that name."""
    *modules, last = name.split(".")
    method = last if last.startswith("test_") else None
    case = modules.pop() if method else last
    path = ROOT.joinpath(*modules).with_suffix(".py")
    if not os.path.isfile(path):
        return False
    for node in ast.parse(path.read_text(encoding="utf-8")).body:
        if isinstance(node, ast.ClassDef) and node.name == case:
            methods = [
                each.name
                for each in node.body
                if isinstance(each, ast.FunctionDef | ast.AsyncFunctionDef)
            ]
            return method is None or method in methods
    return False
