"""Tests for L{qgswps.web.cache}."""

from __future__ import annotations

import gzip
from random import Random
from typing import Any

from twisted.internet.defer import Deferred
from twisted.web.test.requesthelper import DummyRequest

from qgswps.web.cache import Document, DocumentCache, acceptsGzip, pack
from qgswps.web.deferral import Response
from tests.fakes import AsyncTestCase, FakeReactor

TEXT = b"<text/>" * 1000


def request(**headers: str) -> Any:
    """A request with headers; C{_} stands for C{-}."""
    made = DummyRequest([b""])
    for name, value in headers.items():
        made.requestHeaders.addRawHeader(name.replace("_", "-"), value)
    return made


class AcceptTests(AsyncTestCase):
    """L{acceptsGzip}"""

    def test_header(self) -> None:
        """What clients write."""
        for text, accepted in (
            ("gzip", True),
            ("gzip, deflate, br", True),
            ("x-gzip", True),
            ("br;q=1.0, gzip;q=0.8, *;q=0.1", True),
            ("*", True),
            ("GZIP ; q=0.5", True),
            ("gzip;q=0", False),
            ("gzip;q=0.000, *", False),
            ("*;q=0", False),
            ("identity", False),
            ("deflate", False),
            ("", False),
        ):
            with self.subTest(text=text):
                self.assertIs(acceptsGzip(request(Accept_Encoding=text)), accepted)
        self.assertIs(acceptsGzip(request()), False)


class CacheTests(AsyncTestCase):
    """L{DocumentCache}"""

    def setUp(self) -> None:
        self.reactor = FakeReactor()
        self.cache = DocumentCache(self.reactor, 10_000)
        self.made: list[str] = []

    def make(self, name: str, data: bytes = TEXT) -> Deferred[Document]:
        """Ask for a document that says when it is made."""

        def work() -> list[bytes]:
            self.made.append(name)
            return [data]

        return self.cache.get(name, work)

    async def test_once(self) -> None:
        """A document is made once."""
        first = await self.make("a")
        self.assertIs(await self.make("a"), first)
        self.assertEqual(self.made, ["a"])
        self.assertEqual(gzip.decompress(first.packed), TEXT)
        self.assertEqual(first.size, len(TEXT))

    async def test_fault(self) -> None:
        """What could not be made is tried again."""

        def fail() -> list[bytes]:
            raise ValueError("no")

        with self.assertRaises(ValueError):
            await self.cache.get("a", fail)
        await self.make("a")
        self.assertEqual(self.made, ["a"])

    async def test_capacity(self) -> None:
        """What was not asked for longest goes, and what is too large is not kept."""
        noise = [Random(n).randbytes(4000) for n in range(3)]
        await self.make("a", noise[0])
        await self.make("b", noise[1])
        await self.make("a", noise[0])
        await self.make("c", noise[2])
        await self.make("a", noise[0])
        await self.make("b", noise[1])
        self.assertEqual(self.made, ["a", "b", "c", "b"])
        large = b"".join(noise)
        self.cache = DocumentCache(self.reactor, 1000)
        await self.make("d", large)
        await self.make("d", large)
        self.assertEqual(self.made[4:], ["d", "d"])

    async def answer(self, **headers: str) -> Response:
        """The answer to a request for a text."""
        asked = request(**headers)
        asked.method = b"GET"
        return await self.cache.respond(
            asked, "text/xml", "text", lambda: [TEXT[:99], TEXT[99:]], "X-Realm"
        )

    async def test_answer(self) -> None:
        """Compressed or not, and with a tag of its own for each."""
        plain = await self.answer()
        assert plain.stream is not None
        self.assertEqual(b"".join(plain.stream.parts), TEXT)
        self.assertEqual(plain.headers["Content-Length"], str(len(TEXT)))
        self.assertNotIn("Content-Encoding", plain.headers)
        self.assertEqual(plain.headers["Vary"], "Accept-Encoding, X-Realm")
        packed = await self.answer(Accept_Encoding="gzip")
        self.assertEqual(gzip.decompress(packed.body), TEXT)
        self.assertEqual(packed.headers["Content-Encoding"], "gzip")
        self.assertNotEqual(packed.headers["ETag"], plain.headers["ETag"])

    async def test_known(self) -> None:
        """Who has it is told so."""
        for encoding in ("gzip", "identity"):
            etag = (await self.answer(Accept_Encoding=encoding)).headers["ETag"]
            again = await self.answer(
                Accept_Encoding=encoding, If_None_Match=f'"x", {etag}'
            )
            self.assertEqual((again.status, again.body), (304, b""))
            self.assertEqual(again.headers["ETag"], etag)
        other = await self.answer(If_None_Match='"other"')
        self.assertEqual(other.status, 200)

    def test_same(self) -> None:
        """The same content has the same tag, whenever it is made."""
        self.assertEqual(pack([TEXT]), pack([TEXT]))
        self.assertNotEqual(pack([TEXT]).tag, pack([b"other"]).tag)
