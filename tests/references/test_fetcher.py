"""Tests of L{qgswps.references.fetcher} and what it fetches with, against servers."""

from __future__ import annotations

import base64
import contextlib
import datetime
import errno
import gzip
import ipaddress
import os
import time
import zlib
from collections.abc import Callable, Sequence
from typing import Any

import attrs
from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.x509.oid import NameOID
from OpenSSL import crypto  # type: ignore[import-untyped]
from twisted.internet import ssl
from twisted.internet.defer import CancelledError, Deferred, fail, succeed
from twisted.internet.protocol import Factory, Protocol
from twisted.internet.task import LoopingCall, deferLater
from twisted.logger import capturedLogs
from twisted.web.client import BrowserLikePolicyForHTTPS
from twisted.web.http import Request
from twisted.web.resource import Resource
from twisted.web.server import NOT_DONE_YET, Site
from zope.interface.verify import verifyObject

from qgswps import audit
from qgswps.errors import Fault, OWSError
from qgswps.interfaces import IReferences
from qgswps.model import FileValue, Format, Input, LiteralValue, ReferenceValue, Task
from qgswps.references import fetcher, sink
from qgswps.references.fetcher import Limits, References
from qgswps.references.guard import IPAddress
from tests.fakes import AsyncTestCase, makeTask

ANY = Format("")
LOOPBACK = ipaddress.ip_address("127.0.0.1")
ALLOWED = ("127.0.0.0/8",)


class Page(Resource):
    """
    Answers each request by a function of it, and keeps what was asked.

    @ivar asked: method, path, headers, body.
    """

    isLeaf = True

    def __init__(self, answer: Callable[[Request], bytes | int]) -> None:
        super().__init__()
        self._answer = answer
        self.asked: list[tuple[str, str, dict[str, str], bytes]] = []

    def render(self, request: Any) -> bytes | int:
        """See C{IResource}."""
        headers = {
            name.decode().lower(): b", ".join(values).decode("latin-1")
            for name, values in request.requestHeaders.getAllRawHeaders()
        }
        self.asked.append(
            (
                request.method.decode(),
                request.uri.decode(),
                headers,
                request.content.read(),
            )
        )
        return self._answer(request)


class Lines(Protocol):
    """Answers whatever is asked by the same bytes."""

    factory: Any
    transport: Any
    _loop: LoopingCall | None = None

    def connectionMade(self) -> None:
        """See C{IProtocol}."""
        self.factory.connections.append(self)

    def dataReceived(self, data: bytes) -> None:
        """See C{IProtocol}."""
        self.factory.answer(self.transport)

    def repeat(self, data: bytes, interval: float = 0.0) -> None:
        """Send the same again and again, until nobody listens."""
        self._loop = LoopingCall(self.transport.write, data)
        self._loop.start(interval)

    def connectionLost(self, reason: object = None) -> None:
        """See C{IProtocol}."""
        if self._loop is not None:
            self._loop.stop()


class FetchCase(AsyncTestCase):
    """References that are fetched from servers of this test."""

    timeout = 30

    def setUp(self) -> None:
        from twisted.internet import reactor

        self.reactor: Any = reactor
        self.directory = os.path.abspath(self.mktemp())
        os.mkdir(self.directory)
        self.names: dict[str, list[Sequence[str]]] = {}
        self.policy: Any = None

    def resolve(self, host: str) -> Deferred[Sequence[IPAddress]]:
        """The addresses of a host: the next ones each time, then the last."""
        if host not in self.names:
            return fail(OSError("no such host"))
        answers = self.names[host]
        found = answers.pop(0) if len(answers) > 1 else answers[0]
        return succeed([ipaddress.ip_address(each) for each in found])

    def references(self, **limits: Any) -> References:
        """What fetches; loopback is allowed."""
        values = {"allowed": ALLOWED, "timeout": 10.0, "megabytes": 1, **limits}
        return References(self.reactor, Limits(**values), self.resolve, self.policy)

    def listen(self, factory: Any, context: Any = None) -> int:
        """Serve; the port."""
        if context is None:
            port = self.reactor.listenTCP(0, factory, interface="127.0.0.1")
        else:
            port = self.reactor.listenSSL(0, factory, context, interface="127.0.0.1")
        self.addCleanup(port.stopListening)
        number: int = port.getHost().port
        return number

    def serve(self, answer: Callable[[Any], bytes | int] | bytes) -> tuple[Page, str]:
        """A page, and the URL of all that is below it, without a C{/}."""
        page = Page((lambda _: answer) if isinstance(answer, bytes) else answer)
        site = Site(page)
        site.displayTracebacks = False
        return page, f"http://127.0.0.1:{self.listen(site)}"

    def raw(self, answer: Callable[[Any], None]) -> tuple[Any, str]:
        """A server that sends bytes, and its URL."""
        factory: Any = Factory.forProtocol(Lines)
        factory.answer = answer
        factory.connections = []
        return factory, f"http://127.0.0.1:{self.listen(factory)}"

    def read(self, path: str) -> bytes:
        """A file of the job."""
        with open(os.path.join(self.directory, path), "rb") as file:
            return file.read()

    def left(self) -> list[str]:
        """The files that were fetched."""
        inputs = os.path.join(self.directory, "inputs")
        return sorted(os.listdir(inputs)) if os.path.isdir(inputs) else []

    def task(self, *hrefs: str, **attributes: Any) -> Task:
        """A task with references."""
        values = [ReferenceValue(href, ANY) for href in hrefs]
        return makeTask(
            inputs=tuple(
                Input(f"IN{n}", attrs.evolve(value, **attributes))
                for n, value in enumerate(values)
            )
        )

    async def fetch(
        self, *hrefs: str, references: References | None = None, **attributes: Any
    ) -> list[tuple[bytes, str]]:
        """The data of references, and the media types that came with them."""
        task = self.task(*hrefs, **attributes)
        return await self.run_(task, references or self.references())

    async def run_(self, task: Task, references: References) -> list[tuple[bytes, str]]:
        """The same of a task."""
        await references.check(task)
        fetched = await references.fetch(task, self.directory)
        self.assertTrue(fetched.request.isComplete)
        found = []
        for before, each in zip(
            task.request.inputs, fetched.request.inputs, strict=True
        ):
            assert isinstance(each.value, ReferenceValue)
            file = each.value.file
            assert isinstance(file, FileValue)
            self.assertEqual(
                attrs.evolve(each, value=attrs.evolve(each.value, file=None)), before
            )
            found.append((self.read(file.path), file.format.mimeType))
        return found

    async def one(self, href: str, **attributes: Any) -> bytes:
        """The data of one reference."""
        [(data, _)] = await self.fetch(href, **attributes)
        return data

    async def fault(self, *hrefs: str, **attributes: Any) -> Fault:
        """Why a reference can't be had, and that nothing is left of it."""
        try:
            await self.fetch(*hrefs, **attributes)
        except OWSError as error:
            (fault,) = error.faults
        else:
            raise AssertionError(f"{hrefs} were fetched")
        self.assertEqual(self.left(), [])
        return fault

    async def refused(self, text: str, *hrefs: str, **attributes: Any) -> Fault:
        """That a reference can't be had, for a reason with that text."""
        fault = await self.fault(*hrefs, **attributes)
        self.assertIn(text, fault.text)
        self.assertIn(fault.locator or "", fault.text)
        return fault


