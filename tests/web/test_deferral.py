"""Tests of L{qgswps.web.deferral}."""

from __future__ import annotations

import json
import os
from collections.abc import Generator, Iterable
from email import message_from_bytes
from http.client import HTTPResponse
from typing import Any

import attrs
from twisted.internet.defer import CancelledError, Deferred
from twisted.logger import capturedLogs
from twisted.python.filepath import FilePath
from twisted.trial.unittest import SynchronousTestCase
from twisted.web.resource import IResource
from zope.interface.verify import verifyObject

from qgswps.errors import Fault, OWSError, busy, missing
from qgswps.web.deferral import Deferral, Response, Stream, jsonResponse
from tests import fakes
from tests.fakes import AsyncTestCase, Exchange, FakeReactor, FakeTransport


def deferral(answer: Any, **options: Any) -> Deferral:
    """A resource with an answer to GET: a value, an error or a Deferred."""

    async def handler(request: Any) -> Response:
        result = await answer if isinstance(answer, Deferred) else answer
        if isinstance(result, Exception):
            raise result
        assert isinstance(result, Response)
        return result

    return Deferral({b"GET": handler}, **options)


class FullTransport(FakeTransport):
    """A connection whose client takes one thing at a time."""

    def write(self, data: bytes) -> None:
        """See C{ITransport}."""
        super().write(data)
        if self.producer is not None:
            self.producer.pauseProducing()

    def writeSequence(self, data: Iterable[bytes]) -> None:
        """See C{ITransport}."""
        self.write(b"".join(data))


def take(exchange: Exchange) -> None:
    """The client of a L{FullTransport} takes what was sent."""
    producer = exchange._transport.producer
    assert producer is not None
    producer.resumeProducing()


class DeferralTestCase(SynchronousTestCase):
    """Requests to a L{Deferral}."""

    def get(self, answer: Any, method: str = "GET", **options: Any) -> HTTPResponse:
        """The response to a request."""
        resource = deferral(answer, **options)
        response = self.successResultOf(Exchange(resource, "/", method).finished)
        assert isinstance(response, HTTPResponse)
        return response


class AnswerTests(DeferralTestCase):
    """What is answered."""

    def test_interface(self) -> None:
        """It is a resource, and a leaf."""
        resource = deferral(Response())
        verifyObject(IResource, resource)
        self.assertTrue(resource.isLeaf)
        for method in (resource.getChildWithDefault, resource.putChild):
            self.assertRaises(NotImplementedError, method, b"a", None)

    def test_response(self) -> None:
        """A response is sent with all that it says."""
        response = self.get(Response(b"<a/>", "text/xml", 201, {"X-Own": "1"}))
        self.assertEqual((response.status, response.read()), (201, b"<a/>"))
        self.assertEqual(response.getheader("Content-Type"), "text/xml")
        self.assertEqual(response.getheader("Content-Length"), "4")
        self.assertEqual(response.getheader("X-Own"), "1")
        self.assertIsNone(response.getheader("Access-Control-Allow-Origin"))

    def test_later(self) -> None:
        """The response may come later."""
        answer: Deferred[Response] = Deferred()
        exchange = Exchange(deferral(answer), "/")
        self.assertNoResult(exchange.finished)
        self.assertEqual(exchange.sent, b"")
        answer.callback(Response(b"late"))
        self.assertEqual(self.successResultOf(exchange.finished).read(), b"late")

    def test_json(self) -> None:
        """JSON is UTF-8."""
        response = self.get(jsonResponse({"ä": 1}))
        self.assertEqual(response.getheader("Content-Type"), "application/json")
        self.assertEqual(json.loads(response.read()), {"ä": 1})

    def test_head(self) -> None:
        """HEAD has the headers of GET, and no body."""
        response = self.get(Response(b"1234"), "HEAD")
        self.assertEqual(response.getheader("Content-Length"), "4")
        exchange = Exchange(deferral(Response(b"1234")), "/", "HEAD")
        self.assertTrue(exchange.sent.endswith(b"\r\n\r\n"))
        self.assertNotIn(b"1234", exchange.sent)

    def test_otherMethods(self) -> None:
        """What is not there is refused, with what is."""
        for method in ("POST", "DELETE", "BREW"):
            response = self.get(Response(), method)
            self.assertEqual(response.status, 405)
            self.assertEqual(response.getheader("Allow"), "GET, HEAD, OPTIONS")
            self.assertIn(method, response.read().decode())

    def test_options(self) -> None:
        """OPTIONS says what there is."""
        response = self.get(Response(), "OPTIONS")
        self.assertEqual((response.status, response.read()), (204, b""))
        self.assertEqual(response.getheader("Allow"), "GET, HEAD, OPTIONS")
        for name in ("Access-Control-Allow-Methods", "Content-Type", "Content-Length"):
            self.assertIsNone(response.getheader(name))


