"""The outputs of algorithms: how each is described, and how it leaves the job."""

from __future__ import annotations

import math
import os
import re
from collections.abc import Callable, Mapping
from typing import Any
from urllib.parse import quote

from qgis.core import (
    QgsProcessingAlgorithm,
    QgsProcessingOutputDefinition,
    QgsProcessingOutputLayerDefinition,
)

from qgswps.errors import failure
from qgswps.jobfiles import OUTPUTS
from qgswps.model import (
    ComplexType,
    DataType,
    FileValue,
    Format,
    LayerType,
    LiteralType,
    LiteralValue,
    Metadata,
    OutputData,
    OutputDescription,
)
from qgswps.worker import archives, compat, formats, jsonvalues, layerresults
from qgswps.worker.job import Job, fileName
from qgswps.worker.parameters.destinations import fileFormats
from qgswps.worker.parameters.layers import kindsOf
from qgswps.worker.parameters.literals import numberText

#: What algorithms that have no output are given one by: what they said.
REPORT = "REPORT"

# Descriptions

_Describe = Callable[[QgsProcessingAlgorithm, QgsProcessingOutputDefinition], DataType]


def _vectorType(
    algorithm: QgsProcessingAlgorithm, output: QgsProcessingOutputDefinition
) -> DataType:
    kinds = kindsOf([compat.number(output.dataType())])
    return LayerType(kinds or ("vector",), formats.published(formats.vectorOutputs()))


def _rasterType(
    algorithm: QgsProcessingAlgorithm, output: QgsProcessingOutputDefinition
) -> DataType:
    return LayerType(("raster",), formats.published(formats.rasterOutputs()))


def _anyLayerType(
    algorithm: QgsProcessingAlgorithm, output: QgsProcessingOutputDefinition
) -> DataType:
    every = formats.published(
        formats.vectorOutputs(),
        formats.rasterOutputs(),
        formats.ANNOTATION_OUTPUTS,
        formats.OTHER_OUTPUTS,
    )
    return LayerType((), every)


def _layerType(
    kinds: tuple[str, ...], written: tuple[formats.OutputFormat, ...]
) -> _Describe:
    return lambda algorithm, output: LayerType(kinds, formats.published(written))


def _fileType(
    algorithm: QgsProcessingAlgorithm, output: QgsProcessingOutputDefinition
) -> DataType:
    parameter = algorithm.parameterDefinition(output.name())
    if parameter is not None and parameter.isDestination():
        return ComplexType(fileFormats(parameter))
    return ComplexType((formats.OTHER,))


def _complex(form: Format) -> _Describe:
    return lambda algorithm, output: ComplexType((form,))


def _literal(dataType: str) -> _Describe:
    return lambda algorithm, output: LiteralType(dataType)


_DESCRIBE: dict[str, _Describe] = {
    "outputNumber": _literal("float"),
    "outputString": _literal("string"),
    "outputBoolean": _literal("boolean"),
    "outputConditionalBranch": _literal("boolean"),
    "outputVariant": _complex(formats.JSON),
    "outputFile": _fileType,
    "outputFolder": _complex(formats.ZIP),
    "outputHtml": _complex(formats.HTML),
    "outputVector": _vectorType,
    "outputRaster": _rasterType,
    "outputLayer": _anyLayerType,
    "outputMesh": _layerType(("mesh",), formats.OTHER_OUTPUTS),
    "outputPointCloud": _layerType(("pointcloud",), formats.POINT_CLOUD_OUTPUTS),
    "outputVectorTile": _layerType(("vectortile",), formats.VECTOR_TILE_OUTPUTS),
    layerresults.MULTIPLE: _layerType((), formats.MULTIPLE_OUTPUTS),
}


def describe(
    algorithm: QgsProcessingAlgorithm, output: QgsProcessingOutputDefinition
) -> OutputDescription:
    """
    The output that an output of QGIS is published as; one of a type that
    nobody knows is JSON.
    """
    data = _DESCRIBE.get(output.type(), _complex(formats.JSON))
    return OutputDescription(
        identifier=output.name(),
        title=output.description() or output.name(),
        data=data(algorithm, output),
        metadata=(Metadata("processing:type", output.type()),),
    )


def describeAll(algorithm: QgsProcessingAlgorithm) -> tuple[OutputDescription, ...]:
    """
    All outputs of an algorithm.

    One that has none is run for what it does elsewhere: its output is a report
    of the run.
    """
    described = tuple(
        describe(algorithm, output) for output in algorithm.outputDefinitions()
    )
    return described or (
        OutputDescription(
            identifier=REPORT,
            title="Report of the run",
            data=ComplexType((formats.JSON,)),
            abstract="What the algorithm returned, and what it said while it ran.",
            metadata=(Metadata("processing:type", "report"),),
        ),
    )


