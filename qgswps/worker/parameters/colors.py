"""Parameters that are a colour."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from qgis.core import QgsProcessingParameterDefinition, QgsSymbolLayerUtils
from qgis.PyQt.QtGui import QColor

from qgswps import forms
from qgswps.model import InputValue, LiteralType, Metadata
from qgswps.worker.job import Job
from qgswps.worker.parameters.base import Handler, default, register, text, unexpected

EXPECTED = forms.FORMS["color"][0]


def read(given: str) -> QColor | None:
    """A colour from CSS text; None if it is none."""
    color, _ = QgsSymbolLayerUtils.parseColorWithAlpha(given.strip(), True)
    return color if color.isValid() else None


def css(color: QColor) -> str:
    """A colour as CSS text."""
    if color.alpha() == 255:
        return str(color.name())
    parts = (color.red(), color.green(), color.blue(), round(color.alphaF(), 3))
    return f"rgba({', '.join(map(str, parts))})"


@register
class ColorHandler(Handler):
    """A colour, as CSS writes it."""

    types = ("color",)

    def data(self, param: QgsProcessingParameterDefinition) -> LiteralType:
        value = default(param)
        if isinstance(value, str):
            value = read(value)
        shown = css(value) if isinstance(value, QColor) else None
        return LiteralType("string", shown, form="color")

    def metadata(self, param: QgsProcessingParameterDefinition) -> list[Metadata]:
        opacity = str(param.opacityEnabled()).lower()
        return [Metadata("processing:opacityEnabled", opacity)]

    def value(
        self,
        param: QgsProcessingParameterDefinition,
        inputs: Sequence[InputValue],
        job: Job,
    ) -> Any:
        given = text(param, inputs[0])
        color = read(given)
        if color is None:
            raise unexpected(param, repr(given), EXPECTED)
        return color
