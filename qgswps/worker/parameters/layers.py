"""Parameters that are a layer: a name in the project, or data that is sent."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, ClassVar

from qgis.core import (
    QgsFeatureRequest,
    QgsProcessingFeatureSourceDefinition,
    QgsProcessingParameterDefinition,
)

from qgswps import layerref
from qgswps.errors import invalid
from qgswps.layerref import LayerReference
from qgswps.model import (
    ComplexType,
    ComplexValue,
    FileValue,
    Format,
    InputValue,
    LayerType,
    LiteralValue,
    Metadata,
    fits,
)
from qgswps.worker import compat, layerdata, project, subsets
from qgswps.worker.job import Job
from qgswps.worker.parameters import files
from qgswps.worker.parameters.base import (
    MANY,
    Handler,
    default,
    listed,
    register,
    unexpected,
)

#: Providers whose algorithms take features from a source as they should, and so
#: heed that only those selected are meant.
_READ_SELECTIONS = {"native", "qgis", "3d"}

_FILES = 4

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


def said(kinds: Sequence[str]) -> str:
    """Kinds of layer in words."""
    words = {
        "nogeometry": "table",
        "pointcloud": "point cloud",
        "vectortile": "vector tile",
    }
    named = " or ".join(words.get(kind, kind) for kind in kinds)
    return f"a {named} layer" if named else "a layer"


class LayerHandler(Handler):
    """What all types of layer have in common."""

    def _dataTypes(self, param: QgsProcessingParameterDefinition) -> list[int]:
        return [compat.number(dataType) for dataType in param.dataTypes()]

    def data(self, param: QgsProcessingParameterDefinition) -> LayerType | ComplexType:
        kinds = kindsOf(self._dataTypes(param))
        value = default(param)
        return LayerType(
            kinds,
            layerdata.inputFormats(kinds),
            default=value if isinstance(value, str) and value else None,
        )

    def metadata(self, param: QgsProcessingParameterDefinition) -> list[Metadata]:
        names = [SOURCE_TYPES.get(t, ("",))[0] for t in self._dataTypes(param)]
        return [Metadata("processing:dataTypes", ",".join(filter(None, names)))]

    def value(
        self,
        param: QgsProcessingParameterDefinition,
        inputs: Sequence[InputValue],
        job: Job,
    ) -> Any:
        return self._one(param, inputs[0], job)

    def _one(
        self, param: QgsProcessingParameterDefinition, given: InputValue, job: Job
    ) -> Any:
        kinds = kindsOf(self._dataTypes(param))
        layer, reference = self._layer(param, given, kinds, job)
        kind = project.kindOf(layer)
        if not fits(kinds, kind):
            raise unexpected(param, said([kind]), said(kinds))
        job.sees(layer.crs())
        if reference is None or not reference.isSubset:
            return layer
        if layer.type() != compat.LAYER_VECTOR:
            raise unexpected(
                param,
                f"a part of {said([kind])}",
                "the whole of it: only vector layers have features to select",
            )
        try:
            ids = subsets.featureIds(layer, reference, job)
        except ValueError as error:
            raise invalid(param.name(), f"{param.name()} {error}") from None
        return self._subset(param, layer, ids, job)

    def _subset(
        self,
        param: QgsProcessingParameterDefinition,
        layer: Any,
        ids: list[int],
        job: Job,
    ) -> Any:
        """Some features of a layer, where QGIS takes layers as a whole."""
        copied = layer.materialize(QgsFeatureRequest().setFilterFids(ids))
        copied.setName(layer.name())
        job.context.temporaryLayerStore().addMapLayer(copied)
        return copied

    def _layer(
        self,
        param: QgsProcessingParameterDefinition,
        given: InputValue,
        kinds: Sequence[str],
        job: Job,
    ) -> tuple[Any, LayerReference | None]:
        """The layer that is given, and the reference by which it was named."""
        if isinstance(given, LiteralValue):
            # A layer may have a name that looks like a reference.
            reference = None
            layer = project.find(job.project, given.value)
            if layer is None:
                reference = _reference(param, given.value)
                if reference is not None:
                    layer = project.find(job.project, reference.name)
            name = given.value if reference is None else reference.name
            if layer is not None:
                if not layer.isValid():
                    raise invalid(
                        param.name(), f"the project can't open its layer {name!r}"
                    )
                return layer, reference
            if reference is not None or name.lstrip()[:1] not in ("{", "<"):
                raise self._unknown(param, name, kinds, job)
            # Data that came where a name might have stood.
            given = ComplexValue(name, Format(""))
        if not layerdata.inputFormats(kinds):
            raise unexpected(param, "data", _named(kinds))
        if isinstance(given, (ComplexValue, FileValue)):
            return layerdata.load(param.name(), given, kinds, job), None
        raise unexpected(param, "of another kind", said(kinds))

    @staticmethod
    def _unknown(
        param: QgsProcessingParameterDefinition,
        name: str,
        kinds: Sequence[str],
        job: Job,
    ) -> Exception:
        if not job.hasProject:
            takesData = bool(layerdata.inputFormats(kinds))
            return unexpected(
                param,
                repr(name),
                "the layer's data, or a project named by MAP to take the layer from"
                if takesData
                else _named(kinds),
            )
        fitting = sorted(
            name for name, kind in project.offered(job.project) if fits(kinds, kind)
        )
        return unexpected(
            param,
            repr(name),
            f"{said(kinds)} of the project: {listed(fitting) or 'it has none'}",
        )


def _reference(
    param: QgsProcessingParameterDefinition, given: str
) -> LayerReference | None:
    try:
        return layerref.parse(given)
    except ValueError as error:
        raise invalid(param.name(), f"{param.name()} {error}") from None


def _named(kinds: Sequence[str]) -> str:
    """What is expected where layers can't be sent."""
    return f"the name of {said(kinds)} of a project that MAP names"


