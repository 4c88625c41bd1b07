"""
Layers from data that a client sends.

GDAL tells formats by their content, and some of its formats are lists of
other files and URLs to open.  Nothing that a client sent is opened before it
is certain to be of the one format that it should be.
"""

from __future__ import annotations

import base64
import binascii
import os
import shutil
from collections.abc import Sequence
from typing import Any

from qgswps.errors import OWSError, invalid
from qgswps.jobfiles import INPUTS
from qgswps.model import ComplexValue, FileValue, Format
from qgswps.worker import archives, formats
from qgswps.worker.job import Job, encoded, fileName
from qgswps.worker.readers import HEAD, READERS, Reader

_VECTORS = {"vector", "point", "line", "polygon", "nogeometry"}

#: As which archives are sent; the second one is for a certain format in it.
_ARCHIVES = (
    "application/zip",
    "application/x-zipped-shp",
    "application/x-zip-compressed",
)

#: What servers say that don't know what they send.
_NOTHING_SAID = ("application/octet-stream", "binary/octet-stream")


def inputFormats(kinds: Sequence[str]) -> tuple[Format, ...]:
    """
    The formats in which layers of these kinds may be sent; empty for kinds that
    only a project has, such as point clouds.
    """
    vector = not kinds or bool(_VECTORS & set(kinds))
    raster = not kinds or "raster" in kinds
    mesh = not kinds or "mesh" in kinds
    listed = (
        *(formats.VECTOR_INPUTS if vector else ()),
        *(formats.RASTER_INPUTS if raster else ()),
        *(formats.MESH_INPUTS if mesh else ()),
    )
    return tuple(dict.fromkeys(listed))


def load(
    identifier: str, given: ComplexValue | FileValue, kinds: Sequence[str], job: Job
) -> Any:
    """
    The layer that data of an input is.

    @raise OWSError: it is not what it should be.
    """
    accepted = {formats.baseType(f.mimeType) for f in inputFormats(kinds)}
    if not accepted:
        raise invalid(
            identifier, f"{identifier} can't be sent: expected a layer of the project"
        )
    readers = [reader for reader in READERS if accepted & set(reader.mimeTypes)]
    said = formats.baseType(given.format.mimeType)
    if said in _NOTHING_SAID:
        said = ""
    isPacked = said in _ARCHIVES and _ARCHIVES[0] in accepted
    if said and not isPacked:
        readers = _named(identifier, given.format, readers)
    path, head = _store(identifier, given, job)
    if archives.isZip(head) and (isPacked or not said):
        path, reader = _unpacked(identifier, path, readers, job)
    elif isPacked:
        raise _notReadable(identifier, "zip archive", "it does not look like that")
    else:
        reader = _choose(identifier, bool(said), head, readers)
        os.rename(path, path + reader.suffixes[0])
        path += reader.suffixes[0]
    titled = given.title if isinstance(given, FileValue) else ""
    title = titled or identifier
    try:
        layer = reader.open(path, title, job.crs)
    except (ValueError, RuntimeError) as error:
        # Where a job's files lie is nobody's business.
        why = str(error).replace(job.directory + os.sep, "")
        raise _notReadable(identifier, reader.name, why) from None
    if not layer.isValid():
        raise _notReadable(identifier, reader.name, "it can't be read")
    # QGIS finds the layers of an algorithm's inputs in the context.
    job.context.temporaryLayerStore().addMapLayer(layer)
    return layer


def _store(
    identifier: str, given: ComplexValue | FileValue, job: Job
) -> tuple[str, bytes]:
    """Put the data into a file of its own, and look at its first bytes."""
    path = job.newFile(INPUTS, fileName(identifier, "input"))
    if isinstance(given, FileValue):
        source = os.path.join(job.directory, given.path)
        if job.relative(source) is None or not os.path.isfile(source):
            raise invalid(identifier, f"{identifier} has no data")
        try:
            os.link(source, path)
        except OSError:
            shutil.copyfile(source, path)
        return path, _head(path)
    data = decode(identifier, given)
    with open(path, "wb") as file:
        file.write(data)
    return path, data[:HEAD]


