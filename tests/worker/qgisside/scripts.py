"""The provider of scripts."""

from __future__ import annotations

import os
import tempfile
import unittest
from pathlib import Path

from qgis.core import QgsApplication, QgsVectorLayer

from qgswps.model import LiteralValue, OutputRequest
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
            ("aborts.py", "it ends the process with SIGABRT"),
            ("modules.py", "the Python module 'not_there' is missing"),
            ("raises.py", "RuntimeError: not today"),
            ("nothing.py", "no algorithm"),
            ("interrupted.py", "Odd: odd"),
            ("twin.py", "already an algorithm 'outputs'"),
            ("unmade.py", "did not return an algorithm"),
        ):
            self.assertIn(reason, omitted.get(name, ""), name)
        self.assertEqual(len(omitted), len(support.BROKEN) - 1, omitted)

    def test_filesAsInQgis(self) -> None:
        """Folders below are read too, and what begins with _ is not."""
        with tempfile.TemporaryDirectory() as directory:
            for name in (
                "b.py",
                "a.PY",
                "_help.py",
                "c.txt",
                "deep/er/d.py",
                "_e/f.py",
            ):
                path = Path(directory, "scripts", name)
                path.parent.mkdir(parents=True, exist_ok=True)
                path.touch()
            found = [
                os.path.relpath(each, directory) for each in scripts.files(directory)
            ]
            expected = ["a.PY", "b.py", "deep/er/d.py"]
            self.assertEqual(found, [f"scripts/{name}" for name in expected])
            # A plugin's scripts are the plugin's own.
            Path(directory, "metadata.txt").touch()
            self.assertEqual(list(scripts.files(directory)), [])


class ExampleTests(support.JobCase):
    """The scripts of the documentation."""

    def test_function(self) -> None:
        """With C{@alg}, and with a module beside it."""
        line = '{"type": "LineString", "coordinates": [[0, 0], [1, 0], [1, 1]]}'
        result = self.run_(
            "script:total_length", support.data("INPUT", line, "application/geo+json")
        )
        self.assertEqual(result.faults, ())
        value = result.outputs["KILOMETRES"]
        assert isinstance(value, LiteralValue)
        self.assertAlmostEqual(float(value.value), 111.319 + 110.574, places=2)

    def test_class(self) -> None:
        """Each third of the cities."""
        result = self.run_(
            "script:every_nth",
            support.literal("INPUT", "cities"),
            support.literal("N", 3),
            outputs=(OutputRequest("OUTPUT", support.GEOJSON),),
            project=support.WORLD,
        )
        everything = QgsVectorLayer(f"{support.DATA}|layername=cities", "cities", "ogr")
        names = [each["name"] for each in everything.getFeatures()]
        kept = [f["properties"]["name"] for f in support.features(self.file(result))]
        self.assertEqual(kept, names[::3])
