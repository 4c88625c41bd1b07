"""
What of a file a request wants: conditions (RFC 9110, section 13) and ranges
(section 14).

L{twisted.web.static} has that too, but fails for the last 100 bytes of a
shorter file, knows no lists of ETags, and reads for ever in a file that was
cut.
"""

from __future__ import annotations

import os
import re
import secrets
from collections.abc import Generator, Sequence
from datetime import UTC
from email.utils import formatdate, parsedate_to_datetime
from typing import BinaryIO

import attrs
from twisted.web.http import Request

#: How much of a file is read at a time, by the reactor's own thread.
_CHUNK = 64 * 1024

#: Who asks for more ranges at once gets the whole file.
_MOST_RANGES = 100

_RANGES = re.compile(r"\s*bytes\s*=(.*)", re.IGNORECASE | re.DOTALL)
_RANGE = re.compile(r"([0-9]{0,19})-([0-9]{0,19})")
_ETAG = re.compile(r'"[^"]*"')


class Unsatisfiable(Exception):
    """No part that a client asks for is in the file."""

    def __init__(self, size: int) -> None:
        super().__init__(f"no such range: there are {size} bytes")
        self.size = size


@attrs.frozen
class Piece:
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


@attrs.frozen
class Selection:
    """
    What to answer to a request for a file.

    @ivar pieces: what to send of it; none where C{status} is 304.
    """

    status: int
    contentType: str
    headers: dict[str, str]
    pieces: Sequence[Piece]


def select(request: Request, file: BinaryIO, contentType: str) -> Selection:
    """
    What a request wants of a file.

    @raise Unsatisfiable: no range that is asked for is there.
    """
    found = os.fstat(file.fileno())
    total = found.st_size
    etag = f'"{found.st_mtime_ns:x}-{total:x}-{found.st_ino:x}"'
    headers = {
        "ETag": etag,
        "Last-Modified": formatdate(int(found.st_mtime), usegmt=True),
        "Accept-Ranges": "bytes",
    }
    if _isKnown(request, etag, int(found.st_mtime)):
        return Selection(304, contentType, headers, ())
    pieces = _wanted(request, etag, total)
    status = 206 if pieces else 200
    if not pieces:
        pieces = [Piece(0, total)]
    elif len(pieces) == 1:
        headers["Content-Range"] = pieces[0].contentRange(total)
    else:
        boundary = secrets.token_hex(16)
        pieces = _multipart(pieces, boundary, contentType, total)
        contentType = f"multipart/byteranges; boundary={boundary}"
    return Selection(status, contentType, headers, pieces)


def whole(file: BinaryIO, contentType: str) -> Selection:
    """All of a file, for who has not asked for it as such."""
    return Selection(200, contentType, {}, [Piece(0, os.fstat(file.fileno()).st_size)])


def _header(request: Request, name: bytes) -> str | None:
    """All values of a header, whatever bytes they have."""
    values = request.requestHeaders.getRawHeaders(name)
    return None if values is None else b",".join(values).decode("latin-1")


def isAmong(etag: str, tags: str) -> bool:
    """Whether a list of ETags, as C{If-None-Match} has it, has one of them."""
    return tags.strip() == "*" or etag in _ETAG.findall(tags)


def _isKnown(request: Request, etag: str, modified: int) -> bool:
    """The client says that it has the file as it is now."""
    tags = _header(request, b"If-None-Match")
    if tags is not None:  # the date counts only without it
        return isAmong(etag, tags)
    try:
        since = parsedate_to_datetime(_header(request, b"If-Modified-Since") or "")
    except (ValueError, TypeError, IndexError):
        return False
    if since.tzinfo is None:
        since = since.replace(tzinfo=UTC)
    return modified <= since.timestamp()


def _wanted(request: Request, etag: str, total: int) -> list[Piece]:
    """
    The ranges that a client asks for; none if it is to get the whole file.

    @raise Unsatisfiable: none of them is there.
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
            found.append(Piece(start, end + 1 - start))
    if len(texts) > _MOST_RANGES or sum(piece.size for piece in found) > total:
        return []  # it would be more than the file itself
    if texts and not found:
        raise Unsatisfiable(total)
    return found


def _multipart(
    pieces: Sequence[Piece], boundary: str, contentType: str, total: int
) -> list[Piece]:
    def head(piece: Piece) -> bytes:
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
    return [*parts, Piece(0, 0, f"\r\n--{boundary}--\r\n".encode())]


def read(file: BinaryIO, pieces: Sequence[Piece]) -> Generator[bytes, None, None]:
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
