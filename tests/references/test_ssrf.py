"""
Attempts to have the server reach what a client can't: one row each.

They go the whole way that a reference goes, with the guard as it is without
settings.  A server waits at each address of this machine: it must not be
asked, nor may there be a connection to anything else.
"""

from __future__ import annotations

import re
from ipaddress import IPv4Address, ip_address
from typing import Any

from twisted.internet.defer import Deferred, gatherResults, succeed
from twisted.names import dns
from twisted.names.client import Resolver
from twisted.names.common import ResolverBase
from twisted.names.server import DNSServerFactory
from twisted.web.http import Request
from twisted.web.server import Site

from qgswps.errors import OWSError
from qgswps.model import ReferenceValue
from qgswps.ows.kvp import Parameters
from qgswps.ows.operations import Execute
from qgswps.ows.wps100 import requests
from qgswps.references.fetcher import Limits, References
from qgswps.references.guard import IPAddress
from tests.references.test_fetcher import FetchCase, Page

#: URLs, and what is told of them; {port} is where a server waits.
ATTEMPTS = [
    # IPv4, in all that inet_aton() understands
    ("http://127.0.0.1:{port}/", "loopback"),
    ("http://127.255.255.254:{port}/", "loopback"),
    ("http://127.1:{port}/", "loopback"),
    ("http://127.0.1:{port}/", "loopback"),
    ("http://2130706433:{port}/", "loopback"),
    ("http://0x7f000001:{port}/", "loopback"),
    ("http://0X7F.1:{port}/", "loopback"),
    ("http://017700000001:{port}/", "loopback"),
    ("http://0177.0.0.1:{port}/", "loopback"),
    ("http://0000177.0x0.0.01:{port}/", "loopback"),
    ("http://127.0.0.1.:{port}/", "loopback"),
    ("http://0:{port}/", "unspecified"),
    ("http://0.0.0.0:{port}/", "unspecified"),
    ("http://00000000000:{port}/", "unspecified"),
    ("http://0x0:{port}/", "unspecified"),
    ("http://169.254.169.254/latest/meta-data/", "link-local"),
    ("http://2852039166/", "link-local"),
    ("http://0xa9.0xfe.0xa9.0xfe/", "link-local"),
    ("http://0251.0376.0251.0376/", "link-local"),
    ("http://169.16689662/", "link-local"),
    ("http://168.63.129.16/", "metadata"),
    ("http://100.100.100.200/", "carrier"),
    ("http://192.0.0.192/", "reserved"),
    ("http://10.0.0.1/", "private"),
    ("http://012.1/", "private"),
    ("http://172.31.255.255/", "private"),
    ("http://192.168.1/", "private"),
    ("http://255.255.255.255/", "reserved"),
    ("http://224.0.0.1/", "multicast"),
    ("http://198.18.0.1/", "benchmarks"),
    # What is too large for an address is a malformed name, or none that is
    ("http://256.0.0.1/", "not known"),
    ("http://4294967297/", "not known"),
    ("http://127.0.0.0x1ff/", "not known"),
    # Digits and dots of other scripts
    ("http://\uff11\uff12\uff17.\uff10.\uff10.\uff11:{port}/", "loopback"),
    ("http://127\u30020\uff0e0\uff611:{port}/", "loopback"),
    ("http://\u2460\u2461\u2466.0.0.1:{port}/", "loopback"),
    ("http://\U0001d7cf27.0.0.1:{port}/", "loopback"),
    ("http://\u0661\u0662\u0667.0.0.1/", "malformed host"),
    # Names of this machine
    ("http://localhost:{port}/", "loopback"),
    ("http://LOCALHOST:{port}/", "loopback"),
    ("http://localhost.:{port}/", "loopback"),
    ("http://a.localhost:{port}/", "loopback"),
    ("http://\uff4c\u24deca\uff4chost:{port}/", "loopback"),
    ("http://local\u00adhost:{port}/", "control character"),
    ("http://localhost..:{port}/", "malformed host"),
    # IPv6
    ("http://[::1]:{port}/", "loopback"),
    ("http://[0:0:0:0:0:0:0:1]:{port}/", "loopback"),
    ("http://[0000::0001]:{port}/", "loopback"),
    ("http://[::]:{port}/", "unspecified"),
    ("http://[::ffff:127.0.0.1]:{port}/", "loopback"),
    ("http://[::ffff:7f00:1]:{port}/", "loopback"),
    ("http://[0:0:0:0:0:ffff:127.0.0.1]:{port}/", "loopback"),
    ("http://[::FFFF:a9fe:a9fe]/", "link-local"),
    ("http://[::127.0.0.1]:{port}/", "compatible"),
    ("http://[::7f00:1]:{port}/", "compatible"),
    ("http://[::ffff:0:127.0.0.1]/", "reserved"),
    ("http://[64:ff9b::127.0.0.1]/", "loopback"),
    ("http://[64:ff9b::a9fe:a9fe]/", "link-local"),
    ("http://[64:ff9b:1::7f00:1]/", "translated"),
    ("http://[2002:7f00:1::]/", "6to4"),
    ("http://[2002:a9fe:a9fe::1]/", "6to4"),
    ("http://[2001:0:7f00:1::]/", "Teredo"),
    ("http://[fd00:ec2::254]/", "private"),
    ("http://[fec0::1]/", "private"),
    ("http://[fe80::1]/", "link-local"),
    ("http://[ff02::1]/", "multicast"),
    ("http://[5f00::1]/", "reserved"),
    ("http://[fe80::1%25lo]/", "zone"),
    ("http://[fe80::1%lo]/", "zone"),
    ("http://[::1%25lo]:{port}/", "zone"),
    ("http://[::1]]:{port}/", "malformed"),
    ("http://[[::1]]:{port}/", "malformed"),
    ("http://[::1].example.org:{port}/", "malformed"),
    ("http://[127.0.0.1]:{port}/", "malformed"),
    ("http://[v1.127.0.0.1]:{port}/", "malformed"),
    ("http://::1:{port}/", "malformed"),
    # Where the host begins and ends
    ("http://example.org@127.0.0.1:{port}/", "loopback"),
    ("http://example.org:80@127.0.0.1:{port}/", "loopback"),
    ("http://example.org%2f@127.0.0.1:{port}/", "loopback"),
    ("http://example.org%40127.0.0.1:{port}/", "malformed host"),
    ("http://a@b@127.0.0.1:{port}/", "several ways"),
    ("http://127.0.0.1:{port}\\@example.org/", "several ways"),
    ("http://example.org\\@127.0.0.1:{port}/", "several ways"),
    ("http:\\\\127.0.0.1:{port}/", "no host"),
    ("http:/\\127.0.0.1:{port}/", "no host"),
    ("http:127.0.0.1:{port}/", "no host"),
    ("http:/127.0.0.1:{port}/", "no host"),
    ("http:///127.0.0.1:{port}/", "no host"),
    ("http://127.0.0.1:{port}#@example.org/", "loopback"),
    ("http://127.0.0.1:{port}?@example.org/", "loopback"),
    ("http://127.0.0.1:{port}#.example.org/", "loopback"),
    ("http://127.0.0.1:{port};.example.org/", "malformed"),
    ("http://127.0.0.1:{port}:80/", "malformed"),
    ("http://127.0.0.1%23.example.org/", "malformed host"),
    ("http://127.0.0.1%00.example.org/", "malformed host"),
    ("http://127.0.0.1%0a.example.org/", "malformed host"),
    ("http://%31%32%37.0.0.1:{port}/", "malformed host"),
    ("http://127。0.0.1%2f:{port}/", "malformed host"),
    ("http://127.0.0.1,example.org/", "malformed host"),
    ("http://127.0.0.1 example.org/", "several ways"),
    ("http://a\u2100b@127.0.0.1:{port}/", "malformed"),
    ("http://127.0.0.1\uff0fexample.org/", "malformed"),
    ("http://example.org\uff20127.0.0.1/", "malformed"),
    # Ports
    ("http://127.0.0.1:00080/", "loopback"),
    ("http://127.0.0.1:000080/", "malformed"),
    ("http://example.org:0/", "port 0"),
    ("http://example.org:65536/", "port 65536"),
    ("http://example.org:-1/", "malformed"),
    ("http://example.org:+80/", "malformed"),
    ("http://example.org:8\uff10/", "malformed"),
    # Line breaks and other controls
    ("http://example.org/\r\nHost: 127.0.0.1", "control character"),
    ("http://example.org\r\n/", "control character"),
    ("http://example.org/\nX: y", "control character"),
    ("http://example.org/\tx", "control character"),
    ("http://example.org/\0", "control character"),
    ("http://example.org/\x7f", "control character"),
    ("http://example.org/\x85", "control character"),
    ("http://example.org/\u2028", "control character"),
    ("ht\ntp://127.0.0.1/", "no scheme"),
    # Other schemes
    ("ftp://127.0.0.1/", "'ftp'"),
    ("gopher://127.0.0.1:{port}/_GET", "'gopher'"),
    ("dict://127.0.0.1:11211/stat", "'dict'"),
    ("ldap://127.0.0.1/", "'ldap'"),
    ("tftp://127.0.0.1/", "'tftp'"),
    ("sftp://127.0.0.1/", "'sftp'"),
    ("ws://127.0.0.1/", "'ws'"),
    ("jar:http://127.0.0.1!/", "'jar'"),
    ("url:http://127.0.0.1/", "'url'"),
    ("view-source:http://127.0.0.1/", "'view-source'"),
    ("http+unix://%2frun%2fdocker.sock/", "'http+unix'"),
    ("javascript:fetch(1)", "'javascript'"),
    ("netdoc:///etc/passwd", "'netdoc'"),
    ("/vsicurl/http://127.0.0.1:{port}/", "no scheme"),
    ("/vsizip//vsicurl/http://127.0.0.1/", "no scheme"),
    ("/vsis3/bucket/key", "no scheme"),
    ("//127.0.0.1:{port}/", "no scheme"),
    ("\\\\127.0.0.1\\share", "no scheme"),
    ("127.0.0.1:{port}", "no scheme"),
    ("WFS:http://127.0.0.1:{port}/", "'wfs'"),
    ("PG:host=127.0.0.1", "'pg'"),
    # Files
    ("file:///etc/passwd", "allowed_file_roots"),
    ("FILE:/etc/passwd", "allowed_file_roots"),
    ("file:////etc/passwd", ""),
    ("file://localhost/etc/passwd", "allowed_file_roots"),
    ("file://127.0.0.1/etc/passwd", "not like file:///"),
    ("file://example.org/share", "not like file:///"),
    ("file:etc/passwd", "not like file:///"),
    ("file:///%2e%2e/etc/passwd", "allowed_file_roots"),
    ("file:///etc/passwd%00.csv", "control character"),
    ("file:///etc/passwd?x", "query"),
    ("file:///etc/passwd#x", "query"),
    ("file:///proc/self/environ", "allowed_file_roots"),
    ("file:///dev/zero", "allowed_file_roots"),
    ("file:///vsicurl/http://127.0.0.1:{port}/", "allowed_file_roots"),
]

