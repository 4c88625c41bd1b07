"""Plugins: what loads, what does not, and what is said of it."""

from __future__ import annotations

import os
import sys
import tempfile
import unittest
from functools import partial
from pathlib import Path

from qgis import utils
from qgis.core import Qgis, QgsApplication
from qgis.gui import QgsMapCanvas
from qgis.PyQt.QtWidgets import QWidget

from qgswps.model import LiteralValue
from qgswps.worker import catalogue, plugins, probe
from tests import badplugins
from tests.worker.qgisside import support


def _providers() -> set[str]:
    return {each.id() for each in QgsApplication.processingRegistry().providers()}


class BadPluginTests(unittest.TestCase):
    """Each is left out with its reason, and leaves nothing."""

    def setUp(self) -> None:
        directory = tempfile.TemporaryDirectory(prefix="qgswps-plugins-")
        self.addCleanup(directory.cleanup)
        self.folder = Path(directory.name)

    def load(self, *paths: Path, patience: float = 60) -> dict[str, str]:
        """The reasons, by the name of the folder."""
        omitted = list(plugins.load([str(path) for path in paths], patience))
        return {
            os.path.basename(each.name.rstrip(")")): each.reason for each in omitted
        }

    def test_reasons(self) -> None:
        """What was wrong, in one line; the others went on."""
        names = set(badplugins.PLUGINS) - {"hangs"}
        badplugins.write(self.folder, *names)
        providers, modules = _providers(), set(sys.modules)
        reasons = self.load(self.folder)
        self.assertEqual(set(reasons), names)
        for name in names:
            with self.subTest(name):
                self.assertIn(badplugins.PLUGINS[name].reason, reasons[name])
                self.assertNotIn("\n", reasons[name])
        self.assertEqual(_providers(), providers)
        self.assertFalse((set(sys.modules) - modules) & names)
        self.assertFalse(set(utils.plugins) & names)

    def test_names(self) -> None:
        """A plugin is named by its title and its folder."""
        badplugins.write(self.folder, "no_factory")
        (omission,) = plugins.load([str(self.folder)])
        folder = self.folder / "no_factory"
        self.assertEqual(omission.name, f"plugin Bad no_factory ({folder})")

    def test_hanging(self) -> None:
        """One that does not come to an end is given up."""
        badplugins.write(self.folder, "hangs")
        reasons = self.load(self.folder, patience=0.5)
        self.assertEqual(reasons, {"hangs": "it was not loaded after 0.5 s"})

    def test_noFolder(self) -> None:
        """A path that is not there is named."""
        (omission,) = plugins.load([str(self.folder / "gone")])
        self.assertEqual(omission.reason, "there is no such folder")
        self.assertTrue(omission.name.endswith("/gone"))

    def test_sameName(self) -> None:
        """Of two packages of one name the first path's is taken."""
        for part in ("one", "two"):
            plugin = self.folder / part / "twofold"
            plugin.mkdir(parents=True)
            (plugin / "metadata.txt").write_text("wps=True")
            (plugin / "__init__.py").write_text(
                "from qgis.core import QgsProcessingProvider\n"
                "class Twofold(QgsProcessingProvider):\n"
                f"    def id(self): return 'twofold{part}'\n"
                f"    def name(self): return '{part}'\n"
                "    def loadAlgorithms(self): pass\n"
                "def WPSClassFactory(iface): iface.registerProvider(Twofold())\n"
            )
        self.addCleanup(
            QgsApplication.processingRegistry().removeProvider, "twofoldone"
        )
        # One path may be a plugin itself.
        reasons = self.load(self.folder / "one" / "twofold", self.folder / "two")
        first = self.folder / "one" / "twofold"
        self.assertEqual(
            reasons, {"twofold": f"the package 'twofold' was loaded from {first}"}
        )
        self.assertIn("twofoldone", _providers())
        self.assertNotIn("twofoldtwo", _providers())

    def test_bothKinds(self) -> None:
        """One for QGIS and for this server is asked once, as for this server."""
        plugin = self.folder / "bothkinds"
        plugin.mkdir()
        (plugin / "metadata.txt").write_text("hasProcessingProvider=yes\nwps=True\n")
        (plugin / "__init__.py").write_text(
            "from qgis.core import QgsProcessingProvider\n"
            "class Both(QgsProcessingProvider):\n"
            "    def id(self): return 'bothkinds'\n"
            "    def name(self): return 'Both'\n"
            "    def loadAlgorithms(self): pass\n"
            "def WPSClassFactory(iface): iface.registerProvider(Both())\n"
            "def classFactory(iface): raise RuntimeError('asked as well')\n"
        )
        self.addCleanup(QgsApplication.processingRegistry().removeProvider, "bothkinds")
        self.assertEqual(self.load(plugin), {})
        self.assertIn("bothkinds", _providers())
        self.assertTrue(plugins.isExposed("bothkinds"))


