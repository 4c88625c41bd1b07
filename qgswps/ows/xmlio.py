"""
XML in and out: a parser that is safe with strangers, and a small writer.

The writer makes text.  What a description or a client says is escaped, and
characters that XML 1.0 can't hold are replaced, so that no value whatever
breaks a document.
"""

from __future__ import annotations

import codecs
import re
from collections.abc import Callable, Iterator, Mapping
from urllib.parse import quote

from lxml import etree

from qgswps.errors import OWSError, failure
from qgswps.ows.limits import DEFAULT, RequestLimits, tooMany

WPS = "http://www.opengis.net/wps/1.0.0"
OWS = "http://www.opengis.net/ows/1.1"
XLINK = "http://www.w3.org/1999/xlink"
_XML = "http://www.w3.org/XML/1998/namespace"
_XSI = "http://www.w3.org/2001/XMLSchema-instance"

#: The prefixes that the writer's names use.
PREFIXES: Mapping[str, str] = {"wps": WPS, "ows": OWS, "xlink": XLINK}

# Reading

# A sniffed encoding is handed to Python's codecs; those which are no
# character sets, or take more than linear time, are kept out.
_CHARSETS = re.compile(
    r"(ascii|utf-(8|16|32)|iso8859|iso2022|cp\d|koi8|gb|big5|euc_|shift_jis|mac-)"
)
_DECLARATION = re.compile(
    rb"""\s*<\?xml\s[^>]*?encoding\s*=\s*["']([A-Za-z][A-Za-z0-9._-]*)["']"""
)
# An element with many attributes: the parser compares each with all others.
_ATTRIBUTES = 1000
_MANY_ATTRIBUTES = re.compile(
    rb"""<[^\s<>/=!?]++(?>\s++[^\s<>=]++\s*+=\s*+(?>"[^"<]*+"|'[^'<]*+')){%d}"""
    % (_ATTRIBUTES + 1)
)
# What may stand before a document type declaration or the root element.
_PROLOG = re.compile(rb"(?:\s+|<\?.*?\?>|<!--.*?-->)*", re.DOTALL)
_MARKS = (
    (codecs.BOM_UTF8, "utf-8"),
    (codecs.BOM_UTF32_LE, "utf-32-le"),
    (codecs.BOM_UTF32_BE, "utf-32-be"),
    (codecs.BOM_UTF16_LE, "utf-16-le"),
    (codecs.BOM_UTF16_BE, "utf-16-be"),
)


def _malformed(text: str) -> OWSError:
    return failure(f"the XML can't be read: {text}", 400)


def _utf8(body: bytes) -> bytes:
    """The document in UTF-8, whatever its declaration goes on saying."""
    for mark, name in _MARKS:
        if body.startswith(mark):
            body = body[len(mark) :]
            if name == "utf-8":
                return body
            break
    else:
        if body.startswith(b"<\0"):
            name = "utf-16-le"
        elif body.startswith(b"\0<"):
            name = "utf-16-be"
        else:
            declared = _DECLARATION.match(body)
            if declared is None:
                return body
            name = declared.group(1).decode("ascii")
            if name.lower().startswith(("utf-16", "utf-32", "ucs-")):
                # It was read byte by byte, so this is not what it says.
                return body
    try:
        charset = codecs.lookup(name).name
    except LookupError:
        charset = ""
    if charset == "utf-8":
        return body
    if not _CHARSETS.match(charset):
        raise _malformed(f"the encoding {name} is not known")
    try:
        return body.decode(charset).encode()
    except UnicodeError as error:
        raise _malformed(f"it is not in the encoding {name}") from error


def parse(body: bytes, limits: RequestLimits = DEFAULT) -> etree._Element:
    """
    Read a document that a stranger sent.

    A document type declaration is refused before the parser sees it: with
    it go entities, external files and their attacks.  The size of a text is
    not limited here, that is the part of who received it.

    @return: the root element, without comments and processing instructions.
    @raise OWSError: it is no well-formed XML, has a DTD, or goes beyond the
        limits.
    """
    data = _utf8(body)
    # Before there is a tree: of 100 MB of <a/> it would have gigabytes.
    values = data.count(b"=")
    if data.count(b"<") + values > limits.markup:
        raise tooMany("tags and attributes", limits.markup)
    if values > _ATTRIBUTES and _MANY_ATTRIBUTES.search(data):
        raise tooMany("attributes of one element", _ATTRIBUTES)
    root = _parse(data, remove=True)
    if root.xpath(f"boolean({'/*' * (limits.depth + 1)})"):
        raise failure(f"the XML is more than {limits.depth} elements deep", 413)
    return root


