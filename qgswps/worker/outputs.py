"""The outputs of algorithms: how each is described, and how it leaves the job."""

from __future__ import annotations

import json
import math
import os
import re
import shutil
import sys
import traceback
from collections.abc import Callable, Mapping
from typing import Any

import attrs
from osgeo import gdal
from qgis.core import (
    QgsCoordinateReferenceSystem,
    QgsCoordinateTransform,
    QgsFeatureRequest,
    QgsProcessingAlgorithm,
    QgsProcessingOutputDefinition,
    QgsProcessingOutputLayerDefinition,
    QgsProcessingUtils,
    QgsVectorFileWriter,
)

from qgswps.errors import failure
from qgswps.model import (
    ComplexType,
    DataType,
    FileValue,
    Format,
    LayerType,
    LayerValue,
    LiteralType,
    LiteralValue,
    Metadata,
    OutputData,
    OutputDescription,
    ResultLayer,
)
from qgswps.worker import compat, formats, project, resultproject, styles
from qgswps.worker.formats import OutputFormat
from qgswps.worker.job import OUTPUTS, Job, fileName
from qgswps.worker.parameters.base import Unpublished
from qgswps.worker.parameters.destinations import mediaType
from qgswps.worker.parameters.layers import kindsOf
from qgswps.worker.parameters.literals import numberText

# Descriptions

_Describe = Callable[[QgsProcessingAlgorithm, QgsProcessingOutputDefinition], DataType]


def _vectorType(
    algorithm: QgsProcessingAlgorithm, output: QgsProcessingOutputDefinition
) -> DataType:
    kinds = kindsOf([compat.number(output.dataType())])
    written = formats.offered(formats.VECTOR_OUTPUTS)
    return LayerType(kinds or ("vector",), written)


def _rasterType(
    algorithm: QgsProcessingAlgorithm, output: QgsProcessingOutputDefinition
) -> DataType:
    return LayerType(("raster",), formats.offered(formats.RASTER_OUTPUTS))


def _fileType(
    algorithm: QgsProcessingAlgorithm, output: QgsProcessingOutputDefinition
) -> DataType:
    parameter = algorithm.parameterDefinition(output.name())
    extension = ""
    if parameter is not None and parameter.isDestination():
        extension = parameter.defaultFileExtension()
    return ComplexType((_fileFormat(f"x.{extension}"),))


def _fileFormat(path: str) -> Format:
    mimeType = mediaType(path)
    isText = mimeType.startswith("text/") or mimeType.endswith(("json", "xml"))
    return Format(mimeType, None if isText else "base64")


_DESCRIBE: dict[str, _Describe] = {
    "outputNumber": lambda algorithm, output: LiteralType("float"),
    "outputString": lambda algorithm, output: LiteralType("string"),
    "outputBoolean": lambda algorithm, output: LiteralType("boolean"),
    "outputVector": _vectorType,
    "outputRaster": _rasterType,
    "outputFile": _fileType,
    "outputHtml": lambda algorithm, output: ComplexType((Format("text/html"),)),
}


def describe(
    algorithm: QgsProcessingAlgorithm, output: QgsProcessingOutputDefinition
) -> OutputDescription:
    """
    The output that an output of QGIS is published as.

    @raise Unpublished: nobody handles its type.
    """
    data = _DESCRIBE.get(output.type())
    if data is None:
        raise Unpublished(f"outputs of type {output.type()} are not handled")
    return OutputDescription(
        identifier=output.name(),
        title=output.description() or output.name(),
        data=data(algorithm, output),
        metadata=(Metadata("processing:type", output.type()),),
    )


# Results


def collect(
    algorithm: QgsProcessingAlgorithm, results: Mapping[str, Any], job: Job
) -> dict[str, OutputData]:
    """The outputs that the client takes, out of what the algorithm returned."""
    collected: dict[str, OutputData] = {}
    for output in algorithm.outputDefinitions():
        name = output.name()
        if not job.isWanted(name):
            continue
        value = compat.plain(results.get(name))
        if isinstance(value, QgsProcessingOutputLayerDefinition):
            # GRASS's algorithms return what they were given.
            value = value.sink.staticValue()
        # An optional result that was not made is not in the answer.
        if value is None:
            continue
        title = job.titles.get(name) or output.description() or name
        if output.type() in _LAYERS:
            collected[name] = _layerOutput(algorithm, output, title, value, job)
        elif output.type() in _COLLECT:
            collected[name] = _COLLECT[output.type()](name, title, value, job)
    return collected


def _number(name: str, title: str, value: Any, job: Job) -> OutputData:
    try:
        number = float(value)
    except (TypeError, ValueError):
        return LiteralValue(str(value), "string")
    if not math.isfinite(number):
        # As XML Schema writes them.
        text = "NaN" if math.isnan(number) else "INF" if number > 0 else "-INF"
        return LiteralValue(text, "float")
    if isinstance(value, int) and not isinstance(value, bool):
        return LiteralValue(str(value), "integer")
    return LiteralValue(numberText(number), "float")


def _string(name: str, title: str, value: Any, job: Job) -> OutputData:
    if isinstance(value, (dict, list, tuple)):
        return LiteralValue(json.dumps(value, default=str), "string")
    return LiteralValue(str(value), "string")


def _boolean(name: str, title: str, value: Any, job: Job) -> OutputData:
    return LiteralValue("true" if value else "false", "boolean")


def _file(name: str, title: str, value: Any, job: Job) -> OutputData:
    path = _intoOutputs(name, str(value), job)
    return FileValue(path, _fileFormat(path), title)