class ErrorTests(DeferralTestCase):
    """What is answered when something is wrong."""

    def test_domain(self) -> None:
        """An error of ours is told, with its status and when to try again."""
        for error, status, retryAfter in [
            (missing("a"), 400, None),
            (busy("b", 7), 503, "7"),
            (OWSError(Fault("NotEnoughStorage", "c"), retryAfter=60), 507, "60"),
        ]:
            response = self.get(error)
            self.assertEqual(response.status, status)
            self.assertEqual(response.getheader("Retry-After"), retryAfter)
            self.assertEqual(
                json.loads(response.read())["faults"],
                [attrs.asdict(fault) for fault in error.faults],
            )

    def test_document(self) -> None:
        """The form of an error is the resource's."""

        def document(error: OWSError) -> Response:
            return Response(b"<e/>", "text/xml", error.status, {"X-Own": "1"})

        for answer, method, status in [
            (busy("b", 7), "GET", 503),
            (ValueError("x"), "GET", 500),
            (Response(), "PUT", 405),
        ]:
            response = self.get(answer, method, errorDocument=document)
            self.assertEqual((response.status, response.read()), (status, b"<e/>"))
        self.flushLoggedErrors(ValueError)

    def test_unexpected(self) -> None:
        """The log has what a client is not told, under an id that it is."""

        async def handler(request: Any) -> Response:
            raise ValueError("secret")

        resource = Deferral({b"GET": handler})
        with capturedLogs() as events:
            response = self.successResultOf(Exchange(resource, "/").finished)
        body = response.read().decode()
        self.assertEqual(response.status, 500)
        for text in ("secret", "Traceback", "ValueError", __file__):
            self.assertNotIn(text, body)
        [fault] = [event["fault"] for event in events if "fault" in event]
        self.assertIn(fault, body)
        [logged] = self.flushLoggedErrors(ValueError)
        self.assertEqual(str(logged.value), "secret")

    def test_errorDocumentFails(self) -> None:
        """If not even the error can be told, the connection ends."""

        def document(error: OWSError) -> Response:
            raise TypeError("no")

        exchange = Exchange(deferral(missing("a"), errorDocument=document), "/")
        self.assertEqual(exchange.sent, b"")
        self.assertTrue(exchange.closed)
        self.assertEqual(len(self.flushLoggedErrors(TypeError)), 2)

    def test_cancelledInside(self) -> None:
        """A cancellation that is not the client's gets an answer too."""
        self.assertEqual(self.get(CancelledError()).status, 500)
        self.assertEqual(len(self.flushLoggedErrors(CancelledError)), 1)


class DisconnectTests(DeferralTestCase):
    """The client goes away."""

    def test_cancels(self) -> None:
        """What was being done for it is cancelled, and nothing is logged."""
        cancelled: list[Any] = []
        exchange = Exchange(deferral(Deferred(cancelled.append)), "/")
        self.assertEqual(cancelled, [])
        exchange.disconnect()
        self.assertEqual(len(cancelled), 1)
        self.assertEqual(exchange.sent, b"")

    def test_cleansUp(self) -> None:
        """A handler may clean up, and even insist on an answer."""
        for after in (Response(b"x"), missing("a")):
            seen: list[str] = []

            async def handler(
                request: Any, after: Any = after, seen: list[str] = seen
            ) -> Response:
                try:
                    await Deferred()
                except CancelledError:
                    seen.append("cancelled")
                if isinstance(after, Exception):
                    raise after
                assert isinstance(after, Response)
                return after

            exchange = Exchange(Deferral({b"GET": handler}), "/")
            exchange.disconnect()
            self.assertEqual((seen, exchange.sent), (["cancelled"], b""))

    def test_cleanUpFails(self) -> None:
        """What goes wrong then is logged."""

        async def handler(request: Any) -> Response:
            try:
                await Deferred()
            finally:
                raise ValueError("on the way out")

        Exchange(Deferral({b"GET": handler}), "/").disconnect()
        self.assertEqual(len(self.flushLoggedErrors(ValueError)), 1)

    def test_afterwards(self) -> None:
        """After the answer it is of no interest."""
        exchange = Exchange(deferral(Response(b"x")), "/")
        self.successResultOf(exchange.finished)
        exchange.disconnect()


