"""
The layers that algorithms make: each becomes a layer of the result project,
and is given to the client in the format that it wants.
"""

from __future__ import annotations

import os
import re
import shutil
import sys
import traceback
from collections.abc import Callable, Iterator, Sequence
from typing import Any

import attrs
from osgeo import gdal
from qgis.core import (
    QgsCoordinateReferenceSystem,
    QgsCoordinateTransform,
    QgsFeatureRequest,
    QgsProcessingAlgorithm,
    QgsProcessingOutputDefinition,
    QgsProcessingUtils,
    QgsProject,
    QgsVectorFileWriter,
)

from qgswps.errors import failure
from qgswps.jobfiles import OUTPUTS, TEMPORARY
from qgswps.model import FileValue, LayerValue, OutputData, ResultLayer
from qgswps.worker import (
    archives,
    compat,
    formats,
    pictures,
    project,
    resultproject,
    styles,
)
from qgswps.worker.formats import OutputFormat
from qgswps.worker.job import Job, fileName

#: Separates a file from what of it is a layer, in QGIS's sources.
_PART = "|"

#: What tells a TIFF file.
_TIFF = (b"II*\0", b"MM\0*", b"II+\0", b"MM\0+")


@attrs.frozen
class _Made:
    """
    The data of a layer.

    @ivar path: of what the result project reads, relative to the job
        directory; with the part of the file that is the layer, if not all is.
    @ivar layer: what it was written from, if that had to be opened.
    @ivar file: of what the client takes, if that is another file.
    @ivar isServed: whether it is a layer of the result project.
    """

    path: str
    format: OutputFormat
    kind: str
    provider: str
    layer: Any = None
    file: str | None = None
    isServed: bool = True


def collect(
    algorithm: QgsProcessingAlgorithm,
    output: QgsProcessingOutputDefinition,
    title: str,
    value: Any,
    job: Job,
) -> OutputData:
    """An output that is a layer, which is one of the result project, too."""
    name = output.name()
    if output.type() == MULTIPLE:
        return _several(algorithm, name, title, value, job)
    if output.type() == _ANY and name not in job.titles:
        # Its name may be what it is about.
        title = _open(name, value, job).name() or title
    processed = _postProcessed(name, value, job)
    made = _MAKE[output.type()](name, value, job)
    if not made.isServed:
        return FileValue(made.path, made.format.format, title)
    layer = _add(algorithm, name, title, made, processed, job)
    if made.format.isService:
        served = resultproject.serviceName(layer.name)
        wanted = made.format.format
        if layer.kind == "nogeometry" and not job.hasFormat(name):
            # There is nothing to draw.
            wanted = formats.WFS
        return LayerValue(served, wanted, title)
    if made.format.format == formats.PNG:
        path = _picture(name, made, layer.style, job)
        return FileValue(path, formats.PNG, title)
    path = made.file or made.path
    isZip = path.endswith(".zip") and not made.format.isPacked
    # Some drivers make several files or one, as the data is.
    return FileValue(path, formats.ZIP if isZip else made.format.format, title)


def _add(
    algorithm: QgsProcessingAlgorithm,
    name: str,
    title: str,
    made: _Made,
    processed: Any,
    job: Job,
) -> ResultLayer:
    """Make it a layer of the result project."""
    style = styles.find(algorithm, name, made.path, processed or made.layer, job)
    # The project's own name is that of all layers together.
    taken = [job.request.processId, *(layer.name for layer in job.layers)]
    layer = ResultLayer(
        output=name,
        name=resultproject.uniqueName(title, taken),
        kind=made.kind,
        path=made.path,
        provider=made.provider,
        style=style,
    )
    job.layers.append(layer)
    return layer


def _postProcessed(name: str, value: Any, job: Job) -> Any:
    """
    The layer, after what the algorithm wants done to it before it is shown;
    None if it wants nothing.
    """
    key = value if isinstance(value, str) else getattr(value, "id", str)()
    details = job.context.layersToLoadOnCompletion().get(key)
    processor = details.postProcessor() if details is not None else None
    if processor is None:
        return None
    layer = _open(name, value, job)
    try:
        processor.postProcessLayer(layer, job.context, job.context.feedback())
    except Exception as error:
        # It is about the look of a result that is there.
        traceback.print_exc(file=sys.stderr)
        sys.stderr.write(f"WARNING: {name} could not be post-processed: {error}\n")
    return layer