def names(algorithm: QgsProcessingAlgorithm) -> set[str]:
    """The identifiers of all outputs of an algorithm."""
    return {output.name() for output in algorithm.outputDefinitions()} or {REPORT}


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
        if value is None and output.type() == "outputFolder":
            # Some algorithms fill it without a word.
            value = _filled(job.folders.get(name))
        # An optional result that was not made is not in the answer.
        if value is None:
            continue
        title = job.titles.get(name) or output.description() or name
        if output.type() in layerresults.TYPES:
            collected[name] = layerresults.collect(algorithm, output, title, value, job)
        else:
            collect_ = _COLLECT.get(output.type(), _variant)
            collected[name] = collect_(name, title, value, job)
    if not algorithm.outputDefinitions():
        collected[REPORT] = _report(algorithm, results, job)
    return collected


def _filled(folder: str | None) -> str | None:
    return folder if folder and os.listdir(folder) else None


def _said(text: str, job: Job) -> str:
    """A text of the algorithm; where a job's files lie is nobody's business."""
    return text.replace(job.directory + os.sep, "")


def _report(
    algorithm: QgsProcessingAlgorithm, results: Mapping[str, Any], job: Job
) -> OutputData:
    """What there is to tell of a run that has no other output."""
    said = getattr(job.context.feedback(), "said", ())
    told = {
        "process": algorithm.id(),
        "results": results,
        "messages": [{"level": level, "text": text} for level, text in said],
    }
    return _variant(REPORT, "Report of the run", told, job)


def _variant(name: str, title: str, value: Any, job: Job) -> OutputData:
    target = job.newFile(OUTPUTS, f"{fileName(name, 'output')}.json")
    with open(target, "w", encoding="utf-8") as file:
        file.write(_said(jsonvalues.dumps(value), job))
    path = job.relative(target)
    assert path is not None
    return FileValue(path, formats.JSON, title)


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
        value = jsonvalues.dumps(value)
    return LiteralValue(_said(str(value), job), "string")


def _boolean(name: str, title: str, value: Any, job: Job) -> OutputData:
    return LiteralValue("true" if value else "false", "boolean")


def _file(name: str, title: str, value: Any, job: Job) -> OutputData:
    path = _intoOutputs(name, str(value), job)
    return FileValue(path, formats.ofFile(path), title)


def _html(name: str, title: str, value: Any, job: Job) -> OutputData:
    path = _intoOutputs(name, str(value), job)
    _makeRelative(os.path.join(job.directory, path), job)
    return FileValue(path, formats.HTML, title)


def _makeRelative(path: str, job: Job) -> None:
    """
    Have a page name the files of the job without where the job is.  What is in a
    folder that is an output is named as it is in the folder's archive.
    """
    with open(path, "rb") as file:
        page = file.read()
    named = page
    for folder in (*job.folders.values(), job.directory):
        for form in (quote(folder), folder):
            # QGIS puts three slashes before a path that begins with one.
            begin = rf"(?:file:)?/+{re.escape(form.lstrip('/'))}/"
            named = re.sub(begin.encode(), b"", named)
    if named != page:
        with open(path, "wb") as file:
            file.write(named)


def _folder(name: str, title: str, value: Any, job: Job) -> OutputData:
    """All files of a folder in an archive."""
    folder = str(value)
    # Nothing of the server's own goes out by the name of a folder.
    if job.relative(folder) is None or not os.path.isdir(folder):
        raise failure(f"the algorithm made no folder for its output {name}")
    target = job.newFile(OUTPUTS, f"{fileName(name, 'output')}.zip")
    archives.pack(archives.below(folder), target)
    path = job.relative(target)
    assert path is not None
    return FileValue(path, formats.ZIP, title)


def _intoOutputs(name: str, path: str, job: Job) -> str:
    """Put a file that the algorithm made where the outputs are."""
    if not os.path.isfile(path):
        raise failure(f"the algorithm made no file for its output {name}")
    files = archives.withSidecars(path)
    if len(files) == 1:
        return layerresults.place(name, path, job)
    stem = os.path.splitext(os.path.basename(path))[0]
    target = job.newFile(OUTPUTS, f"{fileName(stem, name)}.zip")
    archives.pack([(each, os.path.basename(each)) for each in files], target)
    relative = job.relative(target)
    assert relative is not None
    return relative


_COLLECT: dict[str, Callable[[str, str, Any, Job], OutputData]] = {
    "outputNumber": _number,
    "outputString": _string,
    "outputBoolean": _boolean,
    "outputConditionalBranch": _boolean,
    "outputVariant": _variant,
    "outputFile": _file,
    "outputFolder": _folder,
    "outputHtml": _html,
}
