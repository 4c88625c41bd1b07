"""
Data on its way to a file: decoded, counted, appended.

All methods are meant for threads, one call at a time but for L{Sink.remove}: a
thread can't be told to stop, so who gives up may remove what is still written.
No file is held open between calls, so that there is nothing to close then.
"""

from __future__ import annotations

import base64
import binascii
import contextlib
import os
import re
import threading
import zlib
from collections.abc import Iterator

#: How much is decoded at once, in bytes.
BLOCK = 1 << 18

#: What servers may do to data on the way (RFC 9110, section 8.4.1).
ENCODINGS = ("gzip", "deflate")

_GZIP = b"\x1f\x8b"


_BASE64 = re.compile(rb"[A-Za-z0-9+/=\s]+")

#: How much larger data may be before it is decoded, in bytes.
_OVERHEAD = 1 << 16

#: C{gzip} may be in many members, but not in so small ones on average.
_SMALLEST_MEMBER = 1 << 10
_SMALL_MEMBERS = 1 << 10

#: How much of data tells whether it is in base64, in bytes.
_HEAD = 4096


class TooLarge(Exception):
    """There is more data than is taken."""


class TooMuch(TooLarge):
    """There is more of all data together than is taken."""


class Damaged(Exception):
    """What came is not what it was said to be."""


class Allowance:
    """How much several sinks may take together."""

    def __init__(self, limit: int) -> None:
        """
        @param limit: in bytes, when they are decoded.
        """
        self._room = limit
        self._lock = threading.Lock()

    def take(self, size: int) -> None:
        """
        Use some of it.

        @raise TooMuch: so much is not left.
        """
        with self._lock:
            self._room -= size
            if self._room < 0:
                raise TooMuch()


class Sink:
    """
    A file that data goes to.

    @ivar path: its absolute path.
    """

    def __init__(
        self, path: str, limit: int, allowance: Allowance | None = None
    ) -> None:
        """
        @param limit: how many bytes it may have when they are decoded.
        @param allowance: what it may take together with others.
        """
        self.path = path
        self._allowance = allowance
        self._room = limit
        self._packed = limit + _OVERHEAD
        self._decoder: _Decoder | None = None
        self._lock = threading.Lock()
        self._isRemoved = False

    def _make(self, path: str) -> None:
        """
        Make a file, empty.

        @raise FileNotFoundError: nobody wants it any more.
        """
        with self._lock:
            if self._isRemoved:
                raise FileNotFoundError(path)
            with open(path, "wb"):
                pass

    def begin(self, encoding: str = "") -> None:
        """
        Make the file, empty.

        @param encoding: the C{Content-Encoding} of what will come.
        @raise Damaged: of that encoding nothing can be read.
        """
        name = encoding.strip().lower().removeprefix("x-")
        if name and name != "identity":
            if name not in ENCODINGS:
                raise Damaged(
                    f"it came in the encoding {name[:40]!r}, which was not asked for"
                )
            self._decoder = _Decoder(name)
        # Not the folder above it: a job that is gone must not come back.
        with contextlib.suppress(FileExistsError):
            os.mkdir(os.path.dirname(self.path), 0o750)
        self._make(self.path)

    def write(self, data: bytes) -> None:
        """
        Append data.

        @raise TooLarge: there is too much of it.
        @raise Damaged: it can't be decoded.
        """
        self._packed -= len(data)
        if self._packed < 0:
            raise TooLarge()
        pieces = iter((data,)) if self._decoder is None else self._decoder.decode(data)
        # The file must be there: who gave up has removed it.
        with open(self.path, "r+b", buffering=0) as file:
            file.seek(0, os.SEEK_END)
            for piece in pieces:
                self._room -= len(piece)
                if self._room < 0:
                    raise TooLarge()
                if self._allowance is not None:
                    self._allowance.take(len(piece))
                written = 0
                while written < len(piece):
                    written += file.write(memoryview(piece)[written:])

    def end(self) -> None:
        """
        All has come.

        @raise Damaged: its end is missing.
        """
        if self._decoder is not None and not self._decoder.isComplete:
            raise Damaged("its end is missing")

    def decodeBase64(self) -> None:
        """
        Undo base64, if the data is in it: that a client says so may be meant
        of the data, or of the way in which it is described.

        @raise Damaged: it is in base64, but not to its end.
        """
        with open(self.path, "rb") as source:
            if not _BASE64.fullmatch(source.read(_HEAD)):
                return
            source.seek(0)
            decoded = f"{self.path}.decoded"
            rest = b""
            self._make(decoded)
            with open(decoded, "r+b") as target:
                while block := source.read(BLOCK):
                    rest += b"".join(block.split())
                    whole = len(rest) & ~3
                    target.write(_fromBase64(rest[:whole]))
                    rest = rest[whole:]
                target.write(_fromBase64(rest))
        with self._lock:
            if not self._isRemoved:
                os.replace(decoded, self.path)

    def remove(self) -> None:
        """Remove the file, if it was made; it is not made again."""
        with self._lock:
            self._isRemoved = True
        for path in (self.path, f"{self.path}.decoded"):
            with contextlib.suppress(FileNotFoundError):
                os.unlink(path)


def _fromBase64(text: bytes) -> bytes:
    try:
        return base64.b64decode(text, validate=True)
    except binascii.Error as error:
        raise Damaged(f"it is no valid base64: {error}") from None


class _Decoder:
    """Undoes C{gzip} or C{deflate}, a block at a time however much it unpacks to."""

    def __init__(self, name: str) -> None:
        self._name = name
        self._inflater: zlib._Decompress | None = None
        self._members = 0
        self._size = 0
        self.isComplete = False

    def decode(self, data: bytes) -> Iterator[bytes]:
        while data and not (self.isComplete and not self._isNext(data)):
            if self._inflater is None:
                self._inflater = zlib.decompressobj(self._window(data))
                self.isComplete = False
                self._members += 1
                small = self._members - _SMALL_MEMBERS
                if small * _SMALLEST_MEMBER > self._size:
                    raise Damaged("it has too many parts")
            try:
                piece = self._inflater.decompress(data, BLOCK)
                while piece:
                    self._size += len(piece)
                    yield piece
                    if self._inflater.eof:
                        break  # what is left over is not its own
                    rest = self._inflater.unconsumed_tail
                    piece = self._inflater.decompress(rest, BLOCK)
            except zlib.error as error:
                raise Damaged(f"it is no valid {self._name}: {error}") from None
            data = b""
            if self._inflater.eof:
                data = self._inflater.unused_data
                self._inflater = None
                self.isComplete = True

    def _isNext(self, data: bytes) -> bool:
        """Whether another member follows; what else does is filling."""
        return self._name == "gzip" and _GZIP.startswith(data[:2])

    def _window(self, data: bytes) -> int:
        if self._name == "gzip":
            return 16 + zlib.MAX_WBITS
        # Some servers leave out the header that the standard asks for.
        hasHeader = data[0] & 0x0F == 8 and data[0] >> 4 < 8
        return zlib.MAX_WBITS if hasHeader else -zlib.MAX_WBITS