def _head(path: str) -> bytes:
    with open(path, "rb") as file:
        return file.read(HEAD)


def decode(identifier: str, given: ComplexValue) -> bytes:
    """The bytes of inline data."""
    encoding = (given.format.encoding or "").lower()
    text = given.data
    if encoding == "base64" or (not encoding and _looksBinary(given)):
        try:
            return base64.b64decode("".join(text.split()), validate=True)
        except (binascii.Error, ValueError):
            raise invalid(identifier, f"{identifier} is not valid base64") from None
    return encoded(text)


def _looksBinary(given: ComplexValue) -> bool:
    """Whether a client forgot to say that binary data is in base64."""
    return (
        not given.format.mimeType or formats.baseType(given.format.mimeType) in _BINARY
    ) and given.data.lstrip()[:1] not in ("{", "<", "\ufeff", "")


_BINARY = {
    *_ARCHIVES,
    *(name for reader in READERS if reader.isBinary for name in reader.mimeTypes),
}


def _named(identifier: str, said: Format, readers: Sequence[Reader]) -> list[Reader]:
    """Who reads data of a format."""
    mimeType = formats.baseType(said.mimeType)
    named = [
        reader
        for reader in readers
        if mimeType in reader.mimeTypes and not reader.isPackedOnly
    ]
    if not named:
        raise invalid(
            identifier, f"{identifier} is {said.mimeType}, expected {_any(readers)}"
        )
    return named


def _any(readers: Sequence[Reader]) -> str:
    return " or ".join(reader.name for reader in readers if not reader.isPackedOnly)


def _choose(
    identifier: str, isNamed: bool, head: bytes, readers: Sequence[Reader]
) -> Reader:
    """
    Who reads data that starts so.

    @param isNamed: whether the client has said what it is.
    """
    for reader in readers:
        # Any text may be a table, if nobody says what else it is.
        telling = isNamed or (reader.isTelling and not reader.isPackedOnly)
        if telling and reader.recognizes(head):
            return reader
    raise _notReadable(identifier, _any(readers), "it does not look like that")


def _unpacked(
    identifier: str, path: str, readers: Sequence[Reader], job: Job
) -> tuple[str, Reader]:
    """
    The data in an archive: the one file of a format that is read, with those
    that belong to it.
    """
    expected = "zip archive"
    try:
        with archives.Archive(path) as archive:
            names = archive.names()
            bySuffix = {
                suffix: reader for reader in readers for suffix in reader.suffixes
            }
            found = [name for name in names if _suffix(name) in bySuffix]
            found = _withoutParts(found)
            if len(found) != 1:
                listed = ", ".join(sorted(bySuffix))
                what = ", ".join(found[:10]) if found else "none"
                raise ValueError(f"expected one file of {listed} in it, found {what}")
            reader = bySuffix[_suffix(found[0])]
            expected = f"{reader.name} in a zip archive"
            folder = job.newFolder(INPUTS, f"{os.path.basename(path)}-unpacked")
            stem = os.path.join(folder, fileName(identifier, "input"))
            main = stem + _suffix(found[0])
            archive.extract(found[0], main)
            if not reader.recognizes(_head(main)):
                raise ValueError(f"{found[0]} does not look like that")
            for name in names:
                wanted = _suffix(name) in reader.sidecars
                if wanted and _stem(name) == _stem(found[0]):
                    archive.extract(name, stem + _suffix(name))
    except ValueError as why:
        raise _notReadable(identifier, expected, str(why)) from None
    return main, reader


def _suffix(name: str) -> str:
    return os.path.splitext(name)[1].lower()


def _stem(name: str) -> str:
    return os.path.splitext(name)[0].lower()


def _withoutParts(names: Sequence[str]) -> list[str]:
    """Without the attribute tables that belong to a Shapefile."""
    shapes = {_stem(name) for name in names if _suffix(name) == ".shp"}
    return [
        name for name in names if _suffix(name) != ".dbf" or _stem(name) not in shapes
    ]


def _notReadable(identifier: str, expected: str, why: str) -> OWSError:
    return invalid(identifier, f"{identifier} is not valid {expected}: {why}")
