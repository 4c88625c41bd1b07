"""
The spool: one directory a job, with what its processes hand to each other.

    jobs/{id}/task.json     what to do
              inputs/       data that the client sent, if there is any
              outputs/      what clients may download
              result.json   what came of it
              log           what the run printed
              QGIS.conf     QGIS's settings, as the run has left them
              tmp/          empty after the run

All functions that touch the disk are meant for the reactor's thread pool.
"""

from __future__ import annotations

import os
import shutil

from qgswps import codec
from qgswps.model import Result, Task

TASK = "task.json"
RESULT = "result.json"
LOG = "log"
OUTPUTS = "outputs"
TEMPORARY = "tmp"

#: How Python's fault handler begins what it has to say of a crash.
_CRASH = "Fatal Python error:"

#: How much of a log is looked at for its last lines, in bytes.
_TAIL = 8192


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
            codec.write(os.path.join(directory, TASK), task)
        except BaseException:
            shutil.rmtree(directory, ignore_errors=True)
            raise
        return directory

    def task(self, jobId: str) -> Task:
        """What a job has to do."""
        return codec.read(os.path.join(self.directory(jobId), TASK), Task)

    def result(self, jobId: str) -> Result:
        """What came of a job."""
        return codec.read(os.path.join(self.directory(jobId), RESULT), Result)

    def outputFiles(self, jobId: str) -> list[tuple[str, int]]:
        """The names, relative to the outputs, and sizes in bytes of what was made."""
        root = os.path.join(self.directory(jobId), OUTPUTS)
        found = []
        for folder, _, names in os.walk(root):
            for name in names:
                path = os.path.join(folder, name)
                if os.path.isfile(path) and not os.path.islink(path):
                    found.append((os.path.relpath(path, root), os.path.getsize(path)))
        return sorted(found)

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
        shutil.rmtree(
            os.path.join(self.directory(jobId), TEMPORARY), ignore_errors=True
        )

    def remove(self, jobId: str) -> None:
        """Remove all of a job."""
        shutil.rmtree(self.directory(jobId), ignore_errors=True)

    def jobIds(self) -> list[str]:
        """The jobs that have a directory."""
        try:
            return os.listdir(self.root)
        except FileNotFoundError:
            return []
