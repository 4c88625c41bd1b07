"""The provider of scripts."""

from __future__ import annotations

import os
import unittest

from qgis.core import QgsApplication

from qgswps.worker import scripts
from tests.worker.qgisside import support


class ScriptTests(unittest.TestCase):
    """What loads, and what is said of what does not."""

    def test_replacesQgissOwn(self) -> None:
        """There is one provider of scripts, and it is ours."""
        providers = QgsApplication.processingRegistry().providers()
        mine = [each for each in providers if each.id() == "script"]
        self.assertEqual(len(mine), 1)
        self.assertIsInstance(mine[0], scripts.ScriptProvider)

    def test_loadsBothKinds(self) -> None:
        """Classes and decorated functions."""
        provider = QgsApplication.processingRegistry().providerById("script")
        names = {each.name() for each in provider.algorithms()}
        self.assertLessEqual({"hello", "within_distance", "outputs"}, names)

    def test_omitsTheBroken(self) -> None:
        """Each broken script is named by its file, with what is wrong."""
        omitted = {
            os.path.basename(each.name): each.reason for each in scripts.omissions()
        }
        for name, reason in (
            ("syntax.py", "SyntaxError"),
            ("exits.py", "SystemExit: 3"),
            ("raises.py", "RuntimeError: not today"),
            ("nothing.py", "no algorithm"),
            ("interrupted.py", "Odd: odd"),
            ("twin.py", "already an algorithm 'outputs'"),
            ("unmade.py", "did not return an algorithm"),
        ):
            self.assertIn(reason, omitted.get(name, ""), name)
        self.assertEqual(len(omitted), len(support.BROKEN) - 1, omitted)