def _open(name: str, value: Any, job: Job) -> Any:
    """The layer that an algorithm's result means."""
    layer = value
    if isinstance(value, str):
        layer = QgsProcessingUtils.mapLayerFromString(value, job.context)
    if layer is None or not hasattr(layer, "isValid") or not layer.isValid():
        raise failure(f"the layer of the algorithm's output {name} can't be opened")
    return layer


def _relative(path: str, job: Job) -> str:
    """The path of a file that the job has made."""
    relative = job.relative(path)
    if relative is None:
        raise failure("a result is not where the job's files are")
    return relative


def _isResult(path: object, job: Job) -> bool:
    """Whether a file lies where the job's results do."""
    relative = job.relative(path) if isinstance(path, str) else None
    return relative is not None and relative.startswith(f"{OUTPUTS}/")


# Vector layers


def _vector(name: str, value: Any, job: Job) -> _Made:
    wanted = formats.choose(formats.vectorOutputs(), name, job)
    isGeoJson = _isResult(value, job) and str(value).endswith(".geojson")
    if isGeoJson and wanted.driver == "GeoJSON" and _isIn(str(value), wanted.crs):
        return _Made(_relative(str(value), job), wanted, "vector", "ogr")
    stem = fileName(name, "output")
    if wanted.driver == "GPKG" and _isWhole(value, job):
        # As the algorithm made it: to write it again would lose what QGIS's
        # attributes have no place for, such as the zones of times.
        target = job.newFile(OUTPUTS, stem + wanted.suffix)
        os.rename(value, target)
        layer = _open(name, target, job)
        path = _relative(target, job)
        return _Made(path, wanted, project.kindOf(layer), "ogr", layer)
    layer = _open(name, value, job)
    if layer.type() != compat.LAYER_VECTOR:
        raise failure(f"the algorithm's output {name} is no vector layer")
    kind = project.kindOf(layer)
    file = None
    if not wanted.isServed:
        file = _relative(_writeAside(layer, stem, wanted, job), job)
    data = wanted if wanted.isServed else formats.VECTOR_DATA
    target = job.newFile(OUTPUTS, stem + data.suffix)
    _write(layer, target, data, job)
    if _isResult(value, job):
        # It has the name of its own file.
        named = os.path.splitext(str(value))[0] + data.suffix
        os.remove(str(value))
        os.rename(target, named)
        target = named
    return _Made(_relative(target, job), wanted, kind, "ogr", layer, file)


#: What tells a GeoPackage, or another SQLite database.
_SQLITE = b"SQLite format 3\0"


def _isWhole(value: object, job: Job) -> bool:
    """Whether a value is the path of a GeoPackage of one layer that was made."""
    relative = job.relative(value) if isinstance(value, str) else None
    if relative is None or not relative.startswith(f"{TEMPORARY}/"):
        return False
    path = os.path.join(job.directory, relative)
    if not relative.endswith(".gpkg") or not os.path.isfile(path):
        return False
    with open(path, "rb") as file:
        if file.read(len(_SQLITE)) != _SQLITE:
            return False
    return int(gdal.OpenEx(path, gdal.OF_VECTOR).GetLayerCount()) == 1


#: GDAL writes a GeoJSON file's CRS before the features.
_CRS_MEMBER = re.compile(rb'"crs"\s*:\s*\{[^{}]*\{[^{}]*"name"\s*:\s*"([^"]+)"')
_CODE = re.compile(r"urn:ogc:def:crs:(\w+):[^:]*:(\w+)")
_HEAD = 2048


def _isIn(path: str, crs: str | None) -> bool:
    """
    Whether the coordinates of a GeoJSON file that GDAL wrote are in a CRS.

    Without any CRS there is nothing to transform either: those that have no
    code were never written this way.
    """
    if crs is None:
        return True
    with open(path, "rb") as file:
        head = file.read(_HEAD).partition(b'"features"')[0]
    match = _CRS_MEMBER.search(head)
    if match is None:
        return True
    code = _CODE.fullmatch(match.group(1).decode())
    if code is None:
        return False
    named = "EPSG:4326" if code.group(2) == "CRS84" else ":".join(code.groups())
    return named == crs


