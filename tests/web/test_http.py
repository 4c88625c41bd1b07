"""Tests for L{qgswps.web.http}."""

from __future__ import annotations

import os
from typing import Any

from twisted.internet.address import IPv4Address, IPv6Address

from qgswps.web import connections
from qgswps.web.connections import TURN, ConnectionLimits, Phase
from qgswps.web.http import LINE, LINGER, PATH
from tests.fakes import FakeTransport
from tests.web.test_site import SiteTestCase

POST = b"POST /ows/ HTTP/1.1\r\nHost: example.org\r\n"
CAPABILITIES = b"/ows/?service=WPS&request=GetCapabilities"


class ChannelTestCase(SiteTestCase):
    """A connection of a client."""

    def setUp(self) -> None:
        super().setUp()
        self.closed = False
        self.transport = FakeTransport(self.close)
        self.channel: Any = self.site.buildProtocol(IPv4Address("TCP", "127.0.0.1", 9))
        self.channel.makeConnection(self.transport)

    def close(self) -> None:
        """The server has closed the connection."""
        self.closed = True

    def send(self, data: bytes) -> bytes:
        """What is answered to some bytes."""
        self.transport.clear()
        self.channel.dataReceived(data)
        return self.transport.value()

    def assertRefused(self, answer: bytes, status: int, text: bytes) -> None:
        """It is an ExceptionReport, and the connection closes in a while."""
        head, _, body = answer.partition(b"\r\n\r\n")
        self.assertTrue(head.startswith(b"HTTP/1.1 %d " % status), head)
        self.assertIn(b"Content-Type: text/xml\r\n", head)
        self.assertIn(b"Content-Length: %d\r\n" % len(body), head)
        self.assertIn(b"Connection: close", head)
        self.assertIn(b"ExceptionReport", body)
        self.assertIn(text, body)
        # What still comes makes no difference.
        self.assertEqual(self.send(b"x" * 100_000), b"")
        self.assertEqual(self.send(b"\r\n\r\nGET / HTTP/1.1\r\n\r\n"), b"")
        self.assertFalse(self.closed)
        self.reactor.advance(LINGER)
        self.assertTrue(self.closed)
        self.channel.connectionLost()
        self.assertEqual(len(self.connections), 0)
        self.assertEqual(os.listdir(self.folder), [])


