"""
From a coroutine to a response: Deferreds, disconnects and errors in one place.

So are files: each response that is one has what L{ranges} knows of.
"""

from __future__ import annotations

import json
import secrets
from collections.abc import Awaitable, Callable, Generator, Mapping
from typing import Any, BinaryIO

import attrs
from twisted.internet.defer import CancelledError, Deferred
from twisted.internet.interfaces import IPushProducer
from twisted.python.failure import Failure
from twisted.web.http import Request
from twisted.web.resource import IResource
from twisted.web.server import NOT_DONE_YET
from zope.interface import implementer

from qgswps.errors import OWSError, failure
from qgswps.jobs.spool import openBelow
from qgswps.journal import Logger
from qgswps.threads import inThread
from qgswps.web import guard, ranges

log = Logger()


#: Bodies of more bytes are sent in pieces of so many: what a client does not
#: take is not copied for it, and how fast it takes them is seen.
_PIECE = 64 * 1024


@attrs.frozen
class Stream:
    """
    A body that is made while it is sent.

    @ivar parts: its bytes.  It is closed when all were sent, or when the
        client has gone.
    @ivar reactor: in whose thread pool the parts are made; None if each one
        comes so soon that the reactor's thread may wait for it.
    """

    parts: Generator[bytes, None, None]
    reactor: Any = None

    async def next(self) -> bytes | None:
        """The next part; None after the last one."""
        if self.reactor is None:
            return next(self.parts, None)
        return await inThread(self.reactor, next, self.parts, None)

    async def close(self) -> None:
        """Let go of all that it holds.  No part may be under way."""
        if self.reactor is None:
            self.parts.close()
        else:
            await inThread(self.reactor, self.parts.close)


@attrs.frozen
class Response:
    """
    What a handler answers.

    @ivar path: a file to send in place of C{body}, or parts of it if the
        client asks for these.
    @ivar within: a folder that C{path} is relative to, and below which no
        symbolic link is followed.
    @ivar stream: to send in place of C{body}.
    """

    body: bytes = b""
    contentType: str = "text/plain; charset=utf-8"
    status: int = 200
    headers: Mapping[str, str] = attrs.field(factory=dict)
    path: str | None = None
    within: str | None = None
    stream: Stream | None = None


ErrorDocument = Callable[[OWSError], Response]
Handler = Callable[[Any], Awaitable[Response]]


def jsonResponse(value: Any, status: int = 200) -> Response:
    """A JSON document."""
    # A name of a file need not be UTF-8; its odd bytes come as JSON's escapes.
    body = json.dumps(value, ensure_ascii=False).encode("utf-8", "backslashreplace")
    return Response(body, "application/json", status)


def jsonError(error: OWSError) -> Response:
    """What is wrong, as JSON."""
    faults = [attrs.asdict(fault) for fault in error.faults]
    return jsonResponse({"error": str(error), "faults": faults}, error.status)


@implementer(IResource)
class Deferral:
    """
    A leaf resource whose methods are coroutines that return a L{Response}.

    A coroutine is cancelled when its client goes away.
    """

    isLeaf = True

    def __init__(
        self,
        handlers: Mapping[bytes, Handler],
        errorDocument: ErrorDocument = jsonError,
        isOpen: bool = False,
    ) -> None:
        """
        @param handlers: by HTTP method; HEAD is made of GET.
        @param errorDocument: what to answer when one raises.
        @param isOpen: nobody is asked who he is.
        """
        self._handlers = dict(handlers)
        if b"GET" in self._handlers:
            self._handlers.setdefault(b"HEAD", self._handlers[b"GET"])
        self._errorDocument = errorDocument
        self._isOpen = isOpen

    def getChildWithDefault(self, name: bytes, request: Request) -> IResource:
        """Never called: it is a leaf."""
        raise NotImplementedError

    def putChild(self, path: bytes, child: IResource) -> None:
        """Never called: it is a leaf."""
        raise NotImplementedError

    def render(self, request: Request) -> int:
        """See L{IResource}."""
        answering = Deferred.fromCoroutine(self._answer(request))
        request.notifyFinish().addErrback(lambda _: answering.cancel())
        opened = answering.addCallback(self._open, request)
        opened.addErrback(self._unexpected, request)
        opened.addCallback(self._send, request)
        opened.addErrback(self._lost, request)
        return NOT_DONE_YET

    async def _answer(self, request: Request) -> Response:
        allowed = b", ".join(sorted([*self._handlers, b"OPTIONS"])).decode()
        if request.method == b"OPTIONS":
            return Response(status=204, headers={"Allow": allowed})
        guard.speak(request)
        try:
            if not self._isOpen:
                await guard.admit(request)
            handler = self._handlers.get(request.method)
            if handler is not None:
                return await handler(request)
        except OWSError as error:
            guard.noteRefusal(request, error)
            return self._explain(error)
        text = f"{request.method.decode('ascii', 'replace')} is not possible here"
        response = self._errorDocument(failure(text, 405))
        return attrs.evolve(response, headers={"Allow": allowed})

    def _explain(self, error: OWSError) -> Response:
        response = self._errorDocument(error)
        if error.retryAfter is not None:
            headers = {**response.headers, "Retry-After": str(error.retryAfter)}
            response = attrs.evolve(response, headers=headers)
        return response

    def _open(self, response: Response, request: Request) -> Response:
        # Before anything is sent: it may fail.
        if response.path is None or request.channel is None:
            return response
        file = _opened(response.path, response.within)
        try:
            return _select(response, request, file)
        except ranges.Unsatisfiable as error:
            file.close()
            response = self._errorDocument(failure(str(error), 416))
            headers = {
                **response.headers,
                "Accept-Ranges": "bytes",
                "Content-Range": f"bytes */{error.size}",
            }
            return attrs.evolve(response, headers=headers)
        except BaseException:
            file.close()
            raise

    def _unexpected(self, reason: Failure, request: Request) -> Response | Failure:
        if request.channel is None and reason.check(CancelledError):
            return reason  # there is nobody to tell
        fault = secrets.token_hex(4)
        log.failure("fault {fault}", reason, fault=fault)
        text = f"something went wrong here; the server's log has it as {fault}"
        return self._explain(failure(text))

    def _send(self, response: Response, request: Request) -> None:
        if request.channel is None:  # the client has gone
            return
        request.setResponseCode(response.status)
        headers = dict(response.headers)
        if response.status not in (204, 304):
            headers["Content-Type"] = response.contentType
            if response.stream is None:
                headers.setdefault("Content-Length", str(len(response.body)))
        for name, value in headers.items():
            request.setHeader(name, value)
        if request.method == b"HEAD":
            request.finish()
        elif response.stream is not None or len(response.body) > _PIECE:
            stream = response.stream or Stream(_pieces(response.body))
            sending = _Sender(stream, request).send()
            sending.addErrback(self._lost, request)
        else:
            request.write(response.body)
            request.finish()

    def _lost(self, reason: Failure, request: Request) -> None:
        if request.channel is not None:
            log.failure("a response could not be sent", reason)
            request.loseConnection()


