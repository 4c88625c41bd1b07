"""The ExceptionReport (OWS Common 1.1.0, section 8; WPS 1.0.0, section 8.4)."""

from __future__ import annotations

from collections.abc import Iterable

from qgswps.errors import Fault, OWSError
from qgswps.ows.wps100.common import VERSION, languageTag
from qgswps.ows.xmlio import Markup, document, element, optional


def _attributes(language: str) -> dict[str, str | None]:
    return {"version": VERSION, "xml:lang": languageTag(language)}


def _exceptions(faults: Iterable[Fault]) -> Markup:
    return Markup(
        "".join(
            element(
                "ows:Exception",
                optional("ows:ExceptionText", fault.text),
                attributes={
                    "exceptionCode": fault.code,
                    "locator": fault.locator or None,
                },
            )
            for fault in faults
        )
    )


def exceptionElement(faults: Iterable[Fault], language: str = "en") -> Markup:
    """An ExceptionReport to stand in another document."""
    return element(
        "ows:ExceptionReport", _exceptions(faults), attributes=_attributes(language)
    )


def exceptionReport(error: OWSError, language: str = "en") -> bytes:
    """The document that tells what is wrong with a request."""
    return document(
        "ows:ExceptionReport",
        _exceptions(error.faults),
        attributes=_attributes(language),
    )