class FileTests(AsyncTestCase):
    """Files as answers."""

    def setUp(self) -> None:
        self.path = self.mktemp()
        self.content = os.urandom(300_000)
        FilePath(self.path).setContent(self.content)
        self.answer = Response(b"", "image/tiff", 200, {"X-Own": "1"}, self.path)

    def descriptors(self) -> list[str]:
        """The files that are open."""
        found = []
        for name in os.listdir("/proc/self/fd"):
            try:
                found.append(os.readlink(f"/proc/self/fd/{name}"))
            except FileNotFoundError:
                continue
        return [each for each in found if each == os.path.realpath(self.path)]

    async def test_sent(self) -> None:
        """A file is sent as it is."""
        response = await Exchange(deferral(self.answer), "/").finished
        self.assertEqual(response.status, 200)
        self.assertEqual(response.getheader("Content-Length"), "300000")
        self.assertEqual(response.getheader("Content-Type"), "image/tiff")
        self.assertEqual(response.getheader("X-Own"), "1")
        self.assertTrue(response.read() == self.content)
        self.assertEqual(self.descriptors(), [])

    def test_head(self) -> None:
        """Of a file, HEAD tells the size."""
        exchange = Exchange(deferral(self.answer), "/", "HEAD")
        response = self.successResultOf(exchange.finished)
        self.assertEqual(response.getheader("Content-Length"), "300000")
        self.assertEqual(self.descriptors(), [])

    def test_gone(self) -> None:
        """If there is no such file, that is an error of ours."""
        os.unlink(self.path)
        response = self.successResultOf(Exchange(deferral(self.answer), "/").finished)
        self.assertEqual(response.status, 500)
        self.assertIsNone(response.getheader("X-Own"))
        self.assertNotIn(self.path, response.read().decode())
        self.assertEqual(len(self.flushLoggedErrors(FileNotFoundError)), 1)

    def test_within(self) -> None:
        """A file in a folder is found by links nowhere below that."""
        folder, name = os.path.split(os.path.abspath(self.path))
        answer = attrs.evolve(self.answer, path=name, within=folder)
        response = self.successResultOf(Exchange(deferral(answer), "/").finished)
        self.assertTrue(response.read() == self.content)
        os.symlink(name, f"{self.path}.link")
        answer = attrs.evolve(answer, path=f"{name}.link")
        response = self.successResultOf(Exchange(deferral(answer), "/").finished)
        self.assertEqual(response.status, 500)
        self.assertEqual(len(self.flushLoggedErrors(OSError)), 1)

    def test_slow(self) -> None:
        """No more is read than the client takes."""
        self.patch(fakes, "FakeTransport", FullTransport)
        exchange = Exchange(deferral(self.answer), "/")
        for _ in range(4):
            self.assertLess(len(exchange.sent), 300_000)
            self.assertEqual(len(self.descriptors()), 1)
            take(exchange)
        self.assertTrue(exchange.sent.endswith(self.content))
        take(exchange)
        response = self.successResultOf(exchange.finished)
        self.assertTrue(response.read() == self.content)
        self.assertEqual(self.descriptors(), [])

    def test_disconnect(self) -> None:
        """If the client goes away, the file is closed, and nothing is logged."""
        self.patch(fakes, "FakeTransport", FullTransport)
        exchange = Exchange(deferral(self.answer), "/")
        self.assertEqual(len(self.descriptors()), 1)
        exchange.disconnect()
        self.assertEqual(self.descriptors(), [])
        self.assertNoResult(exchange.finished)

    def test_grows(self) -> None:
        """Of a file that grows meanwhile comes what was promised."""
        self.patch(fakes, "FakeTransport", FullTransport)
        exchange = Exchange(deferral(self.answer), "/")
        with open(self.path, "ab") as file:
            file.write(b"more")
        while not exchange.closed:
            take(exchange)
        response = self.successResultOf(exchange.finished)
        self.assertTrue(response.read() == self.content)

    def test_shrinks(self) -> None:
        """If it is cut meanwhile, so is the connection."""
        self.patch(fakes, "FakeTransport", FullTransport)
        exchange = Exchange(deferral(self.answer), "/")
        os.truncate(self.path, 10)
        take(exchange)
        self.assertTrue(exchange.closed)
        self.assertLess(len(exchange.sent), 300_000)
        self.assertEqual(self.descriptors(), [])
        self.assertEqual(len(self.flushLoggedErrors(OSError)), 1)

    def test_disconnectBefore(self) -> None:
        """If it is away already, the file is not left open."""
        waiting: Deferred[Response] = Deferred()

        async def handler(request: Any) -> Response:
            try:
                return await waiting
            except CancelledError:
                return self.answer

        Exchange(Deferral({b"GET": handler}), "/").disconnect()
        self.assertEqual(self.descriptors(), [])


