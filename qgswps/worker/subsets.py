"""Some of the features of a vector layer, as a reference to it may ask for."""

from __future__ import annotations

from typing import Any

from qgis.core import (
    QgsCoordinateReferenceSystem,
    QgsCoordinateTransform,
    QgsCsException,
    QgsExpression,
    QgsExpressionContext,
    QgsExpressionContextUtils,
    QgsFeatureRequest,
    QgsRectangle,
)

from qgswps.layerref import LayerReference
from qgswps.worker import compat, expressions
from qgswps.worker.job import Job


def featureIds(layer: Any, reference: LayerReference, job: Job) -> list[int]:
    """
    The features that a reference means, by their ids.

    @raise ValueError: they can't be told; the text says why.
    """
    request = QgsFeatureRequest()
    needsGeometry = reference.rect is not None
    expression = None
    if reference.select is not None:
        expression = QgsExpression(reference.select)
        if expression.hasParserError():
            raise _wrong(reference, expression.parserErrorString())
        refused = expressions.forbidden(expression)
        if refused is not None:
            raise _wrong(reference, f"{refused} can't be used here")
        needsGeometry |= expression.needsGeometry()
    if reference.rect is not None:
        if not layer.isSpatial():
            raise ValueError("has rect=, but the layer has no geometry")
        request.setFilterRect(_rectangle(layer, reference, job))
        request.setFlags(compat.EXACT_INTERSECT)
    elif not needsGeometry:
        request.setFlags(compat.WITHOUT_GEOMETRY)
    if expression is None:
        return [feature.id() for feature in layer.getFeatures(request)]
    return _selected(layer, reference, expression, request)


def _selected(
    layer: Any, reference: LayerReference, expression: Any, request: Any
) -> list[int]:
    """
    Evaluates for each feature: as a filter of the request, an expression that
    fails would just select nothing.
    """
    context = QgsExpressionContext()
    context.appendScopes(QgsExpressionContextUtils.globalProjectLayerScopes(layer))
    context.setFields(layer.fields())
    if not expression.prepare(context):
        raise _wrong(reference, expression.evalErrorString())
    found = []
    for feature in layer.getFeatures(request):
        context.setFeature(feature)
        value = expression.evaluate(context)
        if expression.hasEvalError():
            raise _wrong(reference, expression.evalErrorString())
        if _isTrue(compat.plain(value)):
            found.append(feature.id())
    return found


def _isTrue(value: Any) -> bool:
    # As QGIS has it for texts.
    if isinstance(value, str):
        return value.lower() not in ("", "0", "false")
    return bool(value)


def _rectangle(layer: Any, reference: LayerReference, job: Job) -> QgsRectangle:
    assert reference.rect is not None
    rectangle = QgsRectangle(*reference.rect)
    if reference.crs is None:
        return rectangle
    crs = QgsCoordinateReferenceSystem(reference.crs)
    if not crs.isValid():
        raise ValueError(f"has rect= in {reference.crs}, which is not known")
    transform = QgsCoordinateTransform(crs, layer.crs(), job.context.transformContext())
    try:
        return transform.transformBoundingBox(rectangle)
    except QgsCsException:
        raise ValueError(
            f"has rect= that is not within {layer.crs().authid()} of the layer"
        ) from None


def _wrong(reference: LayerReference, why: str) -> ValueError:
    return ValueError(
        f"has select={reference.select} that can't be evaluated: {why.strip()}"
    )
