"""Projects: their summary, and opening what a job needs of them."""

from __future__ import annotations

import os
import shutil
from pathlib import Path

from qgis.core import QgsField, QgsProject, QgsVectorLayer, QgsVectorLayerJoinInfo
from qgis.PyQt.QtCore import QVariant

from qgswps.errors import OWSError
from qgswps.model import LayerSummary
from qgswps.worker import project
from tests.worker.qgisside.support import DATA, DEMO, WORLD, JobCase


class ProjectTests(JobCase):
    """Reading projects."""

    def make(self) -> str:
        """A project with a join, a computed field, twins and a broken layer."""
        made = QgsProject.instance()
        made.clear()
        made.setTitle("Made")
        data = os.path.join(self.directory, "world.gpkg")
        shutil.copy(DATA, data)
        layers = [
            QgsVectorLayer(f"{data}|layername={table}", name, "ogr")
            for table, name in (
                ("cities", "cities"),
                ("countries", "twin"),
                ("disputed_borders", "twin"),
                ("countries", "joined"),
            )
        ]
        cities, first, _, joined = layers
        cities.addExpressionField('"millions" * 2', QgsField("double", QVariant.Double))
        made.addMapLayers(layers)
        join = QgsVectorLayerJoinInfo()
        join.setJoinLayer(first)
        join.setJoinFieldName("iso_a2")
        join.setTargetFieldName("iso_a2")
        joined.addJoin(join)
        gone = os.path.join(self.directory, "gone.gpkg")
        shutil.copy(DATA, gone)
        made.addMapLayer(QgsVectorLayer(f"{gone}|layername=cities", "gone", "ogr"))
        path = os.path.join(self.directory, "made.qgs")
        self.assertTrue(made.write(path))
        made.clear()
        os.remove(gone)
        return path

    def test_summary(self) -> None:
        """Layers in the order of the tree, by kind, with their fields."""
        summary = project.summarize(WORLD)
        self.assertEqual(summary.title, "World")
        self.assertEqual(summary.crs, "EPSG:4326")
        self.assertEqual(
            [(layer.name, layer.kind) for layer in summary.layers],
            [
                ("cities", "point"),
                ("disputed borders", "line"),
                ("countries", "polygon"),
                ("large countries", "polygon"),
                ("elevation", "raster"),
            ],
        )
        self.assertEqual(
            summary.layers[0],
            LayerSummary(
                "cities_00000000_0000_0000_0000_000000000001",
                "cities",
                "point",
                crs="EPSG:4326",
                fields=("fid", "name", "millions"),
            ),
        )

    def test_invalidLayer(self) -> None:
        """A layer whose data is gone is told."""
        summary = project.summarize(self.make())
        invalid = [layer.name for layer in summary.layers if not layer.valid]
        self.assertEqual(invalid, ["gone"])

    def test_opensOnlyWhatIsNeeded(self) -> None:
        """The others stay closed."""
        loaded = project.load(self.make(), ["cities"])
        valid = {
            layer.name() for layer in loaded.mapLayers().values() if layer.isValid()
        }
        self.assertEqual(valid, {"cities"})
        (cities,) = loaded.mapLayersByName("cities")
        self.assertIn("double", cities.fields().names())
        feature = next(cities.getFeatures())
        self.assertEqual(feature["double"], 2 * feature["millions"])

    def test_opensWhatIsJoined(self) -> None:
        """A joined layer comes along, and gives its fields."""
        loaded = project.load(self.make(), ["joined"])
        (joined,) = loaded.mapLayersByName("joined")
        self.assertIn("twin_name", joined.fields().names())
        feature = next(joined.getFeatures())
        self.assertEqual(feature["twin_name"], feature["name"])

    def test_opensAll(self) -> None:
        """Without a list, all that there is."""
        loaded = project.load(WORLD, None)
        self.assertTrue(all(each.isValid() for each in loaded.mapLayers().values()))

    def test_find(self) -> None:
        """By id, by name; of twins the first in the tree."""
        loaded = project.load(self.make(), [])
        layers = project._inOrder(loaded)
        for layer in layers:
            self.assertIs(project.find(loaded, layer.id()), layer)
        twins = [layer for layer in layers if layer.name() == "twin"]
        self.assertIs(project.find(loaded, "twin"), twins[0])
        self.assertIsNone(project.find(loaded, "nobody"))

    def test_sourcesAreLeftAlone(self) -> None:
        """Reading layers does not write to their files, or beside them."""
        path = os.path.join(self.directory, "world.qgs")
        for name in ("world.qgs", "world.gpkg", "elevation.tif"):
            shutil.copy(DEMO / name, self.directory)
        folder = Path(self.directory)
        before = {each.name: each.stat().st_mtime_ns for each in folder.iterdir()}
        project.summarize(path)
        for needed in (["cities", "large countries", "elevation"], None):
            loaded = project.load(path, needed)
            for layer in loaded.mapLayers().values():
                if layer.isValid() and project.kindOf(layer) != "raster":
                    list(layer.getFeatures())
            loaded.clear()
        after = {each.name: each.stat().st_mtime_ns for each in folder.iterdir()}
        self.assertEqual(after, before)

    def test_faults(self) -> None:
        """No project, or none that can be read: MAP is wrong."""
        broken = os.path.join(self.directory, "broken.qgs")
        Path(broken).write_text("<qgis><unclosed>")
        for path, text in (
            (
                os.path.join(self.directory, "none.qgs"),
                "there is no project 'none.qgs'",
            ),
            (broken, "the project 'broken.qgs' can't be read"),
            (self.directory, "there is no project"),
        ):
            for read in (project.summarize, lambda p: project.load(p, [])):
                with self.assertRaises(OWSError) as caught:
                    read(path)
                (fault,) = caught.exception.faults
                self.assertEqual(fault.code, "InvalidParameterValue")
                self.assertEqual(fault.locator, "MAP")
                self.assertIn(text, fault.text)
                self.assertNotIn(self.directory, fault.text)
