"""
From a coroutine to a response: Deferreds, disconnects and errors in one place.

So are files: what RFC 9110 says of conditions (section 13) and ranges (14) is
done for each response that is one.  L{twisted.web.static} has that too, but
fails for the last 100 bytes of a shorter file, knows no lists of ETags, and
reads for ever in a file that was cut.
"""

from __future__ import annotations

import json
import os
import re
import secrets
from collections.abc import Awaitable, Callable, Generator, Mapping, Sequence
from datetime import UTC
from email.utils import formatdate, parsedate_to_datetime
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

log = Logger()

#: The headers that scripts of other origins may read, beside the simple ones.
_EXPOSED = ", ".join(
    (
        "X-Job-Realm",
        "Retry-After",
        "Accept-Ranges",
        "Content-Disposition",
        "Content-Range",
        "ETag",
    )
)

#: How much of a file is read at a time, by the reactor's own thread.
_CHUNK = 64 * 1024

#: Who asks for more ranges at once gets the whole file.
_MOST_RANGES = 100

_RANGES = re.compile(r"\s*bytes\s*=(.*)", re.IGNORECASE | re.DOTALL)
_RANGE = re.compile(r"([0-9]{0,19})-([0-9]{0,19})")
_ETAG = re.compile(r'"[^"]*"')


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
        crossOrigin: bool = False,
    ) -> None:
        """
        @param handlers: by HTTP method; HEAD is made of GET.
        @param errorDocument: what to answer when one raises.
        """
        self._handlers = dict(handlers)
        if b"GET" in self._handlers:
            self._handlers.setdefault(b"HEAD", self._handlers[b"GET"])
        self._errorDocument = errorDocument
        self._crossOrigin = crossOrigin

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
            headers = {"Allow": allowed}
            if self._crossOrigin:
                headers["Access-Control-Allow-Methods"] = allowed
                headers["Access-Control-Allow-Headers"] = "*"
                headers["Access-Control-Max-Age"] = "86400"
            return Response(status=204, headers=headers)
        handler = self._handlers.get(request.method)
        if handler is None:
            text = f"{request.method.decode('ascii', 'replace')} is not possible here"
            response = self._errorDocument(failure(text, 405))
            return attrs.evolve(response, headers={"Allow": allowed})
        try:
            return await handler(request)
        except OWSError as error:
            return self._explain(error)

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
            opened = _select(response, request, file)
        except _Unsatisfiable as error:
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
        if opened.stream is None:
            file.close()
        return opened

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
        if self._crossOrigin:
            headers["Access-Control-Allow-Origin"] = "*"
            headers["Access-Control-Expose-Headers"] = _EXPOSED
        for name, value in headers.items():
            request.setHeader(name, value)
        if request.method == b"HEAD":
            request.finish()
        elif response.stream is not None:
            sending = _Sender(response.stream, request).send()
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


# Files: what a request wants of one.


class _Unsatisfiable(Exception):
    """No part that a client asks for is in the file."""

    def __init__(self, size: int) -> None:
        super().__init__(f"no such range: there are {size} bytes")
        self.size = size


@attrs.frozen
class _Piece:
    """
    A part of a file.

    @ivar before: what is sent before it.
    """

    offset: int
    size: int
    before: bytes = b""

    def contentRange(self, total: int) -> str:
        """As the header has it."""
        return f"bytes {self.offset}-{self.offset + self.size - 1}/{total}"


def _opened(path: str, within: str | None) -> BinaryIO:
    return open(path, "rb") if within is None else openBelow(within, path)


