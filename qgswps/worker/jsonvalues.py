"""Values of QGIS as JSON has them."""

from __future__ import annotations

import json
import math
from collections.abc import Mapping
from typing import Any

from qgswps.worker import compat


def dumps(value: Any) -> str:
    """A value as a JSON text."""
    return json.dumps(plain(value), ensure_ascii=False, allow_nan=False)


def plain(value: Any) -> Any:
    """
    A value of objects, arrays, texts, numbers and the like.

    What JSON has no form for becomes the text that QGIS has for it: WKT of
    geometries, ISO 8601 of times, names of colours, ids of layers and CRSs.
    """
    value = compat.plain(value)
    if value is None or isinstance(value, (bool, int, str)):
        return value
    if isinstance(value, float):
        if math.isfinite(value):
            return value
        return "NaN" if math.isnan(value) else "INF" if value > 0 else "-INF"
    if isinstance(value, Mapping):
        return {str(key): plain(each) for key, each in value.items()}
    if isinstance(value, (list, tuple, set, frozenset)):
        return [plain(each) for each in value]
    return _text(value)


def _text(value: Any) -> str:
    if type(value).__name__ in ("QDateTime", "QDate", "QTime"):
        # Qt's number of ISO 8601.
        return str(value.toString(1))
    if type(value).__name__ == "QByteArray":
        return bytes(value.toBase64()).decode()
    if isinstance(value, bytes):
        return value.decode(errors="replace")
    for method in ("asWkt", "asWktPolygon", "authid", "id", "name"):
        told = getattr(value, method, None)
        if callable(told):
            return str(told())
    return str(value)
