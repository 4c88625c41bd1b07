"""What showed when results were compared with those of QGIS alone."""

from __future__ import annotations

from pathlib import Path

from osgeo import gdal
from qgis.core import QgsApplication

from qgswps.model import ExecuteRequest, Format, OutputRequest
from qgswps.worker import needs, outputs
from tests.worker.qgisside.support import WORLD, JobCase, data, literal

GEOPACKAGE = Format("application/geopackage+sqlite3", "base64")

TIMED = (
    '{"type": "FeatureCollection", "features": [{"type": "Feature",'
    ' "properties": {"when": "2024-05-01T12:30:00Z"},'
    ' "geometry": {"type": "Point", "coordinates": [7, 47]}}]}'
)

MESH = (
    "MESH2D\nE3T 1 1 2 3 1\nND 1 5e5 52e5 1\nND 2 500010 52e5 2\nND 3 5e5 5200010 3\n"
)


class AsQgisTests(JobCase):
    """Results as QGIS makes them."""

    def test_asWritten(self) -> None:
        """A program's GeoPackage is not written again: times keep their zones."""
        result = self.run_(
            "gdal:convertformat",
            data("INPUT", TIMED, "application/geo+json"),
            outputs=(OutputRequest("OUTPUT", GEOPACKAGE),),
        )
        opened = gdal.OpenEx(str(self.file(result)), gdal.OF_VECTOR)
        [feature] = opened.GetLayer(0)
        self.assertEqual(feature["when"], "2024/05/01 12:30:00+00")

    def test_tilesAreOfTheProject(self) -> None:
        """What draws a project gets all of it, though it does not ask for it."""
        registry = QgsApplication.processingRegistry()
        for name in ("qgis:tilesxyzdirectory", "qgis:tilesxyzmbtiles"):
            algorithm = registry.createAlgorithmById(name)
            if algorithm is not None:
                self.assertIsNone(needs.texts(algorithm, ExecuteRequest(name)))

    def test_pages(self) -> None:
        """A page of tiles finds them in their archive, and names no folder."""
        result = self.run_(
            "qgis:tilesxyzdirectory",
            literal("EXTENT", "-10,-10,10,10"),
            *(literal("ZOOM_MIN", 1), literal("ZOOM_MAX", 1)),
            outputs=(OutputRequest("OUTPUT_DIRECTORY"), OutputRequest("OUTPUT_HTML")),
            project=WORLD,
        )
        page = self.file(result, "OUTPUT_HTML").read_text()
        self.assertIn("'{z}/{x}/{y}.png'", page)
        self.assertNotIn(self.directory, page)

    def test_relativePages(self) -> None:
        """Names of the job's folders are taken out in any form."""
        job = self.job()
        path = Path(self.directory, "page.html")
        for prefix in ("", "file://", "file:///"):
            path.write_text(f"<p>{prefix}{self.directory}/inputs/a.tif</p>")
            outputs._makeRelative(str(path), job)
            self.assertEqual(path.read_text(), "<p>inputs/a.tif</p>")

    def test_meshWithoutCrs(self) -> None:
        """A mesh that is sent has no CRS; its coordinates stay what they are."""
        result = self.run_(
            "native:exportmeshvertices",
            data("INPUT", MESH, "application/x-2dm"),
            literal("DATASET_TIME", "static"),
            literal("CRS_OUTPUT", "EPSG:32632"),
            outputs=(OutputRequest("OUTPUT", GEOPACKAGE),),
        )
        opened = gdal.OpenEx(str(self.file(result)), gdal.OF_VECTOR)
        extent = opened.GetLayer(0).GetExtent()
        self.assertEqual(extent, (500000, 500010, 5200000, 5200010))
