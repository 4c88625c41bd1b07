"""
The spool: one directory a job, with what its processes hand to each other
(see L{qgswps.jobfiles}).

All functions that touch the disk are meant for the reactor's thread pool.
"""

from __future__ import annotations

import os
import stat
from collections.abc import Iterator
from typing import BinaryIO

import attrs

from qgswps import codec
from qgswps.jobfiles import LOG, OUTPUTS, RESULT, TASK, TEMPORARY
from qgswps.model import Result, Task
from qgswps.removal import removeTree

#: How Python's fault handler begins what it has to say of a crash.
_CRASH = "Fatal Python error:"

#: How much of a log is looked at for its last lines, in bytes.
_TAIL = 8192


@attrs.frozen
class OutputFile:
    """
    What a job has made, or is making.

    @ivar name: the path, relative to the outputs.
    @ivar size: in bytes.
    @ivar modified: in seconds since the epoch.
    """

    name: str
    size: int
    modified: float


def openBelow(folder: str, path: str) -> BinaryIO:
    """
    Open a file without following a symbolic link below a folder, whoever
    changes what is in there meanwhile.

    @param path: relative to the folder, and without C{..}.
    @raise OSError: there is no such file, or no regular one.
    """
    if ".." in path.split("/"):
        raise FileNotFoundError(path)
    here = os.open(folder, os.O_RDONLY | os.O_DIRECTORY)
    try:
        *folders, name = path.split("/")
        for each in folders:
            flags = os.O_RDONLY | os.O_DIRECTORY | os.O_NOFOLLOW
            below = os.open(each, flags, dir_fd=here)
            os.close(here)
            here = below
        # A named pipe would otherwise be waited for.
        flags = os.O_RDONLY | os.O_NOFOLLOW | os.O_NONBLOCK
        found = os.open(name, flags, dir_fd=here)
    finally:
        os.close(here)
    if not stat.S_ISREG(os.fstat(found).st_mode):
        os.close(found)
        raise FileNotFoundError(path)
    return open(found, "rb")


class Spool:
    """
    The directories of jobs.

    @ivar root: absolute path of the folder that holds them.
    """

    def __init__(self, root: str) -> None:
        self.root = os.path.abspath(root)

    def directory(self, jobId: str) -> str:
        """The absolute path of a job's directory, whether it is there or not."""
        return os.path.join(self.root, jobId)

    def create(self, jobId: str, task: Task) -> str:
        """
        Make the directory of a new job.

        @return: its path.
        @raise OSError: no place, no right; then nothing is left behind.
        """
        directory = self.directory(jobId)
        os.makedirs(directory, mode=0o750)
        try:
            os.mkdir(os.path.join(directory, OUTPUTS), 0o750)
            # A project's URI may have a password.
            codec.write(os.path.join(directory, TASK), task, 0o600)
        except BaseException:
            removeTree(directory)
            raise
        return directory

    def task(self, jobId: str) -> Task:
        """What a job has to do."""
        return codec.read(os.path.join(self.directory(jobId), TASK), Task)

    def replaceTask(self, jobId: str, task: Task) -> None:
        """
        Note what is now known of a job that has not begun.

        @raise OSError: no place, or the directory is gone.
        """
        codec.write(os.path.join(self.directory(jobId), TASK), task, 0o600)

    def result(self, jobId: str) -> Result:
        """What came of a job."""
        return codec.read(os.path.join(self.directory(jobId), RESULT), Result)

    def outputFiles(self, jobId: str) -> list[tuple[str, int]]:
        """The names, relative to the outputs, and sizes in bytes of what was made."""
        return [(each.name, each.size) for each in self.outputs(jobId)]

    def outputs(self, jobId: str) -> list[OutputFile]:
        """What was made so far, by name; symbolic links are not."""
        root = os.path.join(self.directory(jobId), OUTPUTS)
        if os.path.islink(root):
            return []
        return sorted(_filesBelow(root), key=lambda each: each.name)

    def changed(self, jobId: str) -> float:
        """When something last came or went there, in seconds since the epoch."""
        try:
            return os.stat(self.directory(jobId)).st_mtime
        except FileNotFoundError:
            return 0.0

    def hasBegun(self, jobId: str) -> bool:
        """A worker has taken the job, whatever its record says."""
        return os.path.exists(os.path.join(self.directory(jobId), LOG))

    def hasResult(self, jobId: str) -> bool:
        """A worker has written what came of the job."""
        return os.path.exists(os.path.join(self.directory(jobId), RESULT))

    def read(self, jobId: str, path: str) -> bytes:
        """A file of a job that its result names."""
        with open(os.path.join(self.directory(jobId), path), "rb") as file:
            return file.read()

    def lastLines(self, jobId: str, count: int = 5) -> list[str]:
        """
        The last lines of a job's log, fewer or none if there are not so many.

        What Python says of a crash is for the log's reader alone.
        """
        try:
            with open(os.path.join(self.directory(jobId), LOG), "rb") as file:
                file.seek(0, os.SEEK_END)
                file.seek(max(0, file.tell() - _TAIL))
                text = file.read().decode("utf-8", "replace")
        except OSError:
            return []
        lines = text.partition(_CRASH)[0].splitlines()
        return [line[:500] for line in lines if line.strip()][-count:]

    def tidy(self, jobId: str) -> None:
        """Remove what a run needed but nobody else does."""
        removeTree(os.path.join(self.directory(jobId), TEMPORARY))

    def remove(self, jobId: str) -> None:
        """Remove all of a job."""
        removeTree(self.directory(jobId))

    def jobIds(self) -> list[str]:
        """The jobs that have a directory."""
        try:
            return os.listdir(self.root)
        except FileNotFoundError:
            return []


def _filesBelow(root: str) -> Iterator[OutputFile]:
    for folder, _, names in os.walk(root):
        for name in names:
            path = os.path.join(folder, name)
            try:
                found = os.lstat(path)
            except FileNotFoundError:
                continue  # a job that runs has files that come and go
            if stat.S_ISREG(found.st_mode):
                relative = os.path.relpath(path, root)
                yield OutputFile(relative, found.st_size, found.st_mtime)
