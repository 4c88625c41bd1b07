"""
The work directory: all that a server keeps on the disk.

    jobs/       one directory a job
    pool/       the fork servers' settings and catalogues, QGIS's profile
    instance    the name under which this server finds its own jobs again
    lock        held as long as a server uses it
"""

from __future__ import annotations

import fcntl
import os
import uuid

from twisted.python.util import runAsEffectiveUser


class InUse(OSError):
    """Another server has the work directory."""


class WorkDirectory:
    """
    A work directory, held by one server at a time.

    @ivar path: its absolute path.
    @ivar instance: the name of the server that it belongs to.
    """

    def __init__(self, path: str, owner: tuple[int, int] | None = None) -> None:
        """
        Make what is missing, and hold it until this process ends.

        @param owner: user and group that this process, which is root's, is
            about to become.  A directory that is not there or empty is given
            to them; all else must be theirs to write already.
        @raise OSError: it can't be made or written.
        @raise InUse: another server holds it.
        """
        self.path = path
        if owner is None or os.geteuid() != 0:
            self._make()
            return
        # What is above it may be for root alone to write.
        os.makedirs(path, mode=0o750, exist_ok=True)
        if not os.listdir(path):
            os.chown(path, *owner)
        runAsEffectiveUser(*owner, self._make)

    def _make(self) -> None:
        path = self.path
        for folder in (path, self.jobs, self.pool):
            os.makedirs(folder, mode=0o750, exist_ok=True)
        self._lock = os.open(
            os.path.join(path, "lock"), os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o640
        )
        try:
            fcntl.flock(self._lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            os.close(self._lock)
            raise InUse(f"another server uses {path}") from None
        self.instance = self._instance()

    @property
    def jobs(self) -> str:
        """Where the directories of jobs are."""
        return os.path.join(self.path, "jobs")

    @property
    def pool(self) -> str:
        """Where the pool's own files are."""
        return os.path.join(self.path, "pool")

    def _instance(self) -> str:
        path = os.path.join(self.path, "instance")
        try:
            with open(path) as file:
                known = file.read().strip()
        except FileNotFoundError:
            known = ""
        if not known:
            known = str(uuid.uuid4())
            with open(path, "w") as file:
                file.write(known)
        return known

    def release(self) -> None:
        """Let go of it."""
        os.close(self._lock)
