"""Tests for L{qgswps.web.http}."""

from __future__ import annotations

import os
from typing import Any

from twisted.internet.address import IPv4Address

from qgswps.web.http import HEADERS, LINE, LINGER
from tests.fakes import FakeTransport
from tests.web.test_site import SiteTestCase

POST = b"POST /ows/ HTTP/1.1\r\nHost: example.org\r\n"
CAPABILITIES = b"/ows/?service=WPS&request=GetCapabilities"


class ChannelTests(SiteTestCase):
    """What a connection does with too much of anything."""

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
        self.assertEqual(os.listdir(self.folder), [])

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
        """Many headers are too many, as Twisted has it."""
        line = b"X: " + b"y" * 1000 + b"\r\n"
        answer = self.send(b"GET / HTTP/1.1\r\n" + line * (HEADERS // 1000 + 2))
        self.assertTrue(answer.startswith(b"HTTP/1.1 400 "), answer[:100])

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


class OriginTests(ChannelTests):
    """Pages of other origins may read what is refused, if they may read anything."""

    crossOrigin = ("*",)

    def assertRefused(self, answer: bytes, status: int, text: bytes) -> None:
        """It says so."""
        self.assertIn(b"\r\nAccess-Control-Allow-Origin: *\r\n", answer)
        super().assertRefused(answer, status, text)
