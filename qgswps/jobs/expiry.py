"""Expiry: the one timer that fires when the next job's results are to go."""

from __future__ import annotations

import heapq
from collections.abc import Callable
from typing import Any

#: The longest that the timer sleeps, in seconds, so that a clock that was set
#: forward is noticed.
_LONGEST_SLEEP = 60.0


class Expiry:
    """Calls a function with each job's id at the job's time."""

    def __init__(self, clock: Any, expire: Callable[[str], Any]) -> None:
        self._clock = clock
        self._expire = expire
        self._due: list[tuple[float, str]] = []
        self._timer: Any = None

    def add(self, jobId: str, when: float) -> None:
        """
        Have a job expire.

        @param when: seconds since the epoch.
        """
        heapq.heappush(self._due, (when, jobId))
        self._arm()

    def stop(self) -> None:
        """Forget all."""
        self._due.clear()
        self._disarm()

    def _disarm(self) -> None:
        if self._timer is not None and self._timer.active():
            self._timer.cancel()
        self._timer = None

    def _arm(self) -> None:
        self._disarm()
        if self._due:
            delay = self._due[0][0] - self._clock.seconds()
            self._timer = self._clock.callLater(
                max(0.0, min(delay, _LONGEST_SLEEP)), self._sweep
            )

    def _sweep(self) -> None:
        now = self._clock.seconds()
        while self._due and self._due[0][0] <= now:
            self._expire(heapq.heappop(self._due)[1])
        self._arm()