class MetadataTests(unittest.TestCase):
    """C{metadata.txt} as it is found in the field."""

    def read(self, text: bytes) -> plugins.Plugin:
        """A plugin with such metadata."""
        with tempfile.TemporaryDirectory() as directory:
            Path(directory, "metadata.txt").write_bytes(text)
            return plugins.read(directory)

    def test_tolerant(self) -> None:
        """Per cent, a mark of byte order, odd bytes, no section, twice a key."""
        for text in (
            b"\xef\xbb\xbf[general]\nname=100 % fine\nname=100 % fine\nwps=TRUE\n",
            b"name=100 % fine\nabout=one\n  two = %(three\nwps = true ",
            b"# x\n[general]\r\nname: 100 % fine\r\nauthor=J\xf6rg\r\nlone\r\nwps=yes",
        ):
            plugin = self.read(text)
            self.assertEqual(plugin.get("name"), "100 % fine")
            self.assertTrue(plugin.isSet("wps"))
            self.assertFalse(plugin.isSet("hasProcessingProvider"))
            self.assertEqual(plugin.get("lone"), "")

    def test_versions(self) -> None:
        """Numbers are compared, not texts."""
        for lower, higher in (
            ("3.4", "3.22"),
            ("3.22", "3.22.1"),
            ("3.22.9", "3.22.16"),
            ("3.22.16", "3.99"),
            ("2.99", "3.0"),
        ):
            self.assertLess(plugins.version(lower, 0), plugins.version(higher, 0))
        self.assertEqual(plugins.version("3.4", 99), 30499)
        here = Qgis.QGIS_VERSION_INT
        text = f"{here // 10000}.{here // 100 % 100}.{here % 100}"
        self.assertEqual(plugins.version(text, 0), here)


class PublishedPluginTests(unittest.TestCase):
    """Plugins of others: those that come with QGIS and have a provider."""

    def test_loaded(self) -> None:
        """From their folder, with the providers that QGIS itself gets of them."""
        own = Path(QgsApplication.pkgDataPath(), "python", "plugins")
        # Processing is what all others are for, and has been loaded.
        found = [
            folder
            for folder in plugins.folders([str(own)])
            if plugins.read(folder).isSet("hasProcessingProvider")
            and os.path.basename(folder) != "processing"
        ]
        names = {os.path.basename(folder) for folder in found}
        self.assertIn("grassprovider", names)
        if Qgis.QGIS_VERSION_INT < 33000:
            # They went out of QGIS then.
            self.assertLessEqual({"otbprovider", "sagaprovider"}, names)
        for folder in found:
            with self.subTest(folder):
                # GRASS has hundreds of descriptions to read.
                why = probe.attempt(partial(self.reload, folder), 90)
                self.assertEqual(why, "")

    def test_widgets(self) -> None:
        """Many make widgets where they need not; that does no harm."""
        self.assertEqual(probe.attempt(lambda: QgsMapCanvas(QWidget())), "")

    def reload(self, folder: str) -> None:
        """Load one that Processing has loaded; in a process that ends then."""
        registry = QgsApplication.processingRegistry()
        package = os.path.basename(folder)
        (provider,) = (
            each
            for each in registry.providers()
            if type(each).__module__.startswith(f"{package}.")
        )
        identifier = provider.id()
        names = {each.name() for each in provider.algorithms()}
        registry.removeProvider(identifier)
        for name in list(sys.modules):
            if name.partition(".")[0] == package:
                del sys.modules[name]
        self.assertEqual(list(plugins.load([folder])), [])
        again = registry.providerById(identifier)
        self.assertIn(package, utils.plugins)
        self.assertEqual({each.name() for each in again.algorithms()}, names)


class ExamplePluginTests(support.JobCase):
    """The plugins of the documentation."""

    def test_loaded(self) -> None:
        """Both kinds, as others expect them of QGIS."""
        self.assertLessEqual({"example", "examplewps", "exampleparts"}, _providers())
        self.assertIn("example_processing", utils.plugins)
        self.assertIn("example_processing", utils.active_plugins)
        self.assertEqual(utils.pluginMetadata("example_processing", "version"), "1.0")
        self.assertIn(str(support.EXAMPLES), utils.plugin_paths)
        self.assertEqual(plugins.omissions(), ())

    def test_exposed(self) -> None:
        """What is only for others to use is not published."""
        published = {
            each.identifier for each in catalogue.build(support.settings).processes
        }
        self.assertLessEqual({"example:mirror", "examplewps:quadrupled"}, published)
        self.assertNotIn("exampleparts:doubled", published)

    def test_mirror(self) -> None:
        """An algorithm of a QGIS plugin."""
        point = '{"type": "Point", "coordinates": [7, 47]}'
        result = self.run_(
            "example:mirror",
            support.data("INPUT", point, "application/geo+json"),
            support.literal("X", 5),
        )
        (feature,) = support.features(self.file(result))
        self.assertEqual(feature["geometry"]["coordinates"], [3, 47])

    def test_quadrupled(self) -> None:
        """An algorithm that runs one that is not published."""
        result = self.run_("examplewps:quadrupled", support.literal("NUMBER", 2.5))
        self.assertEqual(result.faults, ())
        self.assertEqual(result.outputs["RESULT"], LiteralValue("10", "float"))