#: What a name may turn out to mean.
MEANINGS = [
    "127.0.0.1",
    "0.0.0.0",
    "10.0.0.1",
    "169.254.169.254",
    "168.63.129.16",
    "100.64.0.1",
    "192.168.0.1",
    "255.255.255.255",
    "::1",
    "::",
    "::ffff:127.0.0.1",
    "::ffff:169.254.169.254",
    "::127.0.0.1",
    "64:ff9b::7f00:1",
    "2002:7f00:1::1",
    "2001::1",
    "fe80::1",
    "fd00:ec2::254",
    "ff02::1",
]

#: Where a server may lead on to, and what is told.  Those without a host are
#: more of the same server's, which has no such page.
LOCATIONS = [
    ("http://10.0.0.1/", "private"),
    ("//10.0.0.1/", "private"),
    ("https://0xa000001/", "private"),
    ("http://[::ffff:10.0.0.1]/", "private"),
    ("http://u:p@169.254.169.254/", "link-local"),
    ("http://\u2460\u24ea.0.0.1/", ""),
    ("http://inside/", "no address that is allowed"),
    ("http:\\\\10.0.0.1/", "404"),
    ("\\\\10.0.0.1/", "404"),
    ("/\\10.0.0.1/", "404"),
    ("///10.0.0.1/", "404"),
    ("http:///10.0.0.1/", "404"),
    ("http:10.0.0.1", "404"),
    ("file:///etc/passwd", "not of http"),
    ("data:,x", "not of http"),
    ("gopher://10.0.0.1/", "not of http"),
    ("jar:http://10.0.0.1/", "not of http"),
    ("http://a\\@10.0.0.1/", "several ways"),
    ("http://[::1", "Invalid IPv6"),
    ("http://10.0.0.1:99999999/", "malformed"),
]

