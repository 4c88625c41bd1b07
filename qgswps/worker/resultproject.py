"""
The project of a job's results: all layers that it made, ready to be served.

It names its layers' files relative to itself, so that it can be moved along
with them.
"""

from __future__ import annotations

import contextlib
import os
import re
import sys
from collections.abc import Collection, Sequence
from typing import Any

from osgeo import gdal
from qgis.core import (
    QgsCoordinateReferenceSystem,
    QgsCoordinateTransform,
    QgsCsException,
    QgsMeshLayer,
    QgsPointCloudLayer,
    QgsProject,
    QgsRasterLayer,
    QgsRectangle,
    QgsReferencedRectangle,
    QgsVectorLayer,
    QgsVectorTileLayer,
)
from qgis.PyQt.QtXml import QDomDocument

from qgswps.errors import failure
from qgswps.model import ResultLayer, WorkerSettings, resultProject
from qgswps.worker import compat, styles

#: What the services say of the source project, they say of its results.
_TEXTS = (
    "WMSServiceTitle",
    "WMSServiceAbstract",
    "WMSContactPerson",
    "WMSContactOrganization",
    "WMSContactPosition",
    "WMSContactPhone",
    "WMSContactMail",
    "WMSFees",
    "WMSAccessConstraints",
)
_LISTS = ("WMSKeywordList",)
#: Limits and qualities that they keep.
_NUMBERS = (
    "WMSMaxWidth",
    "WMSMaxHeight",
    "WMSImageQuality",
    "WMSTileBuffer",
    "WMSPrecision",
)

#: Decimals of coordinates in the answers of WFS.
_PRECISION = 8

#: CRSs that clients ask for, whatever the layers are in.
_COMMON = ("EPSG:4326", "EPSG:3857")

#: What is around a single point, in units of a geographic CRS and of others.
_MARGIN = (0.01, 1000.0)

#: Whether a project has the ellipsoid of its CRS, not the source project's.
_adjustsEllipsoid = [False]


def install(settings: WorkerSettings) -> None:
    """Take what the settings say of all result projects."""
    _adjustsEllipsoid[:] = [settings.adjustEllipsoid]


def path(directory: str, processId: str) -> str:
    """Where the result project of a job is, or would be."""
    return os.path.join(directory, resultProject(processId))


def exists(directory: str, processId: str) -> bool:
    """Whether it has been made."""
    return os.path.isfile(path(directory, processId))


# Names

#: XML has no place for these.
_CONTROL = re.compile(r"[\x00-\x1f\x7f\ufffe\uffff\ud800-\udfff]+")
#: Commas part the names of a request, QGIS's WMTS decodes its names twice, and
#: in OGC API Features they are parts of a path.
_UNSAFE = re.compile(r"[,&#%+/?\\]")


def serviceName(name: str) -> str:
    """
    What the map services call a layer: its name, if that can be sent in a
    list of names and be the name of an XML element, but for spaces.
    """
    safe = _UNSAFE.sub("_", name)
    # QGIS cares for all other characters, but not for the first one.
    return safe if safe[:1].isalpha() or safe.startswith("_") else f"_{safe}"


def uniqueName(title: str, taken: Collection[str]) -> str:
    """
    A name for a layer: its title, with a number if need be.

    @param taken: names that its services must not mix it up with.
    """
    title = " ".join(_CONTROL.sub(" ", title).split()) or "layer"
    known = {_key(name) for name in taken}
    name = title
    count = 1
    while _key(name) in known:
        count += 1
        name = f"{title} ({count})"
    return name


def _key(name: str) -> str:
    """WFS has these characters replaced."""
    return serviceName(name).replace(" ", "_").replace(":", "-")


# The project


