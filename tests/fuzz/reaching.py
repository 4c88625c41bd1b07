"""
URLs of references, and the guard.

What is forbidden is judged by another oracle than the guard's own: which
addresses the system makes of a host that is one, and what Python's
C{ipaddress} says of these.
"""

from __future__ import annotations

import re
import socket
from contextlib import suppress
from ipaddress import IPv4Address, IPv6Address, ip_address
from urllib.parse import urljoin, urlsplit

from twisted.web.client import URI

from qgswps.references import client, urls
from qgswps.references.guard import Guard, IPAddress, Refused, literal, special
from qgswps.references.urls import Location

_GUARD = Guard()

#: Where a redirect comes from.
_BASE = "http://example.org:8080/folder/page?a=b"


def reference(data: bytes) -> None:
    """The URL that a client refers to, or that a server leads on to."""
    if len(data) in (4, 16):
        _address(ip_address(data))
    text = data.decode("utf-8", "surrogateescape")
    if not text.isascii() and any("\ud800" <= each <= "\udfff" for each in text):
        # No reader of requests lets these through.
        text = data.decode("utf-8", "replace")
    _url(text)
    with suppress(ValueError):
        _url(urljoin(_BASE, text))
    with suppress(ValueError):
        _url(urljoin("https://u:p@[2a00::1]/", text))
    _host(text.lower())


def _url(text: str) -> None:
    try:
        scheme = urls.scheme(text)
    except ValueError as error:
        assert str(error)
        return
    try:
        if scheme == "data":
            urls.data(text)
        elif scheme == "file":
            path = urls.path(text)
            assert path.startswith("/")
            assert not re.search(r"[\0\r\n]", path)
        else:
            _location(text, urls.parse(text))
    except ValueError as error:
        assert str(error)


def _location(href: str, found: Location) -> None:
    text = str(found)
    # It goes into a request's first line and its Host.
    assert re.fullmatch(r"https?://[!-~]+", text), text
    assert "@" not in found.authority
    again = urls.parse(text)
    assert again.origin == found.origin, (again, found)
    assert again.target == found.target, (again, found)
    # Who sends the request means the same place.
    sent = URI.fromBytes(text.encode("ascii"))
    assert (sent.host.decode().strip("[]"), sent.port) == (found.host, found.port)
    # Those who know all of the URL, with what stands before an @, do so too.
    parts = urlsplit(href.strip())
    if href.isascii() and parts.hostname is not None and ":" not in found.host:
        assert parts.hostname.rstrip(".") == found.host, (parts.hostname, found.host)
    fetch = client.Fetch(found)
    for name, values in client._headers(fetch).getAllRawHeaders():
        assert not re.search(rb"[\r\n\0]", name + b"".join(values))
    _host(found.host)


def _host(host: str) -> None:
    """Whatever the system would connect to for a host that is an address."""
    reached = [each for each in (literal(host),) if each is not None]
    if not reached and re.fullmatch(r"[0-9a-z.:_-]+", host):
        with suppress(OSError, UnicodeError):
            found = socket.getaddrinfo(
                host, 80, type=socket.SOCK_STREAM, flags=socket.AI_NUMERICHOST
            )
            reached = [ip_address(str(each[4][0]).partition("%")[0]) for each in found]
    try:
        _GUARD.checkHost(host)
    except Refused as error:
        assert host in str(error)
        return
    for address in reached:
        assert not (forbidden(address) and _GUARD.allows(host, address)), address
    assert host != "localhost"


def _address(address: IPAddress) -> None:
    if forbidden(address):
        assert special(address), address
        assert not _GUARD.allows("example.org", address)
    # The same network card in the other family's words.
    if isinstance(address, IPv4Address):
        mapped = IPv6Address(b"\0" * 10 + b"\xff\xff" + address.packed)
        assert special(mapped) == special(address)
        translated = IPv6Address(b"\0\x64\xff\x9b" + b"\0" * 8 + address.packed)
        assert special(translated) == special(address)


def forbidden(address: IPAddress) -> bool:
    """Whether an address is none of the public Internet, as C{ipaddress} sees it."""
    if isinstance(address, IPv6Address):
        inner = [address.ipv4_mapped, address.sixtofour, *(address.teredo or ())]
        if address.packed.startswith(b"\0\x64\xff\x9b" + b"\0" * 8):
            inner.append(IPv4Address(address.packed[-4:]))
        if any(forbidden(each) for each in inner if each is not None):
            return True
        if address.ipv4_mapped is not None or inner[-1:] != [None]:
            return False
    return (
        address.is_private
        or address.is_loopback
        or address.is_link_local
        or address.is_multicast
        or address.is_reserved
        or address.is_unspecified
        or not address.is_global
    )