class GetTests(FetchCase):
    """What is fetched by GET."""

    async def test_get(self) -> None:
        """The data, its media type, and what was asked."""

        def answer(request: Any) -> bytes:
            request.setHeader(b"Content-Type", b"text/csv; charset=utf-8")
            return b"a,b"

        page, url = self.serve(answer)
        references = self.references()
        verifyObject(IReferences, references)
        found = await self.fetch(f"{url}/x y?z=%26#f", references=references)
        self.assertEqual(found, [(b"a,b", "text/csv; charset=utf-8")])
        [(method, path, headers, body)] = page.asked
        self.assertEqual((method, path, body), ("GET", "/x%20y?z=%26", b""))
        self.assertEqual(headers["host"], url.removeprefix("http://"))
        self.assertEqual(headers["accept-encoding"], "gzip, deflate")
        self.assertIn("qgswps", headers["user-agent"])
        self.assertNotIn("authorization", headers)

    async def test_format(self) -> None:
        """What the client says of the data goes before what its server says."""
        _, url = self.serve(b"{}")
        form = Format("application/geo+json", "UTF-8")
        [(_, mimeType)] = await self.fetch(url, format=form)
        self.assertEqual(mimeType, "application/geo+json")

    async def test_headers(self) -> None:
        """A client's headers are sent, and those in the URL, and may be several."""
        page, url = self.serve(b"")
        await self.fetch(
            url.replace("//", "//me:p%40ss@"),
            headers=(("X-A", "1"), ("X-A", "ä"), ("Accept", "text/csv")),
        )
        [(_, _, headers, _)] = page.asked
        self.assertEqual((headers["x-a"], headers["accept"]), ("1, ä", "text/csv"))
        expected = "Basic " + base64.b64encode(b"me:p@ss").decode()
        self.assertEqual(headers["authorization"], expected)
        await self.fetch(
            url.replace("//", "//me:pass@"),
            headers=(("authorization", "Bearer x"), ("User-Agent", "me")),
        )
        headers = page.asked[1][2]
        self.assertEqual(headers["authorization"], "Bearer x")
        self.assertEqual(headers["user-agent"], "me")

    async def test_headersRefused(self) -> None:
        """Headers that would change what the server sends are refused at once."""
        page, url = self.serve(b"")
        for name, value in [
            ("Host", "127.0.0.1"),
            ("content-length", "5"),
            ("Transfer-Encoding", "chunked"),
            ("Connection", "upgrade"),
            ("Proxy-Authorization", "x"),
            ("X-Forwarded-For", "127.0.0.1"),
            ("Accept-Encoding", "br"),
            ("Expect", "100-continue"),
            ("X", "a\r\nHost: b"),
            ("X", "a\nb"),
            ("X", "a\0b"),
            ("X\r\nY", "a"),
            ("X Y", "a"),
            ("X:", "a"),
            ("", "a"),
            ("X", "\u20ac"),
        ]:
            await self.refused("header", url, headers=((name, value),))
        await self.refused("headers", "data:,x", headers=(("X", "y"),))
        self.assertEqual(page.asked, [])

    async def test_encodings(self) -> None:
        """Packed answers are unpacked, and are not larger than the limit then."""
        encodings: dict[str, Any] = {"gzip": gzip.compress, "deflate": zlib.compress}

        def answer(request: Any) -> bytes:
            name, _, size = request.path.decode().strip("/").partition("/")
            request.setHeader(b"Content-Encoding", name.encode())
            return encodings.get(name, bytes)(b"x" * int(size))

        _, url = self.serve(answer)
        for name in encodings:
            self.assertEqual(await self.one(f"{url}/{name}/1048576"), b"x" * 1048576)
            fault = await self.refused("more than 1 MiB", f"{url}/{name}/1048577")
            self.assertEqual(fault.code, "FileSizeExceeded")
        await self.refused("encoding 'br'", f"{url}/br/5")

    async def test_bomb(self) -> None:
        """What unpacks to a gigabyte takes neither the memory nor the disk."""
        packer = zlib.compressobj(9, wbits=31)
        bomb = b"".join(packer.compress(bytes(1 << 20)) for _ in range(1024))
        bomb += packer.flush()

        def answer(request: Any) -> bytes:
            request.setHeader(b"Content-Encoding", b"gzip")
            return bomb

        _, url = self.serve(answer)
        began = time.monotonic()
        await self.refused("more than 1 MiB", url)
        self.assertLess(time.monotonic() - began, 5)

    async def test_tooLarge(self) -> None:
        """Of what has no end, no more is taken than the limit."""

        def answer(request: Any) -> int:
            loop = LoopingCall(request.write, b"x" * 65536)
            request.notifyFinish().addErrback(lambda _: loop.stop())
            loop.start(0)
            return NOT_DONE_YET

        _, url = self.serve(answer)
        fault = await self.refused("more than 1 MiB", url)
        self.assertEqual((fault.code, fault.locator), ("FileSizeExceeded", "IN0"))

    async def test_limitOfInput(self) -> None:
        """The input's own limit holds if it is less, the server's else."""
        _, url = self.serve(b"x" * (2 << 20))
        references = self.references(megabytes=2)
        found = await self.fetch(url, references=references, maximumMegabytes=9)
        self.assertEqual(len(found[0][0]), 2 << 20)
        fault = await self.refused(
            "more than 1 MiB", url, references=references, maximumMegabytes=1
        )
        self.assertEqual(fault.code, "FileSizeExceeded")

    async def test_total(self) -> None:
        """All references of a job have a limit together; of each job anew."""
        _, url = self.serve(b"x" * 600_000)
        references = self.references(total=1)
        for _ in range(2):
            await self.fetch(url, references=references)
        text = "the job's data has more than 1 MiB together"
        fault = await self.refused(text, url, url, references=references)
        self.assertEqual(fault.code, "FileSizeExceeded")

    async def test_slow(self) -> None:
        """Slow ones don't keep others from being fetched, or not for long."""
        self.patch(fetcher, "PLACE", 0.1)

        def answer(request: Any) -> bytes | int:
            return b"x" if request.path == b"/quick" else NOT_DONE_YET

        _, url = self.serve(answer)
        references = self.references(parallel=4)
        slow = references.fetch(
            self.task(*(f"{url}/slow" for _ in range(4))), self.directory
        )
        # As many as four at once, and then more.
        found = await self.fetch(*5 * (f"{url}/quick",), references=references)
        self.assertEqual(len(found), 5)
        self.assertNoResult(slow)
        slow.cancel()
        with contextlib.suppress(CancelledError):
            await slow
        # The places are all there again, and no more of them.
        self.assertEqual(references._all.tokens, 4)

    async def test_status(self) -> None:
        """Another status than 200 is told, with host and what was expected."""

        def answer(request: Any) -> bytes:
            request.setResponseCode(int(request.path.strip(b"/")))
            return b"secret"

        _, url = self.serve(answer)
        for status in (400, 401, 404, 500, 503):
            href = url.replace("//", "//u:hush@") + f"/{status}"
            fault = await self.refused(str(status), href)
            self.assertIn("expected 200", fault.text)
            self.assertIn(url.removeprefix("http://"), fault.text)
            self.assertNotIn("hush", fault.text)
            self.assertNotIn("secret", fault.text)
            self.assertEqual(fault.code, "InvalidParameterValue")
        self.assertEqual(await self.one(f"{url}/203"), b"secret")

    async def test_base64(self) -> None:
        """A client may say of a reference that it is in base64."""
        _, url = self.serve(lambda r: base64.b64encode(b"II*\0" * 3000))
        form = Format("image/tiff", "base64")
        self.assertEqual(await self.one(url, format=form), b"II*\0" * 3000)
        _, url = self.serve(b"II*\0")
        self.assertEqual(await self.one(url, format=form), b"II*\0")

    async def test_empty(self) -> None:
        """An answer without a body is an empty file."""
        _, url = self.serve(b"")
        self.assertEqual(await self.one(url), b"")

    async def test_sideBySide(self) -> None:
        """References of a job wait together, four at a time."""
        at = {"now": 0, "most": 0}

        def answer(request: Any) -> int:
            at["now"] += 1
            at["most"] = max(at["most"], at["now"])

            def end() -> None:
                at["now"] -= 1
                request.write(request.path)
                request.finish()

            self.reactor.callLater(0.3, end)
            return NOT_DONE_YET

        _, url = self.serve(answer)
        began = time.monotonic()
        found = await self.fetch(f"{url}/0", f"{url}/1")
        self.assertEqual([data for data, _ in found], [b"/0", b"/1"])
        self.assertLess(time.monotonic() - began, 0.6)
        await self.fetch(*(f"{url}/{n}" for n in range(6)))
        self.assertEqual(at["most"], fetcher.PER_JOB)
        at["most"] = 0
        references = self.references(parallel=1)
        await self.fetch(f"{url}/0", f"{url}/1", references=references)
        self.assertEqual(at["most"], 1)

    async def test_oneFails(self) -> None:
        """If one can't be had, the others are not waited for."""

        def answer(request: Any) -> bytes | int:
            if request.path == b"/slow":
                request.write(b"x")
                return NOT_DONE_YET
            request.setResponseCode(404)
            return b""

        _, url = self.serve(answer)
        # The slow one would end this test by its time limit.
        fault = await self.refused("404", f"{url}/slow", f"{url}/not")
        self.assertEqual(fault.locator, "IN1")

    async def test_others(self) -> None:
        """Inputs that are no references stay, and what is there is not fetched."""
        page, url = self.serve(b"x")
        literal = Input("L", LiteralValue("1"))
        value = ReferenceValue(url, ANY)
        there = attrs.evolve(value, file=FileValue("inputs/@7", ANY))
        inputs = (literal, Input("R", there), Input("R", value))
        task = makeTask(inputs=inputs)
        fetched = await self.references().fetch(task, self.directory)
        self.assertEqual(fetched.request.inputs[:2], inputs[:2])
        self.assertEqual(len(page.asked), 1)
        self.assertEqual(self.left(), ["@2"])


