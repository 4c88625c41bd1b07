"""Parameters that are groups or times of a mesh layer's datasets."""

from __future__ import annotations

import json
from collections.abc import Sequence
from typing import Any

from qgis.core import QgsProcessingParameterDefinition

from qgswps import forms
from qgswps.model import InputValue, LiteralType, Range
from qgswps.worker import compat
from qgswps.worker.job import Job
from qgswps.worker.parameters.base import (
    MANY,
    Handler,
    default,
    register,
    text,
    unexpected,
)
from qgswps.worker.parameters.literals import toNumber
from qgswps.worker.parameters.times import readDateTime

_STATIC = "static"
_CURRENT = "current-context-time"


@register
class MeshGroupsHandler(Handler):
    """The numbers of dataset groups of a mesh layer, from 0."""

    types = ("meshdatasetgroups",)

    def data(self, param: QgsProcessingParameterDefinition) -> LiteralType:
        return LiteralType("integer", ranges=(Range("0"),))

    def minOccurs(self, param: QgsProcessingParameterDefinition) -> int:
        optional = compat.isSet(param.flags(), compat.PARAMETER_OPTIONAL)
        # QGIS has a default for each, of no group at all.
        return 0 if optional or default(param) else 1

    def maxOccurs(self, param: QgsProcessingParameterDefinition) -> int:
        return MANY

    def value(
        self,
        param: QgsProcessingParameterDefinition,
        inputs: Sequence[InputValue],
        job: Job,
    ) -> list[int]:
        groups = [int(toNumber(param, text(param, given), True)) for given in inputs]
        if min(groups) < 0:
            raise unexpected(
                param, str(min(groups)), "the number of a dataset group, from 0"
            )
        return groups


@register
class MeshTimeHandler(Handler):
    """
    A time of a mesh layer: C{static}, C{current-context-time}, a date and
    time, or a group's number and a dataset's as C{group,dataset}.
    """

    types = ("meshdatasettime",)

    def data(self, param: QgsProcessingParameterDefinition) -> LiteralType:
        value = default(param)
        return LiteralType("string", str(value) if value else None, form="meshtime")

    def value(
        self,
        param: QgsProcessingParameterDefinition,
        inputs: Sequence[InputValue],
        job: Job,
    ) -> dict[str, Any]:
        given = text(param, inputs[0]).strip()
        found = self._time(self._short(given))
        if found is None:
            raise unexpected(param, repr(given), forms.FORMS["meshtime"][0])
        return found

    @staticmethod
    def _short(given: str) -> str:
        """What QGIS's own form, an object, says in the words above."""
        if not given.startswith("{"):
            return given
        try:
            own = json.loads(given)
        except ValueError:
            return given
        if own.get("type") in (_STATIC, _CURRENT):
            return str(own["type"])
        value = own.get("value")
        return ",".join(map(str, value)) if isinstance(value, list) else str(value)

    @staticmethod
    def _time(given: str) -> dict[str, Any] | None:
        if given in (_STATIC, _CURRENT):
            return {"type": given}
        step = forms.meshStep(given)
        if step is not None:
            return {"type": "dataset-time-step", "value": list(step)}
        try:
            return {"type": "defined-date-time", "value": readDateTime(given)}
        except ValueError:
            return None
