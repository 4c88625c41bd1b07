"""Parameters that are a CRS or a place in one."""

from __future__ import annotations

import math
import re
from collections.abc import Sequence
from typing import Any

from qgis.core import (
    QgsCoordinateReferenceSystem,
    QgsProcessingParameterDefinition,
    QgsProject,
    QgsRectangle,
    QgsReferencedRectangle,
)

from qgswps import forms
from qgswps.model import (
    BoundingBoxType,
    BoundingBoxValue,
    InputValue,
    LiteralType,
    LiteralValue,
)
from qgswps.worker.job import Job
from qgswps.worker.parameters.base import (
    Handler,
    default,
    mustBe,
    register,
    text,
    unexpected,
)

#: What is published for extents after the project's CRS; any other CRS is
#: understood too.
_CRSS = ("EPSG:4326", "EPSG:3857")

_EXTENT = re.compile(
    r"\s*([^,\s]+)\s*,\s*([^,\s]+)\s*,\s*([^,\s]+)\s*,\s*([^,\s\[]+)\s*(?:\[(.+)\])?\s*"
)


def readCrs(given: str) -> tuple[QgsCoordinateReferenceSystem, bool]:
    """
    A CRS in any of its written forms, never a layer or a file.

    @return: it (invalid if the text names none), and whether coordinates in
        it come in the order of the CRS's own axes rather than x before y.
    """
    given = given.strip()
    named = forms.crsName(given)
    if named is not None:
        crs = QgsCoordinateReferenceSystem(f"{named.authority}:{named.code}")
        return crs, named.ownAxes and crs.hasAxisInverted()
    if given.upper().startswith(("PROJ:", "WKT:")):
        return QgsCoordinateReferenceSystem(given), False
    if given.startswith("+"):
        return QgsCoordinateReferenceSystem.fromProj(given), False
    if "[" in given:
        return QgsCoordinateReferenceSystem.fromWkt(given), False
    return QgsCoordinateReferenceSystem(), False


@register
class CrsHandler(Handler):
    """A CRS, by its code or in another written form."""

    types = ("crs",)

    def data(self, param: QgsProcessingParameterDefinition) -> LiteralType:
        value = default(param)
        if isinstance(value, QgsCoordinateReferenceSystem):
            value = value.authid() or value.toWkt()
        return LiteralType("string", None if value is None else str(value), form="crs")

    def value(
        self,
        param: QgsProcessingParameterDefinition,
        inputs: Sequence[InputValue],
        job: Job,
    ) -> Any:
        given = text(param, inputs[0])
        if given.strip() == "ProjectCrs":
            return job.crs
        crs, _ = readCrs(given)
        if not crs.isValid():
            raise unexpected(
                param, repr(given), "a CRS such as EPSG:4326, as code, URN, WKT or PROJ"
            )
        job.sees(crs)
        return crs


@register
class ExtentHandler(Handler):
    """A rectangle in any CRS."""

    types = ("extent",)

    def data(self, param: QgsProcessingParameterDefinition) -> BoundingBoxType:
        # What a box without a CRS is in; without a MAP it is the default CRS.
        own = QgsProject.instance().crs().authid()
        crss = [*([own] if own else []), *_CRSS]
        match = _EXTENT.fullmatch(str(default(param) or ""))
        box = None
        if match is not None:
            west, east, south, north = (float(part) for part in match.groups()[:4])
            box = (west, south, east, north)
            crss.insert(0, match.group(5) or crss[0])
        return BoundingBoxType(tuple(dict.fromkeys(crss)), box)

    def value(
        self,
        param: QgsProcessingParameterDefinition,
        inputs: Sequence[InputValue],
        job: Job,
    ) -> Any:
        box = self._box(param, inputs[0])
        crs, inverted = job.crs, False
        if box.crs:
            crs, inverted = readCrs(box.crs)
            if not crs.isValid():
                raise unexpected(
                    param, f"in {box.crs!r}", "a CRS such as EPSG:4326 or its URN"
                )
        corners = [*box.lower[:2], *box.upper[:2]]
        if len(corners) != 4 or not all(math.isfinite(c) for c in corners):
            raise unexpected(param, "incomplete", "a lower and an upper corner")
        if inverted:
            corners = [corners[1], corners[0], corners[3], corners[2]]
        west, south, east, north = corners
        if west > east or south > north:
            raise unexpected(
                param,
                f"{box.lower} to {box.upper}",
                "the lower corner first, in the order of axes of the CRS",
            )
        if crs.authid() and not crs.authid().startswith("USER:"):
            # The form that QGIS's own dialogs give, which all algorithms read.
            numbers = ",".join(repr(number) for number in (west, east, south, north))
            return f"{numbers} [{crs.authid()}]"
        return QgsReferencedRectangle(QgsRectangle(west, south, east, north), crs)

    @staticmethod
    def _box(
        param: QgsProcessingParameterDefinition, given: InputValue
    ) -> BoundingBoxValue:
        if isinstance(given, BoundingBoxValue):
            return given
        expected = "minx,miny,maxx,maxy and perhaps a CRS"
        if not isinstance(given, LiteralValue):
            raise unexpected(param, "data", expected)
        parts = [part.strip() for part in given.value.split(",", 4)]
        try:
            numbers = [float(part) for part in parts[:4]]
        except ValueError:
            numbers = []
        if len(numbers) != 4:
            raise unexpected(param, repr(given.value), expected)
        crs = parts[4] if len(parts) > 4 else None
        return BoundingBoxValue(tuple(numbers[:2]), tuple(numbers[2:]), crs)


@register
class CoordinateOperationHandler(Handler):
    """How to get from one CRS to another, as PROJ writes it."""

    types = ("coordinateoperation",)

    def data(self, param: QgsProcessingParameterDefinition) -> LiteralType:
        value = default(param)
        return LiteralType("string", str(value) if value else None, form="operation")

    def value(
        self,
        param: QgsProcessingParameterDefinition,
        inputs: Sequence[InputValue],
        job: Job,
    ) -> str:
        given = text(param, inputs[0]).strip()
        mustBe(param, "operation", given)
        return given
