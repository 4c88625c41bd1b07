"""
Parameters that are a file or a folder.

Clients send what is in it; where it lies on the server is never theirs to say.
"""

from __future__ import annotations

import mimetypes
import os
import re
from collections.abc import Sequence
from typing import Any

from qgis.core import QgsProcessingParameterDefinition

from qgswps.jobfiles import INPUTS, OUTPUTS, TEMPORARY
from qgswps.model import (
    ComplexType,
    DataType,
    Format,
    InputValue,
    LiteralType,
    LiteralValue,
    Metadata,
)
from qgswps.worker import archives, compat, formats
from qgswps.worker.job import Job, fileName
from qgswps.worker.parameters.base import Handler, copied, register, text, unexpected

_FOLDER = 1
_TEXT = Format("text/plain")


def extensions(param: QgsProcessingParameterDefinition) -> list[str]:
    """
    The extensions that a file may have, without a dot; empty for any.  One is
    that of the parameter, several of its filter.
    """
    own = param.extension() if hasattr(param, "extension") else ""
    fileFilter = param.fileFilter() if hasattr(param, "fileFilter") else ""
    if own.strip("*. "):
        return [own.strip().lstrip("*.").lower()]
    # QGIS heeds the case of letters in filters.
    found = re.findall(r"\*\.([\w.]+)", fileFilter)
    return list({each.lower(): each for each in reversed(found)}.values())[::-1]


def fileFormats(wanted: Sequence[str]) -> tuple[Format, ...]:
    """The formats in which a file of such an extension may be sent."""
    own = [formats.ofFile(f"x.{extension}") for extension in wanted]
    # A data set may be several files, of which one has the extension.
    return tuple(dict.fromkeys([*own, _TEXT, formats.OTHER, formats.ZIP]))


def store(
    param: QgsProcessingParameterDefinition,
    given: InputValue,
    wanted: Sequence[str],
    job: Job,
) -> str:
    """
    Put what a client sent into a file, with an extension that fits.

    @return: its path.
    @raise OWSError: it can't be used.
    """
    form = getattr(given, "format", Format(""))
    mimeType = formats.baseType(form.mimeType)
    if mimeType == formats.ZIP.mimeType and "zip" not in wanted:
        return _fromArchive(param, given, wanted, job)
    fitting = [each for each in wanted if formats.mediaType(f"x.{each}") == mimeType]
    # A filter for any file still wants it to have an extension.
    own = mimetypes.guess_extension(mimeType or _TEXT.mimeType) or ".dat"
    extension = f".{[*fitting, *wanted][0]}" if wanted else own
    name = fileName(param.name(), "input") + extension
    path = job.newFile(INPUTS, name)
    copied(param, given, path, job)
    return path


def _unpacked(
    param: QgsProcessingParameterDefinition, given: InputValue, job: Job
) -> str:
    """
    Unpack an archive.

    @return: the path of a folder with all that is in it.
    """
    packed = job.newFile(TEMPORARY, fileName(param.name(), "input") + ".zip")
    copied(param, given, packed, job)
    folder = job.newFile(INPUTS, fileName(param.name(), "input"))
    os.makedirs(folder)
    try:
        with archives.Archive(packed) as archive:
            for name in archive.names():
                parts = [each for each in re.split(r"[/\\]", name) if each.strip(". ")]
                path = os.path.join(folder, *(fileName(each, "_") for each in parts))
                os.makedirs(os.path.dirname(path), exist_ok=True)
                if os.path.lexists(path):
                    raise ValueError(f"it has two files of the name {name!r}")
                archive.extract(name, path)
    except (ValueError, OSError) as error:
        raise unexpected(param, f"not usable: {error}", "a zip archive") from None
    finally:
        os.unlink(packed)
    return folder


def _fromArchive(
    param: QgsProcessingParameterDefinition,
    given: InputValue,
    wanted: Sequence[str],
    job: Job,
) -> str:
    """The one file in an archive that has the extension, the others beside it."""
    folder = _unpacked(param, given, job)
    endings = tuple(f".{each.lower()}" for each in wanted)
    found = [
        path
        for path, _ in archives.below(folder)
        if not wanted or path.lower().endswith(endings)
    ]
    if len(found) != 1:
        of = f" with the extension {' or '.join(wanted)}" if wanted else ""
        raise unexpected(param, f"an archive with {len(found)} files{of}", "one")
    return found[0]


@register
class FileHandler(Handler):
    """
    A file, or a folder as an archive; of a folder to write to, its name among
    the results.
    """

    types = ("file",)

    @staticmethod
    def _isFolder(param: QgsProcessingParameterDefinition) -> bool:
        return compat.number(param.behavior()) == _FOLDER

    def minOccurs(self, param: QgsProcessingParameterDefinition) -> int:
        # A default would be a file on the machine of whoever wrote it.
        return 0 if compat.isSet(param.flags(), compat.PARAMETER_OPTIONAL) else 1

    def _isWritten(self, param: QgsProcessingParameterDefinition) -> bool:
        """
        Whether it is a folder to write to: an algorithm that has no output has
        nowhere else to.
        """
        algorithm = param.algorithm()
        return (
            self._isFolder(param)
            and algorithm is not None
            and not algorithm.outputDefinitions()
        )

    def data(self, param: QgsProcessingParameterDefinition) -> DataType:
        if self._isWritten(param):
            return LiteralType("string")
        if self._isFolder(param):
            return ComplexType((formats.ZIP,))
        return ComplexType(fileFormats(extensions(param)))

    def metadata(self, param: QgsProcessingParameterDefinition) -> list[Metadata]:
        wanted = [] if self._isFolder(param) else extensions(param)
        return [Metadata("processing:extension", each) for each in wanted]

    def value(
        self,
        param: QgsProcessingParameterDefinition,
        inputs: Sequence[InputValue],
        job: Job,
    ) -> Any:
        if self._isWritten(param):
            name = fileName(text(param, inputs[0]), param.name())
            folder = job.newFile(OUTPUTS, name)
            os.makedirs(folder)
            return folder
        if not self._isFolder(param):
            return store(param, inputs[0], extensions(param), job)
        if isinstance(inputs[0], LiteralValue):
            raise unexpected(param, "a text", "a zip archive")
        return _unpacked(param, inputs[0], job)