class PostTests(FetchCase):
    """What is fetched by POST."""

    async def test_body(self) -> None:
        """A body, with the type that it has or that the client says."""
        page, url = self.serve(b"got")
        for body, headers, expected in [
            ("<a>ä</a>", (), "text/xml"),
            (' {"a": 1}', (), "application/json"),
            ("a=1&b=2", (), "application/x-www-form-urlencoded"),
            ("", (), "application/x-www-form-urlencoded"),
            ("<a/>", (("content-TYPE", "text/plain"),), "text/plain"),
        ]:
            data = await self.one(url, method="POST", body=body, headers=headers)
            self.assertEqual(data, b"got")
            method, _, sent, received = page.asked[-1]
            self.assertEqual((method, received), ("POST", body.encode()))
            self.assertEqual(sent["content-type"], expected)
            self.assertEqual(sent["content-length"], str(len(body.encode())))

    async def test_large(self) -> None:
        """A body of some megabytes."""
        page, url = self.serve(b"got")
        body = "<a>" + "x" * (3 << 20)
        await self.one(url, method="POST", body=body)
        self.assertEqual(page.asked[0][3], body.encode())

    async def test_bodyReference(self) -> None:
        """A body that has to be fetched itself."""

        def form(request: Any) -> bytes:
            request.setHeader(b"Content-Type", b"text/x-query")
            return b"<query/>"

        bodies, bodyURL = self.serve(form)
        page, url = self.serve(b"got")
        data = await self.one(
            url, method="POST", bodyHref=bodyURL, headers=(("X-A", "b"),)
        )
        self.assertEqual(data, b"got")
        [(method, _, headers, body)] = page.asked
        self.assertEqual((method, body), ("POST", b"<query/>"))
        self.assertEqual(headers["content-type"], "text/x-query")
        self.assertEqual(headers["x-a"], "b")
        self.assertEqual(bodies.asked[0][0], "GET")
        self.assertNotIn("x-a", bodies.asked[0][2])
        await self.one(url, method="POST", bodyHref="data:text/xml,<a/>")
        self.assertEqual(page.asked[1][3], b"<a/>")

    async def test_bodyRefused(self) -> None:
        """The body is guarded, capped and told of like the data itself."""
        page, url = self.serve(b"x" * (2 << 20))
        post = {"method": "POST"}
        await self.refused("more than 1 MiB", url, bodyHref=url, **post)
        await self.refused("10.0.0.1", url, bodyHref="http://10.0.0.1/", **post)
        await self.refused("'ftp'", url, bodyHref="ftp://x/", **post)
        await self.refused("only a POST", url, body="x")
        self.names["h"] = [["10.0.0.1"]]
        await self.refused("no address", url, bodyHref="http://h/", **post)
        self.assertEqual(len(page.asked), 1)

    async def test_redirects(self) -> None:
        """After 307 and 308 the body is sent again; after others it is asked for."""

        def answer(request: Any) -> bytes:
            if request.path == b"/end":
                return b"got"
            request.redirect(b"/end")
            request.setResponseCode(int(request.path.strip(b"/")))
            return b""

        page, url = self.serve(answer)
        for status, expected in [
            (301, ("GET", b"", None)),
            (302, ("GET", b"", None)),
            (303, ("GET", b"", None)),
            (307, ("POST", b"<a/>", "text/xml")),
            (308, ("POST", b"<a/>", "text/xml")),
        ]:
            await self.one(f"{url}/{status}", method="POST", body="<a/>")
            method, _, headers, body = page.asked[-1]
            found = (method, body, headers.get("content-type"))
            self.assertEqual(found, expected, status)


