"""Parameters that are a point or another geometry."""

from __future__ import annotations

import json
import re
from collections.abc import Sequence
from typing import Any

import attrs
from osgeo import ogr
from qgis.core import (
    QgsCoordinateReferenceSystem,
    QgsGeometry,
    QgsPointXY,
    QgsProcessingParameterDefinition,
    QgsReferencedGeometry,
    QgsReferencedPointXY,
)

from qgswps import forms, jsonschema
from qgswps.model import ComplexType, Format, InputValue, Metadata
from qgswps.worker import compat
from qgswps.worker.job import Job
from qgswps.worker.parameters.base import (
    Handler,
    default,
    register,
    unexpected,
    written,
)
from qgswps.worker.parameters.spatial import readCrs

FORMATS = (
    Format("application/vnd.geo+json"),
    Format("application/geo+json"),
    Format("application/json"),
    Format("application/gml+xml"),
    Format("application/wkt"),
    Format("text/plain"),
)

_EXPECTED = "GeoJSON, GML, WKT or SRID=…;WKT"

#: The numbers of QGIS's types of geometry.
_KINDS = {0: "Point", 1: "Line", 2: "Polygon"}


@attrs.frozen
class Place:
    """
    A geometry that was read, with x before y.

    @ivar crs: None if it was not said: it is in that of the layers.
    """

    geometry: QgsGeometry
    crs: QgsCoordinateReferenceSystem | None = None


def read(text: str) -> Place:
    """
    A geometry in any of its written forms.

    @raise ValueError: it is none; the text may say why.
    """
    text = text.strip()
    if text.startswith("{"):
        return _fromGeoJson(text)
    if text.startswith("<"):
        return _fromGml(text)
    parts = forms.placeText(text)
    # Databases that write an SRID have x before y, as its form says.
    crs, inverted = (None, False) if parts.crs is None else _crs(parts.crs)
    if parts.pair is not None:
        geometry = QgsGeometry.fromPointXY(QgsPointXY(*parts.pair))
    else:
        geometry = _fromWkt(parts.wkt)
    return Place(_swapped(geometry) if inverted else geometry, crs)


def _crs(name: str) -> tuple[QgsCoordinateReferenceSystem, bool]:
    crs, inverted = readCrs(name)
    if not crs.isValid():
        raise ValueError(f"{name!r} is not known as a CRS")
    return crs, inverted


def _swapped(geometry: QgsGeometry) -> QgsGeometry:
    geometry.get().swapXy()
    return geometry


def _fromWkt(text: str) -> QgsGeometry:
    geometry = QgsGeometry.fromWkt(text)
    if geometry.isNull():
        raise ValueError("it is no WKT")
    return geometry


def _fromGeoJson(text: str) -> Place:
    value = jsonschema.parse(text)
    # Older GeoJSON may name a CRS; coordinates are x before y in any.
    crs = QgsCoordinateReferenceSystem("EPSG:4326")
    match value.get("crs"):
        case {"properties": {"name": str(name)}}:
            crs = _crs(name)[0]
    value = forms.jsonGeometry(value)
    # A part may name another one, and by a URL, which GDAL would fetch.
    bare = json.loads(json.dumps(value), object_hook=_withoutCrs)
    return Place(_fromOgr(ogr.CreateGeometryFromJson, json.dumps(bare)), crs)


def _withoutCrs(found: dict[str, Any]) -> dict[str, Any]:
    return {name: value for name, value in found.items() if name.lower() != "crs"}


def _fromGml(text: str) -> Place:
    # GDAL's own parser knows no entities, and wants no declaration.
    text = re.sub(r"^<\?xml[^>]*\?>", "", text).lstrip()
    name = forms.xmlRoot(text).get("srsName")
    crs, inverted = _crs(name) if name else (None, False)
    geometry = _fromOgr(ogr.CreateGeometryFromGML, text)
    return Place(_swapped(geometry) if inverted else geometry, crs)


