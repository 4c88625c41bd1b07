"""
What is logged of what there is to log.

The log's form and place are twistd's: its C{--logfile}, C{--syslog} and
C{--logger} stay what they are.  But twistd writes each event whatever its
level, and makes its observer only after the service, which so can't put a
filter before it.  The level is therefore kept where events are made: our
modules take L{Logger} from here, and not from C{twisted.logger}.  Twisted's
own lines are few, and are not touched.

Log fields, not sentences: C{log.info("job {job} started", job=jobId)}, so
that an observer that writes JSON has them apart.
"""

from __future__ import annotations

from typing import Any, ClassVar

from twisted import logger
from twisted.logger import LogLevel


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