class RedirectTests(FetchCase):
    """Where servers lead on to."""

    def leading(self, *targets: str) -> tuple[Page, str]:
        """A server of which C{/0}, C{/1} … lead on, and others are there."""

        def answer(request: Any) -> bytes:
            name = request.path.strip(b"/")
            if not name.isdigit():
                return b"there"
            request.setResponseCode(302)
            request.setHeader(b"Location", targets[int(name)].encode())
            return b"not this"

        return self.serve(answer)

    async def test_followed(self) -> None:
        """Absolute and relative ones; credentials stay with their server."""
        page, url = self.leading("1", "/2", "x?y")
        href = url.replace("//", "//u:p@")
        data = await self.one(f"{href}/0", headers=(("X-A", "b"),))
        self.assertEqual(data, b"there")
        paths = [path for _, path, _, _ in page.asked]
        self.assertEqual(paths, ["/0", "/1", "/2", "/x?y"])
        self.assertTrue(all("authorization" in each[2] for each in page.asked))
        self.assertTrue(all("x-a" in each[2] for each in page.asked))

    async def test_elsewhere(self) -> None:
        """What was told to one server is not told to another one."""
        other, otherURL = self.serve(b"other")
        _, url = self.leading(otherURL.replace("//", "//u:p@") + "/x")
        data = await self.one(
            url.replace("//", "//u:p@") + "/0",
            headers=(("X-Key", "s"), ("Cookie", "s"), ("Accept", "text/csv")),
        )
        self.assertEqual(data, b"other")
        [(_, _, headers, _)] = other.asked
        for name in ("authorization", "x-key", "cookie"):
            self.assertNotIn(name, headers)
        self.assertEqual(headers["accept"], "text/csv")

    async def test_loop(self) -> None:
        """No more than five."""
        page, url = self.leading("/0")
        await self.refused("more than 5 times", f"{url}/0")
        self.assertEqual(len(page.asked), 6)

    async def test_refused(self) -> None:
        """A redirect is checked like the reference itself."""
        self.names["inside"] = [["10.0.0.1"]]
        for target, said in [
            ("http://10.0.0.1/", "10.0.0.1 is a private address"),
            ("http://169.254.169.254/latest/meta-data/", "link-local"),
            ("http://[::1]/", "loopback"),
            ("http://[::ffff:10.0.0.1]/", "private"),
            ("http://0xa000001/", "private"),
            ("http://inside/", "inside has no address that is allowed"),
            ("file:///etc/passwd", "not of http"),
            ("data:,x", "not of http"),
            ("ftp://h/", "not of http"),
            ("http://a@b@c/", "several ways"),
            ("http://h:0/", "port 0"),
        ]:
            _, url = self.leading(target)
            fault = await self.refused(said, f"{url}/0")
            self.assertEqual(fault.code, "InvalidParameterValue")

    async def test_noted(self) -> None:
        """Who was led to a refused address is in the log, as the one who asked."""
        self.patch(audit, "AUDIT", audit.Audit())
        self.names["inside"] = [["10.0.0.1"]]
        audit.speakFor("192.0.2.1", "r1")
        for target, details in [
            ("http://10.0.0.1/", {"reason"}),
            ("http://inside/", {"host", "addresses"}),
        ]:
            _, url = self.leading(target)
            with capturedLogs() as captured:
                await self.refused("allowed", f"{url}/0")
            [event] = [each for each in captured if "event" in each]
            found = (event["event"], event["client"], event["request"])
            self.assertEqual(found, ("reference-refused", "192.0.2.1", "r1"))
            self.assertEqual(set(event["details"]), details)