#: Headers as XML has them: key and value.
HEADERS = [
    ("X", "a&#13;&#10;Host: 127.0.0.1"),
    ("X", "a&#10;Host: 127.0.0.1"),
    ("X", "a&#13;b"),
    ("X", "a&#9;b"),
    ("X", "a&#x85;b"),
    ("X", "a&#x2028;b"),
    ("X&#13;&#10;Host", "127.0.0.1"),
    ("X: a&#10;Y", "b"),
    ("X Y", "a"),
    ("X:", "a"),
    ("X\u00e4", "a"),
    ("", "a"),
    ("Host", "127.0.0.1"),
    ("hOST", "127.0.0.1"),
    ("Content-Length", "0"),
    ("Transfer-Encoding", "chunked"),
    ("Connection", "upgrade"),
    ("Upgrade", "h2c"),
    ("Expect", "100-continue"),
    ("Proxy-Authorization", "a"),
    ("X-Forwarded-For", "127.0.0.1"),
    ("Forwarded", "for=127.0.0.1"),
    ("Te", "trailers"),
    ("Trailer", "Host"),
    ("Via", "a"),
    ("X", "\u20ac"),
    ("X", "\U0001f600"),
]


class AttemptCase(FetchCase):
    """
    Servers wait at this machine's addresses, and connections are noted.

    @ivar port: where they wait.
    @ivar asked: what they were asked.
    @ivar connected: where there was a connection to.
    """

    timeout = 60

    def setUp(self) -> None:
        super().setUp()
        self.page = Page(lambda request: b"secret")
        self.asked = self.page.asked
        self.port = self.listen(Site(self.page))
        try:
            second = self.reactor.listenTCP(self.port, Site(self.page), interface="::1")
        except Exception:
            pass  # a machine without IPv6
        else:
            self.addCleanup(second.stopListening)
        self.connected: list[tuple[str, int]] = []
        connectTCP = self.reactor.connectTCP

        def connect(host: str, port: int, *arguments: Any, **others: Any) -> Any:
            self.connected.append((host, port))
            return connectTCP(host, port, *arguments, **others)

        self.patch(self.reactor, "connectTCP", connect)


