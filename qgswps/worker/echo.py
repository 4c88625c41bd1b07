"""
The process C{echo}: gives back what it is given, and may take its time.

It is for clients and tools that want to see how a server speaks, with data of
each kind that WPS has.  No algorithm of QGIS can be it, since QGIS's have no
bounding box as output.
"""

from __future__ import annotations

import os
import time
from collections.abc import Iterable

from qgis.core import (
    QgsProcessingContext,
    QgsProcessingParameterFile,
    QgsProject,
)

from qgswps import units
from qgswps.errors import failure, invalid
from qgswps.jobfiles import OUTPUTS
from qgswps.model import (
    ECHO,
    BoundingBoxType,
    BoundingBoxValue,
    ComplexType,
    ComplexValue,
    ExecuteRequest,
    FileValue,
    Format,
    InputDescription,
    InputValue,
    LiteralType,
    LiteralValue,
    OutputData,
    OutputDescription,
    OutputRequest,
    ProcessDescription,
    Range,
    ReferenceValue,
    Result,
)
from qgswps.worker import formats
from qgswps.worker.feedback import Feedback
from qgswps.worker.job import Job
from qgswps.worker.parameters import base
from qgswps.worker.parameters.literals import numberText

XML = Format("text/xml")
TEXT = Format("text/plain")
_SUFFIXES = {
    XML: ".xml",
    formats.JSON: ".json",
    TEXT: ".txt",
    formats.PNG: ".png",
}
_LITERAL = LiteralType()
_QUANTITY = LiteralType("float", uoms=("m", "km", "ft"))
_COMPLEX = ComplexType(tuple(_SUFFIXES))
_BOX = BoundingBoxType(("EPSG:4326", "EPSG:3857"))

#: Seconds between two looks at whether the run is to end.
_STEP = 0.02

DESCRIPTION = ProcessDescription(
    ECHO,
    "Echo",
    abstract=(
        "Gives back each input that it is given, as the output of the same name."
        " For trying out clients."
    ),
    inputs=(
        InputDescription("literal", "A text", _LITERAL, minOccurs=0),
        InputDescription("quantity", "A number with a unit", _QUANTITY, minOccurs=0),
        InputDescription("complex", "Some data", _COMPLEX, minOccurs=0),
        InputDescription("boundingBox", "A bounding box", _BOX, minOccurs=0),
        InputDescription(
            "pause",
            "Seconds to wait before the answer",
            LiteralType("float", "0", ranges=(Range("0", "86400"),)),
            minOccurs=0,
        ),
    ),
    outputs=(
        OutputDescription("literal", "The text", _LITERAL),
        OutputDescription(
            "quantity",
            "The number",
            _QUANTITY,
            "In the unit that is asked for, by default that of the input.",
        ),
        OutputDescription(
            "complex",
            "The data",
            _COMPLEX,
            "In the format that it came in, and no other.",
        ),
        OutputDescription("boundingBox", "The bounding box", _BOX),
    ),
)


def run(directory: str, request: ExecuteRequest, feedback: Feedback) -> Result:
    """
    Wait as long as is asked for, then give back the inputs.

    @param directory: absolute path of the job directory.
    @raise OWSError: the run was cancelled, or an input can't be given back as
        it is asked for.
    """
    context = QgsProcessingContext()
    job = Job(directory, request, QgsProject.instance(), context)
    given = {each.identifier: each.value for each in request.inputs}
    pause = given.pop("pause", None)
    if isinstance(pause, LiteralValue):
        _wait(float(pause.value), feedback)
    wanted = _wanted(request, given)
    return Result({each.identifier: _output(each, given, job) for each in wanted})


def _wanted(request: ExecuteRequest, given: Iterable[str]) -> list[OutputRequest]:
    """The outputs that are asked for and that there is something for."""
    asked = request.outputs or tuple(
        OutputRequest(each.identifier) for each in DESCRIPTION.outputs
    )
    names = set(given)
    return [each for each in asked if each.identifier in names]


def _wait(seconds: float, feedback: Feedback) -> None:
    begin = time.monotonic()
    if seconds:
        feedback.setProgressText(f"Waiting for {seconds:g} s")
    while (passed := time.monotonic() - begin) < seconds:
        if feedback.isCanceled():
            raise failure("the run was cancelled")
        feedback.setProgress(100 * passed / seconds)
        time.sleep(min(_STEP, seconds - passed))


def _output(
    wanted: OutputRequest, given: dict[str, InputValue], job: Job
) -> OutputData:
    value = given[wanted.identifier]
    match value:
        case LiteralValue() if wanted.identifier == "quantity":
            return _quantity(value, wanted.uom)
        case LiteralValue() if wanted.identifier == "literal":
            return LiteralValue(value.value, _LITERAL.dataType)
        case BoundingBoxValue():
            return value
        case ComplexValue() | FileValue():
            return _file(value, wanted.format, job)
        case ReferenceValue(file=FileValue() as fetched):
            return _file(fetched, wanted.format, job)
    # The server has checked that; this is a task that somebody else wrote.
    raise invalid(wanted.identifier, f"{wanted.identifier} is of another kind")


def _quantity(value: LiteralValue, wanted: str | None) -> LiteralValue:
    default = _QUANTITY.uoms[0]
    unit = value.uom or default
    text = value.value
    if wanted is not None and wanted != unit:
        number = units.convert(float(text), unit, wanted)
        assert number is not None, f"{unit} and {wanted} are both lengths"
        text, unit = numberText(number), wanted
    return LiteralValue(text, _QUANTITY.dataType, unit)


def _file(
    value: ComplexValue | FileValue, wanted: Format | None, job: Job
) -> FileValue:
    """
    The data as a file.

    Nothing is made of it, so that it can't be had in another format.
    """
    mimeType = formats.baseType(value.format.mimeType)
    known = next((each for each in _SUFFIXES if each.mimeType == mimeType), None)
    if known is None:
        raise invalid("complex", f"complex is in {mimeType!r}, which is not offered")
    if wanted is not None and wanted.mimeType != mimeType:
        text = f"complex is given back as {mimeType}, not as {wanted.mimeType}"
        raise invalid("complex", text)
    data = base.content(QgsProcessingParameterFile("complex"), value, job)
    path = job.newFile(OUTPUTS, f"complex{_SUFFIXES[known]}")
    with open(path, "wb") as file:
        file.write(data)
    form = Format(mimeType, known.encoding, value.format.schema)
    return FileValue(os.path.relpath(path, job.directory), form, "The data")
