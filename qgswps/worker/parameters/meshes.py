"""Parameters that are groups or times of a mesh layer's datasets."""

from __future__ import annotations

import json
from collections.abc import Sequence
from typing import Any

from qgis.core import QgsProcessingParameterDefinition

from qgswps import forms
from qgswps.model import InputValue, LiteralType, ProjectPart
from qgswps.worker import compat, project
from qgswps.worker.job import Job
from qgswps.worker.parameters.base import (
    MANY,
    Handler,
    default,
    listed,
    register,
    text,
    unexpected,
)
from qgswps.worker.parameters.times import readDateTime

_STATIC = "static"
_CURRENT = "current-context-time"


@register
class MeshGroupsHandler(Handler):
    """Groups of datasets of a mesh layer, by their names or numbers from 0."""

    types = ("meshdatasetgroups",)

    def data(self, param: QgsProcessingParameterDefinition) -> LiteralType:
        return LiteralType(
            "string", part=ProjectPart("group", param.meshLayerParameterName() or None)
        )

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
        known = _groups(param, job)
        return [self._one(param, text(param, given), known) for given in inputs]

    @staticmethod
    def _one(
        param: QgsProcessingParameterDefinition, given: str, known: dict[str, int]
    ) -> int:
        # A name may be a number.
        for candidate in (given, given.strip()):
            if candidate in known:
                return known[candidate]
        word = given.strip()
        if word.isascii() and word.isdigit():
            number = int(word)
            if not known or number in known.values():
                return number
        choices = f": {listed(list(known))}" if known else ""
        raise unexpected(
            param,
            repr(given),
            f"a group of datasets, by name or number from 0{choices}",
        )


def _groups(param: QgsProcessingParameterDefinition, job: Job) -> dict[str, int]:
    """The groups of the layer that another parameter names; none if it is wrong."""
    algorithm = param.algorithm()
    parent = param.meshLayerParameterName()
    if algorithm is None or parent not in job.values:
        return {}
    layer = algorithm.parameterAsMeshLayer(job.values, parent, job.context)
    return {} if layer is None else project.groups(layer)


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