def _write(layer: Any, path: str, wanted: OutputFormat, job: Job) -> None:
    """Write a vector layer to a file."""
    options = QgsVectorFileWriter.SaveVectorOptions()
    options.driverName = wanted.driver
    options.fileEncoding = "UTF-8"
    options.layerName = os.path.splitext(os.path.basename(path))[0]
    options.layerOptions = list(wanted.layerOptions)
    if wanted.driver == "GPKG":
        options.layerOptions += _columns(layer)
    elif wanted.driver == "CSV" and not layer.isSpatial():
        options.layerOptions = []
    options.datasourceOptions = list(wanted.datasetOptions)
    options.actionOnExistingFile = compat.OVERWRITE_FILE
    if wanted.crs is not None and layer.crs().isValid():
        crs = QgsCoordinateReferenceSystem(wanted.crs)
        if layer.crs() != crs:
            options.ct = QgsCoordinateTransform(
                layer.crs(), crs, job.context.transformContext()
            )
    code, message, *_ = QgsVectorFileWriter.writeAsVectorFormatV3(
        layer, path, job.context.transformContext(), options
    )
    if code != compat.WRITER_OK:
        raise failure(
            f"a result can't be written as {wanted.format.mimeType}: {message}"
        )


def _columns(layer: Any) -> list[str]:
    """
    How a GeoPackage's own columns are named beside the layer's attributes.

    An attribute of the name of the key becomes the key; if it can't be one,
    it stays what it is.
    """
    fields = {field.name().lower(): n for n, field in enumerate(layer.fields())}
    key = "fid"
    while key in fields and not (key == "fid" and _isKey(layer, fields[key])):
        key = f"{key}_" if key != "fid" else "ogc_fid"
    geometry = "geom"
    while geometry in fields:
        geometry += "_"
    return [f"FID={key}", f"GEOMETRY_NAME={geometry}"]


#: The numbers of Qt's types of whole numbers with 32 and 64 bits.
_WHOLE = (2, 4)


def _isKey(layer: Any, index: int) -> bool:
    """Whether an attribute tells all features apart, by whole numbers."""
    if compat.number(layer.fields()[index].type()) not in _WHOLE:
        return False
    seen = set()
    for feature in layer.getFeatures(
        QgsFeatureRequest()
        .setFlags(compat.WITHOUT_GEOMETRY)
        .setSubsetOfAttributes([index])
    ):
        value = compat.plain(feature[index])
        if not isinstance(value, int) or value in seen:
            return False
        seen.add(value)
    return True


# Formats that no service reads


def _writeAside(layer: Any, stem: str, wanted: OutputFormat, job: Job) -> str:
    """A vector layer in a file for the client alone, or an archive of files."""

    def write(path: str) -> None:
        _write(layer, path, wanted, job)

    return _aside(stem, wanted, write, job)


def _aside(
    stem: str, wanted: OutputFormat, write: Callable[[str], None], job: Job
) -> str:
    """
    What a driver makes, packed if that is several files.

    @param write: writes to a path.
    """
    if not wanted.isPacked and not wanted.isFurther:
        target = job.newFile(OUTPUTS, stem + wanted.suffix)
        write(target)
        return target
    folder = job.newFolder(TEMPORARY, stem)
    write(os.path.join(folder, stem + wanted.suffix))
    files = list(archives.below(folder))
    if not files:
        raise failure(f"a result can't be written as {wanted.format.mimeType}")
    if wanted.isPacked or len(files) > 1:
        target = job.newFile(OUTPUTS, f"{stem}.zip")
        archives.pack(files, target)
    else:
        target = job.newFile(OUTPUTS, stem + wanted.suffix)
        shutil.move(files[0][0], target)
    shutil.rmtree(folder, ignore_errors=True)
    return target


# Raster layers


def _raster(name: str, value: Any, job: Job) -> _Made:
    wanted = formats.choose(formats.rasterOutputs(), name, job)
    stem = fileName(name, "output")
    layer = None
    if _isResult(value, job):
        if not os.path.isfile(str(value)):
            raise failure(f"the algorithm made no file for its output {name}")
        source = target = str(value)
    else:
        layer = _open(name, value, job)
        if layer.type() != compat.LAYER_RASTER:
            raise failure(f"the algorithm's output {name} is no raster layer")
        source, target = layer.source(), job.newFile(OUTPUTS, f"{stem}.tif")
    data = wanted if wanted.isServed else formats.RASTER_DATA
    if source != target or data.driver != "GTiff" or not _isTiff(source):
        _translateTo(source, target, data)
    file = None
    if not wanted.isServed and wanted.format != formats.PNG:

        def write(path: str) -> None:
            _translate(target, path, wanted)

        file = _relative(_aside(stem, wanted, write, job), job)
    return _Made(_relative(target, job), wanted, "raster", "gdal", layer, file)


def _isTiff(path: str) -> bool:
    """
    Whether a file is what it is called; what some algorithms make is not, but
    a list of other files.
    """
    with open(path, "rb") as file:
        return file.read(4) in _TIFF