@register
class VectorHandler(LayerHandler):
    """A vector layer."""

    types: ClassVar[tuple[str, ...]] = ("vector",)

    def _dataTypes(self, param: QgsProcessingParameterDefinition) -> list[int]:
        # None given means any vector layer, with or without geometry.
        return super()._dataTypes(param) or [5]


@register
class SourceHandler(VectorHandler):
    """The features of a vector layer, or of what can be read like one."""

    types = ("source",)

    def _subset(
        self,
        param: QgsProcessingParameterDefinition,
        layer: Any,
        ids: list[int],
        job: Job,
    ) -> Any:
        algorithm = param.algorithm()
        if algorithm is None or algorithm.provider().id() not in _READ_SELECTIONS:
            # Others open the layer for themselves.
            return super()._subset(param, layer, ids, job)
        # The layer itself may be another input, or another part of it.
        own = layer.clone()
        own.selectByIds(ids)
        job.context.temporaryLayerStore().addMapLayer(own)
        return QgsProcessingFeatureSourceDefinition(own.id(), True)


@register
class RasterHandler(LayerHandler):
    """A raster layer."""

    types = ("raster",)

    def _dataTypes(self, param: QgsProcessingParameterDefinition) -> list[int]:
        return [3]


@register
class MapLayerHandler(LayerHandler):
    """Any layer, or one of some kinds."""

    types = ("layer",)

    def metadata(self, param: QgsProcessingParameterDefinition) -> list[Metadata]:
        return super().metadata(param) if self._dataTypes(param) else []


@register
class MeshHandler(LayerHandler):
    """A mesh layer."""

    types = ("mesh",)

    def _dataTypes(self, param: QgsProcessingParameterDefinition) -> list[int]:
        return [6]


@register
class PointCloudHandler(LayerHandler):
    """A point cloud layer."""

    types = ("pointcloud",)

    def _dataTypes(self, param: QgsProcessingParameterDefinition) -> list[int]:
        return [8]


@register
class AnnotationHandler(LayerHandler):
    """An annotation layer."""

    types = ("annotation",)

    def _dataTypes(self, param: QgsProcessingParameterDefinition) -> list[int]:
        return [9]


@register
class MultipleLayersHandler(LayerHandler):
    """Several layers of one kind, each an occurrence of the input."""

    types = ("multilayer",)

    def _dataTypes(self, param: QgsProcessingParameterDefinition) -> list[int]:
        return [compat.number(param.layerType())]

    @staticmethod
    def _isFiles(param: QgsProcessingParameterDefinition) -> bool:
        return compat.number(param.layerType()) == _FILES

    def data(self, param: QgsProcessingParameterDefinition) -> LayerType | ComplexType:
        if self._isFiles(param):
            return ComplexType(files.fileFormats([]))
        return super().data(param)

    def minOccurs(self, param: QgsProcessingParameterDefinition) -> int:
        least = super().minOccurs(param)
        return max(least, param.minimumNumberInputs()) if least else 0

    def maxOccurs(self, param: QgsProcessingParameterDefinition) -> int:
        return MANY

    def value(
        self,
        param: QgsProcessingParameterDefinition,
        inputs: Sequence[InputValue],
        job: Job,
    ) -> Any:
        least = max(1, param.minimumNumberInputs())
        what = "file" if self._isFiles(param) else "layer"
        if len(inputs) < least:
            raise unexpected(
                param,
                f"{len(inputs)} {what}" + "s" * (len(inputs) != 1),
                f"at least {least}",
            )
        if self._isFiles(param):
            wanted = files.extensions(param)
            return [files.store(param, given, wanted, job) for given in inputs]
        return [self._one(param, given, job) for given in inputs]


class _OfTypes(LayerHandler):
    """Layers within another value."""

    def __init__(self, dataTypes: Sequence[int]) -> None:
        self._types = list(dataTypes)

    def _dataTypes(self, param: QgsProcessingParameterDefinition) -> list[int]:
        return self._types


def layerOf(
    param: QgsProcessingParameterDefinition,
    given: InputValue,
    dataTypes: Sequence[int],
    job: Job,
) -> Any:
    """
    A layer that is a part of what a client sent for a parameter.

    @param dataTypes: QGIS's source types that it may be of.
    """
    return _OfTypes(dataTypes).value(param, [given], job)