class RangeTests(DeferralTestCase):
    """Parts of a file."""

    def setUp(self) -> None:
        path = self.mktemp()
        FilePath(path).setContent(b"0123456789")
        os.utime(path, (0, 1_000_000_000.5))
        self.answer = Response(b"", "text/x", path=path)

    def ranged(self, wanted: str, method: str = "GET", **headers: Any) -> HTTPResponse:
        """The response to a request for a range."""
        exchange = Exchange(deferral(self.answer), "/", method, Range=wanted, **headers)
        response = self.successResultOf(exchange.finished)
        assert isinstance(response, HTTPResponse)
        return response

    def test_one(self) -> None:
        """One range is sent as it is."""
        for wanted, start, end in [
            ("bytes=0-0", 0, 1),
            ("bytes=2-4", 2, 5),
            ("bytes=7-", 7, 10),
            ("bytes=7-100", 7, 10),
            ("bytes=0-9", 0, 10),
            ("bytes=-3", 7, 10),
            ("bytes=-100", 0, 10),
            ("Bytes = 2-4 ,", 2, 5),
            ("bytes=20-30, 2-4", 2, 5),
        ]:
            response = self.ranged(wanted)
            self.assertEqual(response.status, 206, wanted)
            self.assertEqual(response.read(), b"0123456789"[start:end])
            for name, value in [
                ("Content-Length", str(end - start)),
                ("Content-Range", f"bytes {start}-{end - 1}/10"),
                ("Content-Type", "text/x"),
                ("Accept-Ranges", "bytes"),
            ]:
                self.assertEqual(response.getheader(name), value)

    def test_many(self) -> None:
        """Several are sent as parts of one document."""
        response = self.ranged("bytes=0-1, 50-, 4-5, -2")
        self.assertEqual(response.status, 206)
        self.assertIsNone(response.getheader("Content-Range"))
        kind = str(response.getheader("Content-Type"))
        self.assertTrue(kind.startswith("multipart/byteranges; boundary="), kind)
        body = response.read()
        self.assertEqual(response.getheader("Content-Length"), str(len(body)))
        document = message_from_bytes(f"Content-Type: {kind}\r\n\r\n".encode() + body)
        parts: list[Any] = list(document.walk())[1:]
        self.assertEqual(
            [
                (part["Content-Type"], part["Content-Range"], part.get_payload())
                for part in parts
            ],
            [
                ("text/x", "bytes 0-1/10", "01"),
                ("text/x", "bytes 4-5/10", "45"),
                ("text/x", "bytes 8-9/10", "89"),
            ],
        )

    def test_unsatisfiable(self) -> None:
        """If there is nothing of what is asked for, its length is told."""
        for wanted in ("bytes=10-", "bytes=10-20,30-40", "bytes=-0"):
            response = self.ranged(wanted)
            self.assertEqual(response.status, 416)
            self.assertEqual(response.getheader("Content-Range"), "bytes */10")
            self.assertIn("10 bytes", response.read().decode())

    def test_ignored(self) -> None:
        """What is no range, or more than the file, is all of it."""
        for wanted in [
            "bytes",
            "bytes=",
            "bytes=-",
            "bytes=a-b",
            "bytes=4-2",
            "bytes=1-2,x",
            "bytes=--1",
            "bytes=+1-2",
            "bytes=1 - 2",
            "bytes=\u0661-2",
            "bytes=" + "9" * 5000 + "-",
            "lines=1-2",
            "bytes=0-,0-",
            "bytes=" + "1-1," * 101,
            "\xff",
        ]:
            response = self.ranged(wanted)
            self.assertEqual((response.status, response.read()), (200, b"0123456789"))
            self.assertIsNone(response.getheader("Content-Range"))

    def test_empty(self) -> None:
        """Of an empty file there are no parts."""
        assert self.answer.path
        os.truncate(self.answer.path, 0)
        for wanted in ("bytes=0-", "bytes=-5"):
            response = self.ranged(wanted)
            self.assertEqual((response.status, response.read()), (200, b""))
            self.assertEqual(response.getheader("Content-Length"), "0")

    def test_changed(self) -> None:
        """A client with a part of another file gets all of this one."""
        response = self.get(self.answer)
        etag = str(response.getheader("ETag"))
        self.assertEqual(self.ranged("bytes=0-0", If_Range=etag).status, 206)
        for other in ('"other"', f"W/{etag}", str(response.getheader("Last-Modified"))):
            self.assertEqual(self.ranged("bytes=0-0", If_Range=other).status, 200)

    def test_others(self) -> None:
        """Only a GET that went well has parts."""
        response = self.ranged("bytes=0-0", "HEAD")
        self.assertEqual(response.status, 200)
        self.assertEqual(response.getheader("Content-Length"), "10")
        self.answer = attrs.evolve(self.answer, status=400)
        response = self.ranged("bytes=0-0", If_None_Match="*")
        self.assertEqual((response.status, response.read()), (400, b"0123456789"))
        for name in ("ETag", "Last-Modified", "Accept-Ranges"):
            self.assertIsNone(response.getheader(name))

    def test_post(self) -> None:
        """The result of a POST is sent whole."""

        async def handler(request: Any) -> Response:
            return self.answer

        exchange = Exchange(
            Deferral({b"POST": handler}),
            "/",
            "POST",
            Range="bytes=0-0",
            If_None_Match="*",
        )
        response = self.successResultOf(exchange.finished)
        self.assertEqual((response.status, response.read()), (200, b"0123456789"))

    def test_known(self) -> None:
        """What a client has is not sent again."""
        first = self.get(self.answer)
        etag = str(first.getheader("ETag"))
        self.assertTrue(etag.startswith('"'))
        modified = "Sun, 09 Sep 2001 01:46:40 GMT"
        self.assertEqual(first.getheader("Last-Modified"), modified)
        for headers, status in [
            ({"If_None_Match": etag}, 304),
            ({"If_None_Match": f'"a", W/{etag},"b"'}, 304),
            ({"If_None_Match": "*"}, 304),
            ({"If_None_Match": '"a"'}, 206),
            ({"If_None_Match": ""}, 206),
            ({"If_Modified_Since": modified}, 304),
            ({"If_Modified_Since": "Sun Sep  9 01:46:40 2001"}, 304),
            ({"If_Modified_Since": "Sun, 09 Sep 2001 01:46:41 GMT"}, 304),
            ({"If_Modified_Since": "Sun, 09 Sep 2001 01:46:39 GMT"}, 206),
            ({"If_Modified_Since": "yesterday"}, 206),
            ({"If_Modified_Since": modified, "If_None_Match": '"a"'}, 206),
        ]:
            for method in ("GET", "HEAD"):
                response = self.ranged("bytes=0-0", method, **headers)
                expected = 200 if (status, method) == (206, "HEAD") else status
                self.assertEqual(response.status, expected, headers)
                self.assertEqual(response.getheader("ETag"), etag)
            if status == 304:
                self.assertEqual(response.read(), b"")
                self.assertIsNone(response.getheader("Content-Type"))
                self.assertIsNone(response.getheader("Content-Length"))

    def test_etag(self) -> None:
        """A file that was changed has another one."""
        etags = {self.get(self.answer).getheader("ETag")}
        assert self.answer.path
        for size, moment in [(10, 1_000_000_001), (9, 1_000_000_001)]:
            os.truncate(self.answer.path, size)
            os.utime(self.answer.path, (0, moment))
            etags.add(self.get(self.answer).getheader("ETag"))
        os.rename(self.answer.path, f"{self.answer.path}.old")
        FilePath(self.answer.path).setContent(b"0" * 9)
        os.utime(self.answer.path, (0, moment))
        etags.add(self.get(self.answer).getheader("ETag"))
        self.assertEqual(len(etags), 4)


