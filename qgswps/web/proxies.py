"""
What proxies say of a request, and which of it is believed.

Anybody can send such headers. They count if the one who sends them is a proxy
that we trust; of the lists that several proxies make, that part counts which
trusted ones have written.
"""

from __future__ import annotations

import ipaddress
import re
import secrets
from collections.abc import Iterable, Sequence
from typing import TypeVar

import attrs
from twisted.internet.address import UNIXAddress
from twisted.web.http import Request

from qgswps.kinds import LOOPBACK

T = TypeVar("T")

_Network = ipaddress.IPv4Network | ipaddress.IPv6Network
_Address = ipaddress.IPv4Address | ipaddress.IPv6Address

#: What a proxy may call a request.
_ID = re.compile(r"[A-Za-z0-9._:+/=@-]{1,64}")

_SCHEME = re.compile("https?", re.IGNORECASE)

#: A host, with a port or without.
HOST = re.compile(r"(?:[A-Za-z0-9._-]+|\[[0-9A-Fa-f:.]+\])(?::[0-9]{1,5})?")

_URL = re.compile(
    rf"(https?)://({HOST.pattern})(/[^\s\"<>?#]*)?(?:[?#].*)?", re.IGNORECASE
)

#: A client that has no address of its own: it came by a UNIX socket.
LOCAL = "unix"


@attrs.frozen
class Forwarded:
    """
    What trusted proxies say.

    @ivar client: the address of the last one who is none of them.
    @ivar scheme: that this one has used; empty if nobody says, or says
        nothing that makes sense.
    @ivar host: that this one has asked for, likewise.
    """

    client: str
    scheme: str = ""
    host: str = ""


class Proxies:
    """
    The proxies that are trusted.

    @ivar isThere: whether any is.
    """

    def __init__(
        self, isThere: bool = False, networks: Iterable[str] = LOOPBACK
    ) -> None:
        """
        @param isThere: whether any is to be trusted.
        @param networks: their addresses, or networks. Whoever comes by a UNIX
            socket is trusted, too.
        """
        self.isThere = isThere
        self._networks: list[_Network] = [
            ipaddress.ip_network(each, strict=False) for each in networks
        ]

    def believes(self, request: Request) -> bool:
        """Whether what a request says of its origin is to be believed."""
        return self.isThere and self._trusts(peer(request))

    def _trusts(self, client: str) -> bool:
        if client == LOCAL:
            return True
        address = _address(client)
        return address is not None and any(
            address.version == each.version and address in each
            for each in self._networks
        )

    def forwarded(self, request: Request) -> Forwarded:
        """Who asks, and what for, as far as trusted proxies say."""
        client = peer(request)
        if not self.believes(request):
            return Forwarded(client)
        elements = [_pairs(each) for each in _list(request, "Forwarded")]
        fors = _list(request, "X-Forwarded-For")
        hops = fors or [each.get("for", "") for each in elements]
        # Each proxy has added the address of the one that it serves.
        passed = 0
        while passed < len(hops) and self._trusts(client):
            address = _address(hops[-1 - passed])
            if address is None:
                break
            client = str(address)
            passed += 1
        passed = max(passed, 1)
        told = _nth(elements, passed) or {}
        # A proxy that does not know the standard's header lets it pass.
        schemes = (_nth(_list(request, "X-Forwarded-Proto"), passed), told.get("proto"))
        hosts = (_nth(_list(request, "X-Forwarded-Host"), passed), told.get("host"))
        return Forwarded(
            client,
            next((s.lower() for s in schemes if s and _SCHEME.fullmatch(s)), ""),
            next((each for each in hosts if each and HOST.fullmatch(each)), ""),
        )

    def isSecure(self, request: Request) -> bool:
        """Whether the client has used https, all the way to the first proxy."""
        if request.isSecure():
            return True
        if not self.believes(request):
            return False
        url = urlIn(request, "X-Forwarded-Url")
        if url is not None:
            return url.startswith("https:")
        return self.forwarded(request).scheme == "https"

    def requestId(self, request: Request) -> str:
        """The id that a trusted proxy has given to a request, or a new one."""
        given = request.getHeader("X-Request-ID") or ""
        if self.believes(request) and _ID.fullmatch(given):
            return given
        return secrets.token_hex(8)


def urlIn(request: Request, header: str) -> str | None:
    """The URL in a header, without a query; None if there is no such URL."""
    url = _URL.fullmatch(request.getHeader(header) or "")
    if url is None:
        return None
    scheme, host, path = url.groups("")
    return f"{scheme.lower()}://{host}{path}"


def peer(request: Request) -> str:
    """The address at the other end of the connection, or L{LOCAL}."""
    address = request.getClientAddress()
    if isinstance(address, UNIXAddress):
        return LOCAL
    return str(_address(getattr(address, "host", "")) or "-")


def _address(text: str) -> _Address | None:
    """
    An address as headers have it: with a port, in brackets or quotes; None if
    it is none.
    """
    text = text.strip().strip('"')
    if text.startswith("["):
        text = text[1:].partition("]")[0]
    elif text.count(":") == 1:
        text = text.partition(":")[0]
    try:
        found = ipaddress.ip_address(text.partition("%")[0])
    except ValueError:
        return None
    # So a socket for both protocols shows clients of IPv4.
    return getattr(found, "ipv4_mapped", None) or found


def _list(request: Request, header: str) -> list[str]:
    """The elements of a header that is a list."""
    values = request.requestHeaders.getRawHeaders(header) or []
    return [each.strip() for value in values for each in value.split(",")]


def _nth(values: Sequence[T], number: int) -> T | None:
    """
    The element that the first of some trusted proxies has written, if each
    has added one; if there are fewer, they have handed on the first one.
    """
    return values[-min(number, len(values))] if values else None


def _pairs(element: str) -> dict[str, str]:
    """An element of Forwarded (RFC 7239, section 4)."""
    pairs = {}
    for pair in element.split(";"):
        name, _, value = pair.partition("=")
        pairs[name.strip().lower()] = value.strip().strip('"')
    return pairs