@implementer(IPushProducer)
class _Sender:
    """
    Sends a stream as fast as the client takes it.

    When the client goes away, the part that is under way is waited for: what
    a thread works on can't be closed.
    """

    def __init__(self, stream: Stream, request: Request) -> None:
        self._stream = stream
        self._request = request
        self._gone = False
        self._paused: Deferred[None] | None = None

    def send(self) -> Deferred[None]:
        """Send all of it, and end the response."""
        self._request.notifyFinish().addErrback(lambda _: self.stopProducing())
        self._request.registerProducer(self, True)
        sending: Deferred[None] = Deferred.fromCoroutine(self._write())
        sending.addBoth(self._close)
        return sending.addCallback(self._finish)

    def _close(self, result: Failure | None) -> Deferred[Any]:
        if not self._gone:
            self._request.unregisterProducer()
        closing = Deferred.fromCoroutine(self._stream.close())
        return closing.addCallback(lambda _: result)

    def _finish(self, _: None) -> None:
        if not self._gone:
            self._request.finish()

    async def _write(self) -> None:
        while not self._gone:
            part = await self._stream.next()
            if part is None or self._gone:
                return
            self._request.write(part)
            if self._paused is not None:
                await self._paused

    def pauseProducing(self) -> None:
        """See L{IPushProducer}."""
        if self._paused is None:
            self._paused = Deferred()

    def resumeProducing(self) -> None:
        """See L{IPushProducer}."""
        if self._paused is not None:
            paused, self._paused = self._paused, None
            paused.callback(None)

    def stopProducing(self) -> None:
        """See L{IPushProducer}."""
        self._gone = True
        self.resumeProducing()


def _pieces(body: bytes) -> Generator[bytes, None, None]:
    for start in range(0, len(body), _PIECE):
        yield body[start : start + _PIECE]


def _opened(path: str, within: str | None) -> BinaryIO:
    return open(path, "rb") if within is None else openBelow(within, path)


def _select(response: Response, request: Request, file: BinaryIO) -> Response:
    """
    A response with what a request wants of its file.

    @raise ranges.Unsatisfiable: no range that is asked for is there.
    """
    # The result of a POST, or an error's document, is nothing to come back to.
    if response.status == 200 and request.method in (b"GET", b"HEAD"):
        found = ranges.select(request, file, response.contentType)
    else:
        found = attrs.evolve(
            ranges.whole(file, response.contentType), status=response.status
        )
    headers = {**response.headers, **found.headers}
    if found.status != 304:
        length = sum(len(piece.before) + piece.size for piece in found.pieces)
        headers["Content-Length"] = str(length)
    stream = None
    if found.status != 304 and request.method != b"HEAD":
        stream = Stream(ranges.read(file, found.pieces))
    else:
        file.close()
    return attrs.evolve(
        response,
        path=None,
        status=found.status,
        contentType=found.contentType,
        headers=headers,
        stream=stream,
    )
