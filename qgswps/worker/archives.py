"""
Zip archives: results of several files are packed, and what clients send so is
unpacked.

Of a client's archive only the files that are needed are taken out, under names
of the server's own, so that no name in it can lead anywhere.
"""

from __future__ import annotations

import os
import re
import zipfile
import zlib
from collections.abc import Iterable, Iterator

#: What may come out of a client's archive, in bytes.
LARGEST = 1 << 30
#: An archive with more members is not looked into.
MOST_MEMBERS = 10_000
#: How many times larger than the archive what comes out of it may be; that of
#: attribute tables with wide columns is near it.
LARGEST_RATIO = 300
#: What is so small needs no ratio.
_SMALL = 1 << 24

_BLOCK = 1 << 16

#: Files beside the one that names a data set: they are a part of it.
SIDECARS = {
    ".shp": (".shx", ".dbf", ".prj", ".cpg"),
    ".tab": (".dat", ".map", ".id", ".ind", ".cpg"),
    ".mif": (".mid", ".cpg"),
}


def isZip(head: bytes) -> bool:
    """Whether a file that starts so is an archive with something in it."""
    return head.startswith(b"PK\x03\x04")


# Results


def pack(members: Iterable[tuple[str, str]], target: str) -> None:
    """
    Write an archive.

    @param members: paths of files, and their names in the archive.
    @param target: the archive's path.
    """
    with zipfile.ZipFile(
        target, "w", zipfile.ZIP_DEFLATED, strict_timestamps=False
    ) as to:
        for path, name in members:
            to.write(path, name)


def below(folder: str) -> Iterator[tuple[str, str]]:
    """All files in a folder, as L{pack} takes them; links are not followed."""
    for root, folders, files in os.walk(folder):
        folders.sort()
        for name in sorted(files):
            path = os.path.join(root, name)
            if os.path.isfile(path) and not os.path.islink(path):
                yield path, os.path.relpath(path, folder)


def withSidecars(path: str) -> list[str]:
    """A file, and those beside it that are of the same data set."""
    stem, suffix = os.path.splitext(path)
    sidecars = (stem + each for each in SIDECARS.get(suffix.lower(), ()))
    return [path, *filter(os.path.isfile, sidecars)]


# What clients send


class Archive:
    """An archive that a client sent; to be used as a context manager."""

    def __init__(self, path: str) -> None:
        """
        @raise ValueError: it is not one that can be read.
        """
        self._room = max(_SMALL, min(LARGEST, os.path.getsize(path) * LARGEST_RATIO))
        try:
            self._zip = zipfile.ZipFile(path)
        except (zipfile.BadZipFile, NotImplementedError, OSError):
            raise ValueError("it is no zip archive that can be read") from None
        if len(self._zip.infolist()) > MOST_MEMBERS:
            self._zip.close()
            raise ValueError(f"it has more than {MOST_MEMBERS} files")

    def __enter__(self) -> Archive:
        return self

    def __exit__(self, *exception: object) -> None:
        self._zip.close()

    def names(self) -> list[str]:
        """The files in it, but for those that systems add by themselves."""
        return [
            member.filename
            for member in self._zip.infolist()
            if not member.is_dir()
            # Some systems part folders otherwise.
            and not re.split(r"[/\\]", member.filename)[-1].startswith(".")
            and not member.filename.startswith("__MACOSX/")
        ]

    def extract(self, name: str, target: str) -> None:
        """
        Take one file out.

        @param target: the path to write it to.
        @raise ValueError: it is damaged, encrypted or larger than allowed.
        """
        try:
            with self._zip.open(name) as source, open(target, "wb") as file:
                # What an archive says of sizes need not be true.
                while block := source.read(_BLOCK):
                    self._room -= len(block)
                    if self._room < 0:
                        raise ValueError("what is packed in it is too large")
                    file.write(block)
        except NotImplementedError:
            raise ValueError("it is packed by an unknown method") from None
        except RuntimeError:
            raise ValueError("it is encrypted") from None
        except (zipfile.BadZipFile, zlib.error, EOFError, OSError):
            raise ValueError("it is damaged") from None