class AttemptTests(AttemptCase):
    """Nothing is allowed but the public Internet."""

    async def test_urls(self) -> None:
        """Refused, with a reason that fits; no connection, no look-up but a name's."""
        references = self.references(allowed=())
        for form, said in ATTEMPTS:
            href = form.replace("{port}", str(self.port))
            fault = await self.refused(said, href, references=references)
            self.assertEqual(fault.code, "InvalidParameterValue", href)
            self.assertNotIn("secret", fault.text)
            fault.text.encode()
            self.assertEqual((self.connected, self.asked), ([], []), href)

    async def test_control(self) -> None:
        """The same server is asked where that is allowed: rows can fail."""
        data = await self.one(f"http://127.1:{self.port}/")
        self.assertEqual(data, b"secret")
        self.assertEqual(self.connected, [("127.0.0.1", self.port)])

    async def test_names(self) -> None:
        """What a name means counts, by whatever address, alone or among others."""
        references = self.references(allowed=())
        for meaning in MEANINGS:
            for others in ([], ["fe80::2", "10.9.9.9"]):
                self.names["example.org"] = [[meaning, *others]]
                href = f"http://example.org:{self.port}/"
                fault = await self.refused("no address", href, references=references)
                # Nor is told what is inside.
                self.assertNotIn(meaning, fault.text)
        self.assertEqual((self.connected, self.asked), ([], []))

    async def test_headers(self) -> None:
        """Refused where a request is read, or before there is a job; none is sent."""
        references = self.references()
        url = f"http://127.0.0.1:{self.port}/"
        for key, value in HEADERS:
            body = (
                '<Execute service="WPS" version="1.0.0"><Identifier>p</Identifier>'
                f'<DataInputs><Input><Identifier>i</Identifier><Reference href="{url}">'
                f'<Header key="{key}" value="{value}"/></Reference></Input>'
                "</DataInputs></Execute>"
            )
            operation = requests.parseXML(body.encode(), Parameters())
            assert isinstance(operation, Execute)
            if operation.faults:
                self.assertIn("Header", operation.faults[0].text)
                self.assertEqual(operation.request.inputs, ())
                continue
            [given] = operation.request.inputs
            assert isinstance(given.value, ReferenceValue)
            try:
                await references.check(self.task(url, headers=given.value.headers))
            except OWSError as error:
                self.assertEqual(error.status, 400)
            else:
                self.fail(f"{key}: {value} is taken")
        self.assertEqual(self.asked, [])

    async def test_escapes(self) -> None:
        """Line breaks that are escaped stay so on the wire."""
        await self.one(f"http://127.0.0.1:{self.port}/%0d%0aX:%20y?%0aHost=a%00")
        [(_, path, headers, _)] = self.asked
        self.assertEqual(path, "/%0d%0aX:%20y?%0aHost=a%00")
        self.assertEqual(headers["host"], f"127.0.0.1:{self.port}")
        self.assertNotIn("x", headers)


