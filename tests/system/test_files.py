"""Files too big for the server's memory."""

from __future__ import annotations

import io
import os
import socket
import struct
import time
import zipfile
import zlib
from collections.abc import Iterator
from typing import Any

from twisted.trial import unittest

from tests import live
from tests.system.test_jobs import jobId

#: A file of this size must pass, and may cost this much memory.
SIZE = 2 * 1024**3
MEMORY = 30 * 1024**2


class Download:
    """
    A GET whose body is read piece by piece.

    @ivar status: the HTTP status.
    @ivar headers: in lower case.
    """

    def __init__(self, port: int, path: str, **headers: str) -> None:
        self._socket = socket.create_connection(("127.0.0.1", port), live.PATIENCE)
        lines = [f"GET /{path} HTTP/1.1", "Host: localhost", "Connection: close"]
        lines += [f"{name.replace('_', '-')}: {headers[name]}" for name in headers]
        self._socket.sendall("\r\n".join([*lines, "", ""]).encode())
        self._file: Any = self._socket.makefile("rb", buffering=1 << 20)
        self.status = int(self._file.readline().split()[1])
        self.headers = {}
        while line := self._file.readline().strip().decode("latin-1"):
            name, _, value = line.partition(":")
            self.headers[name.lower()] = value.strip()

    def close(self) -> None:
        """End the connection, whatever is still to come."""
        self._file.close()
        self._socket.close()

    def discard(self) -> int:
        """Read a body that is sent as it is; return its length."""
        buffer = bytearray(1 << 20)
        total = 0
        while count := self._file.readinto(buffer):
            total += count
        return total

    def chunks(self) -> Iterator[bytes]:
        """The parts of a body that is sent in chunks."""
        while size := int(self._file.readline(), 16):
            yield self._file.read(size)
            self._file.readline()
        self._file.readline()


class BigFileTests(unittest.TestCase):
    """A job with a file of 2 GiB, which holds nothing and takes no room."""

    def setUp(self) -> None:
        self.server = live.sharedServer()
        answer = self.server.execute("script:mishap", {"KIND": "nothing"})
        self.job = jobId(answer)
        self.path = os.path.join(
            self.server.workdir, "jobs", self.job, "outputs", "big.bin"
        )
        with open(self.path, "wb") as file:
            file.truncate(SIZE - 4)
            file.seek(0, os.SEEK_END)
            file.write(b"tail")
        self.addCleanup(os.unlink, self.path)
        # What is loaded on first use is no memory that a file takes.
        self.server.get(f"jobs/{self.job}/files")
        # From here on the peak is that of the test.
        with open(f"/proc/{self.server.process.pid}/clear_refs", "w") as reset:
            reset.write("5")
        self.before = self.peak()

    def peak(self) -> int:
        """The most memory that the server has had, in bytes."""
        with open(f"/proc/{self.server.process.pid}/status") as file:
            [line] = [line for line in file if line.startswith("VmHWM")]
        return int(line.split()[1]) * 1024

    def get(self, path: str, **headers: str) -> Download:
        """Begin to get something of the job."""
        download = Download(self.server.port, f"jobs/{self.job}/{path}", **headers)
        self.addCleanup(download.close)
        return download

    def assertFlat(self) -> None:
        """The server has not taken much memory."""
        self.assertLess(self.peak() - self.before, MEMORY)

    def test_whole(self) -> None:
        """All of it comes."""
        download = self.get("files/big.bin")
        self.assertEqual(download.status, 200)
        self.assertEqual(download.headers["content-length"], str(SIZE))
        self.assertEqual(download.discard(), SIZE)
        self.assertFlat()

    def test_slowClient(self) -> None:
        """To one who does not read, no more is sent than sockets hold."""
        self.get("files/big.bin")
        read = [0]

        def waits() -> bool:
            time.sleep(0.1)
            with open(f"/proc/{self.server.process.pid}/io") as file:
                read.append(int(file.readline().split()[1]))
            return read[-1] - read[-2] < 65536

        self.server.waitUntil(waits, "it reads on")
        self.assertLess(read[-1] - read[1], SIZE // 4)
        self.assertFlat()

    def test_range(self) -> None:
        """The end of it comes without the rest."""
        for wanted in ("bytes=-4", f"bytes={SIZE - 4}-"):
            download = self.get("files/big.bin", Range=wanted)
            self.assertEqual(download.status, 206)
            self.assertEqual(
                download.headers["content-range"],
                f"bytes {SIZE - 4}-{SIZE - 1}/{SIZE}",
            )
            self.assertEqual(download.discard(), 4)

    def test_archive(self) -> None:
        """All of it comes in an archive too, made on the way."""
        download = self.get("files.zip")
        self.assertEqual(download.headers["transfer-encoding"], "chunked")
        # There is one file of this size, so the archive is small.
        content = b"".join(download.chunks())
        self.assertFlat()
        with zipfile.ZipFile(io.BytesIO(content)) as archive:
            self.assertEqual(archive.namelist(), ["outputs/big.bin", "log.txt"])
            entry = archive.getinfo("outputs/big.bin")
            self.assertEqual(entry.file_size, SIZE)
            self.assertIn(b"about to nothing", archive.read("log.txt"))
        # What is in it is the file, though it is not all looked at here.
        start = entry.header_offset
        lengths = struct.unpack("<HH", content[start + 26 : start + 30])
        packed = content[start + 30 + sum(lengths) :][: entry.compress_size]
        inflate = zlib.decompressobj(-15)
        total, tail = 0, packed
        while tail and not inflate.eof:
            data = inflate.decompress(tail, 1 << 24)
            tail = inflate.unconsumed_tail
            total += len(data)
        self.assertEqual((total, data[-4:]), (SIZE, b"tail"))

    def test_leaves(self) -> None:
        """When the clients have gone, nothing is left open."""
        before = self.server.descriptors()
        downloads = [self.get(path) for path in ("files/big.bin", "files.zip") * 3]
        self.assertGreaterEqual(self.server.descriptors(), before + 6)
        for download in downloads:
            download.close()
        self.server.waitUntil(
            lambda: self.server.descriptors() <= before, "files are left open"
        )

    def test_cut(self) -> None:
        """If the file is cut on the way, the client does not get an end."""
        for path in ("files/big.bin", "files.zip"):
            download = self.get(path)
            os.truncate(self.path, 1000)
            self.addCleanup(os.truncate, self.path, SIZE)
            if path == "files.zip":
                self.assertRaises(ValueError, list, download.chunks())
            else:
                self.assertLess(download.discard(), SIZE)
            os.truncate(self.path, SIZE)
