"""
Parameters that say where results go.

Clients don't choose paths: each result is a file in the job directory, and
what a client gives is the title of a layer or the name of a file.
"""

from __future__ import annotations

import os
import re
from collections.abc import Sequence
from typing import Any, ClassVar

from qgis.core import (
    QgsProcessing,
    QgsProcessingOutputLayerDefinition,
    QgsProcessingParameterDefinition,
)

from qgswps.errors import invalid
from qgswps.jobfiles import OUTPUTS, TEMPORARY
from qgswps.model import Format, InputValue, LiteralType, Metadata
from qgswps.worker import compat, formats
from qgswps.worker.formats import OutputFormat, mediaType
from qgswps.worker.job import Job, fileName
from qgswps.worker.parameters.base import Handler, register, text


def layerDestination(path: str, job: Job) -> QgsProcessingOutputLayerDefinition:
    """
    Where a layer goes, and that it is to be loaded into a project: algorithms
    may then say what else is to be done to it.
    """
    return QgsProcessingOutputLayerDefinition(path, job.project)


class DestinationHandler(Handler):
    """What all destinations have in common."""

    def data(self, param: QgsProcessingParameterDefinition) -> LiteralType:
        return LiteralType("string")

    def minOccurs(self, param: QgsProcessingParameterDefinition) -> int:
        """The server knows where to write."""
        return 0

    def metadata(self, param: QgsProcessingParameterDefinition) -> list[Metadata]:
        return [Metadata("processing:extension", param.defaultFileExtension())]

    def value(
        self,
        param: QgsProcessingParameterDefinition,
        inputs: Sequence[InputValue],
        job: Job,
    ) -> Any:
        if not inputs and self._canBeSkipped(param, job):
            return None
        given = text(param, inputs[0]).strip() if inputs else ""
        return self._destination(param, given, job)

    @staticmethod
    def _canBeSkipped(param: QgsProcessingParameterDefinition, job: Job) -> bool:
        if not compat.isSet(param.flags(), compat.PARAMETER_OPTIONAL):
            return False
        if job.wanted(param.name()) is not None:
            return False
        return not (param.createByDefault() and job.isWanted(param.name()))

    def _destination(
        self, param: QgsProcessingParameterDefinition, given: str, job: Job
    ) -> Any:
        raise NotImplementedError


@register
class VectorDestinationHandler(DestinationHandler):
    """Where a vector layer goes; its value is the layer's title."""

    types = ("sink", "vectorDestination")

    def metadata(self, param: QgsProcessingParameterDefinition) -> list[Metadata]:
        # Known to clients as a number.
        dataType = str(compat.number(param.dataType()))
        return [*super().metadata(param), Metadata("processing:dataType", dataType)]

    def _destination(
        self, param: QgsProcessingParameterDefinition, given: str, job: Job
    ) -> QgsProcessingOutputLayerDefinition:
        name = param.name()
        job.titles[name] = given or param.description() or name
        wanted = formats.choose(formats.vectorOutputs(), name, job)
        # GeoJSON is written right away, in whatever CRS the result has: only
        # the result itself tells, and in most cases nothing is left to do.
        isGeoJson = wanted.driver == "GeoJSON" and job.plainCrs
        if isGeoJson and "geojson" in param.supportedOutputVectorLayerExtensions():
            path = job.newFile(OUTPUTS, fileName(name, "output") + wanted.suffix)
        elif param.type() == "sink" and param.supportsNonFileBasedOutput():
            path = str(QgsProcessing.TEMPORARY_OUTPUT)
        else:
            suffix = "." + param.defaultFileExtension()
            path = job.newFile(TEMPORARY, fileName(name, "output") + suffix)
        return layerDestination(path, job)


@register
class RasterDestinationHandler(DestinationHandler):
    """Where a raster layer goes; its value is the layer's title."""

    types = ("rasterDestination",)

    def _destination(
        self, param: QgsProcessingParameterDefinition, given: str, job: Job
    ) -> QgsProcessingOutputLayerDefinition:
        name = param.name()
        job.titles[name] = given or param.description() or name
        formats.choose(formats.rasterOutputs(), name, job)
        # All formats but GeoTIFF are made of that.
        suffix = formats.RASTER_DATA.suffix
        path = job.newFile(OUTPUTS, fileName(name, "output") + suffix)
        return layerDestination(path, job)