class ChannelTests(ChannelTestCase):
    """What a connection does with too much of anything."""

    def test_longLine(self) -> None:
        """A URL of 60 KB is read, a longer one is too long."""
        line = b"GET %s&x=%s HTTP/1.1\r\n" % (CAPABILITIES, b"y" * 60_000)
        answer = self.send(line + b"Host: example.org\r\n\r\n")
        self.assertTrue(answer.startswith(b"HTTP/1.1 200 "), answer[:100])
        line = b"GET %s&x=%s" % (CAPABILITIES, b"y" * LINE)
        self.assertRefused(self.send(line), 414, b"the URL has more than 65536 bytes")

    def test_longHeader(self) -> None:
        """A header that is too long."""
        answer = self.send(b"GET / HTTP/1.1\r\nX: " + b"y" * (LINE + 10))
        self.assertRefused(answer, 431, b"a header has more than 65536 bytes")

    def test_headers(self) -> None:
        """Headers that are too much together, or too many."""
        line = b"X: " + b"y" * 1000 + b"\r\n"
        answer = self.send(b"GET / HTTP/1.1\r\n" + line * 140)
        self.assertRefused(answer, 431, b"more than 131072 bytes of headers")

    def test_manyHeaders(self) -> None:
        """So many short ones."""
        answer = self.send(b"GET / HTTP/1.1\r\n" + b"X:\r\n" * 500 + b"\r\n")
        self.assertTrue(answer.startswith(b"HTTP/1.1 200 "), answer[:100])
        answer = self.send(b"GET / HTTP/1.1\r\n" + b"X:\r\n" * 501)
        self.assertRefused(answer, 431, b"more than 500 of them")

    def test_path(self) -> None:
        """A path is not as long as a query may be."""
        answer = self.send(b"GET " + b"/" * (PATH + 1) + b" HTTP/1.1\r\n\r\n")
        self.assertRefused(answer, 414, b"the path of the URL has more than 8192")

    def test_parameters(self) -> None:
        """A URL with a thousand parameters, and one with more."""
        line = b"GET %s&%s HTTP/1.1\r\n\r\n"
        answer = self.send(line % (CAPABILITIES, b"a&" * 997))
        self.assertTrue(answer.startswith(b"HTTP/1.1 200 "), answer[:100])
        answer = self.send(line % (CAPABILITIES, b"a&" * 998 + b"a"))
        self.assertRefused(answer, 400, b"the URL has more than 1000 parameters")

    def test_length(self) -> None:
        """A body that says to be too long is not waited for."""
        answer = self.send(POST + b"Content-Length: 1001\r\n\r\n")
        self.assertRefused(answer, 413, b"the request is larger than")

    def test_expect(self) -> None:
        """Who asks before is told no, and nothing else."""
        head = POST + b"Content-Length: 1001\r\nExpect: 100-continue\r\n\r\n"
        answer = self.send(head)
        self.assertEqual(answer.count(b"HTTP/1.1 "), 1)
        self.assertRefused(answer, 413, b"the request is larger than")

    def test_chunked(self) -> None:
        """Of one that does not say, the bytes are counted."""
        head = POST + b"Transfer-Encoding: chunked\r\n\r\n"
        chunk = b"190\r\n" + b"x" * 0x190 + b"\r\n"
        self.assertEqual(self.send(head + chunk + chunk), b"")
        self.assertRefused(self.send(chunk), 413, b"the request is larger than")

    def test_chunkedFits(self) -> None:
        """One that is not too long is read."""
        body = b'<GetCapabilities service="WPS"/>'
        chunks = b"".join(b"1\r\n%c\r\n" % byte for byte in body) + b"0\r\n\r\n"
        answer = self.send(POST + b"Transfer-Encoding: chunked\r\n\r\n" + chunks)
        self.assertTrue(answer.startswith(b"HTTP/1.1 200 "), answer[:100])

    def test_gone(self) -> None:
        """A client that closes the connection leaves no timer."""
        self.send(POST + b"Content-Length: 1001\r\n\r\n")
        self.channel.connectionLost()
        self.assertEqual(self.reactor.getDelayedCalls(), [])