def _parse(data: bytes, remove: bool) -> etree._Element:
    data = data.lstrip()
    if not data:
        raise _malformed("it is empty")
    prolog = _PROLOG.match(data)
    if data.startswith(b"<!", prolog.end() if prolog else 0):
        raise _malformed("a document type declaration is not accepted")
    # The encoding is forced, so that the parser reads what was looked at.
    parser = etree.XMLParser(
        encoding="utf-8",
        resolve_entities=False,
        load_dtd=False,
        no_network=True,
        remove_comments=remove,
        remove_pis=remove,
        huge_tree=True,
    )
    try:
        root = etree.fromstring(data, parser)
    except etree.XMLSyntaxError as error:
        raise _malformed(clean(str(error))) from error
    if root is None:
        raise _malformed("it has no root element")
    return root


def localName(element: etree._Element) -> str:
    """The name of an element without its namespace."""
    return str(etree.QName(element).localname)


def children(element: etree._Element, *names: str) -> Iterator[etree._Element]:
    """The child elements of those local names, of any namespace."""
    return (child for child in element if localName(child) in names)


def child(element: etree._Element, *names: str) -> etree._Element | None:
    """The first child element of one of those local names, or None."""
    return next(children(element, *names), None)


def textOf(element: etree._Element | None) -> str:
    """All text in an element, without blanks around it; C{""} for None."""
    if element is None:
        return ""
    return "".join(str(text) for text in element.itertext()).strip()


def attribute(element: etree._Element, name: str) -> str | None:
    """
    An attribute by its local name in any letter case and any namespace: it
    is met as C{crs} and C{ows:crs}, C{mimeType} and C{mimetype}.
    """
    for key, value in element.attrib.items():
        if etree.QName(key).localname.lower() == name.lower():
            return str(value)
    return None


def content(element: etree._Element) -> str:
    """
    The content of an element that carries data: the elements in it as a
    document of their own, or its text as it is.
    """
    inner = list(element)
    if inner:
        # The namespaces in scope are declared anew by the serialiser.
        return "".join(
            etree.tostring(item, encoding="unicode", with_tail=False) for item in inner
        )
    text = element.text or ""
    # Blanks before an XML declaration make a document unreadable.
    return text.strip() if text.lstrip().startswith("<") else text


# Writing


class Markup(str):
    """Text that is XML already."""

    __slots__ = ()


_FORBIDDEN = re.compile("[^\t\n\r\x20-\ud7ff\ue000-\ufffd\U00010000-\U0010ffff]")
_UNSAFE_TEXT = re.compile("[&<>\r]")
_UNSAFE_VALUE = re.compile('[&<>"\r\n\t]')
_ESCAPES = {
    "&": "&amp;",
    "<": "&lt;",
    ">": "&gt;",
    '"': "&quot;",
    "\r": "&#13;",
    "\n": "&#10;",
    "\t": "&#9;",
}


def clean(text: str) -> str:
    """The text with what XML 1.0 can't hold replaced by U+FFFD."""
    return _FORBIDDEN.sub("\ufffd", text)


def _escape(found: re.Match[str]) -> str:
    return _ESCAPES[found.group()]


def escape(text: str) -> Markup:
    """The text as the content of an element."""
    return Markup(_UNSAFE_TEXT.sub(_escape, clean(text)))


def element(
    name: str,
    *contents: str | None,
    attributes: Mapping[str, str | None] | None = None,
) -> Markup:
    """
    An element as text.

    @param name: with its prefix.
    @param contents: L{Markup} goes in as it is, other text escaped, None
        not at all.
    @param attributes: values of None leave the attribute out.
    """
    head = name
    if attributes:
        for key, value in attributes.items():
            if value is not None:
                safe = _UNSAFE_VALUE.sub(_escape, clean(value))
                head += f' {key}="{safe}"'
    inner = "".join(
        [
            part if isinstance(part, Markup) else escape(part)
            for part in contents
            if part
        ]
    )
    return Markup(f"<{head}>{inner}</{name}>" if inner else f"<{head}/>")


def optional(name: str, text: str | None) -> Markup | None:
    """An element with that text, or None if there is no text."""
    return element(name, text) if text else None


