"""A job that this server has in hand: queued or running."""

from __future__ import annotations

from typing import Any

import attrs
from twisted.internet.defer import Deferred, succeed
from zope.interface import implementer

from qgswps.interfaces import IExecution, IExecutionObserver
from qgswps.model import Job


@implementer(IExecutionObserver)
class ActiveJob:
    """
    One job, one object: its record, its execution, its timer, its waiters.

    @ivar job: the record as it is now.
    @ivar execution: None while it waits for a slot.
    @ivar fetching: what it refers to is being fetched; None before and after.
    @ivar removed: its record is gone, its directory goes when its worker has.
    """

    def __init__(self, queue: Any, job: Job) -> None:
        self.job = job
        self.execution: IExecution | None = None
        self.fetching: Deferred[Any] | None = None
        self.timer: Any = None
        self.removed = False
        self.progressStored = float("-inf")
        self._queue = queue
        self._waiters: list[Deferred[Job]] = []
        self._settled = False

    def started(self, pid: int) -> None:
        """See L{IExecutionObserver}."""
        self._queue.hasStarted(self, pid)

    def progress(self, percent: float | None, message: str) -> None:
        """See L{IExecutionObserver}."""
        if self.job.state.terminal:
            return
        self.job = attrs.evolve(
            self.job,
            percent=max(self.job.percent, min(percent or 0.0, 100.0)),
            message=message or self.job.message,
        )
        self._queue.hasProgressed(self)

    def cancelTimer(self) -> None:
        """No TIMEOUT any more."""
        if self.timer is not None and self.timer.active():
            self.timer.cancel()

    def wait(self) -> Deferred[Job]:
        """A Deferred of the record in its terminal state."""
        if self._settled:
            return succeed(self.job)
        d: Deferred[Job] = Deferred()
        self._waiters.append(d)
        return d

    def settled(self) -> None:
        """The job has ended and is known to have: tell those who wait."""
        self._settled = True
        waiters, self._waiters = self._waiters, []
        for waiter in waiters:
            if not waiter.called:  # or it was cancelled
                waiter.callback(self.job)