class SmugglingTests(ChannelTestCase):
    """
    What a proxy might read in another way is refused, with what follows it: in
    the answer to each there is one status line.
    """

    #: Looks like a request, if the one before it ends where a proxy may think.
    maximumBody = 10**6
    HIDDEN = b"GET /ows/?hidden HTTP/1.1\r\nHost: example.org\r\n\r\n"

    def assertOne(self, head: bytes, status: int) -> None:
        """All of it is refused, in one piece or byte by byte."""
        whole = head + self.HIDDEN
        for pieces in ([whole], [bytes([each]) for each in whole]):
            with self.subTest(head=head, pieces=len(pieces)):
                self.setUp()
                answer = b"".join(map(self.send, pieces))
                self.assertEqual(answer.count(b"HTTP/1.1 "), 1, answer)
                self.assertTrue(answer.startswith(b"HTTP/1.1 %d " % status), answer)
                self.assertIn(b"\r\nConnection: close\r\n", answer)
                self.assertEqual(self.send(self.HIDDEN), b"")

    def test_lengths(self) -> None:
        """Two ways to say where a body ends, or two ends."""
        one = b"Content-Length: 5\r\n"
        for headers in (
            one + b"Transfer-Encoding: chunked\r\n",
            b"Transfer-Encoding: chunked\r\n" + one,
            one + b"Content-Length: 6\r\n",
            one + one,
            b"Content-Length: 5, 5\r\n",
            b"Content-Length: +5\r\n",
            b"Content-Length: -1\r\n",
            b"Content-Length: 0x5\r\n",
            b"Content-Length: 5 5\r\n",
            b"Content-Length:\r\n",
            b"Content-Length: \xd9\xa5\r\n",
            b"Content-Length: %s\r\n" % (b"9" * 5000),
            b"Content-Length : 5\r\n",
            b"Transfer-Encoding: chunked\r\nTransfer-Encoding: chunked\r\n",
        ):
            self.assertOne(POST + headers + b"\r\n0\r\n\r\n", 400)

    def test_encodings(self) -> None:
        """Whatever is not quite chunked."""
        for value in (
            b"identity",
            b"gzip, chunked",
            b"chunked, identity",
            b"chunked;q=1",
            b"xchunked",
            b"\x0bchunked",
            b'"chunked"',
        ):
            self.assertOne(POST + b"Transfer-Encoding: " + value + b"\r\n\r\n", 501)
        for line in (
            b"Transfer-Encoding : chunked",
            b" Transfer-Encoding: chunked",
            b"Transfer-Encoding\x0b: chunked",
            b"X: y\nTransfer-Encoding: chunked",
            b"X: y\rTransfer-Encoding: chunked",
            b"Transfer-Encoding:\r\n chunked",
            b"X: \0",
            b"X",
            b": x",
        ):
            # A line that goes on is found out by the next one.
            first = b"HTTP/1.1 501 " if line.endswith(b"\r\n chunked") else b""
            self.assertOne(POST + line + b"\r\n\r\n", 501 if first else 400)
        old = POST.replace(b"HTTP/1.1", b"HTTP/1.0")
        self.assertOne(old + b"Transfer-Encoding: chunked\r\n\r\n0\r\n\r\n", 400)

    def test_chunks(self) -> None:
        """Chunks whose lengths or ends can be read in several ways."""
        head = POST + b"Transfer-Encoding: chunked\r\n\r\n"
        for chunks in (
            b"xyz\r\n\r\n",
            b"0x5\r\nabcde\r\n0\r\n\r\n",
            b"-5\r\n\r\n",
            b"+5\r\nabcde\r\n0\r\n\r\n",
            b"5_0\r\n\r\n",
            b"5\r\nabcdefgh\r\n0\r\n\r\n",
            b"5;a\nb\r\nabcde\r\n0\r\n\r\n",
            b"5" * 2000,
        ):
            self.assertOne(head + chunks, 400)

    def test_smallChunks(self) -> None:
        """A body in thousands of chunks that have next to nothing."""
        chunks = b"4\r\nxxxx\r\n" * 1025
        self.assertOne(POST + b"Transfer-Encoding: chunked\r\n\r\n" + chunks, 400)

    def test_firstLines(self) -> None:
        """First lines that are none."""
        for line, status in (
            (b"GET  / HTTP/1.1", 400),
            (b"GET / HTTP/1.1 ", 400),
            (b" GET / HTTP/1.1", 400),
            (b"GET\t/ HTTP/1.1", 400),
            (b"GET\x0b/ HTTP/1.1", 400),
            (b"GET / HTTP/1.1\nX: y", 400),
            (b"GET /a b HTTP/1.1", 400),
            (b"GET /\0 HTTP/1.1", 400),
            (b"GET /", 400),
            (b"G(T / HTTP/1.1", 400),
            (b"GET / HTTP/1", 400),
            (b"GET / http/1.1", 400),
            (b"GET / HTTP/0.9", 505),
            (b"GET / HTTP/2.0", 505),
            (b"\x16\x03\x01\x02", 400),
        ):
            self.assertOne(line + b"\r\nHost: example.org\r\n\r\n", status)

    def test_hosts(self) -> None:
        """Two names of one server."""
        self.assertOne(POST + b"Host: example.com\r\n\r\n", 400)