def _html(name: str, title: str, value: Any, job: Job) -> OutputData:
    return FileValue(_intoOutputs(name, str(value), job), Format("text/html"), title)


def _intoOutputs(name: str, path: str, job: Job) -> str:
    """Put a file that the algorithm made where the outputs are."""
    if not os.path.isfile(path):
        raise failure(f"the algorithm made no file for its output {name}")
    relative = job.relative(path)
    if relative is None or not relative.startswith(f"{OUTPUTS}/"):
        target = job.newFile(OUTPUTS, fileName(os.path.basename(path), name))
        if relative is not None and relative.startswith("tmp/"):
            shutil.move(path, target)
        else:
            shutil.copyfile(path, target)
        relative = job.relative(target)
        assert relative is not None
    return relative


# Layers


@attrs.frozen
class _Made:
    """
    The data of a layer as the client takes it.

    @ivar path: relative to the job directory.
    @ivar layer: what it was written from, if that had to be opened.
    """

    path: str
    format: OutputFormat
    kind: str
    provider: str
    layer: Any = None


def _layerOutput(
    algorithm: QgsProcessingAlgorithm,
    output: QgsProcessingOutputDefinition,
    title: str,
    value: Any,
    job: Job,
) -> OutputData:
    """A layer, which is one of the result project in any case."""
    name = output.name()
    processed = _postProcessed(name, value, job)
    made = _LAYERS[output.type()](name, value, job)
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
    if made.format.isService:
        served = resultproject.serviceName(layer.name)
        wanted = made.format.format
        if made.kind == "nogeometry" and not job.hasFormat(name):
            # There is nothing to draw.
            wanted = formats.WFS
        return LayerValue(served, wanted, title)
    return FileValue(made.path, made.format.format, title)


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
    layer = _layer(name, value, job)
    try:
        processor.postProcessLayer(layer, job.context, job.context.feedback())
    except Exception as error:
        # It is about the look of a result that is there.
        traceback.print_exc(file=sys.stderr)
        sys.stderr.write(f"WARNING: {name} could not be post-processed: {error}\n")
    return layer


def _vector(name: str, value: Any, job: Job) -> _Made:
    wanted = formats.choose(formats.VECTOR_OUTPUTS, name, job)
    written = job.relative(value) if isinstance(value, str) else None
    isGeoJson = written is not None and written.endswith(".geojson")
    if isGeoJson and wanted.driver == "GeoJSON" and _isIn(str(value), wanted.crs):
        return _Made(str(written), wanted, "vector", "ogr")
    layer = _layer(name, value, job)
    if layer.type() != compat.LAYER_VECTOR:
        raise failure(f"the algorithm's output {name} is no vector layer")
    target = job.newFile(OUTPUTS, fileName(name, "output") + wanted.suffix)
    if written is not None and written.startswith(f"{OUTPUTS}/"):
        target = _swap(str(value), target, layer, wanted, job)
    else:
        _write(layer, target, wanted, job)
    relative = job.relative(target)
    assert relative is not None
    return _Made(relative, wanted, project.kindOf(layer), "ogr", layer)


def _swap(source: str, target: str, layer: Any, wanted: OutputFormat, job: Job) -> str:
    """Write a layer in another format, under the name of its own file."""
    _write(layer, target, wanted, job)
    os.remove(source)
    named = os.path.splitext(source)[0] + wanted.suffix
    os.rename(target, named)
    return named


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


def _layer(name: str, value: Any, job: Job) -> Any:
    """The layer that an algorithm's result means."""
    layer = value
    if isinstance(value, str):
        layer = QgsProcessingUtils.mapLayerFromString(value, job.context)
    if layer is None or not hasattr(layer, "isValid") or not layer.isValid():
        raise failure(f"the layer of the algorithm's output {name} can't be opened")
    return layer


def _write(layer: Any, path: str, wanted: OutputFormat, job: Job) -> None:
    """Write a vector layer to a file."""
    options = QgsVectorFileWriter.SaveVectorOptions()
    options.driverName = wanted.driver
    options.fileEncoding = "UTF-8"
    options.layerName = os.path.splitext(os.path.basename(path))[0]
    options.layerOptions = list(wanted.layerOptions)
    if wanted.driver == "GPKG":
        options.layerOptions += _columns(layer)
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


def _raster(name: str, value: Any, job: Job) -> _Made:
    wanted = formats.choose(formats.RASTER_OUTPUTS, name, job)
    layer = None
    written = job.relative(value) if isinstance(value, str) else None
    if written is None or not written.startswith(f"{OUTPUTS}/"):
        layer = _layer(name, value, job)
        if layer.type() != compat.LAYER_RASTER:
            raise failure(f"the algorithm's output {name} is no raster layer")
        target = job.newFile(OUTPUTS, fileName(name, "output") + wanted.suffix)
        if gdal.Translate(target, layer.source(), format=wanted.driver) is None:
            raise failure(f"the algorithm's output {name} can't be written")
        written = job.relative(target)
        assert written is not None
    elif not os.path.isfile(str(value)):
        raise failure(f"the algorithm made no file for its output {name}")
    return _Made(written, wanted, "raster", "gdal", layer)


_LAYERS: dict[str, Callable[[str, Any, Job], _Made]] = {
    "outputVector": _vector,
    "outputRaster": _raster,
}

_COLLECT: dict[str, Callable[[str, str, Any, Job], OutputData]] = {
    "outputNumber": _number,
    "outputString": _string,
    "outputBoolean": _boolean,
    "outputFile": _file,
    "outputHtml": _html,
}