def _select(response: Response, request: Request, file: BinaryIO) -> Response:
    """
    What to answer to a request for a file.

    @return: a response with a stream, if there is something to send.
    @raise _Unsatisfiable: no range that is asked for is there.
    """
    found = os.fstat(file.fileno())
    total = found.st_size
    pieces = [_Piece(0, total)]
    chosen = attrs.evolve(response, path=None)
    # The result of a POST, or an error's document, is nothing to come back to.
    if response.status == 200 and request.method in (b"GET", b"HEAD"):
        etag = f'"{found.st_mtime_ns:x}-{total:x}-{found.st_ino:x}"'
        chosen = _with(
            chosen,
            {
                "ETag": etag,
                "Last-Modified": formatdate(int(found.st_mtime), usegmt=True),
                "Accept-Ranges": "bytes",
            },
        )
        if _isKnown(request, etag, int(found.st_mtime)):
            return attrs.evolve(chosen, status=304)
        wanted = _wanted(request, etag, total)
        if len(wanted) == 1:
            pieces = wanted
            chosen = _with(chosen, {"Content-Range": wanted[0].contentRange(total)})
        elif wanted:
            boundary = secrets.token_hex(16)
            pieces = _multipart(wanted, boundary, chosen.contentType, total)
            multipart = f"multipart/byteranges; boundary={boundary}"
            chosen = attrs.evolve(chosen, contentType=multipart)
        if wanted:
            chosen = attrs.evolve(chosen, status=206)
    length = sum(len(piece.before) + piece.size for piece in pieces)
    chosen = _with(chosen, {"Content-Length": str(length)})
    if request.method == b"HEAD":
        return chosen
    return attrs.evolve(chosen, stream=Stream(_read(file, pieces)))


def _with(response: Response, headers: Mapping[str, str]) -> Response:
    return attrs.evolve(response, headers={**response.headers, **headers})


def _header(request: Request, name: bytes) -> str | None:
    """All values of a header, whatever bytes they have."""
    values = request.requestHeaders.getRawHeaders(name)
    return None if values is None else b",".join(values).decode("latin-1")


def _isKnown(request: Request, etag: str, modified: int) -> bool:
    """The client says that it has the file as it is now."""
    tags = _header(request, b"If-None-Match")
    if tags is not None:  # the date counts only without it
        return tags.strip() == "*" or etag in _ETAG.findall(tags)
    try:
        since = parsedate_to_datetime(_header(request, b"If-Modified-Since") or "")
    except (ValueError, TypeError, IndexError):
        return False
    if since.tzinfo is None:
        since = since.replace(tzinfo=UTC)
    return modified <= since.timestamp()


def _wanted(request: Request, etag: str, total: int) -> list[_Piece]:
    """
    The ranges that a client asks for; none if it is to get the whole file.

    @raise _Unsatisfiable: none of them is there.
    """
    header = _RANGES.fullmatch(_header(request, b"Range") or "")
    # A date is no strong validator, and who has one from here has an ETag.
    unchanged = _header(request, b"If-Range") in (None, etag)
    if header is None or not unchanged or request.method != b"GET" or not total:
        return []
    found = []
    texts = [text.strip() for text in header[1].split(",") if text.strip()]
    for text in texts:
        match = _RANGE.fullmatch(text)
        if match is None or text == "-":
            return []
        first, last = match.groups()
        if first and last and int(first) > int(last):
            return []
        if first:
            start, end = int(first), min(int(last or total), total - 1)
        else:
            start, end = max(0, total - int(last)), total - 1
        if start <= end:
            found.append(_Piece(start, end + 1 - start))
    if len(texts) > _MOST_RANGES or sum(piece.size for piece in found) > total:
        return []  # it would be more than the file itself
    if texts and not found:
        raise _Unsatisfiable(total)
    return found


def _multipart(
    pieces: Sequence[_Piece], boundary: str, contentType: str, total: int
) -> list[_Piece]:
    def head(piece: _Piece) -> bytes:
        lines = (
            "",
            f"--{boundary}",
            f"Content-Type: {contentType}",
            f"Content-Range: {piece.contentRange(total)}",
            "",
            "",
        )
        return "\r\n".join(lines).encode()

    parts = [attrs.evolve(piece, before=head(piece)) for piece in pieces]
    return [*parts, _Piece(0, 0, f"\r\n--{boundary}--\r\n".encode())]


def _read(file: BinaryIO, pieces: Sequence[_Piece]) -> Generator[bytes, None, None]:
    with file:
        for piece in pieces:
            if piece.before:
                yield piece.before
            file.seek(piece.offset)
            left = piece.size
            # One that grows, as a log does, ends where its length was taken.
            while left:
                data = file.read(min(left, _CHUNK))
                if not data:
                    raise OSError("the file was cut while it was sent")
                left -= len(data)
                yield data