class RedirectTests(AttemptCase):
    """A server that is allowed leads on to one that is not."""

    def leading(self, target: str, hops: int, status: int) -> str:
        """A URL that leads to another after some hops."""

        def answer(request: Request) -> bytes:
            found = re.fullmatch(rb"/(\d)", request.path or b"")
            if found is None:
                request.setResponseCode(404)
                return b""
            left = int(found[1])
            request.setResponseCode(status)
            where = f"/{left - 1}" if left else target
            request.setHeader(b"Location", where.encode())
            return b"not this"

        _, url = self.serve(answer)
        return f"{url}/{hops - 1}"

    async def test_locations(self) -> None:
        """Each hop is checked as the first one is."""
        self.names["inside"] = [["10.0.0.1"]]
        statuses = [301, 302, 303, 307, 308]
        for number, (target, said) in enumerate(LOCATIONS):
            hops = 1 + number % 5
            href = self.leading(target, hops, statuses[number % len(statuses)])
            del self.connected[:]
            await self.refused(said, href)
            self.assertEqual({host for host, _ in self.connected}, {"127.0.0.1"})
            self.assertEqual(self.asked, [], target)


class Answers(ResolverBase):
    """
    A name server's knowledge: another address each time.

    @ivar addresses: the next answers; the last one stays.
    @ivar count: how often was asked for an address of IPv4.
    """

    def __init__(self, *addresses: str) -> None:
        super().__init__()
        self.addresses = list(addresses)
        self.count = 0

    def query(self, query: dns.Query, timeout: object = None) -> Deferred[Any]:
        """See C{IResolver}."""
        if query.type != dns.A:
            return succeed(([], [], []))
        self.count += 1
        several = len(self.addresses) > 1
        address = self.addresses.pop(0) if several else self.addresses[0]
        payload = dns.Record_A(address, ttl=0)
        answer = dns.RRHeader(query.name.name, dns.A, dns.IN, 0, payload, auth=True)
        return succeed(([answer], [], []))


