"""
The forms of texts that are more than words: CRSs, places, expressions, ranges.

What can be told of such a text without QGIS is told here, so that a request
can be refused before a worker is taken.  What it means only a worker knows:
whether there is such a CRS, or such a function.
"""

from __future__ import annotations

import datetime
import math
import re
import xml.etree.ElementTree as ElementTree
from collections.abc import Callable, Mapping
from typing import Any

import attrs

from qgswps import jsonschema

#: Longer texts are looked at by the worker.
LONGEST = 1 << 16


def fault(form: str, text: str) -> str | None:
    """
    What was expected of a text that is not of a form; None if it may be.

    @param form: one of L{FORMS}; others fit any text.
    """
    known = FORMS.get(form)
    if known is None or len(text) > LONGEST:
        return None
    expected, check = known
    try:
        check(text.strip())
    except ValueError as why:
        return f"{expected} ({why})" if str(why) else expected
    return None


# CRSs

_SHORT = re.compile(r"([A-Za-z_]+[0-9]*):([\w.\-]+)")
#: Forms that name the CRS's own order of axes (OGC 07-092r3, section 7).
_URN = re.compile(r"urn:(?:x-)?ogc:def:crs:(\w+):([\w.]*):([\w.\-]+)", re.I)
_URL = re.compile(r"https?://www\.opengis\.net/def/crs/(\w+)/([\w.]+)/([\w.\-]+)", re.I)
_GML_URL = re.compile(r"https?://www\.opengis\.net/gml/srs/(\w+)\.xml#(\w+)", re.I)
_PROJ = re.compile(r"\+\w+(=|\s|$)")
_CRS_WKT = re.compile(r"[A-Za-z_]\w*\s*\[")


@attrs.frozen
class CrsName:
    """
    A CRS by its code.

    @ivar authority: in capitals.
    @ivar ownAxes: whether coordinates come in the order of the CRS's own axes
        rather than x before y.
    """

    authority: str
    code: str
    ownAxes: bool = False


def crsName(text: str) -> CrsName | None:
    """
    The CRS that a text names by its code; None if it is in another form.

    That of WGS 84 with x before y, which is named in several ways, is
    C{EPSG:4326} with x before y.
    """
    text = text.strip()
    found = _URN.fullmatch(text) or _URL.fullmatch(text)
    if found is not None:
        authority, _, code = found.groups()
        return _named(authority, code, authority.upper() != "OGC")
    # C{PROJ:} and C{WKT:} begin texts in these forms.
    found = _GML_URL.fullmatch(text) or _SHORT.fullmatch(text)
    if found is None or found[1].upper() in ("PROJ", "WKT"):
        return None
    return _named(found[1], found[2], False)


def _named(authority: str, code: str, ownAxes: bool) -> CrsName:
    authority = authority.upper()
    if authority in ("OGC", "CRS") and code.upper() in ("CRS84", "84"):
        # With x before y it is the same, and known to more programs.
        return CrsName("EPSG", "4326")
    return CrsName(authority, code, ownAxes)


def _crs(text: str) -> None:
    if text == "ProjectCrs":
        return
    named = crsName(text)
    if named is not None:
        if named.authority == "EPSG" and not named.code.isdecimal():
            raise ValueError("codes of EPSG are numbers")
        return
    if text.upper().startswith("PROJ:"):
        text = text[5:].lstrip()
    elif text.upper().startswith("WKT:"):
        text = text[4:].lstrip()
    elif text.startswith("+") and "+proj=" not in text and "+init=" not in text:
        raise ValueError("+proj= is missing")
    if _PROJ.match(text) is not None:
        return
    if _CRS_WKT.match(text) is None:
        raise ValueError
    _balanced(text, "[(", "])", '"')


def _operation(text: str) -> None:
    # PROJ knows its grids by name; other files are none of a client's.
    if text and (not text.startswith("+proj=") or "/" in text or "+init" in text):
        raise ValueError


# Places

_SRID = re.compile(r"SRID=(\d+)\s*;\s*(.+)", re.I | re.S)
_WKT_TYPES = frozenset(
    (
        "point",
        "linestring",
        "polygon",
        "multipoint",
        "multilinestring",
        "multipolygon",
        "geometrycollection",
        "circularstring",
        "compoundcurve",
        "curvepolygon",
        "multicurve",
        "multisurface",
        "triangle",
        "polyhedralsurface",
        "tin",
    )
)
#: Not a set: what stands in their place may be no text, and have no hash.
_JSON_TYPES = (
    "Point",
    "LineString",
    "Polygon",
    "MultiPoint",
    "MultiLineString",
    "MultiPolygon",
    "GeometryCollection",
)