def write(
    directory: str,
    processId: str,
    layers: Sequence[ResultLayer],
    source: QgsProject | None,
) -> str:
    """
    Make the project; it is there as a whole or not at all.

    @param directory: absolute path of the job directory.
    @param source: the project that the job ran in, or None.
    @return: the absolute path.
    @raise OWSError: there is no layer, or it can't be written.
    """
    if not layers:
        raise failure("the job has made no layers", 404)
    target = path(directory, processId)
    project = QgsProject()
    opened = [_open(directory, layer) for layer in layers]
    valid = [layer for layer in opened if layer is not None]
    _settle(project, processId, valid, source)
    tree = project.layerTreeRoot()
    for layer in valid:
        project.addMapLayer(layer, False)
        tree.addLayer(layer)
    _publish(project, valid, source)
    _setExtent(project, valid)
    project.writeEntryBool("Paths", "/Absolute", False)
    # Newer QGIS has an empty collection of styles in each project, and would
    # write it into an archive beside.
    for attached in project.attachedFiles():
        project.removeAttachedFile(attached)
    scratch = f"{target[: -len('.qgs')]}.{os.getpid()}.new.qgs"
    try:
        if not project.write(scratch):
            # What QGIS says of it names files that the client has never seen.
            sys.stderr.write(f"{project.error()}\n")
            raise failure("the result project can't be written")
        os.replace(scratch, target)
    finally:
        with contextlib.suppress(OSError):
            os.unlink(scratch)
        # Their files are closed; it costs less than to clear the project.
        project.removeAllMapLayers()
    return target


def _open(directory: str, made: ResultLayer) -> Any:
    """The layer with its style; None if its data can't be read."""
    source = os.path.join(directory, made.path)
    # The id of a layer begins with its first name, and has to suit XML.
    first = "result"
    if made.provider == "gdal":
        layer = _openRaster(source, first)
    elif made.kind == "mesh":
        layer = QgsMeshLayer(source, first, made.provider)
    elif made.kind == "pointcloud":
        layer = QgsPointCloudLayer(source, first, made.provider)
    elif made.kind == "vectortile":
        layer = vectorTiles(source, first)
    else:
        if source.endswith(".gml"):
            # GDAL would leave a file of its own beside it.
            source += "|option:WRITE_GFS=NO"
        options = QgsVectorLayer.LayerOptions()
        options.loadDefaultStyle = False
        layer = QgsVectorLayer(source, first, made.provider, options)
    if not layer.isValid():
        sys.stderr.write(f"WARNING: the layer {made.name} can't be opened.\n")
        return None
    style = os.path.join(directory, made.style) if made.style else None
    if style is None or not styles.apply(layer, style):
        styles.applyDefault(layer)
    layer.setName(made.name)
    properties = layer.serverProperties()
    if not hasattr(properties, "setShortName"):
        # They were the layer's own before QGIS 3.38.
        properties = layer
    properties.setTitle(made.name)
    short = serviceName(made.name)
    properties.setShortName(short if short != made.name else "")
    return layer


def vectorTiles(path: str, name: str) -> QgsVectorTileLayer:
    """The layer of a file of vector tiles."""
    return QgsVectorTileLayer(f"type=mbtiles&url={path}", name)


def _openRaster(source: str, name: str) -> Any:
    """A raster, with nothing left beside it that GDAL finds out about it."""
    before = gdal.GetConfigOption("GDAL_PAM_ENABLED")
    gdal.SetConfigOption("GDAL_PAM_ENABLED", "NO")
    try:
        options = QgsRasterLayer.LayerOptions()
        options.loadDefaultStyle = False
        return QgsRasterLayer(source, name, "gdal", options)
    finally:
        gdal.SetConfigOption("GDAL_PAM_ENABLED", before)


def _settle(
    project: QgsProject,
    processId: str,
    layers: Sequence[Any],
    source: QgsProject | None,
) -> None:
    """Give it what the source project has, or what its layers suggest."""
    project.setTitle(processId)
    if source is None:
        crs = next((each.crs() for each in layers if each.crs().isValid()), None)
        project.setCrs(crs or QgsCoordinateReferenceSystem("EPSG:4326"), True)
        return
    project.setCrs(source.crs(), _adjustsEllipsoid[0])
    if not _adjustsEllipsoid[0]:
        project.setEllipsoid(source.ellipsoid())
    project.setTransformContext(source.transformContext())
    project.setDistanceUnits(source.distanceUnits())
    project.setAreaUnits(source.areaUnits())
    project.setBackgroundColor(source.backgroundColor())
    project.setSelectionColor(source.selectionColor())
    project.setCustomVariables(_mentioned(source.customVariables(), layers))
    metadata = source.metadata()
    metadata.setTitle(processId)
    project.setMetadata(metadata)
    for key in _TEXTS:
        text, known = source.readEntry(key, "/")
        if known and text:
            project.writeEntry(key, "/", text)
    for key in _LISTS:
        items, known = source.readListEntry(key, "/")
        if known and items:
            project.writeEntry(key, "/", items)
    for key in _NUMBERS:
        number, known = source.readNumEntry(key, "/")
        if known:
            project.writeEntry(key, "/", number)


