"""QGIS's provider for GRASS."""

from __future__ import annotations

from pathlib import Path
from unittest import mock

from qgis.core import QgsProcessingFeedback, QgsProcessingUtils

from qgswps.worker import catalogue, grass
from tests.worker.qgisside import support


class GrassTests(support.JobCase):
    """Its algorithms, where GRASS is installed."""

    def setUp(self) -> None:
        super().setUp()
        found = grass.find()
        assert found is not None
        provider, self.tools = found
        self.prefix = f"{provider.id()}:"

    def test_published(self) -> None:
        """Most of them."""
        published = [
            each.identifier
            for each in catalogue.build(support.settings).processes
            if each.identifier.startswith(self.prefix)
        ]
        self.assertGreaterEqual(len(published), 240)

    def test_vector(self) -> None:
        """Points become areas."""
        points = '{"type": "MultiPoint", "coordinates": [[0, 0], [4, 0], [2, 3]]}'
        result = self.run_(
            f"{self.prefix}v.buffer",
            support.data("input", points, "application/geo+json"),
            support.literal("distance", 0.5),
        )
        kinds = {
            each["geometry"]["type"]
            for each in support.features(self.file(result, "output"))
        }
        self.assertEqual(kinds, {"Polygon"})

    def test_ownHome(self) -> None:
        """GRASS keeps its session in the folder for temporary files."""
        home = Path(self.directory, "home")
        home.mkdir()
        with mock.patch.dict("os.environ", HOME=str(home)):
            self.tools.startGrassSession()
            self.addCleanup(self.tools.endGrassSession)
            self.tools.executeGrass(["g.region -p"], QgsProcessingFeedback())
        self.assertEqual(list(home.iterdir()), [])
        kept = Path(QgsProcessingUtils.tempFolder()).glob(".grass*")
        self.assertEqual(len(list(kept)), 1)
