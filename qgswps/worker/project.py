"""Projects: which layers they have, and opening what a job needs of them."""

from __future__ import annotations

import os
from collections.abc import Collection
from typing import Any

from qgis.core import QgsDataProvider, QgsProject

from qgswps.errors import invalid
from qgswps.model import LayerSummary, ProjectSummary
from qgswps.worker import compat

_GEOMETRIES = {0: "point", 1: "line", 2: "polygon", 3: "vector", 4: "nogeometry"}


def kindOf(layer: Any) -> str:
    """The kind of a layer, in the words of the model."""
    if layer.type() == compat.LAYER_VECTOR:
        return _GEOMETRIES.get(compat.number(layer.geometryType()), "vector")
    return compat.LAYER_KINDS.get(layer.type(), "")


def find(project: QgsProject, given: str) -> Any:
    """
    The layer of a name or an id; None if there is none.

    An id goes before a name, and of layers of the same name the first one
    of the layer tree is taken.
    """
    layer = project.mapLayer(given)
    if layer is not None:
        return layer
    named = project.mapLayersByName(given)
    if len(named) > 1:
        order = {each.id(): n for n, each in enumerate(_inOrder(project))}
        named.sort(key=lambda each: order.get(each.id(), len(order)))
    return named[0] if named else None


def _inOrder(project: QgsProject) -> list[Any]:
    """All layers as the layer tree lists them, then the others."""
    listed = {
        node.layerId(): node.layer() for node in project.layerTreeRoot().findLayers()
    }
    layers = {key: layer for key, layer in listed.items() if layer is not None}
    for key, layer in project.mapLayers().items():
        layers.setdefault(key, layer)
    return list(layers.values())


def summarize(path: str) -> ProjectSummary:
    """
    What the description of processes needs to know of a project.

    All layers are opened: whether they are valid can't be told otherwise.

    @raise OWSError: there is no such project, or it can't be read.
    """
    project = _read(path, compat.READ_WITHOUT_LAYOUTS)
    return ProjectSummary(
        title=project.title() or project.baseName(),
        crs=project.crs().authid(),
        layers=tuple(_summary(layer) for layer in _inOrder(project)),
    )


def _summary(layer: Any) -> LayerSummary:
    isVector = layer.type() == compat.LAYER_VECTOR
    return LayerSummary(
        id=layer.id(),
        name=layer.name(),
        kind=kindOf(layer),
        crs=layer.crs().authid(),
        title=layer.title() if hasattr(layer, "title") else "",
        valid=layer.isValid(),
        fields=tuple(field.name() for field in layer.fields()) if isVector else (),
    )


def load(path: str, needed: Collection[str] | None) -> QgsProject:
    """
    Read a project as the one of this process, and open layers of it.

    @param needed: names or ids of the layers to open, with those that they
        depend on; None for all, and for the layouts.
    @raise OWSError: there is no such project, or it can't be read.
    """
    if needed is None:
        return _read(path)
    project = _read(path, compat.READ_UNRESOLVED, compat.READ_WITHOUT_LAYOUTS)
    opened: set[str] = set()
    for name in needed:
        layer = find(project, name)
        if layer is not None:
            _open(project, layer, opened)
    return project


def _open(project: QgsProject, layer: Any, opened: set[str]) -> None:
    """Open a layer that was read unresolved, after those that it is made of."""
    if layer.id() in opened:
        return
    opened.add(layer.id())
    for other in _madeOf(project, layer):
        _open(project, other, opened)
    layer.setDataSource(
        layer.source(),
        layer.name(),
        layer.providerType(),
        QgsDataProvider.ProviderOptions(),
        False,
    )
    if layer.type() == compat.LAYER_VECTOR:
        layer.resolveReferences(project)


def _madeOf(project: QgsProject, layer: Any) -> list[Any]:
    """The layers that a layer joins, or that its source names."""
    others = []
    if layer.type() == compat.LAYER_VECTOR:
        others = [project.mapLayer(join.joinLayerId()) for join in layer.vectorJoins()]
        if layer.providerType() == "virtual":
            source = layer.source()
            others += [
                other
                for key, other in project.mapLayers().items()
                if key in source or other.name() in source
            ]
    return [other for other in others if other is not None and other is not layer]


def _read(path: str, *flags: Any) -> QgsProject:
    project = QgsProject.instance()
    name = os.path.basename(path)
    if "://" not in path and not os.path.isfile(path):
        raise invalid("MAP", f"there is no project {name!r}", 404)
    try:
        ok = project.read(
            path,
            compat.readFlags(compat.READ_WITHOUT_STYLES, compat.READ_ONLY, *flags),
        )
    except Exception as error:
        raise invalid("MAP", f"the project {name!r} can't be read: {error}") from None
    if not ok:
        # Where it lies is nobody's business.
        why = project.error().replace(os.path.dirname(path) + os.sep, "")
        raise invalid("MAP", f"the project {name!r} can't be read: {why or 'damaged'}")
    return project
