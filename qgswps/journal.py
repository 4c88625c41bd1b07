"""
What is logged of what there is to log.

The log's form and place are twistd's: its C{--logfile}, C{--syslog} and
C{--logger} stay what they are; L{plain} and L{jsonLines} are for the latter, as
in C{--logger=qgswps.journal.plain}.  But twistd writes each event whatever its
level, and makes its observer only after the service, which so can't put a
filter before it.  The level is therefore kept where events are made: our
modules take L{Logger} from here, and not from C{twisted.logger}.  Twisted's
own lines are few, and are not touched.

Log fields, not sentences: C{log.info("job {job} started", job=jobId)}, so
that an observer that writes JSON has them apart.
"""

from __future__ import annotations

import json
import math
import sys
from collections.abc import Callable
from datetime import UTC, datetime
from typing import Any, ClassVar, cast

from twisted import logger
from twisted.logger import (
    ILogObserver,
    LogEvent,
    LogLevel,
    eventAsText,
    formatEvent,
)
from zope.interface import provider


class Logger(logger.Logger):
    """
    A logger that drops what is below the level in force.

    @cvar threshold: the least level that is logged, a C{LogLevel}.
    """

    threshold: ClassVar[Any] = LogLevel.info

    def emit(self, level: Any, format: str | None = None, **kwargs: object) -> None:
        """Log an event, unless its level is below the threshold."""
        # What is no level at all is for Twisted to complain about.
        if level in LogLevel.iterconstants() and level < self.threshold:
            return
        super().emit(level, format, **kwargs)


def setLevel(name: str) -> None:
    """
    Set the level of the whole process, also for loggers made before.

    @param name: one of C{critical}, C{error}, C{warn}, C{info}, C{debug}.
    @raise twisted.logger.InvalidLogLevelError: it is none of these.
    """
    Logger.threshold = LogLevel.levelWithName(name)


# Observers for C{twistd --logger}


#: What journald takes from the beginning of a line, see sd-daemon(3).
_PRIORITIES = {
    LogLevel.debug: 7,
    LogLevel.info: 6,
    LogLevel.warn: 4,
    LogLevel.error: 3,
    LogLevel.critical: 2,
}

#: What is in events for those who read them as Twisted's older logger has it.
_LEGACY = frozenset(
    {"format", "message", "isError", "system", "time", "failure", "why", "logLevel"}
)


def plain() -> ILogObserver:
    """
    An observer that writes lines for journald, which has its own clock, and
    takes the priority from C{<N>} at each line's beginning.
    """
    return _writer(_plainLines)


def jsonLines() -> ILogObserver:
    """
    An observer that writes each event as a JSON object in a line of its own.

    Each has C{time} (ISO 8601, UTC), C{level}, C{namespace} and C{text}, a
    failure also C{traceback}; and the event's fields.  One with the name of
    one of these follows with C{_} behind it.
    """
    return _writer(_jsonLine)


def _writer(form: Callable[[LogEvent], str]) -> ILogObserver:
    # twistd takes the place of sys.stdout when it has its observer.
    file = sys.stdout.buffer

    @provider(ILogObserver)
    def observe(event: LogEvent) -> None:
        file.write(form(event).encode("utf-8", "backslashreplace"))
        file.flush()

    return cast(ILogObserver, observe)


def _plainLines(event: LogEvent) -> str:
    text = eventAsText(event, includeTimestamp=False, includeSystem=False)
    priority = _PRIORITIES.get(_level(event), 6)
    # Each line is an entry: a traceback has many.
    return "".join(f"<{priority}>{line}\n" for line in text.splitlines() if line)


def _jsonLine(event: LogEvent) -> str:
    time = datetime.fromtimestamp(event.get("log_time", 0.0), UTC)
    shown: dict[str, object] = {
        "time": time.isoformat(timespec="milliseconds").replace("+00:00", "Z"),
        "level": _level(event).name,
        "namespace": event.get("log_namespace", ""),
        "text": formatEvent(event),
    }
    failure = event.get("log_failure")
    if failure is not None:
        shown["traceback"] = failure.getTraceback()
    for name, value in event.items():
        if not name.startswith("log_") and name not in _LEGACY:
            shown[f"{name}_" if name in shown else name] = _simple(value)
    return json.dumps(shown, ensure_ascii=False) + "\n"


def _level(event: LogEvent) -> Any:
    """An event's level; what is none of ours says only whether it is an error."""
    usual = LogLevel.error if event.get("isError") else LogLevel.info
    level = event.get("log_level")
    return level if level in LogLevel.iterconstants() else usual


def _simple(value: object) -> object:
    """What JSON has a form for; a text of all else."""
    if value is None or isinstance(value, (bool, int)):
        return value
    if isinstance(value, float) and math.isfinite(value):
        return value
    try:
        return str(value)
    except Exception as error:  # a log line is no reason to fail
        return f"({type(value).__name__} without a text: {error!r})"