class RebindingTests(AttemptCase):
    """A name server, asked over UDP, whose answers change."""

    def nameServer(self, *addresses: str) -> Answers:
        """Have one, and ask it for all names."""
        answers = Answers(*addresses)
        factory = DNSServerFactory(clients=[answers])
        protocol = dns.DNSDatagramProtocol(factory)
        port = self.reactor.listenUDP(0, protocol, interface="127.0.0.1")
        self.addCleanup(port.stopListening)
        self.client = Resolver(servers=[("127.0.0.1", port.getHost().port)])
        return answers

    def resolve(self, host: str) -> Any:
        """Look a name up."""
        lookUps = [
            self.client.lookupAddress(host, [2]),
            self.client.lookupIPV6Address(host, [2]),
        ]
        found = gatherResults(lookUps, consumeErrors=True)
        return found.addCallback(self.addresses)

    def addresses(self, found: Any) -> list[IPAddress]:
        """The addresses in its answers."""
        payloads = [record.payload for answers, _, _ in found for record in answers]
        return [ip_address(payload.dottedQuad()) for payload in payloads]

    async def test_first(self) -> None:
        """What was checked is connected to, though the next answer is another one."""
        answers = self.nameServer("127.0.0.1", "10.0.0.1")
        href = f"http://rebind.example.org:{self.port}/"
        references = self.references(allowed=("127.0.0.1",))
        self.assertEqual(await self.one(href, references=references), b"secret")
        self.assertEqual(answers.count, 1)
        self.assertEqual(self.connected, [("127.0.0.1", self.port)])
        self.assertEqual(self.asked[0][2]["host"], f"rebind.example.org:{self.port}")

    async def test_second(self) -> None:
        """The next connection looks up again, and checks again."""
        answers = self.nameServer("127.0.0.1", "169.254.169.254", "127.0.0.1")
        href = f"http://rebind.example.org:{self.port}/"
        references = self.references(allowed=("127.0.0.1",))
        await self.one(href, references=references)
        fault = await self.refused("no address", href, references=references)
        self.assertNotIn("169.254", fault.text)
        self.assertEqual(answers.count, 2)
        self.assertEqual(self.connected, [("127.0.0.1", self.port)])
        self.assertEqual(len(self.asked), 1)

    async def test_redirect(self) -> None:
        """A server that leads on to itself can't become another one."""
        answers = self.nameServer("127.0.0.1", "10.0.0.1")
        references = self.references(allowed=("127.0.0.1",))

        def answer(request: Request) -> bytes:
            request.setResponseCode(307)
            request.setHeader(b"Location", b"/again")
            return b""

        _, url = self.serve(answer)
        port = url.rpartition(":")[2]
        href = f"http://rebind.example.org:{port}/"
        await self.refused("no address", href, references=references)
        self.assertEqual(answers.count, 2)
        self.assertEqual(self.connected, [("127.0.0.1", int(port))])

    async def test_refused(self) -> None:
        """The first answer counts, be the next ones as good as they may."""
        answers = self.nameServer("127.0.0.1", "8.8.8.8")
        href = f"http://rebind.example.org:{self.port}/"
        references = self.references(allowed=())
        await self.refused("no address", href, references=references)
        self.assertEqual(answers.count, 1)
        self.assertEqual(self.connected, [])

    async def test_check(self) -> None:
        """Before there is a job nothing is looked up: it would tell nothing."""
        answers = self.nameServer("8.8.8.8")
        references = References(self.reactor, Limits(), self.resolve)
        await references.check(self.task("http://rebind.example.org/"))
        self.assertEqual(answers.count, 0)
        self.assertEqual(await self.resolve("x"), [IPv4Address("8.8.8.8")])