class PipelineTests(ChannelTestCase):
    """Requests that are sent before the one before them is answered."""

    ONE = b"GET %s HTTP/1.1\r\nHost: example.org\r\n\r\n" % CAPABILITIES

    def test_turns(self) -> None:
        """One is answered at once, and the others in turn."""
        self.assertEqual(self.send(self.ONE * 3).count(b"HTTP/1.1 200 "), 1)
        self.reactor.pump([TURN] * 9)
        self.assertEqual(self.transport.value().count(b"HTTP/1.1 200 "), 3)
        self.assertEqual(self.send(self.ONE).count(b"HTTP/1.1 200 "), 1)

    def test_fair(self) -> None:
        """Those of several connections are answered in turn."""
        order = []

        class Noting(FakeTransport):
            name = ""

            def writeSequence(self, data: Any) -> None:
                order.append(self.name)
                super().writeSequence(data)

        for name, count in (("a", 4), ("b", 2), ("c", 3)):
            channel: Any = self.site.buildProtocol(None)
            transport = Noting(lambda: None)
            transport.name = name
            channel.makeConnection(transport)
            channel.dataReceived(self.ONE * count)
        self.reactor.pump([TURN] * 9)
        self.assertEqual("".join(order), "abc" + "abc" + "ac" + "a")

    def test_unread(self) -> None:
        """A client that does not take its answers gets no more of them."""
        self.channel.dataReceived(self.ONE[:-2])
        self.channel.pauseProducing()
        self.assertEqual(self.send(b"\r\n" + self.ONE).count(b"HTTP/1.1 "), 1)
        self.reactor.pump([TURN] * 9)
        self.assertEqual(self.transport.value().count(b"HTTP/1.1 "), 1)
        self.channel.resumeProducing()
        self.reactor.pump([TURN] * 9)
        self.assertEqual(self.transport.value().count(b"HTTP/1.1 "), 2)

    def test_gone(self) -> None:
        """One that is gone is not answered."""
        self.send(self.ONE * 3)
        self.channel.connectionLost()
        self.assertEqual(self.reactor.getDelayedCalls(), [])


class TimeTests(ChannelTestCase):
    """The time that a connection has in each of its phases."""

    maximumBody = 10**6

    def assertTime(self, seconds: float, status: bytes = b"") -> None:
        """It ends then, with an answer or without, and not before."""
        self.transport.clear()
        self.pass_(seconds - 2)
        self.assertEqual(self.transport.value(), b"")
        self.assertFalse(self.closed)
        self.pass_(3)
        if status:
            self.assertTrue(self.transport.value().startswith(b"HTTP/1.1 " + status))
            self.pass_(LINGER)
        self.assertTrue(self.closed)
        self.channel.connectionLost()
        self.assertEqual(self.reactor.getDelayedCalls(), [])

    def pass_(self, seconds: float) -> None:
        """Let time go by."""
        self.reactor.pump([1.0] * int(seconds))

    def test_nothing(self) -> None:
        """Nothing is sent at all."""
        self.assertTime(60)

    def test_idle(self) -> None:
        """Nothing is sent any more."""
        self.pass_(50)
        self.send(b"GET / HTTP/1.1\r\n\r\n")
        self.assertTime(60)

    def test_head(self) -> None:
        """Headers that come byte by byte have no more time for it."""
        self.send(b"GET / HTTP/1.1\r\n")
        for _ in range(9):
            self.pass_(1)
            self.send(b"X: y\r\n")
        self.assertTime(11, b"408 ")

    def test_standing(self) -> None:
        """A body that comes to a stand."""
        self.send(POST + b"Content-Length: 200000\r\n\r\n" + b"x" * 100_000)
        self.pass_(20)
        self.send(b"x" * 50_000)
        self.assertTime(30, b"408 ")

    def test_trickling(self) -> None:
        """A body that does not come to a stand, but nearly."""
        self.send(POST + b"Content-Length: 200000\r\n\r\n")
        for _ in range(24):
            self.pass_(1)
            self.send(b"x" * 100)
        # 2400 bytes take less than five seconds.
        self.assertTime(11, b"408 ")

    def test_slow(self) -> None:
        """A body that is slow, but not too slow."""
        body = b'<GetCapabilities service="WPS"/>' + b" " * 99_968
        self.send(POST + b"Content-Length: 100000\r\n\r\n")
        for n in range(199):
            self.pass_(1)
            self.assertEqual(self.send(body[n * 500 : n * 500 + 500]), b"")
        answer = self.send(body[199 * 500 :])
        # Large ones are parsed elsewhere.
        self.reactor.advance(0)
        self.assertIn(b"HTTP/1.1 200 ", answer or self.transport.value())

    def test_waiting(self) -> None:
        """A client that waits for its answer does so as long as it takes."""
        execute = b"/ows/?service=WPS&version=1.0.0&request=Execute"
        path = execute + b"&identifier=test:echo&datainputs=TEXT=a"
        self.send(b"GET %s HTTP/1.1\r\n\r\n" % path)
        self.pass_(500)
        self.assertFalse(self.closed)

    def test_untaken(self) -> None:
        """An answer that is not taken."""
        self.send(b"GET / HTTP/1.1\r\n\r\n")
        self.channel.pauseProducing()
        self.pass_(50)
        self.channel.resumeProducing()
        self.channel.pauseProducing()
        self.assertTime(60)

    def test_closing(self) -> None:
        """Nor is the last one."""
        self.send(b"GET / HTTP/1.0\r\n\r\n")
        self.assertTrue(self.closed)
        self.assertTrue(self.channel.phase is Phase.CLOSING)