class GuardedTests(FetchCase):
    """Which addresses are connected to."""

    async def test_table(self) -> None:
        """Without the network, and before there is a job."""
        references = self.references(allowed=())
        for href, said in [
            ("http://127.0.0.1/", "loopback"),
            ("http://127.1:8080/", "loopback"),
            ("http://2130706433/", "loopback"),
            ("http://0x7f000001/", "loopback"),
            ("http://0177.0.0.1/", "loopback"),
            ("http://localhost/", "loopback"),
            ("http://a.localhost./", "loopback"),
            ("http://[::1]/", "loopback"),
            ("http://[::ffff:127.0.0.1]/", "loopback"),
            ("http://[::127.0.0.1]/", "compatible"),
            ("http://[64:ff9b::7f00:1]/", "loopback"),
            ("http://[2002:7f00:1::]/", "6to4"),
            ("http://[2001::1]/", "Teredo"),
            ("http://[fd00:ec2::254]/", "private"),
            ("http://example.org@127.0.0.1/", "loopback"),
            ("http://example.org:80@127.0.0.1/", "loopback"),
            ("http://\uff11\uff12\uff17.\uff10.\uff10.1/", "loopback"),
            ("https://169.254.169.254/latest/", "link-local"),
            ("http://168.63.129.16/", "metadata"),
            ("http://100.100.100.200/", "carrier"),
            ("http://0/", "unspecified"),
            ("http://a\\@127.0.0.1/", "several ways"),
            ("http://a@b@127.0.0.1/", "several ways"),
            ("http://h/\r\nHost: x", "control character"),
            ("http://h/%0d%0a", ""),
            ("gopher://127.0.0.1/", "'gopher'"),
            ("file:///etc/passwd", "allowed_file_roots"),
            ("/etc/passwd", "no scheme"),
            ("dict://h/", "'dict'"),
        ]:
            if said:
                fault = await self.refused(said, href, references=references)
                self.assertEqual(fault.locator, "IN0")
                self.assertEqual(fault.code, "InvalidParameterValue")
            else:
                await references.check(self.task(href))
        try:
            await references.check(self.task("http://0/", "x", "http://h/", "ftp:"))
        except OWSError as error:
            self.assertEqual(error.status, 400)
            self.assertEqual([f.locator for f in error.faults], ["IN0", "IN1", "IN3"])
            self.assertEqual(error.event, "reference-refused")
        else:
            self.fail("they were taken")

    async def test_rebinding(self) -> None:
        """
        A name is looked up once for each connection, and what was checked is
        what is connected to.
        """
        page, url = self.serve(b"x")
        port = url.rpartition(":")[2]
        references = self.references(allowed=("127.0.0.1",))
        self.names["h"] = [["127.0.0.1"], ["10.0.0.1"]]
        href = f"http://h:{port}/"
        self.assertEqual(await self.one(href, references=references), b"x")
        self.assertEqual(page.asked[0][2]["host"], f"h:{port}")
        fault = await self.refused("no address", href, references=references)
        self.assertNotIn("10.0.0.1", fault.text)
        self.assertEqual(len(page.asked), 1)

    async def test_connects(self) -> None:
        """Only to such addresses as are allowed, whatever else a name has."""
        page, url = self.serve(b"x")
        port = url.rpartition(":")[2]
        connected: list[str] = []
        connectTCP = self.reactor.connectTCP

        def record(host: str, *arguments: Any, **others: Any) -> Any:
            connected.append(host)
            return connectTCP(host, *arguments, **others)

        self.patch(self.reactor, "connectTCP", record)
        self.names["h"] = [["169.254.169.254", "::1", "127.0.0.2", "127.0.0.1"]]
        # Nobody listens on the second one.
        self.assertEqual(await self.one(f"http://h:{port}/"), b"x")
        self.assertEqual(connected, ["127.0.0.2", "127.0.0.1"])
        self.assertEqual(len(page.asked), 1)

    async def test_allowedHost(self) -> None:
        """A host that is allowed by its name has any address."""
        _, url = self.serve(b"x")
        port = url.rpartition(":")[2]
        references = self.references(allowed=("good",))
        self.names = {"good": [["127.0.0.1"]], "bad": [["127.0.0.1"]]}
        href = f"http://good:{port}/"
        self.assertEqual(await self.one(href, references=references), b"x")
        href = f"http://bad:{port}/"
        await self.refused("no address", href, references=references)

    async def test_unknown(self) -> None:
        """A host that is not, and one that does not answer."""
        await self.refused("the host nowhere is not known", "http://nowhere/x")
        port = self.reactor.listenTCP(0, Factory(), interface="127.0.0.1")
        number = port.getHost().port
        await port.stopListening()
        await self.refused("can't be connected", f"http://127.0.0.1:{number}/")

    async def test_realResolver(self) -> None:
        """The system's own knows this machine, and is ended."""
        _, url = self.serve(b"x")
        references = References(self.reactor, Limits(allowed=ALLOWED))
        references.start()
        try:
            href = url.replace("127.0.0.1", "localhost")
            self.assertEqual(await self.one(href, references=references), b"x")
        finally:
            await references.stop()


