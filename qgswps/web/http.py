"""
What HTTP itself limits: the length of lines, headers and bodies.

Twisted closes the connection of who sends too much.  Here the client is told
first, in a document that clients of the OWS endpoint can read.
"""

from __future__ import annotations

from collections.abc import Mapping
from http import HTTPStatus
from io import BytesIO
from typing import Any

from twisted.internet.protocol import connectionDone
from twisted.python.failure import Failure
from twisted.web.http import HTTPChannel
from twisted.web.server import Request

from qgswps.errors import failure
from qgswps.ows.wps100 import documents

#: The longest request line or header, in bytes: data in the URL of a GET is
#: often longer than the 16 KiB that Twisted allows.
LINE = 64 * 1024

#: All headers of a request, with its first line.
HEADERS = 128 * 1024

#: Seconds that a client has to read that it has sent too much.
LINGER = 10.0


def _refusal(text: str, status: HTTPStatus, headers: Mapping[str, str]) -> bytes:
    """A whole response."""
    body = documents.exceptionReport(failure(text, status))
    head = (
        f"HTTP/1.1 {status.value} {status.phrase}",
        "Content-Type: text/xml",
        *(f"{name}: {value}" for name, value in headers.items()),
        f"Content-Length: {len(body)}",
        "Connection: close",
        "",
        "",
    )
    return "\r\n".join(head).encode() + body


class Channel(HTTPChannel):
    """A connection on which something may be refused before it is all there."""

    MAX_LENGTH = LINE
    totalHeadersSize = HEADERS
    _refused = False

    #: What has made it, a C{QuietSite}.
    site: Any

    def refuse(self, text: str, status: HTTPStatus) -> None:
        """
        Answer now, and take no notice of what still comes.

        To close at once would have the client's system drop the answer, as
        long as there is something that it has sent and nobody has read.
        """
        if self._refused:
            return
        self._refused = True
        self.setTimeout(None)
        request = self.requests[-1] if self.requests else None
        headers = self.site.refusing(request or self.requestFactory(self), status)
        transport: Any = self.transport
        transport.write(_refusal(text, status, headers))
        self._closing = self.callLater(LINGER, transport.abortConnection)

    def dataReceived(self, data: bytes) -> Any:
        """See L{twisted.internet.interfaces.IProtocol}."""
        if self._refused:
            return None
        return super().dataReceived(data)

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

    def connectionLost(self, reason: Failure = connectionDone) -> None:
        """See L{twisted.internet.interfaces.IProtocol}."""
        if self._refused and self._closing.active():
            self._closing.cancel()
        super().connectionLost(reason)


class BoundedRequest(Request):
    """A request whose body may have so many bytes as its site allows."""

    _size = 0
    _isRefused = False

    def gotLength(self, length: int | None) -> None:
        """See L{Request}; called when all headers are there."""
        if length is not None and length > self._limit:
            self.content = BytesIO()
            self._refuse()
        else:
            super().gotLength(length)

    def handleContentChunk(self, data: bytes) -> None:
        """See L{Request}."""
        self._size += len(data)
        if self._size > self._limit:
            self._refuse()
        if not self._isRefused:
            super().handleContentChunk(data)

    def requestReceived(self, command: bytes, path: bytes, version: bytes) -> None:
        """See L{Request}."""
        if not self._isRefused:
            super().requestReceived(command, path, version)

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
