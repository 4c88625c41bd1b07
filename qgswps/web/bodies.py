"""The bodies of requests, as they were before they were compressed."""

from __future__ import annotations

import os
import zlib
from typing import BinaryIO

from twisted.web.http import Request

from qgswps.errors import failure

#: What tells zlib how something is compressed, by the names of RFC 9110,
#: section 8.4.1.
_GZIP = 16 + zlib.MAX_WBITS
_ENCODINGS = {"gzip": _GZIP, "x-gzip": _GZIP, "deflate": zlib.MAX_WBITS}

_CHUNK = 64 * 1024


def tooLarge(maximum: int) -> Exception:
    """What to raise for a body of more bytes than that."""
    return failure(f"the request is larger than {maximum // 2**20} MiB", 413)


def content(request: Request) -> BinaryIO:
    """The body as it was sent, of a length that the site allows."""
    found: BinaryIO | None = request.content
    assert found is not None  # all of the request is there
    return found


def size(request: Request) -> int:
    """How long the body is as it was sent, in bytes."""
    sent = content(request)
    length: int = sent.seek(0, os.SEEK_END)
    sent.seek(0)
    return length


def read(request: Request, maximum: int) -> bytes:
    """
    The body of a request.

    @param maximum: how many bytes it may have, also when it is unpacked.
    @raise OWSError: it has more, is damaged, or is compressed in an unknown
        way.
    """
    if size(request) > maximum:
        raise tooLarge(maximum)
    body = content(request).read()
    values = request.requestHeaders.getRawHeaders("Content-Encoding") or []
    encodings = [name.strip().lower() for each in values for name in each.split(",")]
    # The last one was applied last.
    for name in reversed(encodings):
        if name not in ("", "identity"):
            body = _unpacked(body, name, maximum)
    return body


def _unpacked(body: bytes, encoding: str, maximum: int) -> bytes:
    if encoding not in _ENCODINGS:
        text = f"the body has the encoding {encoding[:40]!r}, not gzip or deflate"
        raise failure(text, 415)
    decompress = zlib.decompressobj(_ENCODINGS[encoding])
    parts = []
    length = 0
    try:
        while body and not decompress.eof:
            part = decompress.decompress(body, _CHUNK)
            body = decompress.unconsumed_tail
            parts.append(part)
            length += len(part)
            if length > maximum:
                raise tooLarge(maximum)
        parts.append(decompress.flush())
    except zlib.error as error:
        raise failure(f"the body is damaged {encoding}: {error}", 400) from None
    if not decompress.eof or decompress.unused_data:
        raise failure(f"the body is damaged {encoding}: its end is missing", 400)
    return b"".join(parts)