def document(
    name: str, *contents: str | None, attributes: Mapping[str, str | None]
) -> bytes:
    """A whole document; the prefixes are declared at its root."""
    declared: dict[str, str | None] = {
        f"xmlns:{prefix}": uri for prefix, uri in PREFIXES.items()
    }
    root = element(name, *contents, attributes={**declared, **attributes})
    return f'<?xml version="1.0" encoding="UTF-8"?>\n{root}\n'.encode()


_CHARACTER = r"(?:[A-Za-z0-9._~!$&'()*+,;=-]|%[0-9A-Fa-f]{2})"
# RFC 3986, appendix A: an absolute or a relative reference.
_URI = re.compile(
    rf"""(?:[A-Za-z][A-Za-z0-9+.-]*:(?!//)(?:{_CHARACTER}|[:@/])*
      | (?:[A-Za-z][A-Za-z0-9+.-]*:)?
        //(?:(?:{_CHARACTER}|:)*@)?
        (?:\[[0-9A-Fa-f:.]+\]|{_CHARACTER}*)(?::[0-9]{{1,5}})?
        (?:/(?:{_CHARACTER}|[:@/])*)?
      | (?!//)(?:{_CHARACTER}|@)*(?:/(?:{_CHARACTER}|[:@/])*)?
    )
    (?:\?(?:{_CHARACTER}|[:@/?])*)?
    (?:\#(?:{_CHARACTER}|[:@/?])*)?""",
    re.VERBOSE,
)
_RESERVED = "!$&'()*+,;=:@/?#%"


def anyURI(text: str) -> str:
    """
    A URI reference as it is, or what comes nearest to it: characters that
    have no place in a URI are percent-quoted.
    """
    text = text.strip()
    if _URI.fullmatch(text):
        return text
    text = re.sub(r"%(?![0-9A-Fa-f]{2})", "%25", text)
    # Brackets are right around an IPv6 address and nowhere else.
    for safe in (_RESERVED + "[]", _RESERVED):
        quoted = _quote(text, safe)
        if _URI.fullmatch(quoted):
            return quoted
    return relativeURI(text)


def relativeURI(text: str) -> str:
    """
    Any text as a relative URI reference; L{urllib.parse.unquote} gives the
    text again.
    """
    quoted = _quote(text, "!$&'()*+,;=@/")
    return "%2F" + quoted[1:] if quoted.startswith("//") else quoted


def _quote(text: str, safe: str) -> str:
    return quote(clean(text), safe=safe)


def _isURI(text: str) -> bool:
    return _URI.fullmatch(text) is not None


#: Attributes that may stand in embedded data, each with its test.
_KNOWN_VALUES: Mapping[tuple[str, str], Callable[[str], bool]] = {
    (XLINK, "href"): _isURI,
    (XLINK, "role"): _isURI,
    (XLINK, "arcrole"): _isURI,
    (XLINK, "title"): lambda text: True,
    (XLINK, "type"): lambda text: text == "simple",
    (_XML, "lang"): lambda text: bool(
        re.fullmatch("[a-zA-Z]{1,8}(-[a-zA-Z0-9]{1,8})*", text)
    ),
    (_XML, "space"): lambda text: text in ("default", "preserve"),
}


def fragment(data: bytes | str) -> Markup | None:
    """
    Data as an element to put into another, or None if that can't be: it is
    no well-formed XML, or it would make the whole invalid.
    """
    try:
        root = _parse(
            data.encode("utf-8", "replace") if isinstance(data, str) else _utf8(data),
            remove=False,
        )
    except OWSError:
        return None
    if not _harmless(root):
        return None
    return Markup(etree.tostring(root, encoding="unicode", with_tail=False))


def _harmless(root: etree._Element) -> bool:
    """
    Whether foreign data passes the lax assessment (XML Schema part 1,
    section 3.10.1) that the WPS schemas put it to: what they know, as names
    of their own and the attributes of XLink and XML, is then checked.
    """
    if next(root.iter(f"{{{WPS}}}*", f"{{{OWS}}}*"), None) is not None:
        return False
    known = root.xpath(
        "//@xlink:*|//@xml:*|//@xsi:type",
        namespaces={"xlink": XLINK, "xml": _XML, "xsi": _XSI},
    )
    for value in known:
        name = etree.QName(value.attrname)
        test = _KNOWN_VALUES.get((name.namespace or "", name.localname))
        if test is None or not test(value):
            return False
    return True