class BadServerTests(FetchCase):
    """Servers that are slow, or speak no HTTP."""

    async def test_silent(self) -> None:
        """The time is limited, before the answer and in it."""

        def trickle(transport: Any) -> None:
            transport.write(b"HTTP/1.1 200 OK\r\n\r\n")
            transport.protocol.repeat(b"x", 0.05)

        for answer in (lambda _: None, trickle):
            factory, url = self.raw(answer)
            began = time.monotonic()
            references = self.references(timeout=0.5)
            fault = await self.refused("longer than 0.5 s", url, references=references)
            self.assertLess(time.monotonic() - began, 3)
            self.assertIn(url.removeprefix("http://"), fault.text)
            await self.closed(factory)

    async def closed(self, factory: Any) -> None:
        """Wait until the client has let go of its connections."""
        for _ in range(100):
            if not any(each.transport.connected for each in factory.connections):
                return
            await deferLater(self.reactor, 0.02)
        self.fail("a connection is open")

    async def test_broken(self) -> None:
        """What is no HTTP, or not all of it."""
        for answer, said in [
            (b"", "closed"),
            (b"hello\r\n\r\n", "can't be read"),
            (b"HTTP/1.1 200 OK\r\nContent-Length: x\r\n\r\n", ""),
            (b"HTTP/1.1 200 OK\r\nContent-Length: 10\r\n\r\n123", ""),
            (b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n5\r\n123", ""),
            (b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\nzz\r\n", ""),
            (b"HTTP/1.1 200 OK\r\nContent-Encoding: gzip\r\n\r\n\x1f\x8b", "damaged"),
            (b"HTTP/1.1 200 OK\r\nno header\r\n\r\n", ""),
            (b"HTTP/1.1 302 Found\r\n\r\n", "more than 5"),
            (b"HTTP/1.1 99999 \x01\r\n\r\n", ""),
        ]:

            def send(transport: Any, answer: bytes = answer) -> None:
                transport.write(answer)
                transport.loseConnection()

            _, url = self.raw(send)
            await self.refused(said, url)
        self.flushLoggedErrors()

    async def test_endlessHead(self) -> None:
        """Headers without end are not taken into memory."""

        def send(transport: Any) -> None:
            transport.write(b"HTTP/1.1 200 OK\r\n")
            transport.protocol.repeat(b"X-A: " + b"x" * 1000 + b"\r\n")

        factory, url = self.raw(send)
        fault = await self.fault(url)
        self.assertNotIn("longer than", fault.text)
        await self.closed(factory)

    async def test_noLength(self) -> None:
        """An answer may end with its connection."""

        def send(transport: Any) -> None:
            transport.write(b"HTTP/1.0 200 OK\r\n\r\nabc")
            transport.loseConnection()

        _, url = self.raw(send)
        self.assertEqual(await self.one(url), b"abc")

    async def test_cancelled(self) -> None:
        """Who gives up closes the connection, and leaves nothing."""

        def send(transport: Any) -> None:
            transport.write(b"HTTP/1.1 200 OK\r\n\r\nabc")

        factory, url = self.raw(send)
        references = self.references(timeout=100)
        d = references.fetch(self.task(url, url, url, url, url), self.directory)
        while len(factory.connections) < 4:
            await deferLater(self.reactor, 0.01)
        d.cancel()
        with self.assertRaises(CancelledError):
            await d
        await self.closed(factory)
        self.assertEqual(len(factory.connections), 4)
        self.assertEqual(self.left(), [])

    async def test_diskFull(self) -> None:
        """Without room for the data, that is what a client is told."""
        _, url = self.serve(b"x")
        for number, code in [
            (errno.ENOSPC, "NotEnoughStorage"),
            (errno.EDQUOT, "NotEnoughStorage"),
        ]:

            def write(*_: object, number: int = number) -> None:
                raise OSError(number, "full")

            self.patch(sink.Sink, "write", write)
            fault = await self.fault(url)
            self.assertEqual(fault.code, code)
            self.assertNotIn(self.directory, fault.text)

    async def test_noDirectory(self) -> None:
        """A job that is gone does not come back."""
        _, url = self.serve(b"x")
        os.rmdir(self.directory)
        with self.assertRaises(FileNotFoundError):
            await self.references().fetch(self.task(url), self.directory)
        self.assertEqual(self.left(), [])
        os.mkdir(self.directory)


class Authority:
    """Signs certificates, and is trusted by L{policy}."""

    def __init__(self) -> None:
        self._key = ec.generate_private_key(ec.SECP256R1())
        self._name = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, "Test CA")])
        self._certificate = self._sign(self._name, self._key.public_key(), None)

    def _sign(self, name: x509.Name, key: Any, host: str | None) -> x509.Certificate:
        now = datetime.datetime(2024, 1, 1)
        builder = (
            x509.CertificateBuilder()
            .subject_name(name)
            .issuer_name(self._name)
            .public_key(key)
            .serial_number(x509.random_serial_number())
            .not_valid_before(now)
            .not_valid_after(now + datetime.timedelta(days=36500))
            .add_extension(x509.BasicConstraints(host is None, None), True)
        )
        if host is not None:
            names = x509.SubjectAlternativeName([x509.DNSName(host)])
            builder = builder.add_extension(names, False)
        return builder.sign(self._key, hashes.SHA256())

    def context(self, host: str) -> ssl.CertificateOptions:
        """What a server of that name shows."""
        key = ec.generate_private_key(ec.SECP256R1())
        name = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, host)])
        certificate = self._sign(name, key.public_key(), host)
        pem = key.private_bytes(
            serialization.Encoding.PEM,
            serialization.PrivateFormat.PKCS8,
            serialization.NoEncryption(),
        )
        return ssl.CertificateOptions(
            privateKey=crypto.load_privatekey(crypto.FILETYPE_PEM, pem),
            certificate=crypto.X509.from_cryptography(certificate),
        )

    def policy(self) -> BrowserLikePolicyForHTTPS:
        """Trust in this one alone."""
        pem = self._certificate.public_bytes(serialization.Encoding.PEM)
        return BrowserLikePolicyForHTTPS(ssl.Certificate.loadPEM(pem))