#: How deep WKT may be.  QGIS takes memory for each level as for all that is in it,
#: so that some kilobytes of brackets would need gigabytes.
_DEEPEST = 32


@attrs.frozen
class PlaceText:
    """
    The parts of a geometry's text that is no JSON and no XML.

    @ivar wkt: empty if it is a C{pair}.
    @ivar pair: x and y.
    @ivar crs: how the CRS is named, or None.
    """

    wkt: str
    pair: tuple[float, float] | None = None
    crs: str | None = None


def placeText(text: str) -> PlaceText:
    """
    WKT, C{SRID=4326;WKT}, C{WKT [CRS]}, C{x,y} or C{x,y [CRS]}.

    @raise ValueError: it is none of them.
    """
    text = text.strip()
    srid = _SRID.fullmatch(text)
    if srid is not None:
        return PlaceText(_wkt(srid[2]), None, f"EPSG:{srid[1]}")
    crs = None
    if text.endswith("]"):
        text, bracket, crs = text[:-1].rpartition("[")
        if not bracket or not crs or "]" in crs:
            raise ValueError("it is no WKT")
    text = text.strip()
    parts = text.removeprefix("(").removesuffix(")").replace(",", " ", 1).split()
    if len(parts) == 2 and not text[0].isalpha():
        return PlaceText("", (_number(parts[0]), _number(parts[1])), crs)
    return PlaceText(_wkt(text), None, crs)


def _wkt(text: str) -> str:
    if _wktType(text) not in _WKT_TYPES:
        raise ValueError("it is no WKT")
    _balanced(text, "(", ")", "", _DEEPEST)
    return text


def _wktType(text: str) -> str:
    """The type that WKT begins with, in lower case; empty if it is none."""
    head, bracket, _ = text.partition("(")
    words = head.lower().split()
    if not bracket and words[-1:] == ["empty"]:
        del words[-1]
    elif not bracket or not text.rstrip().endswith(")"):
        return ""
    if not words or words[1:] not in ([], ["z"], ["m"], ["zm"]):
        return ""
    for suffix in ("25d", "zm", "z", "m"):
        if words[0].removesuffix(suffix) in _WKT_TYPES:
            return words[0].removesuffix(suffix)
    return ""


def xmlRoot(text: str) -> ElementTree.Element:
    """
    The root of XML that has no document type, and thus no entities.

    @raise ValueError: it is none.
    """
    if "<!" in text.replace("<!--", ""):
        raise ValueError("it has a document type")
    try:
        return ElementTree.fromstring(text)
    except ElementTree.ParseError as error:
        raise ValueError(f"it is not XML: {error}") from None


def _geometry(text: str) -> str:
    """The type of a geometry in lower case; empty if it can't be told."""
    if text.startswith("{"):
        return _fromJson(jsonschema.parse(text))
    if text.startswith("<"):
        xmlRoot(text)
        return ""
    found = placeText(text)
    if found.crs is not None:
        _crs(found.crs)
    return "point" if found.pair is not None else _wktType(found.wkt)


def jsonGeometry(value: Any) -> Mapping[str, Any]:
    """
    The geometry that GeoJSON is, or that its one feature has (RFC 7946, section
    3).

    @raise ValueError: it is none.
    """
    if isinstance(value, dict) and value.get("type") == "FeatureCollection":
        found = value.get("features")
        if not isinstance(found, list) or len(found) != 1:
            raise ValueError("it is not one feature")
        value = found[0]
    if isinstance(value, dict) and value.get("type") == "Feature":
        value = value.get("geometry")
    # GDAL takes these names in any case, and many other things for JSON.
    if not isinstance(value, dict) or value.get("type") not in _JSON_TYPES:
        raise ValueError("it is no geometry")
    return value


def _fromJson(value: Mapping[str, Any]) -> str:
    match value.get("crs"):
        case {"properties": {"name": str(name)}}:
            _crs(name)
    return str(jsonGeometry(value)["type"]).lower()


def _point(text: str) -> None:
    type_ = _geometry(text)
    if type_ not in ("", "point"):
        raise ValueError(f"it is a {type_}")


# Others

_STEP = re.compile(r"\[?\s*(\d+)\s*,\s*(\d+)\s*\]?", re.ASCII)
_HEXADECIMAL = re.compile(r"#[0-9A-Fa-f]+")
_COLOR = re.compile(r"[\w\s#%.,()+/-]{1,100}", re.ASCII)


