"""What an algorithm says while it runs: progress to the server, texts to the log."""

from __future__ import annotations

import math
import sys
import time
from collections import deque
from collections.abc import Callable

from qgis.core import QgsProcessingFeedback

#: Seconds between two reports.
INTERVAL = 0.1

#: How many error texts are kept for the fault; of more, the last ones count.
KEPT_ERRORS = 20
#: How many texts of all kinds are kept for a report; of more, the last ones.
KEPT_TEXTS = 1000


class Feedback(QgsProcessingFeedback):
    """
    Reports whole percents as they grow, and writes all texts to the log.

    @ivar errors: the texts of the errors reported, the latest last.
    @ivar said: all texts, each after its level: C{info}, C{warning}, C{error}.
    """

    def __init__(
        self,
        report: Callable[[float | None, str], None],
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        # QGIS's own message log is not the job's log.
        super().__init__(False)
        self.errors: list[str] = []
        self.said: deque[tuple[str, str]] = deque(maxlen=KEPT_TEXTS)
        self._report = report
        self._clock = clock
        self._percent = -1
        self._text = ""
        self._reportedText = ""
        self._next = -math.inf
        self.progressChanged.connect(self._progressed)

    def _progressed(self, progress: float) -> None:
        if not math.isfinite(progress):
            return
        percent = min(100, max(0, int(progress)))
        if percent > self._percent and self._due(percent == 100):
            self._percent = percent
            self._send(float(percent))

    def _due(self, always: bool) -> bool:
        now = self._clock()
        if now < self._next and not always:
            return False
        self._next = now + INTERVAL
        return True

    def _send(self, percent: float | None) -> None:
        self._reportedText = self._text
        self._report(percent, self._text)

    def setProgressText(self, text: str | None) -> None:
        """The algorithm says what it does now."""
        self._text = text or ""
        self._log(self._text)
        if self._text != self._reportedText and self._due(False):
            self._send(None)

    def reportError(self, error: str | None, fatalError: bool = False) -> None:
        """The algorithm says what went wrong; it may go on nevertheless."""
        # A program's lines come one by one, and are of one text.
        text = (error or "").rstrip()
        self.errors.append(text)
        del self.errors[:-KEPT_ERRORS]
        self._log(text, "error")

    def pushWarning(self, warning: str | None) -> None:
        self._log(warning, "warning")

    def pushInfo(self, info: str | None) -> None:
        self._log(info)

    def pushCommandInfo(self, info: str | None) -> None:
        self._log(info)

    def pushDebugInfo(self, info: str | None) -> None:
        self._log(info)

    def pushConsoleInfo(self, info: str | None) -> None:
        self._log(info)

    def pushFormattedMessage(self, html: str | None, text: str | None) -> None:
        self._log(text)

    def _log(self, text: str | None, level: str = "info") -> None:
        self.said.append((level, text or ""))
        prefix = "" if level == "info" else f"{level.upper()}: "
        sys.stdout.write(f"{prefix}{text or ''}\n")
