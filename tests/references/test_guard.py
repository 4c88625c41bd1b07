"""Tests of L{qgswps.references.guard}: which addresses are reached."""

from __future__ import annotations

from ipaddress import IPv4Address, ip_address

from twisted.trial.unittest import SynchronousTestCase

from qgswps.references.guard import Guard, Refused, literal, special

#: Addresses, and what they are; None for those of the public Internet.
ADDRESSES = [
    ("8.8.8.8", None),
    ("1.1.1.1", None),
    ("93.184.216.34", None),
    ("172.15.255.255", None),
    ("172.32.0.0", None),
    ("100.63.255.255", None),
    ("100.128.0.0", None),
    ("126.255.255.255", None),
    ("128.0.0.0", None),
    ("223.255.255.255", None),
    ("0.0.0.0", "unspecified"),
    ("0.1.2.3", "unspecified"),
    ("10.0.0.1", "private"),
    ("10.255.255.255", "private"),
    ("172.16.0.1", "private"),
    ("172.31.255.255", "private"),
    ("192.168.0.1", "private"),
    ("100.64.0.1", "carrier"),
    ("100.100.100.200", "carrier"),
    ("127.0.0.1", "loopback"),
    ("127.255.255.254", "loopback"),
    ("169.254.169.254", "link-local"),
    ("168.63.129.16", "metadata"),
    ("192.0.0.192", "reserved"),
    ("192.0.2.1", "documentation"),
    ("192.88.99.1", "6to4"),
    ("198.18.0.1", "benchmarks"),
    ("198.19.255.255", "benchmarks"),
    ("198.51.100.1", "documentation"),
    ("203.0.113.1", "documentation"),
    ("224.0.0.1", "multicast"),
    ("239.255.255.255", "multicast"),
    ("240.0.0.1", "reserved"),
    ("255.255.255.255", "reserved"),
    ("2606:4700:4700::1111", None),
    ("2a00:1450::1", None),
    ("2001:4860:4860::8888", None),
    ("::", "unspecified"),
    ("::1", "loopback"),
    ("::127.0.0.1", "compatible"),
    ("::8.8.8.8", "compatible"),
    ("::ffff:127.0.0.1", "loopback"),
    ("::ffff:7f00:1", "loopback"),
    ("::ffff:10.0.0.1", "private"),
    ("::ffff:169.254.169.254", "link-local"),
    ("::ffff:8.8.8.8", None),
    ("64:ff9b::127.0.0.1", "loopback"),
    ("64:ff9b::a9fe:a9fe", "link-local"),
    ("64:ff9b::8.8.8.8", None),
    ("64:ff9b:1::8.8.8.8", "translated"),
    ("100::1", "discard"),
    ("2001::1", "Teredo"),
    ("2001:0:4136:e378:8000:63bf:80ff:fffe", "Teredo"),
    ("2001:20::1", "reserved"),
    ("2001:db8::1", "documentation"),
    ("2002:7f00:1::1", "6to4"),
    ("2002:808:808::1", "6to4"),
    ("3fff::1", "documentation"),
    ("4000::1", "reserved"),
    ("fc00::1", "private"),
    ("fd00:ec2::254", "private"),
    ("fe80::1", "link-local"),
    ("fec0::1", "private"),
    ("ff02::1", "multicast"),
    ("ffff::1", "multicast"),
]

#: Hosts as URLs write them, and the address that the system makes of them.
NOTATIONS = [
    ("127.0.0.1", "127.0.0.1"),
    ("127.1", "127.0.0.1"),
    ("127.0.1", "127.0.0.1"),
    ("2130706433", "127.0.0.1"),
    ("0x7f000001", "127.0.0.1"),
    ("0X7F.0x0.0x0.0x1", "127.0.0.1"),
    ("017700000001", "127.0.0.1"),
    ("0177.0.0.01", "127.0.0.1"),
    ("0x7f.1", "127.0.0.1"),
    ("127.0.0x1", "127.0.0.1"),
    ("0", "0.0.0.0"),
    ("0xa9fea9fe", "169.254.169.254"),
    ("2852039166", "169.254.169.254"),
    ("0251.0376.0251.0376", "169.254.169.254"),
    ("10.1", "10.0.0.1"),
    ("::1", "::1"),
    ("0:0:0:0:0:0:0:1", "::1"),
    ("::ffff:127.0.0.1", "::ffff:7f00:1"),
    ("256.0.0.1", None),
    ("4294967296", None),
    ("1.2.3.4.5", None),
    ("127.0.0.1.nip.io", None),
    ("example.org", None),
    ("0x", None),
    ("", None),
]


class GuardTests(SynchronousTestCase):
    """Addresses, in all their forms."""

    def test_special(self) -> None:
        """What is not of the public Internet is named by what it is."""
        for address, expected in ADDRESSES:
            found = special(ip_address(address))
            if expected is None:
                self.assertIsNone(found, address)
            else:
                self.assertIn(expected, found or "", address)
            self.assertEqual(
                Guard().allows("h", ip_address(address)), expected is None, address
            )

    def test_literal(self) -> None:
        """Hosts that are addresses, as the system reads them."""
        for host, expected in NOTATIONS:
            found = literal(host)
            self.assertEqual(
                None if found is None else str(found),
                None if expected is None else str(ip_address(expected)),
                host,
            )

    def test_checkHost(self) -> None:
        """What can be told without looking a name up is refused at once."""
        guard = Guard()
        for host, address in NOTATIONS:
            if address is not None:
                error = self.assertRaises(Refused, guard.checkHost, host)
                self.assertIn(host, str(error))
        for host in ("localhost", "a.localhost"):
            self.assertRaises(Refused, guard.checkHost, host)
        for host in ("example.org", "localhost.example.org", "8.8.8.8", "134744072"):
            guard.checkHost(host)

    def test_networks(self) -> None:
        """A network that is allowed is, in each form of its addresses."""
        guard = Guard(["127.0.0.0/8", "10.1.2.3", "fd00::/8"])
        for host, address in [
            ("127.1", "127.0.0.1"),
            ("h", "127.9.9.9"),
            ("h", "::ffff:127.0.0.1"),
            ("h", "64:ff9b::127.0.0.1"),
            ("h", "10.1.2.3"),
            ("h", "fd12::1"),
        ]:
            self.assertTrue(guard.allows(host, ip_address(address)), address)
        for address in ("10.1.2.4", "::1", "fc00::1", "169.254.169.254", "2002:7f00::"):
            self.assertFalse(guard.allows("h", ip_address(address)), address)
        guard.checkHost("localhost")
        guard.checkHost("0x7f000001")
        self.assertRaises(Refused, guard.checkHost, "[::1]".strip("[]"))

    def test_hosts(self) -> None:
        """A host that is allowed has any address; others with the same have not."""
        guard = Guard(["Data.Example.org.", "localhost"])
        private = IPv4Address("10.0.0.1")
        self.assertTrue(guard.allows("data.example.org", private))
        self.assertFalse(guard.allows("example.org", private))
        self.assertFalse(guard.allows("x.data.example.org", private))
        self.assertFalse(guard.allows("10.0.0.1", private))
        guard.checkHost("localhost")
        self.assertRaises(Refused, guard.checkHost, "127.0.0.1")
