"""Start QGIS, run the tests of this package, write the report."""

from __future__ import annotations

import importlib
import json
import os
import sys
import tempfile
import unittest
from pathlib import Path

from qgswps.model import WorkerSettings
from tests.worker.qgisside import support


class Reporter(unittest.TestResult):
    """
    Notes what went wrong with each test; the empty text if nothing did.

    @ivar elsewhere: what went wrong outside of the tests.
    """

    def __init__(self, report: Path) -> None:
        super().__init__()
        self.outcomes: dict[str, str] = {}
        self.elsewhere: list[str] = []
        self._report = report

    def startTest(self, test: unittest.TestCase) -> None:
        super().startTest(test)
        self.outcomes[test.id()] = "it did not end"
        # It may end the process.
        self._report.write_text(json.dumps(self.outcomes))

    def stopTest(self, test: unittest.TestCase) -> None:
        super().stopTest(test)
        mine: list[str] = []
        for failed, text in [*self.failures, *self.errors, *self.skipped]:
            # A subtest counts for its test.
            owner = getattr(failed, "test_case", failed)
            (mine if owner is test else self.elsewhere).append(text)
        for noted in (self.failures, self.errors, self.skipped):
            noted.clear()
        self.outcomes[test.id()] = "\n".join(mine)
        self._report.write_text(json.dumps(self.outcomes))


def main(report: str) -> None:
    """Run all tests."""
    from qgswps.worker import qgisapp

    names = sorted(path.stem for path in Path(__file__).parent.glob("[a-z]*.py"))
    with tempfile.TemporaryDirectory(prefix="qgswps-test-") as profile:
        settings = WorkerSettings(
            catalogue=os.path.join(profile, "catalogue.json"),
            profile=profile,
            providersPath=support.scriptFolders(profile),
            # A worker's are in its job; none of these may stay.
            qgisSettings={"Processing/Configuration/TEMP_PATH2": profile},
        )
        qgisapp.start(settings, lambda level, text: None)
        support.settings = settings
        qgisapp.warmUp()
        modules = [
            importlib.import_module(f"tests.worker.qgisside.{name}") for name in names
        ]
        loader = unittest.defaultTestLoader
        suite = unittest.TestSuite(map(loader.loadTestsFromModule, modules))
        reporter = Reporter(Path(report))
        suite.run(reporter)
        for _, text in [*reporter.failures, *reporter.errors]:
            reporter.elsewhere.append(text)
        sys.stderr.write("\n".join(reporter.elsewhere))
        # QGIS's own end is no part of the tests.
        sys.stderr.flush()
        os.chdir("/")
    os._exit(1 if reporter.elsewhere else 0)


if __name__ == "__main__":
    main(sys.argv[1])
