"""Parameters that are a formula or a query."""

from __future__ import annotations

from collections.abc import Sequence

from qgis.core import QgsProcessingParameterDefinition

from qgswps.model import InputValue, LiteralType
from qgswps.worker import compat
from qgswps.worker.job import Job
from qgswps.worker.parameters.base import (
    Handler,
    checkExpression,
    default,
    register,
    text,
)
from qgswps.worker.parameters.literals import StringHandler

#: The number of the language of expressions that features are evaluated by.
_QGIS = 0


@register
class ExpressionHandler(Handler):
    """An expression of QGIS's, or of another of its languages."""

    types = ("expression",)

    def data(self, param: QgsProcessingParameterDefinition) -> LiteralType:
        value = default(param)
        return LiteralType(
            "string",
            str(value) if value else None,
            form="expression" if self._isQgis(param) else "",
        )

    @staticmethod
    def _isQgis(param: QgsProcessingParameterDefinition) -> bool:
        return (
            not hasattr(param, "expressionType")
            or compat.number(param.expressionType()) == _QGIS
        )

    def value(
        self,
        param: QgsProcessingParameterDefinition,
        inputs: Sequence[InputValue],
        job: Job,
    ) -> str:
        given = text(param, inputs[0])
        # An empty one is for QGIS to judge: it may be optional.
        if self._isQgis(param) and given.strip():
            checkExpression(param, given)
        return given


@register
class FormulaHandler(StringHandler):
    """What an algorithm of Python's reads for itself: SQL, or map algebra."""

    types = ("execute_sql", "raster_calc_expression")
