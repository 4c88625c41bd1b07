"""
Small jobs that the fork server runs before it forks.

QGIS, GDAL, PROJ and SQLite make much of what they need when they first need
it.  What is made here once would else be made by each worker again.
"""

from __future__ import annotations

import contextlib
import os
import tempfile
from collections.abc import Callable

from osgeo import gdal, osr
from qgis.core import QgsProject, QgsRasterLayer, QgsVectorLayer

from qgswps import codec
from qgswps.jobfiles import RESULT, TASK
from qgswps.model import (
    ComplexValue,
    ExecuteRequest,
    Format,
    Input,
    LiteralValue,
    Task,
)
from qgswps.worker import runner
from qgswps.worker.feedback import Feedback

_POINTS = (
    '{"type": "FeatureCollection", "features": [{"type": "Feature",'
    ' "properties": {"id": 1}, "geometry":'
    ' {"type": "Point", "coordinates": [7.5, 47.5]}}]}'
)
_PROJECT = "project.qgs"


def run(log: Callable[[str, str], None]) -> None:
    """
    Run one job of each common kind, and leave nothing open.

    @param log: gets a level and a text if one fails; it does no harm.
    """
    with tempfile.TemporaryDirectory(prefix="qgswps-warmup-") as directory:
        project = _makeProject(directory)
        inline = ComplexValue(_POINTS, Format("application/geo+json"))
        named = LiteralValue("points")
        for number, task in enumerate(
            (
                Task(_request("native:buffer", inline)),
                Task(_request("native:buffer", named), project),
                Task(_request("native:slope", LiteralValue("raster")), project),
            )
        ):
            _runJob(os.path.join(directory, str(number)), task, log)
        QgsProject.instance().clear()


def _request(processId: str, layer: ComplexValue | LiteralValue) -> ExecuteRequest:
    return ExecuteRequest(processId, inputs=(Input("INPUT", layer),))


def _runJob(directory: str, task: Task, log: Callable[[str, str], None]) -> None:
    os.mkdir(directory)
    codec.write(os.path.join(directory, TASK), task)
    with open(os.devnull, "w") as silence, contextlib.redirect_stdout(silence):
        result = runner.run(directory, Feedback(lambda percent, text: None))
    codec.write(os.path.join(directory, RESULT), result)
    for fault in result.faults:
        log("warn", f"warm-up failed: {task.request.processId}: {fault.text}")


def _makeProject(directory: str) -> str:
    """A project with a layer in a GeoPackage and a raster."""
    points = os.path.join(directory, "points.geojson")
    with open(points, "w") as file:
        file.write(_POINTS)
    vectors = os.path.join(directory, "points.gpkg")
    gdal.VectorTranslate(vectors, points, format="GPKG", layerName="points")
    raster = os.path.join(directory, "raster.tif")
    wgs84 = osr.SpatialReference()
    wgs84.ImportFromEPSG(4326)
    dataset = gdal.GetDriverByName("GTiff").Create(raster, 4, 4)
    dataset.SetGeoTransform((7, 0.25, 0, 48, 0, -0.25))
    dataset.SetProjection(wgs84.ExportToWkt())
    del dataset
    project = QgsProject.instance()
    project.addMapLayers(
        [
            QgsVectorLayer(f"{vectors}|layername=points", "points", "ogr"),
            QgsRasterLayer(raster, "raster", "gdal"),
        ]
    )
    path = os.path.join(directory, _PROJECT)
    project.write(path)
    project.clear()
    return path
