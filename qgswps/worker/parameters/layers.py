"""Parameters that are a layer: a name in the project, or data that is sent."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from qgis.core import QgsProcessingParameterDefinition

from qgswps.errors import invalid
from qgswps.model import (
    ComplexValue,
    FileValue,
    Format,
    InputValue,
    LayerType,
    LiteralValue,
    Metadata,
)
from qgswps.worker import compat, layerdata, project
from qgswps.worker.job import Job
from qgswps.worker.parameters.base import Handler, register, unexpected

#: QGIS's source types: the name clients know, and the kinds of the model.
SOURCE_TYPES: dict[int, tuple[str, tuple[str, ...]]] = {
    -2: ("TypeMapLayer", ()),
    -1: ("TypeVectorAnyGeometry", ("point", "line", "polygon")),
    0: ("TypeVectorPoint", ("point",)),
    1: ("TypeVectorLine", ("line",)),
    2: ("TypeVectorPolygon", ("polygon",)),
    3: ("TypeRaster", ("raster",)),
    4: ("TypeFile", ()),
    5: ("TypeVector", ("vector",)),
    6: ("TypeMesh", ("mesh",)),
    7: ("TypePlugin", ()),
    8: ("TypePointCloud", ("pointcloud",)),
    9: ("TypeAnnotation", ("annotation",)),
    10: ("TypeVectorTile", ("vectortile",)),
}


def kindsOf(dataTypes: Sequence[int]) -> tuple[str, ...]:
    """The kinds of layer that source types allow; empty for any."""
    kinds: dict[str, None] = {}
    for dataType in dataTypes:
        allowed = SOURCE_TYPES.get(dataType, ("", ()))[1]
        if not allowed:
            return ()
        kinds.update(dict.fromkeys(allowed))
    return ("vector",) if "vector" in kinds and len(kinds) > 1 else tuple(kinds)


def fits(kind: str, kinds: Sequence[str]) -> bool:
    """Whether a layer of a kind may be given where these are allowed."""
    if not kinds or kind in kinds:
        return True
    isVector = kind in ("vector", "point", "line", "polygon", "nogeometry")
    # A layer of mixed geometries may have the ones that are needed.
    return isVector and (
        "vector" in kinds
        or (kind == "vector" and bool({"point", "line", "polygon"} & set(kinds)))
    )


def said(kinds: Sequence[str]) -> str:
    """Kinds of layer in words."""
    words = {"nogeometry": "table", "pointcloud": "point cloud"}
    named = " or ".join(words.get(kind, kind) for kind in kinds)
    return f"a {named} layer" if named else "a layer"


class LayerHandler(Handler):
    """What all types of layer have in common."""

    def _dataTypes(self, param: QgsProcessingParameterDefinition) -> list[int]:
        return [compat.number(dataType) for dataType in param.dataTypes()]

    def data(self, param: QgsProcessingParameterDefinition) -> LayerType:
        kinds = kindsOf(self._dataTypes(param))
        return LayerType(kinds, layerdata.inputFormats(kinds))

    def metadata(self, param: QgsProcessingParameterDefinition) -> list[Metadata]:
        names = [SOURCE_TYPES.get(t, ("",))[0] for t in self._dataTypes(param)]
        return [Metadata("processing:dataTypes", ",".join(filter(None, names)))]

    def value(
        self,
        param: QgsProcessingParameterDefinition,
        inputs: Sequence[InputValue],
        job: Job,
    ) -> Any:
        kinds = kindsOf(self._dataTypes(param))
        layer = self._layer(param, inputs[0], kinds, job)
        kind = project.kindOf(layer)
        if not fits(kind, kinds):
            raise unexpected(param, said([kind]), said(kinds))
        job.sees(layer.crs())
        return layer

    def _layer(
        self,
        param: QgsProcessingParameterDefinition,
        given: InputValue,
        kinds: Sequence[str],
        job: Job,
    ) -> Any:
        if isinstance(given, LiteralValue):
            layer = project.find(job.project, given.value)
            if layer is not None:
                if not layer.isValid():
                    raise invalid(
                        param.name(),
                        f"the project can't open its layer {given.value!r}",
                    )
                return layer
            if given.value.lstrip()[:1] not in ("{", "<"):
                raise self._unknown(param, given.value, kinds, job)
            # Data that came where a name might have stood.
            given = ComplexValue(given.value, Format(""))
        if isinstance(given, (ComplexValue, FileValue)):
            return layerdata.load(param.name(), given, kinds, job)
        raise unexpected(param, "of another kind", said(kinds))

    @staticmethod
    def _unknown(
        param: QgsProcessingParameterDefinition,
        name: str,
        kinds: Sequence[str],
        job: Job,
    ) -> Exception:
        if not job.hasProject:
            return unexpected(
                param,
                repr(name),
                "the layer's data, or a project named by MAP to take the layer from",
            )
        fitting = sorted(
            layer.name()
            for layer in job.project.mapLayers().values()
            if fits(project.kindOf(layer), kinds)
        )
        listed = ", ".join(fitting[:30]) + (" …" if len(fitting) > 30 else "")
        return unexpected(
            param,
            repr(name),
            f"{said(kinds)} of the project: {listed or 'it has none'}",
        )


@register
class VectorHandler(LayerHandler):
    """A vector layer, or what can be read like one."""

    types = ("vector", "source")

    def _dataTypes(self, param: QgsProcessingParameterDefinition) -> list[int]:
        # None given means any vector layer, with or without geometry.
        return super()._dataTypes(param) or [5]


@register
class RasterHandler(LayerHandler):
    """A raster layer."""

    types = ("raster",)

    def _dataTypes(self, param: QgsProcessingParameterDefinition) -> list[int]:
        return [3]
