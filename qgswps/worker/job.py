"""The job at hand, as the conversions of its inputs and outputs see it."""

from __future__ import annotations

import contextlib
import os
import re
from typing import Any

import attrs
from qgis.core import QgsCoordinateReferenceSystem, QgsProcessingContext, QgsProject

from qgswps.model import ExecuteRequest, Format, OutputRequest, ResultLayer

_UNSAFE = re.compile(r"[^\w.\- ]+")


def fileName(text: str, default: str) -> str:
    """A name for a file, whatever a client calls it."""
    name = _UNSAFE.sub("_", text.replace("\\", "/").rsplit("/", 1)[-1]).strip(" .")
    # File systems allow 255 bytes.
    return name.encode()[:120].decode(errors="ignore") or default


_DECLARATION = re.compile(
    r"""\s*<\?xml\s[^>]*?encoding\s*=\s*["']([A-Za-z][A-Za-z0-9._-]*)["']"""
)


def encoded(text: str) -> bytes:
    """
    A text as the content of a file: XML in the encoding that it says it is
    in, since what reads the file believes that.
    """
    declared = _DECLARATION.match(text)
    if declared is not None:
        with contextlib.suppress(LookupError, UnicodeError):
            return text.encode(declared.group(1), "xmlcharrefreplace")
    return text.encode("utf-8", "surrogateescape")


@attrs.define
class Job:
    """
    What is known of a job while its algorithm is being run.

    @ivar directory: absolute path of the job directory.
    @ivar hasProject: whether the client named a project.
    @ivar values: what the algorithm will be run with, as far as that is known
        while the inputs are being converted.
    @ivar titles: what layer outputs are to be called, by output.
    @ivar formats: the format that each file was written in, by output, as far
        as an input's conversion has decided that already.
    @ivar folders: where outputs of several files go, by output.
    @ivar layers: the layers that were made and taken, so far.
    @ivar plainCrs: whether all CRSs seen so far have a code by which a
        GeoJSON file can name them.
    """

    directory: str
    request: ExecuteRequest
    project: QgsProject
    context: QgsProcessingContext
    hasProject: bool = False
    values: dict[str, Any] = attrs.field(factory=dict)
    titles: dict[str, str] = attrs.field(factory=dict)
    formats: dict[str, Format] = attrs.field(factory=dict)
    folders: dict[str, str] = attrs.field(factory=dict)
    layers: list[ResultLayer] = attrs.field(factory=list)
    plainCrs: bool = True
    _names: set[str] = attrs.field(factory=set)

    def wanted(self, output: str) -> OutputRequest | None:
        """What the client said of an output, or None."""
        return next((o for o in self.request.outputs if o.identifier == output), None)

    def hasFormat(self, output: str) -> bool:
        """Whether the client says in which format it wants an output."""
        wanted = self.wanted(output)
        return bool(wanted and wanted.format and wanted.format.mimeType)

    def isWanted(self, output: str) -> bool:
        """Whether the client takes an output: named, or all of them."""
        return not self.request.outputs or self.wanted(output) is not None

    def newFile(self, folder: str, name: str) -> str:
        """The absolute path of a file that is not there yet."""
        stem, suffix = os.path.splitext(name)
        count = 1
        while os.path.join(folder, name) in self._names:
            count += 1
            name = f"{stem}-{count}{suffix}"
        self._names.add(os.path.join(folder, name))
        path = os.path.join(self.directory, folder)
        os.makedirs(path, exist_ok=True)
        return os.path.join(path, name)

    def newFolder(self, folder: str, name: str) -> str:
        """The absolute path of an empty folder."""
        path = self.newFile(folder, name)
        os.makedirs(path, exist_ok=True)
        return path

    def relative(self, path: str) -> str | None:
        """A path relative to the job directory; None if it is elsewhere."""
        root = os.path.realpath(self.directory) + os.sep
        real = os.path.realpath(path)
        return real[len(root) :].replace(os.sep, "/") if real.startswith(root) else None

    def sees(self, crs: Any) -> None:
        """Note that a CRS takes part."""
        if not crs.isValid() or crs.authid().startswith("EPSG:"):
            return
        self.plainCrs = False

    @property
    def crs(self) -> QgsCoordinateReferenceSystem:
        """What a coordinate without a CRS is in."""
        crs = self.project.crs()
        return crs if crs.isValid() else QgsCoordinateReferenceSystem("EPSG:4326")
