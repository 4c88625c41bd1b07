"""What of its project a job needs, as far as that can be told beforehand."""

from __future__ import annotations

import inspect
import json
import sys
from collections.abc import Iterator
from typing import Any

from qgis.core import QgsProcessingAlgorithm, QgsProcessingModelAlgorithm

from qgswps import layerref
from qgswps.model import ComplexValue, ExecuteRequest, FileValue, LiteralValue
from qgswps.worker import compat, parameters

#: Providers whose algorithms see no layer but those that they are given.
_CONFINED = {"native", "qgis", "gdal", "3d", "grass", "grass7"}

#: Those of them that look at all layers of the project, and don't say so.
_CURIOUS = {
    "native:stylefromproject",
    "native:tilesxyzdirectory",
    "native:tilesxyzmbtiles",
    "qgis:tilesxyzdirectory",
    "qgis:tilesxyzmbtiles",
}

#: Parameters that are parts of a project beside its layers.
_PARTS = {"layout", "layoutitem", "maptheme"}

#: Parameters whose values are structures with layers in them.
_WITH_LAYERS = {
    "alignrasterlayers",
    "dxflayers",
    "idw_interpolation_data",
    "tininputlayers",
    "vectortilewriterlayers",
}

#: Longer texts are data that came where a text might have stood.
_LONGEST = 65536


def texts(
    algorithm: QgsProcessingAlgorithm, request: ExecuteRequest
) -> list[str] | None:
    """
    The texts in which the layers are named that a job needs; None if it needs
    the whole project.
    """
    if any(map(_needsProject, _withChildren(algorithm))):
        return None
    structures = {
        definition.name()
        for definition in algorithm.parameterDefinitions()
        if definition.type() in _WITH_LAYERS
    }
    fetched = {i.identifier for i in request.inputs if isinstance(i.value, FileValue)}
    if structures & fetched:
        return None
    found = list(_requested(request, structures))
    for each in _withChildren(algorithm):
        found += _own(each)
    return found


def reachesProject(algorithm: QgsProcessingAlgorithm) -> bool:
    """Whether an algorithm may look at the project by itself."""
    return any(
        not isinstance(each, QgsProcessingModelAlgorithm)
        and each.provider().id() not in _CONFINED
        for each in _withChildren(algorithm)
    )


def _withChildren(
    algorithm: QgsProcessingAlgorithm, depth: int = 10
) -> Iterator[QgsProcessingAlgorithm]:
    """An algorithm and, of a model, those that it runs."""
    yield algorithm
    if isinstance(algorithm, QgsProcessingModelAlgorithm) and depth:
        for child in algorithm.childAlgorithms().values():
            if child.algorithm() is not None:
                yield from _withChildren(child.algorithm(), depth - 1)


def _needsProject(algorithm: QgsProcessingAlgorithm) -> bool:
    return (
        compat.isSet(algorithm.flags(), compat.ALGORITHM_REQUIRES_PROJECT)
        or algorithm.id() in _CURIOUS
        or any(
            definition.type() in _PARTS
            for definition in algorithm.parameterDefinitions()
        )
    )


def _plain(text: str) -> str:
    """JSON without escapes, if it is JSON."""
    try:
        return json.dumps(json.loads(text), ensure_ascii=False)
    except (ValueError, RecursionError):
        return text


def _requested(request: ExecuteRequest, structures: set[str]) -> Iterator[str]:
    """
    The texts that a client sent.

    @param structures: the inputs whose data may name layers.
    """
    for each in request.inputs:
        match each.value:
            case LiteralValue(value=text):
                pass
            case ComplexValue(data=text) if each.identifier in structures:
                # JSON may have characters by their numbers.
                text = _plain(text)
            case _:
                continue
        if len(text) > _LONGEST:
            continue
        yield text
        try:
            reference = layerref.parse(text)
        except ValueError:
            # The conversion of the input says what is wrong with it.
            continue
        if reference is not None:
            yield reference.name
            yield reference.select or ""


def _own(algorithm: QgsProcessingAlgorithm) -> Iterator[str]:
    """The texts that are an algorithm's own."""
    for definition in algorithm.parameterDefinitions():
        default = parameters.default(definition)
        if isinstance(default, (str, list, tuple)):
            yield str(default)
    if isinstance(algorithm, QgsProcessingModelAlgorithm):
        yield str(algorithm.toVariant())
    elif algorithm.provider().id() not in _CONFINED:
        yield _source(algorithm)


def _source(algorithm: Any) -> str:
    """
    The source of a Python algorithm.

    Layers may be named in the expressions that it evaluates, and QGIS does
    that without a word to Python.
    """
    # Those made by a decorator are of a class of QGIS.
    owner = getattr(algorithm, "_func", None) or type(algorithm)
    module = sys.modules.get(owner.__module__)
    try:
        return inspect.getsource(module) if module is not None else ""
    except (OSError, TypeError):
        return ""
