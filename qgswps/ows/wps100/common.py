"""Elements that several WPS 1.0.0 documents have."""

from __future__ import annotations

import re
from collections.abc import Iterable

from qgswps.model import Format, Metadata, ProcessDescription
from qgswps.ows.binding import INTEGERS
from qgswps.ows.xmlio import (
    Markup,
    anyURI,
    element,
    escape,
    optional,
    relativeURI,
)

VERSION = "1.0.0"

# ows:MimeType as the schema of OWS Common 1.1.0 has it.
_MIME_TYPE = re.compile(
    r"(application|audio|image|text|video|message|multipart|model)/[^\r\n]+"
)
_LANGUAGE = re.compile("[a-zA-Z]{1,8}(-[a-zA-Z0-9]{1,8})*")
#: What is said where a media type is demanded and none fits the schema.
UNKNOWN_TYPE = "application/octet-stream"


def responseBase(language: str) -> dict[str, str | None]:
    """The attributes of ResponseBaseType (WPS 1.0.0, table 19)."""
    return {"service": "WPS", "version": VERSION, "xml:lang": languageTag(language)}


def languageTag(text: str) -> str:
    """A language as the schema takes it; English if it takes not this one."""
    return text if _LANGUAGE.fullmatch(text) else "en"


def description(
    identifier: str,
    title: str,
    abstract: str = "",
    metadata: Iterable[Metadata] = (),
) -> Markup:
    """The elements of DescriptionType (WPS 1.0.0, table 12)."""
    return Markup(
        element("ows:Identifier", escape(identifier))
        + element("ows:Title", escape(title or identifier))
        + (optional("ows:Abstract", abstract) or "")
        + "".join(metadataElement(item) for item in metadata)
    )


def metadataElement(item: Metadata) -> Markup:
    """
    A further fact as C{ows:Metadata}.

    The value is the C{xlink:href}, where clients look for it.  That has to
    be a URI, so it is made a relative reference: words and numbers stay as
    they are, the rest is percent-quoted.
    """
    return element(
        "ows:Metadata",
        attributes={
            "xlink:type": "simple",
            "xlink:title": item.title,
            "xlink:href": relativeURI(item.value) if item.value else None,
        },
    )


def processBrief(
    process: ProcessDescription, metadata: Iterable[Metadata] | None = None
) -> Markup:
    """The elements of ProcessBriefType (WPS 1.0.0, table 21)."""
    return description(
        process.identifier,
        process.title,
        process.abstract,
        process.metadata if metadata is None else metadata,
    )


def mimeTypeOf(form: Format) -> str | None:
    """The media type, if the schema knows such a type."""
    return form.mimeType if _MIME_TYPE.fullmatch(form.mimeType) else None


def complexEncoding(form: Format) -> dict[str, str | None]:
    """The attributes of ComplexDataEncoding (WPS 1.0.0, table 36)."""
    return {
        "mimeType": mimeTypeOf(form),
        "encoding": anyURI(form.encoding) if form.encoding else None,
        "schema": anyURI(form.schema) if form.schema else None,
    }


def literalText(text: str, dataType: str | None) -> str:
    """
    A literal as XML Schema writes its type: QGIS says C{5.0} for an integer
    and C{True} for a boolean.
    """
    if dataType in INTEGERS and re.fullmatch(r"[+-]?\d+\.0*", text, re.ASCII):
        return text.partition(".")[0]
    if dataType == "boolean" and text in ("True", "False"):
        return text.lower()
    return text
