"""
Parameters that say where results go.

Clients don't choose paths: each result is a file in the job directory, and
what a client gives is the title of a layer or the name of a file.
"""

from __future__ import annotations

import mimetypes
import os
from collections.abc import Sequence
from typing import Any

from qgis.core import (
    QgsProcessing,
    QgsProcessingOutputLayerDefinition,
    QgsProcessingParameterDefinition,
)

from qgswps.model import InputValue, LiteralType, Metadata
from qgswps.worker import compat, formats
from qgswps.worker.job import OUTPUTS, Job, fileName
from qgswps.worker.parameters.base import Handler, register, text

_OTHER = "application/octet-stream"


def mediaType(path: str) -> str:
    """The media type of a file by its extension."""
    return mimetypes.guess_type(f"x{os.path.splitext(path)[1].lower()}")[0] or _OTHER


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
        wanted = formats.choose(formats.VECTOR_OUTPUTS, name, job)
        # GeoJSON is written right away, in whatever CRS the result has: only
        # the result itself tells, and in most cases nothing is left to do.
        isGeoJson = wanted.driver == "GeoJSON" and job.plainCrs
        if isGeoJson and "geojson" in param.supportedOutputVectorLayerExtensions():
            path = job.newFile(OUTPUTS, fileName(name, "output") + wanted.suffix)
        elif param.type() == "sink" and param.supportsNonFileBasedOutput():
            path = str(QgsProcessing.TEMPORARY_OUTPUT)
        else:
            suffix = "." + param.defaultFileExtension()
            path = job.newFile("tmp", fileName(name, "output") + suffix)
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
        wanted = formats.choose(formats.RASTER_OUTPUTS, name, job)
        path = job.newFile(OUTPUTS, fileName(name, "output") + wanted.suffix)
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
        extension = param.defaultFileExtension()
        if extension and not os.path.splitext(name)[1]:
            name += f".{extension}"
        return job.newFile(OUTPUTS, name)
