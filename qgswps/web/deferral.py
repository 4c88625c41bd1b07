"""
From a coroutine to a response: Deferreds, disconnects and errors in one place.
"""

from __future__ import annotations

import json
import os
import secrets
from collections.abc import Awaitable, Callable, Mapping
from typing import Any, BinaryIO

import attrs
from twisted.internet.defer import CancelledError, Deferred
from twisted.protocols.basic import FileSender
from twisted.python.failure import Failure
from twisted.web.http import Request
from twisted.web.resource import IResource
from twisted.web.server import NOT_DONE_YET
from zope.interface import implementer

from qgswps.errors import OWSError, failure
from qgswps.journal import Logger

log = Logger()

#: The headers that scripts of other origins may read, beside the simple ones.
_EXPOSED = "X-Job-Realm, Retry-After"


@attrs.frozen
class Response:
    """
    What a handler answers.

    @ivar path: a file to send in place of C{body}.
    """

    body: bytes = b""
    contentType: str = "text/plain; charset=utf-8"
    status: int = 200
    headers: Mapping[str, str] = attrs.field(factory=dict)
    path: str | None = None


ErrorDocument = Callable[[OWSError], Response]
Handler = Callable[[Any], Awaitable[Response]]
_Opened = tuple[Response, BinaryIO | None]


def jsonResponse(value: Any, status: int = 200) -> Response:
    """A JSON document."""
    body = json.dumps(value, ensure_ascii=False).encode()
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
        opened = answering.addCallback(_open)
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

    def _unexpected(self, reason: Failure, request: Request) -> _Opened | Failure:
        if request.channel is None and reason.check(CancelledError):
            return reason  # there is nobody to tell
        fault = secrets.token_hex(4)
        log.failure("fault {fault}", reason, fault=fault)
        text = f"something went wrong here; the server's log has it as {fault}"
        return self._explain(failure(text)), None

    def _send(self, opened: _Opened, request: Request) -> Deferred[Any] | None:
        response, file = opened
        if request.channel is None:  # the client has gone
            if file is not None:
                file.close()
            return None
        request.setResponseCode(response.status)
        headers = dict(response.headers)
        if response.status != 204:
            size = (
                len(response.body) if file is None else os.fstat(file.fileno()).st_size
            )
            headers["Content-Type"] = response.contentType
            headers["Content-Length"] = str(size)
        if self._crossOrigin:
            headers["Access-Control-Allow-Origin"] = "*"
            headers["Access-Control-Expose-Headers"] = _EXPOSED
        for name, value in headers.items():
            request.setHeader(name, value)
        if file is not None and request.method != b"HEAD":
            sending: Deferred[Any] = FileSender().beginFileTransfer(file, request)
            return sending.addBoth(_sent, file, request)
        if file is not None:
            file.close()
        elif request.method != b"HEAD":
            request.write(response.body)
        request.finish()
        return None

    def _lost(self, reason: Failure, request: Request) -> None:
        if request.channel is not None:
            log.failure("a response could not be sent", reason)
            request.loseConnection()


def _open(response: Response) -> _Opened:
    # Before anything is sent: it may fail.
    return response, None if response.path is None else open(response.path, "rb")


def _sent(result: Any, file: BinaryIO, request: Request) -> None:
    file.close()
    if not isinstance(result, Failure):  # or the client has gone
        request.finish()