class StreamTests(DeferralTestCase):
    """Bodies that are made while they are sent."""

    def setUp(self) -> None:
        self.reactor = FakeReactor()
        self.reactor.held = []
        self.seen: list[Any] = []

    def parts(self) -> Generator[bytes, None, None]:
        """A few parts, one of them empty."""
        try:
            for part in (b"one", b"", b"two"):
                self.seen.append(part)
                yield part
        finally:
            self.seen.append("closed")

    def exchange(self, method: str = "GET") -> Exchange:
        """A request for a stream."""
        stream = Stream(self.parts(), self.reactor)
        return Exchange(deferral(Response(stream=stream)), "/", method)

    def work(self) -> None:
        """Do what waits for a thread."""
        assert self.reactor.held is not None
        held, self.reactor.held = self.reactor.held, []
        for each in held:
            each()

    def test_sent(self) -> None:
        """Each part is made by a thread, when the one before was sent."""
        exchange = self.exchange()
        self.assertEqual(self.seen, [])
        self.work()
        self.assertTrue(exchange.sent.endswith(b"3\r\none\r\n"))
        while not exchange.closed:
            self.work()
        response = self.successResultOf(exchange.finished)
        self.assertEqual(response.getheader("Transfer-Encoding"), "chunked")
        self.assertIsNone(response.getheader("Content-Length"))
        self.assertEqual(response.read(), b"onetwo")
        self.assertEqual(self.seen, [b"one", b"", b"two", "closed"])

    def test_head(self) -> None:
        """For HEAD nothing is made."""
        response = self.successResultOf(self.exchange("HEAD").finished)
        self.assertIsNone(response.getheader("Content-Length"))
        self.assertEqual((self.seen, self.reactor.held), ([], []))

    def test_slow(self) -> None:
        """A part is made when the client has taken the last one."""
        self.patch(fakes, "FakeTransport", FullTransport)
        exchange = self.exchange()
        self.work()
        self.assertEqual(self.reactor.held, [])
        take(exchange)
        take(exchange)
        self.assertEqual(len(self.reactor.held or ()), 1)

    def test_disconnect(self) -> None:
        """If the client goes, what a thread makes is closed after it."""
        exchange = self.exchange()
        self.work()
        exchange.disconnect()
        self.assertEqual(self.seen, [b"one"])
        self.work()
        self.assertEqual(self.seen, [b"one", b""])
        self.work()
        self.assertEqual(self.seen, [b"one", b"", "closed"])
        self.assertEqual(self.reactor.held, [])
        self.assertNotIn(b"two", exchange.sent)

    def test_disconnectPaused(self) -> None:
        """It is closed too if it waited for the client."""
        self.patch(fakes, "FakeTransport", FullTransport)
        exchange = self.exchange()
        self.work()
        exchange.disconnect()
        self.work()
        self.assertEqual(self.seen, [b"one", "closed"])

    def test_fails(self) -> None:
        """If a part can't be made, the response has no end, and that is logged."""

        def parts() -> Generator[bytes, None, None]:
            yield b"one"
            raise ValueError("no")

        stream = Stream(parts(), self.reactor)
        exchange = Exchange(deferral(Response(stream=stream)), "/")
        while not exchange.closed:
            self.work()
        self.assertTrue(exchange.sent.endswith(b"3\r\none\r\n"))
        self.assertEqual(len(self.flushLoggedErrors(ValueError)), 1)
