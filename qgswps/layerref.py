"""
References to layers of a project, and to some of their features, as a value
of an input may have them in place of a name::

    layer:NAME?select=EXPRESSION&rect=MINX,MINY,MAXX,MAXY[,CRS]
"""

from __future__ import annotations

import math
import re
from urllib.parse import unquote

import attrs

#: What a reference begins with.
PREFIX = "layer:"

Rectangle = tuple[float, float, float, float]


@attrs.frozen
class LayerReference:
    """
    A layer, or some of its features.

    @ivar name: the layer's name or id.
    @ivar select: QGIS's expression that the features fulfil; None for all.
    @ivar rect: C{(minx, miny, maxx, maxy)}, x before y, that the features
        intersect; None for all.
    @ivar crs: authority id of the rectangle's CRS; None for the layer's own.
    """

    name: str
    select: str | None = None
    rect: Rectangle | None = None
    crs: str | None = None

    @property
    def isSubset(self) -> bool:
        """Whether not all features are meant."""
        return self.select is not None or self.rect is not None


def parse(text: str) -> LayerReference | None:
    """
    The reference that a text is; None if it is none.

    @param text: with its parts percent-encoded where they hold C{%}, C{?}
        or C{&}; a plus sign is one.
    @raise ValueError: it is a faulty one; the text says how, to follow on
        the name of an input.
    """
    if not text.startswith(PREFIX):
        return None
    name, mark, query = text.removeprefix(PREFIX).partition("?")
    name = _decoded(name, "name of the layer")
    if not name:
        raise ValueError(f"needs the name of a layer after {PREFIX}")
    values: dict[str, str] = {}
    for part in query.split("&") if mark else ():
        key, _, value = part.partition("=")
        if key not in ("select", "rect"):
            raise ValueError(f"has select= and rect= after the layer, not {part!r}")
        if key in values:
            raise ValueError(f"has {key}= twice")
        values[key] = _decoded(value, key)
        if not values[key].strip():
            raise ValueError(f"has an empty {key}=")
    rect, crs = _rectangle(values["rect"]) if "rect" in values else (None, None)
    return LayerReference(name, values.get("select"), rect, crs)


def _decoded(text: str, what: str) -> str:
    try:
        return unquote(text, errors="strict")
    except UnicodeDecodeError:
        raise ValueError(f"has a {what} that is not UTF-8") from None


def _rectangle(text: str) -> tuple[Rectangle, str | None]:
    expected = f"has rect=minx,miny,maxx,maxy[,crs], not {text!r}"
    parts = [part.strip() for part in text.split(",")]
    # float() knows more than numbers on the wire: "1_000".
    if not 4 <= len(parts) <= 5 or any("_" in part for part in parts[:4]):
        raise ValueError(expected)
    try:
        left, bottom, right, top = (float(part) for part in parts[:4])
    except ValueError:
        raise ValueError(expected) from None
    if not all(map(math.isfinite, (left, bottom, right, top))):
        raise ValueError("has finite numbers in rect=")
    if left > right or bottom > top:
        raise ValueError("has the smaller numbers first in rect=minx,miny,maxx,maxy")
    crs = parts[4] if len(parts) == 5 else None
    if crs is not None and not re.fullmatch(r"\w+:[\w.-]+", crs, re.ASCII):
        raise ValueError(f"has a CRS such as EPSG:4326 in rect=, not {crs!r}")
    return (left, bottom, right, top), crs
