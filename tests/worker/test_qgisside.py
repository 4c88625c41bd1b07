"""
The tests in L{tests.worker.qgisside}, each as a test of trial.

They run in one process of their own, which is started by the first of them;
what they are is read from their source, so that one that did not run fails.
"""

from __future__ import annotations

import ast
import json
import os
import subprocess
import sys
import tempfile
from collections.abc import Callable
from functools import cache
from pathlib import Path
from typing import NamedTuple

from twisted.trial import unittest

ROOT = Path(__file__).resolve().parents[2]
FOLDER = Path(__file__).parent / "qgisside"

#: Seconds that all tests together may take; mostly it is less than a minute.
TIMEOUT = 600


class Outcome(NamedTuple):
    """
    What the process of the tests left.

    @ivar failures: of each test what went wrong; empty if nothing did.
    @ivar output: all that it wrote, with its exit status.
    """

    failures: dict[str, str]
    output: str


@cache
def outcome() -> Outcome:
    """Run the tests, once."""
    environment = {**os.environ, "PYTHONPATH": str(ROOT), "PYTHONWARNINGS": "ignore"}
    with tempfile.TemporaryDirectory() as directory:
        report = Path(directory, "report.json")
        log = Path(directory, "log")
        with log.open("wb") as file:
            try:
                done = subprocess.run(
                    [sys.executable, "-m", "tests.worker.qgisside", str(report)],
                    stdin=subprocess.DEVNULL,
                    stdout=file,
                    stderr=subprocess.STDOUT,
                    cwd=directory,
                    env=environment,
                    timeout=TIMEOUT,
                    check=False,
                )
                status = f"exit status {done.returncode}"
            except subprocess.TimeoutExpired:
                status = f"still running after {TIMEOUT} s"
        output = f"{log.read_text(errors='replace')[-20000:]}\n{status}"
        failures = json.loads(report.read_text()) if report.exists() else {}
        return Outcome(failures, output)


def _method(identifier: str) -> Callable[[unittest.TestCase], None]:
    def test(self: unittest.TestCase) -> None:
        failures, output = outcome()
        if identifier not in failures:
            self.fail(f"{identifier} did not run:\n{output}")
        if failures[identifier]:
            self.fail(f"in the process with QGIS:\n{failures[identifier]}")

    return test


def _cases() -> dict[str, type[unittest.TestCase]]:
    """A case of trial for each case in the folder."""
    cases = {}
    for path in sorted(FOLDER.glob("*.py")):
        for node in ast.parse(path.read_text()).body:
            if not isinstance(node, ast.ClassDef):
                continue
            tests = {
                method.name: _method(
                    f"tests.worker.qgisside.{path.stem}.{node.name}.{method.name}"
                )
                for method in node.body
                if isinstance(method, ast.FunctionDef)
                and method.name.startswith("test_")
            }
            if tests:
                members = {**tests, "__doc__": ast.get_docstring(node)}
                cases[node.name] = type(node.name, (unittest.TestCase,), members)
    return cases


globals().update(_cases())


class ProcessTests(unittest.TestCase):
    """The process with QGIS as a whole."""

    def test_reportsEachTest(self) -> None:
        """It ended well, and ran no test that is not known here."""
        failures, output = outcome()
        self.assertTrue(output.endswith("exit status 0"), output)
        known = {
            f"tests.worker.qgisside.{path.stem}.{node.name}.{method.name}"
            for path in FOLDER.glob("*.py")
            for node in ast.parse(path.read_text()).body
            if isinstance(node, ast.ClassDef)
            for method in node.body
            if isinstance(method, ast.FunctionDef) and method.name.startswith("test_")
        }
        self.assertEqual(set(failures), known)

    def test_qgisIsElsewhere(self) -> None:
        """The process of trial itself has no QGIS in it."""
        outcome()
        self.assertNotIn("qgis.core", sys.modules)
