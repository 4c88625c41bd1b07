"""Models: what loads, what does not, and what is said of it."""

from __future__ import annotations

import os
import tempfile
import unittest
from pathlib import Path

import attrs
from qgis.core import QgsApplication, QgsVectorLayer

from qgswps.model import OutputRequest
from qgswps.worker import catalogue, compat, models
from tests.worker.qgisside import support

GOOD = support.EXAMPLES / "models" / "surroundings.model3"
NESTED = support.EXAMPLES / "models" / "nested" / "middle_of_surroundings.model3"


class BadModelTests(unittest.TestCase):
    """Each is left out with its reason."""

    def setUp(self) -> None:
        directory = tempfile.TemporaryDirectory(prefix="qgswps-models-")
        self.folder = Path(directory.name, "models")
        self.folder.mkdir()
        self.addCleanup(models.install, support.settings)
        self.addCleanup(directory.cleanup)

    def write(self, name: str, *changes: tuple[str, str], of: Path = GOOD) -> None:
        """A model like one of the examples."""
        text = of.read_text()
        for before, after in changes:
            self.assertIn(before, text)
            text = text.replace(before, after)
        (self.folder / name).write_text(text)

    def load(self) -> tuple[set[str], dict[str, str]]:
        """The names of those that load, and the reasons of the others."""
        settings = attrs.evolve(
            support.settings, providersPath=(str(self.folder.parent),)
        )
        provider = models.install(settings)
        self.assertEqual(models.omissions(), tuple(provider.omitted))
        names = {each.name() for each in provider.algorithms()}
        reasons = {os.path.basename(o.name): o.reason for o in provider.omitted}
        self.assertEqual(len(reasons), len(provider.omitted))
        return names, reasons

    def test_reasons(self) -> None:
        """What was wrong, in one line; the others went on."""
        self.write("a_good.model3")
        self.write("b_twin.model3")
        self.write(
            "missing.model3",
            ("native:dissolve", "nowhere:dissolve"),
            ("native:buffer", "nowhere:buffer"),
            ('"surroundings"', '"missing"'),
        )
        self.write("nested.model3", ("model:surroundings", "model:missing"), of=NESTED)
        self.write(
            "desktop.model3",
            ("native:dissolve", self.desktopAlgorithm()),
            ('"surroundings"', '"desktop"'),
        )
        self.write(
            "inputs.model3",
            ('value="number"', 'value="nonsense"'),
            ('"surroundings"', '"inputs"'),
        )
        self.write("nameless.model3", ('"surroundings"', '""'))
        (self.folder / "broken.model3").write_text(GOOD.read_text()[:500])
        (self.folder / "other.model3").write_text("<a/>")
        (self.folder / "old.model").write_text("{}")
        names, reasons = self.load()
        self.assertEqual(names, {"surroundings"})
        for name, reason in (
            ("b_twin", "there is already a model 'model:surroundings', of "),
            ("missing", "algorithms are missing: nowhere:"),
            ("nested", "algorithms are missing: model:missing"),
            ("desktop", f"need the desktop of QGIS: {self.desktopAlgorithm()}"),
            ("inputs", "inputs are of an unknown type: distance"),
            ("nameless", "the model has no name"),
            ("broken", "it is no model: "),
            ("other", "the model has no name"),
        ):
            self.assertIn(reason, reasons.pop(f"{name}.model3"))
        self.assertIn("of QGIS 2", reasons.pop("old.model"))
        self.assertEqual(reasons, {})

    def desktopAlgorithm(self) -> str:
        """The id of an algorithm that is for the desktop only."""
        return next(
            each.id()
            for each in QgsApplication.processingRegistry().algorithms()
            if compat.isSet(each.flags(), compat.ALGORITHM_DESKTOP_ONLY)
        )

    def test_bothMissing(self) -> None:
        """All that is missing is named."""
        self.write(
            "missing.model3",
            ("native:dissolve", "nowhere:dissolve"),
            ("native:buffer", "nowhere:buffer"),
        )
        _, reasons = self.load()
        reason = reasons["missing.model3"]
        self.assertIn("nowhere:dissolve", reason)
        self.assertIn("nowhere:buffer", reason)
        self.assertNotIn("native:", reason)

    def test_circle(self) -> None:
        """Models that run each other."""
        self.write("good.model3")
        inner = "model:surroundings"
        name = "middle_of_surroundings"
        self.write("one.model3", (inner, "model:two"), (name, "one"), of=NESTED)
        self.write("two.model3", (inner, "model:one"), (name, "two"), of=NESTED)
        names, reasons = self.load()
        self.assertEqual(names, {"surroundings"})
        circle = "these models run each other, or wait: model:one, model:two"
        self.assertEqual(reasons, {"one.model3": circle, "two.model3": circle})

    def test_order(self) -> None:
        """A model may stand before those that it runs, and in another folder."""
        self.write("a.model3", of=NESTED)
        (self.folder / "z").mkdir()
        self.write("z/z.model3")
        names, reasons = self.load()
        self.assertEqual(names, {"surroundings", "middle_of_surroundings"})
        self.assertEqual(reasons, {})


class ExampleModelTests(support.JobCase):
    """The models of the documentation."""

    CITIES = f"{support.DATA}|layername=cities"

    def test_replacesQgissOwn(self) -> None:
        """There is one provider of models, and it is ours."""
        providers = QgsApplication.processingRegistry().providers()
        (mine,) = (each for each in providers if each.id() == "model")
        self.assertIsInstance(mine, models.ModelProvider)

    def test_help(self) -> None:
        """What the author wrote, of the whole and of each input."""
        (process,) = (
            each
            for each in catalogue.build(support.settings).processes
            if each.identifier == "model:surroundings"
        )
        self.assertEqual(process.title, "surroundings")
        self.assertEqual(
            process.abstract,
            "What lies within a distance of some places, as one area.",
        )
        self.assertEqual(process.version, "2.1")
        places, distance = process.input("places"), process.input("distance")
        assert places is not None and distance is not None
        self.assertEqual(places.abstract, "Points, lines or areas.")
        self.assertEqual(distance.abstract, "In the units of the layer's CRS.")
        self.assertEqual((places.minOccurs, distance.minOccurs), (1, 0))

    def test_run(self) -> None:
        """As the algorithms one by one."""
        model = QgsApplication.processingRegistry().algorithmById("model:surroundings")
        [output] = model.outputDefinitions()
        result = self.run_(
            "model:surroundings",
            support.literal("places", "cities"),
            support.literal("distance", 0.5),
            outputs=(OutputRequest(output.name(), support.GEOJSON),),
            project=support.WORLD,
        )
        (name,) = result.outputs
        (feature,) = support.features(self.file(result, name))
        got = QgsVectorLayer(str(self.file(result, name)), "got", "ogr")
        area = next(got.getFeatures()).geometry()
        self.assertEqual(feature["geometry"]["type"], "MultiPolygon")
        cities = QgsVectorLayer(self.CITIES, "cities", "ogr")
        for city in cities.getFeatures():
            self.assertTrue(area.contains(city.geometry()))
            self.assertLess(area.area(), cities.featureCount() * 3.15 * 0.5**2)

    def test_nested(self) -> None:
        """A model that runs a model."""
        point = '{"type": "Point", "coordinates": [7, 47]}'
        result = self.run_(
            "model:middle_of_surroundings",
            support.data("places", point, "application/geo+json"),
        )
        (name,) = result.outputs
        (feature,) = support.features(self.file(result, name))
        x, y = feature["geometry"]["coordinates"]
        self.assertAlmostEqual(x, 7)
        self.assertAlmostEqual(y, 47)
