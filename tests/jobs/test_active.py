"""Tests of L{qgswps.jobs.active}."""

from __future__ import annotations

from twisted.internet.defer import CancelledError
from twisted.internet.task import Clock
from twisted.trial.unittest import SynchronousTestCase
from zope.interface.verify import verifyObject

from qgswps.interfaces import IExecutionObserver
from qgswps.jobs.active import ActiveJob
from qgswps.model import Job, State
from tests.fakes import makeJob


class RecordingQueue:
    """Notes what it is told."""

    def __init__(self) -> None:
        self.told: list[tuple[float, str] | int] = []

    def hasStarted(self, active: ActiveJob, pid: int) -> None:
        """A worker has taken the job."""
        self.told.append(pid)

    def hasProgressed(self, active: ActiveJob) -> None:
        """The algorithm has reported."""
        self.told.append((active.job.percent, active.job.message))


class ActiveJobTests(SynchronousTestCase):
    """L{ActiveJob}"""

    def setUp(self) -> None:
        self.queue = RecordingQueue()
        self.active = ActiveJob(self.queue, makeJob(state=State.STARTED))

    def test_interface(self) -> None:
        """It observes an execution."""
        verifyObject(IExecutionObserver, self.active)
        self.active.started(7)
        self.assertEqual(self.queue.told, [7])

    def test_progress(self) -> None:
        """Progress stays within its bounds and never goes back."""
        for percent, message, expected in [
            (10.0, "one", (10.0, "one")),
            (None, "two", (10.0, "two")),
            (5.0, "", (10.0, "two")),
            (float("nan"), "", (10.0, "two")),
            (-3.0, "", (10.0, "two")),
            (250.0, "three", (100.0, "three")),
        ]:
            self.active.progress(percent, message)
            self.assertEqual(self.queue.told[-1], expected)

    def test_lateProgress(self) -> None:
        """A report that comes after the end changes nothing."""
        job = makeJob(state=State.DISMISSED, message="dismissed")
        self.active.job = job
        self.active.progress(50.0, "still at it")
        self.assertEqual(self.active.job, job)
        self.assertEqual(self.queue.told, [])

    def test_wait(self) -> None:
        """All who wait get the record; one who has gone does not matter."""
        waiters = [self.active.wait() for _ in range(4)]
        waiters[1].cancel()
        self.failureResultOf(waiters[1], CancelledError)

        # One who is told may drive another one away.
        def driveAway(job: Job) -> Job:
            waiters[2].cancel()
            return job

        waiters[0].addCallback(driveAway)
        waiters[2].addErrback(lambda reason: reason.trap(CancelledError))
        self.active.settled()
        for waiter in (waiters[0], waiters[3]):
            self.assertIs(self.successResultOf(waiter), self.active.job)
        self.assertIs(self.successResultOf(waiters[2]), CancelledError)

    def test_timer(self) -> None:
        """The timer can be cancelled, whether it is there, or has passed."""
        clock = Clock()
        self.active.cancelTimer()
        self.active.timer = clock.callLater(1, lambda: None)
        for _ in range(2):
            self.active.cancelTimer()
            self.assertEqual(clock.getDelayedCalls(), [])
