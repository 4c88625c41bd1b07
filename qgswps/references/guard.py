"""
Which addresses references may lead to.

A server that fetches what a client names must not reach for the client what
the client can't reach: services of the same machine or network, and those
that hand out a cloud machine's secrets.  Addresses count, not names: a name
may mean another address each time that it is looked up.

The networks are those of IANA's special-purpose address registries (RFC
6890), and others that are not of the public Internet.
"""

from __future__ import annotations

import re
import socket
from collections.abc import Iterable
from ipaddress import (
    IPv4Address,
    IPv4Network,
    IPv6Address,
    IPv6Network,
    ip_address,
    ip_network,
)

IPAddress = IPv4Address | IPv6Address
IPNetwork = IPv4Network | IPv6Network

_REFUSED: dict[IPNetwork, str] = {
    ip_network(network): what
    for network, what in {
        "0.0.0.0/8": "an unspecified address",
        "10.0.0.0/8": "a private address",
        "100.64.0.0/10": "an address behind a carrier's NAT",
        "127.0.0.0/8": "a loopback address",
        # Azure's machines get what is theirs from there.
        "168.63.129.16/32": "a metadata service",
        "169.254.0.0/16": "a link-local address",
        "172.16.0.0/12": "a private address",
        "192.0.0.0/24": "a reserved address",
        "192.0.2.0/24": "an address for documentation",
        "192.88.99.0/24": "a 6to4 relay",
        "192.168.0.0/16": "a private address",
        "198.18.0.0/15": "an address for benchmarks",
        "198.51.100.0/24": "an address for documentation",
        "203.0.113.0/24": "an address for documentation",
        "224.0.0.0/4": "a multicast address",
        "240.0.0.0/4": "a reserved address",
        "::/128": "an unspecified address",
        "::1/128": "a loopback address",
        "::/96": "an IPv4-compatible address",
        "64:ff9b:1::/48": "a translated address",
        "100::/64": "a discard address",
        "2001::/32": "a Teredo address",
        "2001::/23": "a reserved address",
        "2001:db8::/32": "an address for documentation",
        "2002::/16": "a 6to4 address",
        "3fff::/20": "an address for documentation",
        "fc00::/7": "a private address",
        "fe80::/10": "a link-local address",
        "fec0::/10": "a private address",
        "ff00::/8": "a multicast address",
    }.items()
}

#: All addresses of IPv6 that are given to anybody.
_GLOBAL = IPv6Network("2000::/3")

#: NAT64: the last 32 bits are the address that is meant (RFC 6052).
_TRANSLATED = IPv6Network("64:ff9b::/96")

#: What C{inet_aton} may take for an address of IPv4.
_NUMBERS = re.compile(r"(0x[0-9a-f]*|[0-9]+)(\.(0x[0-9a-f]*|[0-9]+)){0,3}", re.I)


class Refused(ValueError):
    """References may not lead there."""


def meant(address: IPAddress) -> IPAddress:
    """The address of IPv4 that one of IPv6 stands for, or the address itself."""
    if isinstance(address, IPv6Address):
        if address.ipv4_mapped is not None:
            return address.ipv4_mapped
        if address in _TRANSLATED:
            return IPv4Address(int(address) & 0xFFFFFFFF)
    return address


def special(address: IPAddress) -> str | None:
    """What an address is, if it is not one of the public Internet."""
    address = meant(address)
    for network, what in _REFUSED.items():
        if address.version == network.version and address in network:
            return what
    if isinstance(address, IPv6Address) and address not in _GLOBAL:
        return "a reserved address"
    return None


def literal(host: str) -> IPAddress | None:
    """
    The address that a host is written as, in any notation that the system
    understands: C{127.1}, C{0x7f000001}, C{017700000001}; None for a name.
    """
    try:
        return ip_address(host)
    except ValueError:
        pass
    if _NUMBERS.fullmatch(host):
        try:
            return IPv4Address(socket.inet_aton(host))
        except OSError:
            pass
    return None


class Guard:
    """Says which addresses references may lead to."""

    def __init__(self, allowed: Iterable[str] = ()) -> None:
        """
        @param allowed: hosts, addresses and networks that may be reached
            whatever they are.
        """
        self._hosts = set()
        self._networks: list[IPNetwork] = []
        for each in allowed:
            try:
                self._networks.append(ip_network(each, strict=False))
            except ValueError:
                self._hosts.add(each.lower().rstrip("."))

    def allows(self, host: str, address: IPAddress) -> bool:
        """
        Whether to connect to an address.

        @param host: what the reference calls it, in lower case.
        """
        if special(address) is None or host in self._hosts:
            return True
        candidates = {address, meant(address)}
        return any(
            each.version == network.version and each in network
            for network in self._networks
            for each in candidates
        )

    def checkHost(self, host: str) -> None:
        """
        Refuse a host of which that can be told without looking it up.

        @raise Refused: it is an address that is not allowed.
        """
        if host == "localhost" or host.endswith(".localhost"):  # RFC 6761
            addresses: list[IPAddress] = [IPv4Address("127.0.0.1"), IPv6Address("::1")]
        else:
            found = literal(host)
            addresses = [] if found is None else [found]
        if addresses and not any(self.allows(host, each) for each in addresses):
            raise Refused(f"{host} is {special(addresses[0])}, which is not allowed")