@register
class FileDestinationHandler(DestinationHandler):
    """Where a file goes; its value is the file's name."""

    types = ("fileDestination",)

    def metadata(self, param: QgsProcessingParameterDefinition) -> list[Metadata]:
        mimeType = mediaType(f"x.{param.defaultFileExtension()}")
        return [*super().metadata(param), Metadata("processing:format", mimeType)]

    def _destination(
        self, param: QgsProcessingParameterDefinition, given: str, job: Job
    ) -> str:
        name = fileName(given, param.name())
        stem, suffix = os.path.splitext(name)
        request = job.wanted(param.name())
        wanted = request.format if request is not None else None
        if wanted is not None and wanted.mimeType:
            # What is asked for by its format is not to be of another one.
            if formats.baseType(wanted.mimeType) != mediaType(name):
                name = f"{stem}.{_extension(param, wanted)}"
        elif not suffix and param.defaultFileExtension():
            name += f".{param.defaultFileExtension()}"
        return job.newFile(OUTPUTS, name)


#: Extensions of formats that are several files.
_SEVERAL = frozenset({"shp", "tab", "mif", "gdb", "000", "ili", "itf", "xtf"})


def _extensions(param: QgsProcessingParameterDefinition) -> list[str]:
    """The extensions that a file may have, the default first."""
    listed = re.findall(r"\*\.(\w+(?:\.\w+)?)", param.fileFilter())
    others = [each for each in map(str.lower, listed) if each not in _SEVERAL]
    return list(dict.fromkeys([param.defaultFileExtension(), *others]))


def fileFormats(param: QgsProcessingParameterDefinition) -> tuple[Format, ...]:
    """The formats that a file can be had in, the default first."""
    if not hasattr(param, "fileFilter"):
        return (formats.ofFile(f"x.{param.defaultFileExtension()}"),)
    default, *others = _extensions(param)
    found = [formats.ofFile(f"x.{default}")]
    found += [
        form
        for form in (formats.ofFile(f"x.{each}") for each in others)
        if form != formats.OTHER
    ]
    return tuple(dict.fromkeys(found))


def _extension(param: QgsProcessingParameterDefinition, wanted: Format) -> str:
    """
    The extension of a format.

    @raise OWSError: the file can't be had in it.
    """
    named = formats.baseType(wanted.mimeType)
    for each in _extensions(param):
        if mediaType(f"x.{each}") == named:
            return each
    known = ", ".join(form.mimeType for form in fileFormats(param))
    name = param.name()
    raise invalid(name, f"{name} can't be had as {wanted.mimeType}, only as {known}")


@register
class FolderDestinationHandler(DestinationHandler):
    """Where several files go; they are an archive for the client."""

    types = ("folderDestination",)

    def _destination(
        self, param: QgsProcessingParameterDefinition, given: str, job: Job
    ) -> str:
        name = param.name()
        job.titles[name] = given or param.description() or name
        job.folders[name] = job.newFolder(TEMPORARY, fileName(given, name))
        return job.folders[name]


class _LayerFileDestinationHandler(DestinationHandler):
    """Where a layer goes whose file is taken as the algorithm writes it."""

    outputs: ClassVar[tuple[OutputFormat, ...]] = ()

    def _destination(
        self, param: QgsProcessingParameterDefinition, given: str, job: Job
    ) -> QgsProcessingOutputLayerDefinition:
        name = param.name()
        job.titles[name] = given or param.description() or name
        wanted = formats.choose(self.outputs, name, job)
        suffix = f".{param.defaultFileExtension()}"
        if not wanted.isService and job.wanted(name) is not None:
            suffix = wanted.suffix or suffix
        path = job.newFile(OUTPUTS, fileName(name, "output") + suffix)
        return layerDestination(path, job)


@register
class PointCloudDestinationHandler(_LayerFileDestinationHandler):
    """Where a point cloud goes; its value is the layer's title."""

    types = ("pointCloudDestination",)
    outputs = formats.POINT_CLOUD_OUTPUTS


@register
class VectorTileDestinationHandler(_LayerFileDestinationHandler):
    """Where vector tiles go; its value is the layer's title."""

    types = ("vectorTileDestination",)
    outputs = formats.VECTOR_TILE_OUTPUTS