class TLSTests(FetchCase):
    """Servers are who they say."""

    async def test_https(self) -> None:
        """A certificate has to be of the host, and signed by one that is trusted."""
        authority = Authority()
        self.policy = authority.policy()
        self.names = {name: [["127.0.0.1"]] for name in ("h.test", "other.test")}
        page = Page(lambda _: b"x" * 500_000)
        port = self.listen(Site(page), authority.context("h.test"))
        self.assertEqual(len(await self.one(f"https://h.test:{port}/")), 500_000)
        self.assertEqual(page.asked[0][2]["host"], f"h.test:{port}")
        await self.refused("certificate", f"https://other.test:{port}/")
        self.policy = Authority().policy()
        await self.refused("TLS failed", f"https://h.test:{port}/")
        self.policy = None
        await self.refused("TLS failed", f"https://h.test:{port}/")
        self.assertEqual(len(page.asked), 1)

    async def test_noTLS(self) -> None:
        """A server that speaks none."""
        _, url = self.serve(b"x")
        references = self.references(timeout=0.5)
        href = url.replace("http:", "https:")
        await self.refused("longer than", href, references=references)

    async def test_guarded(self) -> None:
        """The guard stands before TLS."""
        references = self.references(allowed=())
        self.names["h.test"] = [["127.0.0.1"]]
        await self.refused("no address", "https://h.test/", references=references)


