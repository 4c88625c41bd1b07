"""
All that a job has made as one ZIP archive, made while it is sent.

What is at the top of the job's directory for people to open, QGIS projects,
is at the top of the archive, and what these refer to keeps its place beside
them:

    {name}.qgs     the projects that the job has made
    outputs/       what it has made
    log.txt        what its run has printed
"""

from __future__ import annotations

import io
import os
import stat
import time
from collections.abc import Generator, Sequence
from zipfile import ZIP_DEFLATED, ZipFile, ZipInfo

import attrs

from qgswps.jobfiles import LOG, OUTPUTS
from qgswps.jobs.spool import Spool, openBelow

#: Endings of files that can't be made smaller.
_COMPRESSED = (
    *(".7z", ".bz2", ".gz", ".xz", ".zip", ".zst"),
    *(".jp2", ".jpeg", ".jpg", ".mp4", ".png", ".webp"),
    *(".docx", ".odp", ".ods", ".odt", ".pptx", ".xlsx"),
    *(".kmz", ".laz", ".parquet", ".qgz"),
)

#: How much of a file is read at a time: what is in memory, and how long one
#: part of the archive keeps a thread.
_CHUNK = 256 * 1024

#: The years that a ZIP archive can tell.
_FIRST, _LAST = 1980, 2107


@attrs.frozen
class Member:
    """
    A file that goes into an archive.

    @ivar name: in the archive.
    @ivar path: relative to the job's directory.
    """

    name: str
    path: str


def members(spool: Spool, jobId: str) -> list[Member]:
    """
    What there is of a job now.  Looks at the disk.

    @raise FileNotFoundError: the job's directory is gone.
    """
    with os.scandir(spool.directory(jobId)) as entries:
        files = {each.name for each in entries if each.is_file(follow_symlinks=False)}
    # One that is being written has a name of its own.
    paths = sorted(
        name for name in files if name.endswith(".qgs") and ".new." not in name
    )
    paths += [f"{OUTPUTS}/{each.name}" for each in spool.outputs(jobId)]
    found = [Member(_portable(path), path) for path in paths]
    if LOG in files:
        found.append(Member("log.txt", LOG))
    return found


def parts(directory: str, found: Sequence[Member]) -> Generator[bytes, None, None]:
    """
    The bytes of an archive, some of them empty.  Reads from the disk.

    @raise OSError: a file is gone, or shorter than it was when its turn came.
    """
    sink = _Sink()
    with ZipFile(sink, "w", ZIP_DEFLATED) as archive:
        for each in found:
            yield from _added(archive, sink, directory, each)
    yield sink.taken()


def _added(
    archive: ZipFile, sink: _Sink, directory: str, member: Member
) -> Generator[bytes, None, None]:
    with openBelow(directory, member.path) as file:
        status = os.fstat(file.fileno())
        left = status.st_size
        with archive.open(_entry(member, status), "w") as entry:
            # One that grows is cut at the length that it had: the header is
            # made for that one.
            while left:
                data = file.read(min(left, _CHUNK))
                if not data:
                    raise OSError(f"{member.path} was cut while it was read")
                left -= len(data)
                entry.write(data)
                yield sink.taken()


def _entry(member: Member, status: os.stat_result) -> ZipInfo:
    moment = time.localtime(status.st_mtime)[:6]
    if not _FIRST <= moment[0] <= _LAST:
        moment = (_FIRST, 1, 1, 0, 0, 0)
    entry = ZipInfo(member.name, moment)
    # Tells zipfile whether this one needs ZIP64.
    entry.file_size = status.st_size
    entry.external_attr = (stat.S_IFREG | 0o644) << 16
    # Where nothing is to be gained it is deflate without compression: sizes
    # come after the data, and readers of streams then need deflate's own end.
    entry.compress_type = ZIP_DEFLATED
    level = 0 if member.name.lower().endswith(_COMPRESSED) else 1
    # Public, under another name, from Python 3.13 on.
    entry._compresslevel = level  # type: ignore[attr-defined]
    return entry


def _portable(path: str) -> str:
    # A backslash would part folders on Windows.
    return os.fsencode(path).decode("utf-8", "replace").replace("\\", "_")


class _Sink(io.RawIOBase):
    """Where an archive is written to; can't seek, so that zipfile does not."""

    def __init__(self) -> None:
        super().__init__()
        self._written: list[bytes] = []

    def writable(self) -> bool:
        return True

    def write(self, data: bytes) -> int:  # type: ignore[override]
        self._written.append(bytes(data))
        return len(data)

    def taken(self) -> bytes:
        """What was written since the last time."""
        written, self._written = self._written, []
        return b"".join(written)
