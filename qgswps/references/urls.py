"""
The URLs of references, taken apart: C{http}, C{https}, C{data} and C{file}.

What parsers read in different ways is refused: who checks a URL and who
follows it have to mean the same host.
"""

from __future__ import annotations

import base64
import binascii
import ipaddress
import re
from urllib.parse import quote, unquote, unquote_to_bytes, urlsplit

import attrs
import idna

SCHEMES = ("http", "https", "data", "file")

_PORTS = {"http": 80, "https": 443}
_AUTHORITY = re.compile(r"(?P<host>\[[^\[\]]*\]|[^:\[\]]*)(:(?P<port>[0-9]{0,5}))?")
_NAME = re.compile(r"[a-z0-9_-]{1,63}(\.[a-z0-9_-]{1,63})*", re.ASCII)
#: All of ASCII that may stand in a path or a query as it is.
_SAFE = "%/?:@!$&'()*+,;=-._~[]"


@attrs.frozen
class Location:
    """
    Where an C{http} or C{https} URL leads.

    @ivar host: a name in ASCII and lower case, or an address without brackets.
    @ivar target: path and query, in ASCII.
    @ivar credentials: C{user:password}, or None.
    """

    scheme: str
    host: str
    port: int
    target: str
    credentials: str | None = attrs.field(default=None, repr=False)

    @property
    def origin(self) -> tuple[str, str, int]:
        """What else is at the same place."""
        return (self.scheme, self.host, self.port)

    @property
    def authority(self) -> str:
        """Host and port as a URL has them."""
        host = f"[{self.host}]" if ":" in self.host else self.host
        return host if self.port == _PORTS[self.scheme] else f"{host}:{self.port}"

    def __str__(self) -> str:
        return f"{self.scheme}://{self.authority}{self.target}"


def scheme(href: str) -> str:
    """
    The scheme of a URL, in lower case.

    @raise ValueError: it has none of the L{SCHEMES}.
    """
    found = re.match(r"[A-Za-z][A-Za-z0-9+.-]*:", href)
    name = found[0][:-1].lower() if found else ""
    if name not in SCHEMES:
        what = f"the scheme {name[:20]!r}" if found else "no scheme"
        raise ValueError(f"its URL has {what}, expected {', '.join(SCHEMES)}")
    return name


def parse(href: str) -> Location:
    """
    Take an C{http} or C{https} URL apart.

    @raise ValueError: it is none, or one that can be read in several ways.
    """
    if not all(each.isprintable() for each in href):
        raise ValueError("its URL has a control character")
    try:
        parts = urlsplit(href.strip())
    except ValueError as error:
        raise ValueError(f"its URL is malformed: {error}") from None
    if parts.scheme not in _PORTS:
        raise ValueError("its URL is not of http or https")
    userinfo, at, authority = parts.netloc.rpartition("@")
    if "@" in userinfo or re.search(r"[\\\s]", parts.netloc):
        raise ValueError("its URL has a host that can be read in several ways")
    found = _AUTHORITY.fullmatch(authority)
    if found is None or not found["host"]:
        raise ValueError("its URL has no host, or a malformed one")
    port = int(found["port"] or _PORTS[parts.scheme])
    if not 0 < port < 65536:
        raise ValueError(f"its URL has the port {port}")
    target = quote(parts.path or "/", safe=_SAFE)
    if parts.query:
        target += "?" + quote(parts.query, safe=_SAFE)
    return Location(
        parts.scheme,
        _host(found["host"]),
        port,
        target,
        unquote(userinfo) if at else None,
    )


def _host(text: str) -> str:
    if text.startswith("["):
        try:
            address = ipaddress.IPv6Address(text[1:-1])
        except ValueError:
            raise ValueError("its URL has a malformed address") from None
        if address.scope_id is not None:
            raise ValueError("its URL has an address with a zone")
        return str(address)
    try:
        # Names in other scripts, and digits of these.
        name = text if text.isascii() else idna.encode(text, uts46=True).decode()
    except (idna.IDNAError, UnicodeError):
        name = ""
    name = name.lower().removesuffix(".")
    if len(name) > 253 or not _NAME.fullmatch(name):
        raise ValueError("its URL has a malformed host")
    return name


def data(href: str) -> tuple[str, bytes]:
    """
    Take a C{data} URL apart (RFC 2397).

    @return: the media type, empty if it says none, and the data.
    @raise ValueError: it is malformed.
    """
    head, comma, rest = href.partition(",")
    if not comma:
        raise ValueError("its data URL has no comma")
    mimeType, *parameters = head[len("data:") :].split(";")
    content = unquote_to_bytes(rest)
    if any(each.strip().lower() == "base64" for each in parameters):
        content = b"".join(content.split())
        try:
            # Padding is often left out.
            content = base64.b64decode(content + b"=" * (-len(content) % 4), None, True)
        except (binascii.Error, ValueError):
            raise ValueError("its data URL is not valid base64") from None
    return unquote(mimeType).strip(), content


def path(href: str) -> str:
    """
    The path that a C{file} URL names (RFC 8089).

    @raise ValueError: it is malformed, or of another machine.
    """
    try:
        parts = urlsplit(href)
    except ValueError:
        raise ValueError("its file URL is malformed") from None
    found = unquote(parts.path, errors="surrogateescape")
    if parts.netloc.lower() not in ("", "localhost") or not found.startswith("/"):
        raise ValueError("its file URL is not like file:///folder/name")
    if parts.query or parts.fragment:
        raise ValueError("its file URL has a query or a fragment")
    # Of the text itself too: urlsplit() drops line breaks.
    if re.search(r"[\x00-\x1f\x7f]", href + found):
        raise ValueError("its file URL has a control character")
    return found
