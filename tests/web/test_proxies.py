"""Tests of L{qgswps.web.proxies}."""

from __future__ import annotations

from typing import Any

from twisted.internet.address import IPv4Address, IPv6Address, UNIXAddress
from twisted.trial.unittest import SynchronousTestCase
from twisted.web.server import Request
from twisted.web.test.requesthelper import DummyChannel

from qgswps.web.proxies import LOCAL, Proxies, peer


def request(client: str = "127.0.0.1", **headers: str) -> Request:
    """A request with some headers, from an address."""
    made = Request(DummyChannel(), False)
    kind = IPv6Address if ":" in client else IPv4Address
    made.client = UNIXAddress(None) if client == LOCAL else kind("TCP", client, 1)
    for name, value in headers.items():
        made.requestHeaders.setRawHeaders(name.replace("_", "-"), value.split("|"))
    return made


class ClientTests(SynchronousTestCase):
    """Whose request it is."""

    proxies = Proxies(True, ("127.0.0.0/8", "::1", "10.0.0.0/8", "2001:db8::/64"))

    def assertClient(self, expected: str, client: str, **headers: str) -> None:
        """The address that the log has."""
        found = self.proxies.forwarded(request(client, **headers)).client
        self.assertEqual(found, expected, (client, headers))

    def test_untrusted(self) -> None:
        """Who is no proxy says nothing of others."""
        for client in ("192.0.2.1", "11.0.0.1", "2001:db8:1::1"):
            for headers in (
                {"X_Forwarded_For": "203.0.113.9"},
                {"Forwarded": "for=203.0.113.9;host=evil.example;proto=https"},
                {"X_Forwarded_Host": "evil.example", "X_Forwarded_Proto": "https"},
            ):
                self.assertClient(client, client, **headers)
                made = request(client, **headers)
                found = self.proxies.forwarded(made)
                self.assertEqual((found.scheme, found.host), ("", ""))
                self.assertFalse(self.proxies.believes(made))
                self.assertFalse(self.proxies.isSecure(made))

    def test_none(self) -> None:
        """Without a proxy nobody is one."""
        for client in ("127.0.0.1", LOCAL):
            made = request(client, X_Forwarded_For="192.0.2.1", X_Request_ID="a")
            self.assertEqual(Proxies().forwarded(made).client, client)
            self.assertNotEqual(Proxies().requestId(made), "a")

    def test_rightmost(self) -> None:
        """What counts is the last address that no trusted proxy has."""
        for given, expected in [
            ("192.0.2.1", "192.0.2.1"),
            ("203.0.113.9, 192.0.2.1", "192.0.2.1"),
            ("203.0.113.9, 192.0.2.1, 10.1.2.3", "192.0.2.1"),
            ("203.0.113.9|192.0.2.1|10.1.2.3", "192.0.2.1"),
            ("10.1.2.4, 10.1.2.3", "10.1.2.4"),
            ("192.0.2.1:1234", "192.0.2.1"),
            ("[2001:db8:1::1]:1234", "2001:db8:1::1"),
            ("2001:DB8:1:0::1", "2001:db8:1::1"),
            ("::ffff:192.0.2.1", "192.0.2.1"),
            # Nonsense is nobody: the last one that is known counts.
            ("192.0.2.1, unknown, 10.0.0.9", "10.0.0.9"),
            ("192.0.2.1, ", "127.0.0.1"),
            ("a\x1b[2J", "127.0.0.1"),
            ("", "127.0.0.1"),
        ]:
            self.assertClient(expected, "127.0.0.1", X_Forwarded_For=given)

    def test_standard(self) -> None:
        """Forwarded has the same, in its own form (RFC 7239, section 6)."""
        for given, expected in [
            ("for=192.0.2.1;proto=https", "192.0.2.1"),
            ('For="[2001:db8:1::17]:4711"', "2001:db8:1::17"),
            ("for=203.0.113.9, for=192.0.2.1, for=10.0.0.1", "192.0.2.1"),
            ("for=_hidden, for=10.0.0.1", "10.0.0.1"),
            ("for=unknown", "127.0.0.1"),
        ]:
            self.assertClient(expected, "127.0.0.1", Forwarded=given)

    def test_peers(self) -> None:
        """Addresses in each form, and sockets that have none."""
        for client, expected in [
            ("::ffff:192.0.2.1", "192.0.2.1"),
            ("fe80::1%eth0", "fe80::1"),
            (LOCAL, LOCAL),
        ]:
            self.assertEqual(peer(request(client)), expected)
        for client in (LOCAL, "::1", "2001:db8::5", "::ffff:127.0.0.1"):
            self.assertClient("192.0.2.1", client, X_Forwarded_For="192.0.2.1")

    def test_secure(self) -> None:
        """https all the way to the first proxy."""
        for headers, expected in [
            ({"X_Forwarded_Proto": "https"}, True),
            ({"X_Forwarded_Proto": "https, http"}, False),
            ({"Forwarded": "for=192.0.2.1;proto=https"}, True),
            ({"X_Forwarded_Url": "https://a/"}, True),
            ({"X_Forwarded_Url": "http://a/", "X_Forwarded_Proto": "https"}, False),
            ({}, False),
        ]:
            made = request(**headers)
            self.assertEqual(self.proxies.isSecure(made), expected, headers)

    def test_ids(self) -> None:
        """A proxy's name for a request is kept if it is a sane one."""
        for given in ("abc-123", "0b5c6d2e-1111", "A.b_c:d+e/f=@"):
            made = request(X_Request_ID=given)
            self.assertEqual(self.proxies.requestId(made), given)
        others: list[Any] = ["", "a b", "x" * 65, 'a"', "a\x1b", "ü"]
        for given in others:
            found = self.proxies.requestId(request(X_Request_ID=given))
            self.assertRegex(found, "^[0-9a-f]{16}$")
        found = self.proxies.requestId(request("192.0.2.1", X_Request_ID="abc"))
        self.assertNotEqual(found, "abc")