def _translateTo(source: str, target: str, wanted: OutputFormat) -> None:
    """Write a raster in another format to a file that may be its own."""
    scratch = f"{target}.new{wanted.suffix}"
    _translate(source, scratch, wanted)
    os.replace(scratch, target)


def _translate(source: str, target: str, wanted: OutputFormat) -> None:
    before = gdal.GetConfigOption("GDAL_PAM_ENABLED")
    # What a format has no place for would be put beside it.
    gdal.SetConfigOption("GDAL_PAM_ENABLED", "NO")
    try:
        options = list(wanted.datasetOptions)
        made = gdal.Translate(
            target, source, format=wanted.driver, creationOptions=options
        )
        if made is None:
            raise RuntimeError(gdal.GetLastErrorMsg())
    except RuntimeError as error:
        mimeType = wanted.format.mimeType
        raise failure(f"a result can't be written as {mimeType}: {error}") from None
    finally:
        gdal.SetConfigOption("GDAL_PAM_ENABLED", before)


def _picture(name: str, made: _Made, style: str | None, job: Job) -> str:
    """A preview of a raster."""
    target = job.newFile(OUTPUTS, fileName(name, "output") + made.format.suffix)
    styled = os.path.join(job.directory, style) if style else None
    pictures.draw(os.path.join(job.directory, made.path), styled, target)
    return _relative(target, job)


# Layers of other kinds, and of any


def _pointCloud(name: str, value: Any, job: Job) -> _Made:
    if isinstance(value, str) and os.path.isfile(value):
        layer = QgsProcessingUtils.mapLayerFromString(value, job.context)
        if layer is None:
            # A QGIS without PDAL can't show it, but it is there.
            wanted = formats.choose(formats.POINT_CLOUD_OUTPUTS, name, job)
            if wanted.isService:
                raise failure(f"the output {name} can't be shown here, only be had")
            path = place(name, value, job)
            form = attrs.evolve(wanted, format=formats.ofFile(path))
            return _Made(path, form, "pointcloud", "", isServed=False)
    layer = _open(name, value, job)
    return _asItIs(name, layer, formats.POINT_CLOUD_OUTPUTS, job)


def _vectorTiles(name: str, value: Any, job: Job) -> _Made:
    layer = value
    if isinstance(value, str) and os.path.isfile(value):
        # QGIS does not know it by its name alone.
        layer = resultproject.vectorTiles(value, name)
    layer = _open(name, layer, job)
    return _asItIs(name, layer, formats.VECTOR_TILE_OUTPUTS, job)


def _other(name: str, value: Any, job: Job) -> _Made:
    layer = _open(name, value, job)
    return _asItIs(name, layer, formats.OTHER_OUTPUTS, job)


def _any(name: str, value: Any, job: Job) -> _Made:
    """A layer of a kind that only shows now."""
    layer = _open(name, value, job)
    kind = compat.LAYER_KINDS.get(layer.type(), "vector")
    make = _BY_KIND.get(kind, _other)
    return make(name, layer if not _isResult(value, job) else value, job)


def _asItIs(name: str, layer: Any, outputs: Sequence[OutputFormat], job: Job) -> _Made:
    """A layer whose file is taken as the algorithm made it."""
    wanted = formats.choose(outputs, name, job)
    source = _sourceFile(layer)
    if not os.path.isfile(source):
        raise failure(f"the layer of the algorithm's output {name} is no file")
    path = place(name, source, job)
    if not wanted.isService:
        wanted = attrs.evolve(wanted, format=formats.ofFile(path))
    return _Made(path, wanted, project.kindOf(layer), _provider(layer), layer)


def _sourceFile(layer: Any) -> str:
    """The file that a layer is in."""
    source = str(layer.source())
    if "url=" in source:
        # As those of tiles are written.
        source = next(part[4:] for part in source.split("&") if part.startswith("url="))
        return source.removeprefix("file://")
    return source.partition(_PART)[0]


def _provider(layer: Any) -> str:
    return str(layer.providerType() if hasattr(layer, "providerType") else "")


def _annotation(name: str, layer: Any, job: Job) -> _Made:
    """An annotation layer, which is nowhere but in projects."""
    wanted = formats.choose(formats.ANNOTATION_OUTPUTS, name, job)
    target = job.newFile(OUTPUTS, fileName(name, "output") + wanted.suffix)
    # QGIS does not read it from layer definitions.
    kept = QgsProject()
    kept.addMapLayer(layer.clone())
    kept.writeEntryBool("Paths", "/Absolute", False)
    if not kept.write(target):
        raise failure(f"the layer of the algorithm's output {name} can't be written")
    kept.removeAllMapLayers()
    path = _relative(target, job)
    return _Made(path, wanted, "annotation", "", layer, isServed=False)


