"""Parameters that are a table of cells."""

from __future__ import annotations

import csv
import json
import math
from collections.abc import Sequence
from typing import Any

from qgis.core import QgsProcessingParameterDefinition

from qgswps import jsonschema
from qgswps.model import ComplexType, Format, InputValue
from qgswps.worker.job import Job
from qgswps.worker.parameters.base import (
    Handler,
    default,
    register,
    unexpected,
    written,
)

_CELL = {"anyOf": [{"type": t} for t in ("number", "string", "boolean", "null")]}


@register
class MatrixHandler(Handler):
    """A table as an array of its rows; a flat array and CSV are read, too."""

    types = ("matrix",)

    def data(self, param: QgsProcessingParameterDefinition) -> ComplexType:
        value = default(param)
        rows = self._rows(param, value) if isinstance(value, (list, tuple)) else None
        return ComplexType(
            (Format("application/json"), Format("text/csv")),
            default=json.dumps(rows) if rows else None,
            jsonSchema=json.dumps(self._schema(param)),
        )

    @staticmethod
    def _schema(param: QgsProcessingParameterDefinition) -> dict[str, Any]:
        row: dict[str, Any] = {"type": "array", "items": _CELL, "minItems": 1}
        columns = param.headers()
        if columns:
            row |= {
                "minItems": len(columns),
                "maxItems": len(columns),
                "description": ", ".join(columns),
            }
        return {
            "description": "The rows of a table; or all cells, row by row.",
            "anyOf": [
                {"type": "array", "items": row},
                {"type": "array", "items": _CELL},
            ],
        }

    @staticmethod
    def _rows(
        param: QgsProcessingParameterDefinition, cells: Sequence[Any]
    ) -> list[list[Any]]:
        if any(isinstance(each, (list, tuple)) for each in cells):
            return [list(each) for each in cells]
        width = len(param.headers()) or 1
        return [list(cells[at : at + width]) for at in range(0, len(cells), width)]

    def value(
        self,
        param: QgsProcessingParameterDefinition,
        inputs: Sequence[InputValue],
        job: Job,
    ) -> list[Any]:
        given = written(param, inputs[0], job)
        try:
            found = (
                jsonschema.parse(given)
                if given.startswith("[")
                else self._fromCsv(param, given)
            )
        except (ValueError, csv.Error) as error:
            raise unexpected(
                param, f"not readable: {error}", "an array of rows, or CSV"
            ) from None
        wrong = list(jsonschema.faults(found, self._schema(param)))
        if wrong:
            raise unexpected(param, "; ".join(wrong[:10]), "an array of rows")
        rows = self._rows(param, found)
        width = len(param.headers())
        if width and any(len(row) != width for row in rows):
            raise unexpected(
                param,
                f"{len(found)} cells",
                f"{width} in each row: {', '.join(param.headers())}",
            )
        if param.hasFixedNumberRows() and len(rows) != param.numberRows():
            raise unexpected(param, f"{len(rows)} rows", f"{param.numberRows()}")
        return [cell for row in rows for cell in row]

    @staticmethod
    def _fromCsv(param: QgsProcessingParameterDefinition, given: str) -> list[Any]:
        rows = [row for row in csv.reader(given.splitlines(), strict=True) if row]
        if rows and [each.strip() for each in rows[0]] == list(param.headers()):
            del rows[0]
        cells = [[_cell(each) for each in row] for row in rows]
        # The flat form is a list with commas, too.
        return cells[0] if len(cells) == 1 else cells


def _cell(given: str) -> Any:
    """A number if it is one, else the text."""
    given = given.strip()
    try:
        number = float(given)
    except ValueError:
        return given
    if not math.isfinite(number):
        return given
    return int(number) if given.lstrip("+-").isdigit() else number
