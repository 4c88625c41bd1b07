"""WPS 1.0.0 documents from values, valid against the standard's schemas."""

from __future__ import annotations

from qgswps.ows.wps100.capabilities import capabilities
from qgswps.ows.wps100.describe import (
    processDescription,
    processDescriptionParts,
    processDescriptions,
)
from qgswps.ows.wps100.exceptions import exceptionReport
from qgswps.ows.wps100.response import corners, embedded, executeResponse

__all__ = [
    "capabilities",
    "corners",
    "embedded",
    "exceptionReport",
    "executeResponse",
    "processDescription",
    "processDescriptionParts",
    "processDescriptions",
]