def place(name: str, path: str, job: Job) -> str:
    """
    Have a file where the outputs are.

    @param name: of the output, for a file that has no name.
    @return: its path, relative to the job directory.
    """
    relative = job.relative(path)
    if relative is not None and relative.startswith(f"{OUTPUTS}/"):
        return relative
    target = job.newFile(OUTPUTS, fileName(os.path.basename(path), name))
    if relative is not None and relative.startswith(f"{TEMPORARY}/"):
        # It may be a part of another result, too.
        os.link(os.path.realpath(path), target)
    else:
        shutil.copyfile(path, target)
    return _relative(target, job)


# Several layers

MULTIPLE = "outputMultilayer"

_ANY = "outputLayer"


def _several(
    algorithm: QgsProcessingAlgorithm, name: str, title: str, value: Any, job: Job
) -> OutputData:
    """Several layers: an archive of their files, or a map of all of them."""
    wanted = formats.choose(formats.MULTIPLE_OUTPUTS, name, job)
    known: dict[str, str] = {}
    served = []
    for each in value if isinstance(value, (list, tuple)) else [value]:
        layer = _open(name, each, job)
        named = _partName(layer) or layer.name() or title
        made = _oneOf(name, named, layer, known, job)
        added = _add(algorithm, name, named, made, None, job)
        served.append(resultproject.serviceName(added.name))
    if wanted.isService and served:
        return LayerValue(",".join(served), wanted.format, title)
    target = job.newFile(OUTPUTS, f"{fileName(name, 'output')}.zip")
    archives.pack(_members(known, job), target)
    return FileValue(_relative(target, job), formats.ZIP, title)


def _partName(layer: Any) -> str:
    """What a layer is called in its file, if that has several."""
    parts = str(layer.source()).split(_PART)[1:]
    for part in parts:
        if part.startswith("layername="):
            return part.partition("=")[2]
    return ""


def _oneOf(name: str, title: str, layer: Any, known: dict[str, str], job: Job) -> _Made:
    """
    One of several layers, as the algorithm wrote it if it did.

    @param known: gets the files of all layers: where they are by where they
        were.
    """
    source, _, part = str(layer.source()).partition(_PART)
    kind = project.kindOf(layer)
    if os.path.isfile(source) and job.relative(source) is not None:
        if source not in known:
            first, *others = archives.withSidecars(source)
            known[source] = place(name, first, job)
            stem = os.path.splitext(os.path.join(job.directory, known[source]))[0]
            for other in others:
                beside = stem + os.path.splitext(other)[1]
                if not os.path.exists(beside):
                    os.link(other, beside)
        path = known[source] + (f"{_PART}{part}" if part else "")
        return _Made(path, formats.VECTOR_DATA, kind, _provider(layer))
    isVector = layer.type() == compat.LAYER_VECTOR
    data = formats.VECTOR_DATA if isVector else formats.RASTER_DATA
    target = job.newFile(OUTPUTS, fileName(title, name) + data.suffix)
    if isVector:
        _write(layer, target, data, job)
    elif layer.type() == compat.LAYER_RASTER:
        _translateTo(source, target, data)
    else:
        raise failure(f"the layer {title} of the algorithm's output {name} is no file")
    known[target] = _relative(target, job)
    return _Made(known[target], data, kind, "ogr" if isVector else "gdal", layer)


def _members(known: dict[str, str], job: Job) -> Iterator[tuple[str, str]]:
    for path in known.values():
        for each in archives.withSidecars(os.path.join(job.directory, path)):
            yield each, os.path.basename(each)


_BY_KIND: dict[str, Callable[[str, Any, Job], _Made]] = {
    "vector": _vector,
    "raster": _raster,
    "pointcloud": _pointCloud,
    "vectortile": _vectorTiles,
    "annotation": _annotation,
}

_MAKE: dict[str, Callable[[str, Any, Job], _Made]] = {
    "outputVector": _vector,
    "outputRaster": _raster,
    _ANY: _any,
    "outputMesh": _other,
    "outputPointCloud": _pointCloud,
    "outputVectorTile": _vectorTiles,
}

#: QGIS's ids of the types of output that are layers.
TYPES = frozenset({*_MAKE, MULTIPLE})
