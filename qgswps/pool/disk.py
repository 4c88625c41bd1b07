"""
The room that a job takes on the disk: it is looked at while the job runs, since
the kernel limits single files only.
"""

from __future__ import annotations

import contextlib
import errno
import os
import stat
from collections.abc import Callable, Iterable
from typing import Any

from twisted.internet.defer import Deferred
from twisted.python.failure import Failure

from qgswps import processes
from qgswps.jobfiles import LOG, TASK
from qgswps.journal import Logger
from qgswps.removal import removeTree
from qgswps.threads import inThread

log = Logger()

#: Seconds between looks, at least.
INTERVAL = 1.0

#: How much of the time may be spent on looking, as a divisor.
_SHARE = 10

#: What a file takes at least, in bytes, be it empty.
_LEAST = 4096

_MEBIBYTE = 2**20

#: How many processes of a job are looked at.
_PROCESSES = 1024

#: How much of a log is kept of a job that was ended for the room it took.
_TAIL = 65536


def taken(directory: str, most: int) -> int:
    """
    The room that all in a directory takes, in bytes.

    @param most: with more it is enough; folders that nobody can look into,
        since they are closed or too deep in each other, are more.
    """
    total = 0
    folders = [directory]
    while folders and total <= most:
        try:
            with os.scandir(folders.pop()) as entries:
                for entry in entries:
                    total += _taken(entry)
                    if total > most:
                        break
                    if entry.is_dir(follow_symlinks=False):
                        folders.append(entry.path)
        except OSError as error:
            # Else a job has done away with it meanwhile.
            if error.errno not in (errno.ENOENT, errno.ENOTDIR):
                return most + 1
    return total


def _taken(entry: os.DirEntry[str]) -> int:
    with contextlib.suppress(FileNotFoundError):
        found = entry.stat(follow_symlinks=False)
        return max(found.st_blocks * 512, _LEAST)
    return 0


def unlinked(pids: Iterable[int]) -> int:
    """The room that files take that processes have open, and no folder has."""
    sizes: dict[tuple[int, int], int] = {}
    for pid in pids:
        with contextlib.suppress(OSError):
            for name in os.listdir(f"/proc/{pid}/fd"):
                with contextlib.suppress(OSError):
                    found = os.stat(f"/proc/{pid}/fd/{name}")
                    if stat.S_ISREG(found.st_mode) and not found.st_nlink:
                        sizes[found.st_dev, found.st_ino] = found.st_blocks * 512
    return sum(sizes.values())


def clear(directory: str) -> None:
    """Remove what a job has written, but for the end of its log."""
    with contextlib.suppress(OSError), os.scandir(directory) as entries:
        for entry in entries:
            with contextlib.suppress(OSError):
                if entry.is_dir(follow_symlinks=False):
                    removeTree(entry.path)
                elif entry.name == LOG:
                    _shorten(entry.path)
                elif entry.name != TASK:
                    os.unlink(entry.path)


def _shorten(path: str) -> None:
    # It may be whatever the job has made of it.
    descriptor = os.open(path, os.O_RDWR | os.O_NOFOLLOW | os.O_NONBLOCK)
    with open(descriptor, "r+b", buffering=0) as file:
        found = os.fstat(descriptor)
        if stat.S_ISREG(found.st_mode) and found.st_size > _TAIL:
            file.seek(-_TAIL, os.SEEK_END)
            end = file.read(_TAIL) or b""
            file.seek(0)
            file.write(end)
            file.truncate(len(end))


class DiskWatch:
    """
    Looks at the directory of a job that runs, until it takes too much or is
    told to L{stop}.

    @ivar exceeded: it took too much.
    """

    def __init__(
        self,
        reactor: Any,
        directory: str,
        most: int,
        tell: Callable[[str], None],
    ) -> None:
        """
        @param most: what the job may take, in MiB; 0 for any.
        @param tell: is called once, with what was too much.
        """
        self.exceeded = False
        self._reactor = reactor
        self._directory = directory
        self._most = most * _MEBIBYTE
        self._tell = tell
        self._pid = 0
        self._timer: Any = None
        self._running = False

    def start(self, pid: int) -> None:
        """
        Begin.

        @param pid: of the worker.
        """
        if self._most:
            self._pid = pid
            self._running = True
            self._wait(INTERVAL)

    def _wait(self, seconds: float) -> None:
        self._timer = self._reactor.callLater(seconds, self._look)

    def _look(self) -> None:
        begun = self._reactor.seconds()
        looking = inThread(self._reactor, self._measure)
        looking.addCallback(self._judge, begun)
        looking.addErrback(self._failed)

    def _measure(self) -> int:
        return taken(self._directory, self._most) + unlinked(
            processes.tree(self._pid, _PROCESSES)
        )

    def _judge(self, found: int, begun: float) -> None:
        if not self._running:
            return
        if found <= self._most:
            took = self._reactor.seconds() - begun
            self._wait(max(INTERVAL, took * _SHARE))
            return
        self._running = False
        self.exceeded = True
        self._tell(
            f"its files took more than the {self._most // _MEBIBYTE} MiB of the disk"
            " that sandbox.disk allows"
        )

    def _failed(self, reason: Failure) -> None:
        log.failure("a disk can't be watched", reason)
        if self._running:
            self._wait(INTERVAL * _SHARE)

    def stop(self) -> None:
        """The job has ended."""
        self._running = False
        if self._timer is not None and self._timer.active():
            self._timer.cancel()

    def cleared(self) -> Deferred[None]:
        """Give back the room of a job that has L{exceeded} it."""
        return inThread(self._reactor, clear, self._directory)
