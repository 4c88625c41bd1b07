"""How a worker's process ended."""

from __future__ import annotations

import os
import signal

import attrs

#: The settings whose limits the kernel ends processes for.
_LIMITS = {"SIGXCPU": "sandbox.cpu_time", "SIGXFSZ": "sandbox.file_size"}


@attrs.frozen
class Exit:
    """
    The end of a worker.

    @ivar status: wait status as of wait(2), or None if nobody could tell.
    @ivar peakMemory: largest resident size in KiB, or None.
    """

    status: int | None = None
    peakMemory: int | None = None

    @property
    def signal(self) -> str | None:
        """The name of the signal that ended it, such as C{SIGSEGV}."""
        if self.status is None or not os.WIFSIGNALED(self.status):
            return None
        number = os.WTERMSIG(self.status)
        try:
            return signal.Signals(number).name
        except ValueError:
            return f"SIG{number}"

    def __str__(self) -> str:
        if self.status is None:
            return "the process is gone"
        if self.signal is not None:
            meaning = signal.strsignal(os.WTERMSIG(self.status)) or ""
            if self.signal in _LIMITS:
                meaning += f", which {_LIMITS[self.signal]} sets"
            return f"the process was ended by signal {self.signal} ({meaning})"
        return f"the process ended with exit status {os.WEXITSTATUS(self.status)}"


class WorkerLost(Exception):
    """
    A worker ended before it had a result.

    @ivar exit: how.
    """

    def __init__(self, reason: str, exit: Exit | None = None) -> None:
        super().__init__(reason)
        self.exit = exit or Exit()


class Cancelled(WorkerLost):
    """An execution was cancelled before it had a worker."""
