"""Parameters that are a date, a time, or both."""

from __future__ import annotations

import datetime
from collections.abc import Sequence
from typing import Any

from qgis.core import QgsProcessingParameterDefinition
from qgis.PyQt.QtCore import QDate, QDateTime, Qt, QTime

from qgswps.model import InputValue, LiteralType, Range
from qgswps.worker import compat
from qgswps.worker.job import Job
from qgswps.worker.parameters.base import Handler, default, register, text, unexpected

#: QGIS's numbers of what such a parameter holds, as XML Schema's types.
_TYPES = {0: "dateTime", 1: "date", 2: "time"}
_EXAMPLES = {
    "dateTime": "a date and time such as 2024-05-31T12:00:00Z",
    "date": "a date such as 2024-05-31",
    "time": "a time such as 12:00:00",
}


def readDateTime(given: str) -> QDateTime:
    """
    A date and time; one without a time zone is in that of the server, as
    QGIS has it.

    @raise ValueError: it is none.
    """
    moment = datetime.datetime.fromisoformat(given.strip())
    date = QDate(moment.year, moment.month, moment.day)
    time = _time(moment)
    offset = moment.utcoffset()
    if offset is None:
        return QDateTime(date, time)
    seconds = int(offset.total_seconds())
    if not seconds:
        return QDateTime(date, time, Qt.TimeSpec.UTC)
    return QDateTime(date, time, Qt.TimeSpec.OffsetFromUTC, seconds)


def _time(moment: datetime.datetime | datetime.time) -> QTime:
    return QTime(moment.hour, moment.minute, moment.second, moment.microsecond // 1000)


def _read(type_: str, given: str) -> Any:
    match type_:
        case "date":
            date = datetime.date.fromisoformat(given.strip())
            return QDate(date.year, date.month, date.day)
        case "time":
            return _time(datetime.time.fromisoformat(given.strip()))
    return readDateTime(given)


def _iso(value: Any) -> str | None:
    """A value of QGIS's as XML Schema writes it."""
    if isinstance(value, str):
        return value or None
    if value is None or value.isNull() or not value.isValid():
        return None
    return str(value.toString(Qt.DateFormat.ISODateWithMs)).replace(".000", "")


@register
class DateTimeHandler(Handler):
    """A date, a time, or both, in ISO 8601."""

    types = ("datetime",)

    @staticmethod
    def _type(param: QgsProcessingParameterDefinition) -> str:
        return _TYPES.get(compat.number(param.dataType()), "dateTime")

    def _bounds(self, param: QgsProcessingParameterDefinition) -> tuple[Any, Any]:
        """The earliest and the latest, each None where there is none."""
        bounds = [param.minimum(), param.maximum()]
        part = {"date": QDateTime.date, "time": QDateTime.time}.get(self._type(param))
        earliest, latest = (
            None if not bound.isValid() else part(bound) if part else bound
            for bound in bounds
        )
        return earliest, latest

    def data(self, param: QgsProcessingParameterDefinition) -> LiteralType:
        earliest, latest = map(_iso, self._bounds(param))
        bounded = earliest is not None or latest is not None
        return LiteralType(
            self._type(param),
            _iso(default(param)),
            ranges=(Range(earliest, latest),) if bounded else (),
        )

    def value(
        self,
        param: QgsProcessingParameterDefinition,
        inputs: Sequence[InputValue],
        job: Job,
    ) -> Any:
        given = text(param, inputs[0])
        type_ = self._type(param)
        try:
            value = _read(type_, given)
        except ValueError:
            raise unexpected(param, repr(given), _EXAMPLES[type_]) from None
        earliest, latest = self._bounds(param)
        if earliest is not None and value < earliest:
            raise unexpected(param, repr(given), f"{_iso(earliest)} or later")
        if latest is not None and value > latest:
            raise unexpected(param, repr(given), f"{_iso(latest)} or earlier")
        return value