def numbers(text: str, integers: bool = False) -> tuple[float, float]:
    """
    A range as C{min,max}.

    @raise ValueError: it is none.
    """
    parts = text.strip().removeprefix("[").removesuffix("]").split(",")
    if len(parts) != 2:
        raise ValueError
    low, high = map(_number, parts)
    if integers and not (low.is_integer() and high.is_integer()):
        raise ValueError
    return low, high


def _number(text: str) -> float:
    # float() knows more than numbers on the wire: "1_000".
    if "_" in text:
        raise ValueError(f"{text!r} is no number")
    try:
        number = float(text)
    except ValueError:
        raise ValueError(f"{text.strip()!r} is no number") from None
    if not math.isfinite(number):
        raise ValueError(f"{text.strip()!r} is not finite")
    return number


def _color(text: str) -> None:
    # Names are for QGIS to know.
    if _COLOR.fullmatch(text) is None or (
        text.startswith("#")
        and (_HEXADECIMAL.fullmatch(text) is None or len(text) not in (4, 7, 9))
    ):
        raise ValueError


def meshStep(text: str) -> tuple[int, int] | None:
    """A group's number and that of a dataset in it; None if it is no such pair."""
    found = _STEP.fullmatch(text)
    return (int(found[1]), int(found[2])) if found is not None else None


def _meshTime(text: str) -> None:
    if text in ("static", "current-context-time") or meshStep(text) is not None:
        return
    if text.startswith("{"):
        jsonschema.parse(text)
        return
    try:
        datetime.datetime.fromisoformat(text)
    except ValueError:
        raise ValueError from None


#: Strings and quoted names, which may hold anything, and comments.
_QUOTED = re.compile(
    r"""'(?:''|\\.|[^'\\])*(?P<end>'?)|"(?:""|[^"])*(?P<ends>"?)|--[^\n]*""", re.S
)


def _expression(text: str) -> None:
    # An empty one is for QGIS to judge: it may be optional.  So are comments of
    # several lines, in which it takes quotes for those of strings.
    if "/*" not in text:
        _balanced(_QUOTED.sub(_unquoted, text), "([", ")]", "")


def _unquoted(found: re.Match[str]) -> str:
    quote = found[0][0]
    if quote in "'\"" and not (found["end"] or found["ends"]):
        raise ValueError(f"a {quote!r} is missing")
    return " "


def _balanced(
    text: str, opening: str, closing: str, quotes: str, deepest: int | None = None
) -> None:
    """
    See whether each bracket has its counterpart.

    @param quotes: what brackets mean nothing between.
    @param deepest: how many may be open at once; None for any number.
    @raise ValueError: one has none, or they are too deep.
    """
    opened: list[str] = []
    quote = ""
    for character in text:
        if quote:
            quote = "" if character == quote else quote
        elif character in quotes:
            quote = character
        elif character in opening:
            opened.append(closing[opening.index(character)])
            if deepest is not None and len(opened) > deepest:
                raise ValueError("it is nested too deeply")
        elif character in closing and (not opened or opened.pop() != character):
            raise ValueError(f"it has a {character!r} too many")
    if quote or opened:
        raise ValueError(f"a {quote or opened[-1]!r} is missing")


#: What was expected, and what looks at a text without blanks around it.
FORMS: Mapping[str, tuple[str, Callable[[str], object]]] = {
    "crs": (
        "a CRS such as EPSG:4326, as code, URN, WKT or PROJ",
        _crs,
    ),
    "operation": (
        "an operation as PROJ writes it, such as +proj=pipeline +step …",
        _operation,
    ),
    "point": (
        "a point as x,y or x,y [EPSG:4326], or as GeoJSON, GML, WKT or SRID=…;WKT",
        _point,
    ),
    "geometry": ("a geometry as GeoJSON, GML, WKT or SRID=…;WKT", _geometry),
    "range": ("two numbers as min,max", numbers),
    "integerrange": (
        "two integers as min,max",
        lambda text: numbers(text, integers=True),
    ),
    "color": (
        "a colour as CSS writes it, such as #ff8000 or rgba(255, 128, 0, 0.5)",
        _color,
    ),
    "meshtime": (
        "static, current-context-time, a date and time such as"
        " 2024-05-31T12:00:00Z, or a dataset as group,dataset",
        _meshTime,
    ),
    "expression": ("an expression", _expression),
}
