"""Tests of L{qgswps.references.sink}: decoded, counted, appended."""

from __future__ import annotations

import base64
import gzip
import os
import zlib
from typing import Any

from twisted.trial.unittest import SynchronousTestCase

from qgswps.references import sink
from qgswps.references.sink import Damaged, Sink, TooLarge

DATA = os.urandom(1000) + b"a" * 500_000


def rawDeflate(data: bytes) -> bytes:
    """Without the header that the standard asks for."""
    packer = zlib.compressobj(wbits=-15)
    return packer.compress(data) + packer.flush()


class SinkTests(SynchronousTestCase):
    """What comes is in the file."""

    def make(self, limit: int = 1 << 30, encoding: str = "") -> Sink:
        """A sink that has begun."""
        folder = self.mktemp()
        os.mkdir(folder)
        made = Sink(os.path.join(folder, "inputs", "x"), limit)
        made.begin(encoding)
        return made

    def content(self, made: Sink) -> bytes:
        """What is in the file."""
        with open(made.path, "rb") as file:
            return file.read()

    def test_encodings(self) -> None:
        """However it is packed, and in whatever pieces it comes."""
        for encoding, data in [
            ("", DATA),
            ("identity", DATA),
            ("gzip", gzip.compress(DATA)),
            ("X-GZIP", gzip.compress(DATA)),
            ("gzip", gzip.compress(DATA[:7]) + gzip.compress(DATA[7:])),
            ("gzip", gzip.compress(DATA[:-7]) + gzip.compress(DATA[-7:])),
            ("gzip", gzip.compress(DATA) + b"\0" * 20),
            ("deflate", zlib.compress(DATA)),
            ("deflate", rawDeflate(DATA)),
        ]:
            for size in (1 << 20, 1000, 1):
                if size == 1 and len(data) > 10_000:
                    continue
                made = self.make(encoding=encoding)
                for start in range(0, len(data), size):
                    made.write(data[start : start + size])
                made.end()
                self.assertEqual(self.content(made), DATA, (encoding, size))

    def test_limit(self) -> None:
        """One byte more than is taken is too much, packed or not."""
        packs: list[tuple[str, Any]] = [("", bytes), ("gzip", gzip.compress)]
        for encoding, pack in packs:
            made = self.make(1000, encoding)
            made.write(pack(b"x" * 1000))
            made.end()
            made = self.make(1000, encoding)
            self.assertRaises(TooLarge, made.write, pack(b"x" * 1001))

    def test_bomb(self) -> None:
        """What unpacks to much is given up after the limit."""
        packer = zlib.compressobj(9, wbits=31)
        bomb = b"".join(packer.compress(bytes(1 << 20)) for _ in range(200))
        made = self.make(1 << 20, "gzip")
        self.assertRaises(TooLarge, made.write, bomb + packer.flush())
        self.assertLessEqual(os.path.getsize(made.path), (1 << 20) + sink.BLOCK)

    def test_members(self) -> None:
        """Many small parts are no way to keep a thread busy."""
        member = gzip.compress(b"x")
        made = self.make(encoding="gzip")
        made.write(member * 1000)
        self.assertEqual(self.content(made), b"x" * 1000)
        self.assertRaises(Damaged, made.write, member * 1000)
        # Those of a kilobyte are fine.
        made = self.make(encoding="gzip")
        made.write(gzip.compress(b"x" * 1024) * 3000)
        self.assertEqual(len(self.content(made)), 3000 << 10)

    def test_filling(self) -> None:
        """What decodes to nothing is counted, too."""
        made = self.make(1000, "gzip")
        made.write(gzip.compress(b"x"))
        made.write(bytes(60_000))
        self.assertRaises(TooLarge, made.write, bytes(10_000))

    def test_damaged(self) -> None:
        """What is not packed as it is said to be, or not to its end."""
        for encoding, data in [
            ("gzip", b"no"),
            ("gzip", gzip.compress(DATA)[:-8] + b"\0" * 8),
            ("deflate", b"\x78\x9c" + b"\xff" * 50),
        ]:
            made = self.make(encoding=encoding)
            self.assertRaises(Damaged, made.write, data)
        for encoding, data in [
            ("gzip", b""),
            ("gzip", gzip.compress(DATA)[:-1]),
            ("gzip", gzip.compress(DATA) + gzip.compress(DATA)[:20]),
            ("deflate", zlib.compress(DATA)[:-1]),
        ]:
            made = self.make(encoding=encoding)
            made.write(data)
            self.assertRaises(Damaged, made.end)
        for encoding in ("br", "gzip, gzip", "x"):
            self.assertRaises(Damaged, self.make, encoding=encoding)

    def test_base64(self) -> None:
        """Base64 is undone where it is there."""
        for data in [
            base64.b64encode(DATA),
            base64.encodebytes(DATA),
            b" " + base64.b64encode(DATA[:-1]) + b"\n",
            base64.b64encode(DATA[:-2]),
        ]:
            made = self.make()
            made.write(data)
            made.decodeBase64()
            self.assertIn(len(DATA) - len(self.content(made)), (0, 1, 2))
            self.assertTrue(DATA.startswith(self.content(made)))
        for data in (b"", b"II*\0", DATA):
            made = self.make()
            made.write(data)
            made.decodeBase64()
            self.assertEqual(self.content(made), data)
        made = self.make()
        made.write(b"A" * 5000 + b"!")
        self.assertRaises(Damaged, made.decodeBase64)
        made.remove()
        self.assertEqual(os.listdir(os.path.dirname(made.path)), [])

    def test_removed(self) -> None:
        """What was removed does not come back with what is still written."""
        made = self.make()
        made.remove()
        made.remove()
        self.assertRaises(FileNotFoundError, made.write, b"x")
        self.assertFalse(os.path.exists(made.path))

    def test_tooLate(self) -> None:
        """Nor what is begun, in a thread that nobody could stop, when it is gone."""
        sink = Sink(os.path.join(self.mktemp(), "x"), 10)
        os.mkdir(os.path.dirname(sink.path))
        sink.remove()
        self.assertRaises(FileNotFoundError, sink.begin)
        self.assertEqual(os.listdir(os.path.dirname(sink.path)), [])

    def test_again(self) -> None:
        """What an earlier try has left does not count."""
        made = self.make()
        made.write(b"abc")
        again = Sink(made.path, 10)
        again.begin()
        again.write(b"d")
        self.assertEqual(self.content(again), b"d")