def _fromOgr(create: Any, text: str) -> QgsGeometry:
    try:
        made = create(text)
    except RuntimeError:
        made = None
    if made is None:
        raise ValueError("it is no geometry")
    geometry = QgsGeometry()
    geometry.fromWkb(bytes(made.ExportToIsoWkb()))
    return geometry


def place(
    param: QgsProcessingParameterDefinition,
    given: InputValue,
    job: Job,
    expected: str,
) -> Place:
    """
    The geometry that a client sent.

    @param expected: what is told if it is none.
    """
    source = written(param, given, job)
    try:
        found = read(source)
    except (ValueError, AttributeError) as error:
        shown = source if len(source) <= 80 else source[:77] + "..."
        why = f": {error}" if isinstance(error, ValueError) else ""
        raise unexpected(param, repr(shown), expected + why) from None
    geometry = found.geometry
    box = geometry.boundingBox()
    if geometry.isEmpty() or not box.isFinite():
        raise unexpected(param, "empty or not finite", expected)
    if found.crs is not None:
        job.sees(found.crs)
    return found


@register
class PointHandler(Handler):
    """A point, perhaps with a CRS."""

    types = ("point",)

    def data(self, param: QgsProcessingParameterDefinition) -> ComplexType:
        value = default(param)
        return ComplexType(
            FORMATS,
            default=value if isinstance(value, str) and value else None,
            form="point",
        )

    def value(
        self,
        param: QgsProcessingParameterDefinition,
        inputs: Sequence[InputValue],
        job: Job,
    ) -> Any:
        expected = f"a point as x,y or x,y [EPSG:4326], or as {_EXPECTED}"
        found = place(param, inputs[0], job, expected)
        if compat.number(found.geometry.type()) or found.geometry.isMultipart():
            raise unexpected(param, found.geometry.asWkt()[:80], expected)
        point = found.geometry.asPoint()
        if found.crs is None:
            return f"{point.x()!r},{point.y()!r}"
        if found.crs.authid() and not found.crs.authid().startswith("USER:"):
            # The form that QGIS's own dialogs give, which all algorithms read.
            return f"{point.x()!r},{point.y()!r} [{found.crs.authid()}]"
        return QgsReferencedPointXY(point, found.crs)


@register
class GeometryHandler(Handler):
    """A geometry, perhaps with a CRS."""

    types = ("geometry",)

    @staticmethod
    def _kinds(param: QgsProcessingParameterDefinition) -> list[str]:
        numbers = map(compat.number, param.geometryTypes())
        return [_KINDS[each] for each in numbers if each in _KINDS]

    def data(self, param: QgsProcessingParameterDefinition) -> ComplexType:
        value = default(param)
        if hasattr(value, "asWkt"):
            value = value.asWkt()
        return ComplexType(
            FORMATS, default=str(value) if value else None, form="geometry"
        )

    def metadata(self, param: QgsProcessingParameterDefinition) -> list[Metadata]:
        kinds = [Metadata("processing:geometryType", k) for k in self._kinds(param)]
        multipart = str(param.allowMultipart()).lower()
        return [*kinds, Metadata("processing:allowMultipart", multipart)]

    def value(
        self,
        param: QgsProcessingParameterDefinition,
        inputs: Sequence[InputValue],
        job: Job,
    ) -> Any:
        kinds = self._kinds(param)
        said = " or ".join(kinds).lower() or "geometry"
        found = place(param, inputs[0], job, f"a {said} as {_EXPECTED}")
        kind = _KINDS.get(compat.number(found.geometry.type()), "other")
        if kinds and kind not in kinds:
            raise unexpected(param, f"a {kind.lower()}", f"a {said}")
        if found.geometry.isMultipart() and not param.allowMultipart():
            raise unexpected(param, "of several parts", f"a single {said}")
        if found.crs is None:
            return found.geometry
        return QgsReferencedGeometry(found.geometry, found.crs)