class DataTests(FetchCase):
    """data: URLs."""

    async def test_data(self) -> None:
        """The data, and its media type."""
        found = await self.fetch("data:text/csv,a%2Cb", "data:;base64,SUkq")
        self.assertEqual(found, [(b"a,b", "text/csv"), (b"II*", "")])

    async def test_limit(self) -> None:
        """They are capped, too."""
        fault = await self.refused("1 MiB", "data:," + "x" * (1 << 20) + "x")
        self.assertEqual(fault.code, "FileSizeExceeded")
        self.assertLess(len(fault.text), 200)

    async def test_wrong(self) -> None:
        """Refused at once."""
        with self.assertRaises(OWSError):
            await self.references().check(self.task("data:;base64,!"))


class FileTests(FetchCase):
    """file: URLs."""

    def setUp(self) -> None:
        super().setUp()
        top = os.path.abspath(self.mktemp())
        self.root = os.path.join(top, "root")
        os.makedirs(os.path.join(self.root, "sub"))
        self.outside = os.path.join(top, "outside.csv")
        for path in (
            os.path.join(self.root, "a b.csv"),
            os.path.join(self.root, "sub", "c.bin"),
            self.outside,
            os.path.join(top, "rootless"),
        ):
            with open(path, "wb") as file:
                file.write(os.path.basename(path).encode())
        self.link = os.path.join(top, "link")
        os.symlink(self.root, self.link)
        os.symlink("sub", os.path.join(self.root, "inner"))
        os.symlink("..", os.path.join(self.root, "up"))
        os.symlink(self.outside, os.path.join(self.root, "out.csv"))
        os.mkfifo(os.path.join(self.root, "pipe"))

    def swap(self, path: str) -> None:
        """Put a link that leads out in place of a file."""
        os.unlink(path)
        os.symlink(self.outside, path)

    def large(self) -> str:
        """A file of one byte more than is taken."""
        path = os.path.join(self.root, "large")
        with open(path, "wb") as file:
            file.truncate((1 << 20) + 1)
        return path

    async def test_below(self) -> None:
        """Files of a folder that is named, by links in it too."""
        references = self.references(roots=(self.root,))
        for name, expected in [
            ("a%20b.csv", (b"a b.csv", "text/csv")),
            ("sub/c.bin", (b"c.bin", "application/octet-stream")),
            ("inner/c.bin", (b"c.bin", "application/octet-stream")),
            ("sub/../a b.csv", (b"a b.csv", "text/csv")),
        ]:
            href = f"file://{self.root}/{name}"
            found = await self.fetch(href, references=references)
            self.assertEqual(found, [expected])

    async def test_linkedRoot(self) -> None:
        """The folder itself may be named by a link."""
        references = self.references(roots=("/nowhere", self.link))
        for root in (self.root, self.link):
            data = await self.one(f"file://{root}/sub/c.bin", references=references)
            self.assertEqual(data, b"c.bin")

    async def test_outside(self) -> None:
        """Other files are refused, and it is not told whether they are there."""
        references = self.references(roots=(self.root,))
        told = set()
        for path in [
            self.outside,
            f"{self.root}/../outside.csv",
            f"{self.root}/%2e%2e/outside.csv",
            f"{self.root}/out.csv",
            f"{self.root}/up/outside.csv",
            f"{self.root}less",
            self.root,
            f"{self.root}/sub",
            f"{self.root}/pipe",
            f"{self.root}/not",
            f"{self.root}/" + "x" * 5000,
            "/etc/passwd",
            "/dev/zero",
            "/proc/self/environ",
        ]:
            fault = await self.refused(
                "allowed_file_roots", f"file://{path}", references=references
            )
            told.add(fault.text)
        self.assertEqual(len(told), 1)
        await self.refused("allowed_file_roots", f"file://{self.root}/sub/c.bin")

    async def test_swapped(self) -> None:
        """A file that becomes a link after it was checked is not followed."""
        references = self.references(roots=(self.root,))
        task = self.task(f"file://{self.root}/sub/c.bin")
        await references.check(task)
        self.swap(os.path.join(self.root, "sub", "c.bin"))
        with self.assertRaises(OWSError):
            await references.fetch(task, self.directory)

    async def test_limit(self) -> None:
        """They are capped, too."""
        path = self.large()
        references = self.references(roots=(self.root,))
        fault = await self.refused("1 MiB", f"file://{path}", references=references)
        self.assertEqual(fault.code, "FileSizeExceeded")