class CrowdTests(ChannelTestCase):
    """More connections than there may be."""

    limits = ConnectionLimits(connections=4, eachAddress=3)

    def connect(self, address: str) -> Any:
        """One more connection."""
        channel: Any = self.site.buildProtocol(IPv4Address("TCP", address, 9))
        channel.lost = []
        transport = FakeTransport(lambda: channel.lost.append(True))
        kind = IPv6Address if ":" in address else IPv4Address
        transport.peerAddr = kind("TCP", address, 9)
        channel.makeConnection(transport)
        return channel

    def test_longest(self) -> None:
        """The one that has waited longest for a request goes."""
        first, second, third = (self.connect(f"192.0.2.{n}") for n in range(3))
        # It waits for longest, but its client has begun a request.
        self.send(b"GET / HTTP/1.1\r\n")
        first.dataReceived(b"GET / HTTP/1.1\r\n\r\n")
        fourth = self.connect("192.0.2.9")
        self.assertTrue(second.lost)
        self.assertFalse(self.closed or first.lost or third.lost or fourth.lost)
        self.assertEqual(len(self.connections), 4)

    def test_flood(self) -> None:
        """As many as there are, there are four, and the last one is served."""
        all_ = [self.connect(f"192.0.{n}.1") for n in range(100)]
        self.assertEqual(len(self.connections), 4)
        self.assertEqual(sum(not each.lost for each in all_), 4)
        all_[-1].dataReceived(b"GET / HTTP/1.1\r\n\r\n")
        self.assertIn(b"HTTP/1.1 200 ", all_[-1].transport.value())

    def test_memory(self) -> None:
        """When most of many have gone, their memory is given back, once."""
        given = []
        self.patch(connections, "collect", lambda: given.append(len(self.connections)))
        self.patch(connections, "_MANY", 4)
        many = [self.connect(f"192.0.2.{n}") for n in range(3)]
        for each in many:
            self.assertEqual(given, [])
            each.connectionLost()
            self.reactor.pump([1.0] * 3)
        self.assertEqual(given, [1])

    def test_busy(self) -> None:
        """Whoever waits for an answer stays, and the next one is refused."""
        execute = b"/ows/?service=WPS&version=1.0.0&request=Execute"
        path = execute + b"&identifier=test:echo&datainputs=TEXT=a"
        self.executor.capacity = 10
        busy = [self.channel] + [self.connect(f"192.0.2.{n}") for n in range(3)]
        for each in busy:
            each.dataReceived(b"GET %s HTTP/1.1\r\n\r\n" % path)
            self.assertTrue(each.phase is Phase.BUSY)
        refused = self.connect("192.0.2.9")
        answer = refused.transport.value()
        self.assertTrue(answer.startswith(b"HTTP/1.1 503 "), answer)
        self.assertIn(b"\r\nRetry-After: 10\r\n", answer)
        self.assertIn(b"too many connections", answer)
        self.assertFalse(any(each.lost for each in busy[1:]) or self.closed)

    def test_address(self) -> None:
        """Of one address, that one's own."""
        mine = [self.connect("192.0.2.1") for _ in range(3)]
        self.connect("192.0.2.1")
        self.assertEqual([bool(each.lost) for each in mine], [True, False, False])
        self.assertFalse(self.closed)

    def test_networks(self) -> None:
        """Of IPv6, one network counts as one address."""
        all_ = [self.connect(f"2001:db8::{n}") for n in range(4)]
        self.assertEqual([len(each.lost) for each in all_], [1, 0, 0, 0])


class OriginTests(ChannelTests):
    """Pages of other origins may read what is refused, if they may read anything."""

    crossOrigin = ("*",)

    def assertRefused(self, answer: bytes, status: int, text: bytes) -> None:
        """It says so."""
        self.assertIn(b"\r\nAccess-Control-Allow-Origin: *\r\n", answer)
        super().assertRefused(answer, status, text)
