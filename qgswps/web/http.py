"""
What HTTP itself limits: the length of lines, headers and bodies, and the time
that they may take.

Twisted closes the connection of who sends too much.  Here the client is told
first, in a document that clients of the OWS endpoint can read.

What a proxy might read in another way than this server is refused, and so is
all that follows it: nobody can hide a request in another one.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from contextlib import suppress
from http import HTTPStatus
from tempfile import SpooledTemporaryFile
from typing import Any

from twisted.internet.protocol import connectionDone
from twisted.python.failure import Failure
from twisted.web.http import HTTPChannel
from twisted.web.server import Request

from qgswps.audit import network, note
from qgswps.errors import busy, failure
from qgswps.ows.wps100 import documents
from qgswps.web import bodies
from qgswps.web.connections import Connections, Phase

#: The longest request line or header, in bytes: data in the URL of a GET is
#: often longer than the 16 KiB that Twisted allows.
LINE = 64 * 1024

#: The longest path of a URL, in bytes.
PATH = 8 * 1024

#: Seconds that a client has to read that it has sent too much.
LINGER = 10.0

#: How much of a body is in memory, in bytes; the rest is in a file.
_IN_MEMORY = 16 * 1024

#: Chunks that are smaller than C{_SMALL} bytes on average, and how many are too
#: many of these: each costs more time than it took to send.
_SMALL = 16
_SMALL_CHUNKS = 1024

# RFC 9112, sections 3 and 5; line breaks of any kind and NUL are nowhere.
_TOKEN = rb"[!#$%&'*+.^_`|~0-9A-Za-z-]+"
_FIRST_LINE = re.compile(_TOKEN + rb" ([\x21-\x7e\x80-\xff]+) HTTP/([0-9]\.[0-9])")
_HEADER = re.compile(rb"(" + _TOKEN + rb"):([^\r\n\0]*)")
_LENGTH = re.compile(rb"[0-9]{1,18}")


class _Enough(Exception):
    """The rest of what has come is not to be looked at."""


def _refusal(text: str, status: HTTPStatus, headers: Mapping[str, str]) -> bytes:
    """A whole response."""
    isBusy = status is HTTPStatus.SERVICE_UNAVAILABLE
    error = busy(text) if isBusy else failure(text, status)
    body = documents.exceptionReport(error)
    later = (f"Retry-After: {error.retryAfter}",) if isBusy else ()
    head = (
        f"HTTP/1.1 {status.value} {status.phrase}",
        "Content-Type: text/xml",
        *(f"{name}: {value}" for name, value in headers.items()),
        *later,
        f"Content-Length: {len(body)}",
        "Connection: close",
        "",
        "",
    )
    return "\r\n".join(head).encode() + body


class Channel(HTTPChannel):
    """
    A connection on which something may be refused before it is all there; an
    C{IConnection}.

    Twisted's own time-outs are not in force: L{Connections} has the time.
    """

    MAX_LENGTH = LINE
    phase = Phase.IDLE
    address = ""
    _refused = False
    #: When the phase began, and how long that of C{CLOSING} is.
    _since = 0.0
    _linger = 0.0
    #: Since when the client has not taken what is sent to it.
    _stalled: float | None = None
    #: How much of a body has come, and when the last of it did.
    _received = 0
    _receivedLast = 0.0
    #: Of the headers of a request.
    _count = 0
    _hosts = 0

    #: What has made it, a C{QuietSite}.
    site: Any

    @property
    def _connections(self) -> Connections:
        found: Connections = self.site.connections
        return found

    # Phases

    def connectionMade(self) -> None:
        """See L{twisted.internet.interfaces.IProtocol}."""
        super().connectionMade()
        connections = self._connections
        self.totalHeadersSize = connections.limits.headerSize
        self.MAX_LENGTH = min(LINE, self.totalHeadersSize)
        transport: Any = self.transport
        self.address = network(getattr(transport.getPeer(), "host", ""))
        self._since = connections.now()
        connections.add(self)

    def _enter(self, phase: Phase) -> None:
        connections = self._connections
        self._since = connections.now()
        connections.enter(self, phase)

    def isLate(self, now: float) -> bool:
        """See L{IConnection}."""
        limits = self._connections.limits
        since = now - self._since
        match self.phase:
            case Phase.CLOSING:
                return since >= self._linger
            case _ if self._stalled is not None:
                return now - self._stalled >= limits.sendTimeout
            case Phase.IDLE:
                return since >= limits.idleTimeout
            case Phase.HEAD:
                return since >= limits.headerTimeout
            case Phase.BODY:
                granted = limits.bodyTimeout + self._received / limits.bodyRate
                idle = now - self._receivedLast
                return since >= granted or idle >= limits.bodyTimeout
        return False

    def timedOut(self) -> None:
        """See L{IConnection}."""
        transport: Any = self.transport
        if self._stalled is not None and self.phase is not Phase.CLOSING:
            note("answer-not-taken", client=self.address)
            transport.abortConnection()
        elif self.phase is Phase.CLOSING:
            transport.abortConnection()
        elif self.phase is Phase.IDLE:
            self.loseConnection()
        else:
            what = "headers" if self.phase is Phase.HEAD else "body"
            text = f"the request's {what} came too slowly, or not to their end"
            self.refuse(text, HTTPStatus.REQUEST_TIMEOUT)

    def putOut(self) -> None:
        """See L{IConnection}."""
        self._connections.remove(self)
        transport: Any = self.transport
        transport.abortConnection()

    def refuseMore(self, why: str) -> None:
        """See L{IConnection}."""
        self.refuse(why, HTTPStatus.SERVICE_UNAVAILABLE)

    def pauseProducing(self) -> None:
        """See C{IPushProducer}: the client does not take what is sent."""
        super().pauseProducing()
        self._stalled = self._connections.now()

    def resumeProducing(self) -> None:
        """See C{IPushProducer}."""
        self._stalled = None
        super().resumeProducing()
        if self.paused and not self._refused:
            self._connections.queue(self)

    def loseConnection(self) -> Any:
        """See C{ITransport}."""
        self._linger = self._connections.limits.sendTimeout
        self._enter(Phase.CLOSING)
        return super().loseConnection()

    def connectionLost(self, reason: Failure = connectionDone) -> None:
        """See L{twisted.internet.interfaces.IProtocol}."""
        self._connections.remove(self)
        super().connectionLost(reason)

    # Refusals

    def refuse(self, text: str, status: HTTPStatus) -> None:
        """
        Answer now, and take no notice of what still comes.

        To close at once would have the client's system drop the answer, as
        long as there is something that it has sent and nobody has read.
        """
        if self._refused:
            return
        self._refused = True
        # Nothing more is parsed, of what is there already either.
        self.paused = True
        self.clearLineBuffer()
        self._linger = LINGER
        self._enter(Phase.CLOSING)
        request = self.requests[-1] if self.requests else None
        headers = self.site.refusing(request or self.requestFactory(self), status)
        transport: Any = self.transport
        transport.write(_refusal(text, status, headers))
        # The client is to see the end.  TLS has no such thing.
        if hasattr(transport, "loseWriteConnection") and not self.isSecure():
            transport.loseWriteConnection()

    def _respondToBadRequestAndDisconnect(self) -> None:
        # All that Twisted finds wrong comes here.
        self.refuse("this is no well-formed request", HTTPStatus.BAD_REQUEST)

    def lineLengthExceeded(self, line: bytes) -> None:
        """See L{twisted.protocols.basic.LineReceiver}."""
        # A request is there when its first line is.
        if self.requests:
            status, what = HTTPStatus.REQUEST_HEADER_FIELDS_TOO_LARGE, "a header"
        else:
            status, what = HTTPStatus.REQUEST_URI_TOO_LONG, "the URL"
        text = f"{what} has more than {self.MAX_LENGTH} bytes"
        if not self.requests:
            text += "; a request in XML, by POST, may be longer"
        self.refuse(text, status)

    # What comes

    def dataReceived(self, data: bytes) -> Any:
        """See L{twisted.internet.interfaces.IProtocol}."""
        if self._refused:
            return None
        if self.phase is Phase.IDLE:
            self._enter(Phase.HEAD)
        return super().dataReceived(data)

    def lineReceived(self, line: bytes) -> Any:
        """See L{twisted.protocols.basic.LineReceiver}."""
        if self.requests:
            isRight = not line or self._checkHeader(line)
        else:
            # An empty line may stand before a request.
            isRight = not line or self._checkFirstLine(line)
        return super().lineReceived(line) if isRight else None

    def _checkFirstLine(self, line: bytes) -> bool:
        self._count = self._hosts = 0
        found = _FIRST_LINE.fullmatch(line)
        if found is None:
            text = "the first line is no request, as in GET /path HTTP/1.1"
            self.refuse(text, HTTPStatus.BAD_REQUEST)
            return False
        if found[2] not in (b"1.0", b"1.1"):
            text = "the version of HTTP is 1.0 or 1.1"
            self.refuse(text, HTTPStatus.HTTP_VERSION_NOT_SUPPORTED)
            return False
        path, _, query = found[1].partition(b"?")
        if len(path) > PATH:
            text = f"the path of the URL has more than {PATH} bytes"
            self.refuse(text, HTTPStatus.REQUEST_URI_TOO_LONG)
            return False
        most = self._connections.limits.parameters
        if query.count(b"&") >= most:
            text = f"the URL has more than {most} parameters"
            self.refuse(text, HTTPStatus.BAD_REQUEST)
            return False
        return True

    def _checkHeader(self, line: bytes) -> bool:
        self._count += 1
        size = self._receivedHeaderSize + len(line)
        if size > self.totalHeadersSize or self._count > self.maxHeaders:
            text = (
                f"there are more than {self.totalHeadersSize} bytes of headers,"
                f" or more than {self.maxHeaders} of them"
            )
            self.refuse(text, HTTPStatus.REQUEST_HEADER_FIELDS_TOO_LARGE)
            return False
        # One that goes on in the next line is wrong, too.
        found = _HEADER.fullmatch(line)
        if found is None:
            self.refuse("a header is malformed", HTTPStatus.BAD_REQUEST)
            return False
        name, value = found[1].lower(), found[2].strip(b" \t")
        self._hosts += name == b"host"
        text, status = "", HTTPStatus.BAD_REQUEST
        if name == b"content-length" and not _LENGTH.fullmatch(value):
            text = "the Content-Length is no number"
        elif name == b"transfer-encoding" and self._version != b"HTTP/1.1":
            text = "HTTP/1.0 has no Transfer-Encoding"
        elif name == b"transfer-encoding" and value.lower() != b"chunked":
            text, status = (
                "of Transfer-Encoding, only chunked",
                HTTPStatus.NOT_IMPLEMENTED,
            )
        elif self._hosts > 1:
            text = "there are several Hosts"
        if text:
            self.refuse(text, status)
        return not text

    def allHeadersReceived(self) -> None:
        """See L{HTTPChannel}."""
        super().allHeadersReceived()
        if self.length != 0 and not self._refused:
            self._received = 0
            self._receivedLast = self._connections.now()
            self._enter(Phase.BODY)

    def rawDataReceived(self, data: bytes) -> None:
        """See L{twisted.protocols.basic.LineReceiver}."""
        if self.phase is Phase.BODY:
            self._received += len(data)
            self._receivedLast = self._connections.now()
        with suppress(_Enough):
            super().rawDataReceived(data)

    def allContentReceived(self) -> None:
        """See L{HTTPChannel}."""
        if not self._refused:
            self._enter(Phase.BUSY)
        super().allContentReceived()

    # One request after the other

    def requestDone(self, request: Any) -> None:
        """See L{HTTPChannel}."""
        # What was sent with it waits for its turn, and for the client to take
        # this answer.
        self.paused = True
        super().requestDone(request)
        if self.phase is Phase.CLOSING:
            return
        self._enter(Phase.HEAD if self._buffer else Phase.IDLE)
        if not self._buffer:
            self.paused = False
        else:
            self._networkProducer.pauseProducing()
            if self._stalled is None:
                self._connections.queue(self)

    def goOn(self) -> None:
        """See L{IConnection}."""
        if self._refused or self._stalled is not None:
            return
        self.paused = False
        self._networkProducer.resumeProducing()
        self.dataReceived(b"")


class BoundedRequest(Request):
    """A request whose body may have so many bytes as its site allows."""

    _size = 0
    _chunks = 0
    _isRefused = False

    def parseCookies(self) -> None:
        """See L{Request}; there are none here."""

    def gotLength(self, length: int | None) -> None:
        """See L{Request}; called when all headers are there."""
        # Twisted's has 100 kB in memory, and for chunks a file at once.
        self.content = SpooledTemporaryFile(_IN_MEMORY)  # noqa: SIM115
        if length is not None and length > self._limit:
            self._refuse()

    def handleContentChunk(self, data: bytes) -> None:
        """See L{Request}."""
        self._size += len(data)
        self._chunks += 1
        if self._size > self._limit:
            self._refuse()
        elif self._chunks > _SMALL_CHUNKS and self._size < self._chunks * _SMALL:
            self._isRefused = True
            text = "the body comes in too many small chunks"
            self.channel.refuse(text, HTTPStatus.BAD_REQUEST)
        if self._isRefused:
            raise _Enough
        super().handleContentChunk(data)

    def requestReceived(self, command: bytes, path: bytes, version: bytes) -> None:
        """See L{Request}."""
        if self._isRefused:
            return
        # Twisted would take queries and forms apart here, of whatever size,
        # and keep all others waiting.  Nobody needs its arguments.
        bodies.content(self).seek(0)
        self.args = {}
        self.method, self.uri, self.clientproto = command, path, version
        self.path = path.partition(b"?")[0]
        self.process()

    @property
    def _limit(self) -> int:
        return int(self.channel.site.maximumBody)

    def _refuse(self) -> None:
        if self._isRefused:
            return
        self._isRefused = True
        # The client is not to be told to go on.
        self.requestHeaders.removeHeader(b"expect")
        text = f"the request is larger than {self._limit // 2**20} MiB"
        self.channel.refuse(text, HTTPStatus.REQUEST_ENTITY_TOO_LARGE)
