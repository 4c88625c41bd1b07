"""Tests of L{qgswps.web.deferral}."""

from __future__ import annotations

import json
import os
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
from qgswps.web.deferral import Deferral, Response, jsonResponse
from tests.fakes import AsyncTestCase, Exchange


def deferral(answer: Any, **options: Any) -> Deferral:
    """A resource with an answer to GET: a value, an error or a Deferred."""

    async def handler(request: Any) -> Response:
        result = await answer if isinstance(answer, Deferred) else answer
        if isinstance(result, Exception):
            raise result
        assert isinstance(result, Response)
        return result

    return Deferral({b"GET": handler}, **options)


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
        """OPTIONS says what there is, and to browsers only if they may come."""
        response = self.get(Response(), "OPTIONS")
        self.assertEqual((response.status, response.read()), (204, b""))
        self.assertEqual(response.getheader("Allow"), "GET, HEAD, OPTIONS")
        for name in ("Access-Control-Allow-Methods", "Content-Type", "Content-Length"):
            self.assertIsNone(response.getheader(name))
        response = self.get(Response(), "OPTIONS", crossOrigin=True)
        self.assertEqual(response.getheader("Access-Control-Allow-Origin"), "*")
        self.assertEqual(
            response.getheader("Access-Control-Allow-Methods"), "GET, HEAD, OPTIONS"
        )
        self.assertEqual(response.getheader("Access-Control-Allow-Headers"), "*")

    def test_crossOrigin(self) -> None:
        """Scripts of other sites may read answers and errors, if so wished."""
        for answer in (Response(), missing("a"), ValueError("x")):
            response = self.get(answer, crossOrigin=True)
            self.assertEqual(response.getheader("Access-Control-Allow-Origin"), "*")
        self.assertEqual(len(self.flushLoggedErrors(ValueError)), 1)


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

    def test_disconnect(self) -> None:
        """If the client goes away, the file is closed, and nothing is logged."""
        exchange = Exchange(deferral(self.answer), "/")
        self.assertEqual(len(self.descriptors()), 1)
        exchange.disconnect()
        self.assertEqual(self.descriptors(), [])
        self.assertNoResult(exchange.finished)

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
