"""
Layers and geometries that are sent: GeoJSON, GML, WKT.

They are read by GDAL and QGIS, in a process that has QGIS (L{start}).
"""

from __future__ import annotations

import os
import re
import shutil
import tempfile
from collections.abc import Callable

from osgeo import gdal
from qgis.core import QgsProcessingContext, QgsProject

from qgswps import forms
from qgswps.errors import OWSError
from qgswps.model import ComplexValue, ExecuteRequest, Format, WorkerSettings
from qgswps.worker import layerdata, qgisapp
from qgswps.worker.job import Job
from qgswps.worker.parameters import geometries, spatial

_KINDS = ("vector",)


def start(folder: str) -> None:
    """Start QGIS."""
    settings = WorkerSettings(
        catalogue=os.path.join(folder, "catalogue.json"),
        profile=folder,
        qgisSettings={"Processing/Configuration/TEMP_PATH2": folder},
    )
    qgisapp.start(settings, lambda level, text: None)
    qgisapp.warmUp()


def _in(job: Callable[[Job], object]) -> object:
    gdal.ErrorReset()
    directory = tempfile.mkdtemp(prefix="qgswps-fuzz-")
    try:
        context = QgsProcessingContext()
        context.setProject(QgsProject.instance())
        return job(Job(directory, ExecuteRequest("x"), QgsProject.instance(), context))
    finally:
        shutil.rmtree(directory)


def _layer(text: str, mimeType: str) -> object:
    """
    A layer of this data has features that can be read to their end.

    @return: what became of it, in some words.
    """

    def run(job: Job) -> object:
        given = ComplexValue(text, Format(mimeType))
        try:
            layer = layerdata.load("INPUT", given, _KINDS, job)
        except OWSError as error:
            [fault] = error.faults
            assert (fault.code, fault.locator) == ("InvalidParameterValue", "INPUT")
            assert job.directory not in fault.text, fault.text
            return _gist(fault.text)
        assert layer.isValid()
        for feature in layer.getFeatures():
            feature.geometry().asWkt(3)
            feature.attributes()
        layer.extent()
        types = sorted({field.typeName() for field in layer.fields()})
        return str(layer.wkbType()), types, layer.crs().isValid()

    return _in(run), _gist(gdal.GetLastErrorMsg())


def _gist(text: str) -> str:
    """A message without what it quotes."""
    return re.sub(r"[0-9]+|['\"`(].*", "", text)[:60]


def _geometry(text: str) -> object:
    """
    A geometry that is written is read again as one of its type.

    @return: what became of it, in some words.
    """
    try:
        place = geometries.read(text)
    except (ValueError, AttributeError) as error:
        # As geometries.place() takes them.
        assert not isinstance(error, UnicodeError), error
        return _gist(str(error)), _gist(gdal.GetLastErrorMsg())
    geometry = place.geometry
    if geometry.isEmpty() or not geometry.boundingBox().isFinite():
        return "not finite"
    _isTaken("geometry", text)
    written = geometry.asWkt(17)
    if not re.search("nan|inf", written, re.IGNORECASE):
        again = geometries.read(written).geometry
        assert again.wkbType() == geometry.wkbType(), (written, again.asWkt(17))
    return str(geometry.wkbType()), place.crs is None


def _isTaken(form: str, text: str) -> None:
    """
    No request is refused for this before there is a worker.

    PROJ forgives brackets and quotes too many or too few in what names a CRS.
    """
    why = forms.fault(form, text) or ""
    assert re.search("^$|too many|is missing", why), why


def geoJson(data: bytes) -> object:
    """GeoJSON as a layer, and as a geometry."""
    text = data.decode("utf-8", "replace")
    layer = _layer(text, "application/geo+json")
    return layer, _geometry("{" + text.strip().removeprefix("{"))


def gml(data: bytes) -> object:
    """GML as a layer, and as a geometry."""
    text = data.decode("utf-8", "replace")
    layer = _layer(text, "application/gml+xml")
    return layer, _geometry("<" + text.strip().removeprefix("<"))


def wkt(data: bytes) -> object:
    """WKT as a geometry, in a table, and of a CRS."""
    text = data.decode("utf-8", "replace")
    geometry = _geometry(text)
    quoted = text.replace('"', '""')
    layer = _layer(f'name,WKT\na,"{quoted}"\n', "text/csv")
    crs, _ = spatial.readCrs(text)
    if crs.isValid():
        _isTaken("crs", text)
    return geometry, layer, crs.isValid()