def _mentioned(variables: dict[str, Any], layers: Sequence[Any]) -> dict[str, Any]:
    """
    The variables that the layers' styles need.  Others may be secrets of the
    source project, and the result project is for its readers to take along.
    """
    if not variables:
        return {}
    text = ""
    for layer in layers:
        document = QDomDocument()
        layer.exportNamedStyle(document)
        text += document.toString()
    return {
        name: value
        for name, value in variables.items()
        if re.search(rf"@{re.escape(name)}\b", text)
    }


def _publish(
    project: QgsProject, layers: Sequence[Any], source: QgsProject | None
) -> None:
    """Offer all layers by all services, to be read only."""
    vectors = [layer.id() for layer in layers if layer.type() == compat.LAYER_VECTOR]
    rasters = [layer.id() for layer in layers if layer.type() == compat.LAYER_RASTER]
    drawn = [layer.id() for layer in layers if layer.isSpatial()]
    project.writeEntryBool("WMSServiceCapabilities", "/", True)
    if not project.readEntry("WMSServiceTitle", "/")[0]:
        project.writeEntry("WMSServiceTitle", "/", project.title())
    project.writeEntry("WMSCrsList", "/", _crsList(project, layers, source))
    project.writeEntryBool("WMSAddWktGeometry", "/", True)
    # Names are what references to layers say.
    project.writeEntryBool("WMSUseLayerIDs", "/", False)
    project.writeEntry("WFSLayers", "/", vectors)
    for key in vectors:
        project.writeEntry("WFSLayersPrecision", f"/{key}", _PRECISION)
    project.writeEntry("WCSLayers", "/", rasters)
    for service in ("WMTSLayers", "WMTSPngLayers"):
        project.writeEntryBool(service, "Project", True)
        project.writeEntry(service, "Layer", drawn)


def _crsList(
    project: QgsProject, layers: Sequence[Any], source: QgsProject | None
) -> list[str]:
    """What maps may be asked for in; a source project may allow few only."""
    own = project.crs().authid()
    allowed = source.readListEntry("WMSCrsList", "/")[0] if source else []
    further = allowed or [*(layer.crs().authid() for layer in layers), *_COMMON]
    return list(dict.fromkeys(filter(None, [own, *further])))


def _setExtent(project: QgsProject, layers: Sequence[Any]) -> None:
    """Show all layers."""
    crs = project.crs()
    union = QgsRectangle()
    union.setMinimal()
    for layer in layers:
        box = layer.extent()
        if not layer.isSpatial() or box.isNull() or not box.isFinite():
            continue
        if layer.crs().isValid() and crs.isValid() and layer.crs() != crs:
            transform = QgsCoordinateTransform(layer.crs(), crs, project)
            try:
                box = transform.transformBoundingBox(box)
            except QgsCsException:
                # It reaches to where the project's CRS can't follow.
                continue
        if box.isFinite():
            union.combineExtentWith(box)
    if union.xMinimum() > union.xMaximum() or not union.isFinite():
        return
    if not union.width() or not union.height():
        most = max(union.width(), union.height()) / 20
        union.grow(most or _MARGIN[not crs.isGeographic()])
    corners = (union.xMinimum(), union.yMinimum(), union.xMaximum(), union.yMaximum())
    project.writeEntry("WMSExtent", "/", [repr(number) for number in corners])
    settings = project.viewSettings()
    extent = QgsReferencedRectangle(union, crs)
    settings.setDefaultViewExtent(extent)
    settings.setPresetFullExtent(extent)
