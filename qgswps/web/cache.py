"""
Documents that are asked for again and again: made once, kept compressed.

Their answers have ETags (RFC 9110, section 8.8.3), so that a client that has
one is told so by a few bytes.
"""

from __future__ import annotations

import hashlib
import re
import zlib
from collections import OrderedDict
from collections.abc import Callable, Generator, Hashable, Iterable
from typing import Any

import attrs
from twisted.internet.defer import Deferred
from twisted.web.http import Request

from qgswps.threads import inThread
from qgswps.web import ranges
from qgswps.web.deferral import Response, Stream

#: Compresses nearly as well as the best, in a quarter of its time.
_LEVEL = 6

#: Shorter documents gain nothing.
_LEAST = 1024

#: How much of a document is unpacked at a time, by the reactor's own thread.
_CHUNK = 64 * 1024
_STEP = 4 * 1024

#: What tells zlib that it is gzip.
_GZIP_FORMAT = 16 + zlib.MAX_WBITS

_GZIP = re.compile(r"\s*(?:x-)?(gzip|\*)\s*(?:;\s*q\s*=\s*([0-9.]+)\s*)?", re.I)


@attrs.frozen
class Document:
    """
    A document as it is kept.

    @ivar packed: by gzip.
    @ivar size: of the document itself, in bytes.
    @ivar tag: the same for the same content.
    """

    packed: bytes
    size: int
    tag: str


def pack(parts: Iterable[bytes]) -> Document:
    """Compress a document; takes its time."""
    # As gzip has it, but without a time: the same content is the same.
    compress = zlib.compressobj(_LEVEL, wbits=_GZIP_FORMAT)
    digest = hashlib.sha256()
    packed = []
    size = 0
    for part in parts:
        size += len(part)
        digest.update(part)
        packed.append(compress.compress(part))
    packed.append(compress.flush())
    return Document(b"".join(packed), size, digest.hexdigest()[:24])


def unpack(packed: bytes) -> Generator[bytes, None, None]:
    """The document in parts."""
    decompress = zlib.decompressobj(_GZIP_FORMAT)
    # zlib keeps a copy of what it has not unpacked: of all of it, for each
    # client that takes its time, that would be much.
    for start in range(0, len(packed), _STEP):
        rest = packed[start : start + _STEP]
        while rest:
            yield decompress.decompress(rest, _CHUNK)
            rest = decompress.unconsumed_tail
    yield decompress.flush()


def acceptsGzip(request: Request) -> bool:
    """Whether a client wants answers compressed (RFC 9110, section 12.5.3)."""
    values = request.requestHeaders.getRawHeaders(b"Accept-Encoding") or []
    weights: dict[str, str] = {}
    for part in b",".join(values).decode("latin-1").split(","):
        found = _GZIP.fullmatch(part)
        if found is not None:
            weights[found[1].lower()] = found[2] or "1"
    weight = weights.get("gzip", weights.get("*", "0"))
    return weight.strip("0.") != ""


class DocumentCache:
    """
    Keeps what was asked for last.

    Who asks for a document while it is made gets that one.
    """

    def __init__(self, reactor: Any, capacity: int) -> None:
        """
        @param capacity: how much is kept at the most, in bytes; a document
            that is larger by itself is made each time.
        """
        self._reactor = reactor
        self._capacity = capacity
        self._size = 0
        self._documents: OrderedDict[Hashable, Document] = OrderedDict()
        self._making: dict[Hashable, list[Deferred[Document]]] = {}

    def get(
        self, key: Hashable, make: Callable[[], Iterable[bytes]]
    ) -> Deferred[Document]:
        """
        The document of a key.

        @param key: of all that the document depends on.
        @param make: makes it in parts; called in a thread.
        """
        waiting: Deferred[Document] = Deferred()
        known = self._documents.get(key)
        if known is not None:
            self._documents.move_to_end(key)
            waiting.callback(known)
            return waiting
        others = self._making.get(key)
        if others is not None:
            others.append(waiting)
            return waiting
        self._making[key] = [waiting]
        making = inThread(self._reactor, lambda: pack(make()))
        making.addCallback(self._keep, key)
        making.addBoth(self._made, key)
        return waiting

    def _keep(self, document: Document, key: Hashable) -> Document:
        self._documents[key] = document
        self._size += len(document.packed)
        while self._size > self._capacity:
            _, dropped = self._documents.popitem(last=False)
            self._size -= len(dropped.packed)
        return document

    def _made(self, result: Any, key: Hashable) -> None:
        for waiting in self._making.pop(key):
            if not waiting.called:  # its client may have gone
                waiting.callback(result)

    async def respond(
        self,
        request: Request,
        contentType: str,
        key: Hashable,
        make: Callable[[], Iterable[bytes]],
        vary: str = "",
    ) -> Response:
        """
        Answer with the document of a key; see L{get}.

        @param vary: the headers of requests that have a part in the key.
        """
        document = await self.get(key, make)
        packed = document.size >= _LEAST and acceptsGzip(request)
        # What is encoded is another representation, so another strong tag.
        etag = f'"{document.tag}{"-gzip" if packed else ""}"'
        headers = {
            "ETag": etag,
            "Vary": ", ".join(filter(None, ("Accept-Encoding", vary))),
            "Cache-Control": "no-cache",
        }
        tags = request.requestHeaders.getRawHeaders(b"If-None-Match")
        if (
            tags is not None
            and request.method in (b"GET", b"HEAD")
            and ranges.isAmong(etag, b",".join(tags).decode("latin-1"))
        ):
            return Response(status=304, headers=headers)
        if packed:
            headers["Content-Encoding"] = "gzip"
            return Response(document.packed, contentType, headers=headers)
        headers["Content-Length"] = str(document.size)
        stream = Stream(unpack(document.packed))
        return Response(contentType=contentType, headers=headers, stream=stream)
