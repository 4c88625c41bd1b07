"""
Requests as key-value pairs (OWS Common 1.1.0, section 11.5; WPS 1.0.0,
sections 8.2.1, 9.2.1 and 10.2.2).

A value is kept as it was sent, since its inner separators can be told from
escaped ones only there.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Iterator, Mapping
from urllib.parse import unquote, unquote_to_bytes

import attrs

from qgswps.errors import invalid


def _text(raw: bytes) -> str:
    """What a piece of a query string says."""
    return unquote_to_bytes(raw.replace(b"+", b" ")).decode("utf-8", "replace")


@attrs.frozen
class Parameters:
    """
    The parameters of a query, by their names in any letter case.

    @ivar raw: the values as sent, by the names in lower case.  Of a
        parameter given twice the first counts.
    """

    raw: Mapping[str, bytes] = attrs.field(factory=dict)

    def get(self, name: str) -> str | None:
        """The value, without blanks around it; None if absent or empty."""
        raw = self.raw.get(name.lower())
        return (_text(raw).strip() or None) if raw is not None else None

    def has(self, name: str) -> bool:
        """Whether there is such a parameter, with any value."""
        return name.lower() in self.raw

    def __iter__(self) -> Iterator[str]:
        """The names in lower case."""
        return iter(self.raw)

    def parts(self, name: str) -> tuple[str, ...]:
        """The parts of a comma-separated value that are not empty."""
        found = (part.strip() for part in (self.get(name) or "").split(","))
        return tuple(part for part in found if part)


def parseQuery(query: bytes) -> Parameters:
    """
    Read the query string of a URL, without the question mark.

    A semicolon separates nothing here: it stands in C{DataInputs}.
    """
    found: dict[str, bytes] = {}
    for pair in query.split(b"&"):
        name, _, value = pair.partition(b"=")
        key = _text(name).strip().lower()
        if key:
            found.setdefault(key, value)
    return Parameters(found)


# The inner language of DataInputs, ResponseDocument and RawDataOutput


@attrs.frozen
class Item:
    """
    One C{identifier=value@attribute=value…}.

    @ivar value: None where there was no C{=}.
    @ivar attributes: by their names in lower case, C{xlink:} left out.
    """

    identifier: str
    value: str | None = None
    attributes: Mapping[str, str] = attrs.field(factory=dict)


_ATTRIBUTE = re.compile(
    r"@(?:xlink(?::|%3A))?"
    r"(datatype|uom|mimetype|encoding|schema|href|method|asreference)=",
    re.IGNORECASE,
)
_SEPARATOR = re.compile("%3B", re.IGNORECASE)
_TYPE_PARAMETER = re.compile(r"\s*(?:charset|subtype|version|profile)=", re.IGNORECASE)
# A value in which everything is escaped that usual escapers escape.
_ESCAPED = re.compile(r"(?:[A-Za-z0-9._~!'()*+/-]|%[0-9A-Fa-f]{2})*")


def parseInputs(raw: bytes) -> tuple[Item, ...]:
    """
    Read the value of C{DataInputs} as sent (WPS 1.0.0, section 10.2.2.2).

    @raise OWSError: there is a piece that names no input.
    """
    items = _items(raw, inputs=True)
    wrong = [item for item in items if item.value is None and not item.attributes]
    if wrong:
        names = ", ".join(repr(item.identifier) for item in wrong)
        raise invalid("DataInputs", f"DataInputs has {names}, which has no '='")
    return items


def parseOutputs(raw: bytes, locator: str) -> tuple[Item, ...]:
    """
    Read the value of C{ResponseDocument} or C{RawDataOutput} as sent.

    @raise OWSError: there is a piece that is more than an output.
    """
    items = _items(raw, inputs=False)
    for item in items:
        if item.value:
            raise invalid(
                locator, f"{locator} gives a value to {item.identifier!r}, an output"
            )
    return items


def _items(raw: bytes, inputs: bool) -> tuple[Item, ...]:
    whole = raw.decode("utf-8", "replace").replace("+", " ")
    if _escapedOnceMore(whole, inputs):
        pieces = _join(_unbracket(unquote(whole)).split(";"), inputs)
        decode: Callable[[str], str] = _unquoteAgain
    else:
        pieces = _unbracket(whole).split(";")
        decode = unquote
    items = []
    for piece in pieces:
        if piece.strip():
            item = _item(piece, decode)
            if not item.identifier:
                raise invalid(
                    "DataInputs" if inputs else "ResponseDocument",
                    f"{piece[:80]!r} has no identifier",
                )
            items.append(item)
    return tuple(items)


def _escapedOnceMore(whole: str, inputs: bool) -> bool:
    """
    Whether the separators themselves are escaped.

    A bare semicolon says no.  Without one, C{a=1%3Bb} may still be one
    value with a semicolon in it, as the standard has it; but a second bare
    C{=}, or none, shows a client that escaped the list as a whole.
    """
    if ";" in whole:
        return False
    equals = _ATTRIBUTE.sub("", whole).count("=")
    if not inputs or equals == 0:
        return "%" in whole
    return equals > 1 and _SEPARATOR.search(whole) is not None


def _join(pieces: list[str], inputs: bool) -> list[str]:
    """
    Put pieces together again that a semicolon inside a value has parted:
    a client that escapes the list as a whole often does not escape the
    values before.
    """
    groups: list[list[str]] = []
    last = ""
    for piece in pieces:
        marks = _ATTRIBUTE.findall(piece)
        head = _ATTRIBUTE.split(piece, 1)[0]
        begins = ("=" in head or bool(marks)) if inputs else "=" not in head
        if last == "mimetype" and _TYPE_PARAMETER.match(piece):
            begins = False
        if begins or not groups:
            groups.append([])
            last = ""
        groups[-1].append(piece)
        if marks:
            last = marks[-1].lower()
    return [";".join(group).rstrip(";") for group in groups]


def _unbracket(whole: str) -> str:
    """The list without the brackets that the standard's examples print."""
    text = whole.strip()
    if text.startswith("[") and text.endswith("]"):
        return text[1:-1]
    return whole


def _item(piece: str, decode: Callable[[str], str]) -> Item:
    marks = list(_ATTRIBUTE.finditer(piece))
    head = piece[: marks[0].start()] if marks else piece
    name, equals, value = head.partition("=")
    attributes: dict[str, str] = {}
    ends = [*(mark.start() for mark in marks[1:]), len(piece)]
    for mark, end in zip(marks, ends, strict=False):
        attributes[mark.group(1).lower()] = decode(piece[mark.end() : end]).strip()
    return Item(decode(name).strip(), decode(value) if equals else None, attributes)


def _unquoteAgain(text: str) -> str:
    """
    Decode a value a second time, if it looks as if it was encoded twice.

    One that holds what an escaper would have escaped was not: C{LIKE
    '%ab%'} has to stay.
    """
    if _ESCAPED.fullmatch(text) is None:
        return text
    try:
        return unquote(text, errors="strict")
    except UnicodeDecodeError:
        return text
