"""Tests of L{qgswps.jobs.queue}."""

from __future__ import annotations

import errno
import os
from typing import Any

import attrs
from twisted.internet.defer import CancelledError, Deferred
from twisted.logger import LogLevel, capturedLogs
from twisted.trial.unittest import SynchronousTestCase
from zope.interface import implementer
from zope.interface.verify import verifyObject

from qgswps import codec
from qgswps.errors import Fault, OWSError, invalid
from qgswps.interfaces import (
    IExecution,
    IExecutor,
    IJobObserver,
    IJobQueue,
    IReferences,
)
from qgswps.jobs.queue import STORE_PATIENCE, JobQueue, Limits
from qgswps.jobs.spool import Spool
from qgswps.model import (
    Format,
    Input,
    Job,
    LiteralValue,
    ReferenceValue,
    Result,
    State,
)
from qgswps.pool.exits import Exit, WorkerLost
from tests.fakes import (
    PROCESS,
    FakeExecution,
    FakeExecutor,
    FakeReactor,
    FakeReferences,
    MemoryStore,
    makeJob,
    makeTask,
    refusal,
)

DONE = Result({"OUT": LiteralValue("1")}, peakMemory=77)
LOST = WorkerLost("the process was ended by signal SIGSEGV", Exit(11, 4242))


class QueueTestCase(SynchronousTestCase):
    """A queue with a clock, and all that it needs."""

    limits = Limits(waiting=3, timeout=100, expire=1000, stopGrace=10)
    capacity = 2

    def setUp(self) -> None:
        self.reactor = FakeReactor()
        self.reactor.advance(1000)
        self.store = MemoryStore()
        self.executor = FakeExecutor(self.capacity)
        self.spool = Spool(self.mktemp())
        self.references = FakeReferences()
        self.released: list[tuple[str, bool]] = []
        self.queue = self.makeQueue()

    def makeQueue(self) -> JobQueue:
        """A queue over the same store and spool: as after a restart."""
        return JobQueue(
            self.reactor,
            self.store,
            self.executor,
            self.spool,
            self.references,
            "here",
            self.limits,
            self.release,
        )

    def release(self, directory: str) -> None:
        """Whose directory is about to go, and whether it is there."""
        released = (os.path.basename(directory), os.path.isdir(directory))
        self.released.append(released)

    def recover(self) -> None:
        """Take up what was left behind."""
        self.successResultOf(Deferred.fromCoroutine(self.queue.recover()))

    def submit(self, **request: Any) -> Job:
        """Submit a job that is taken."""
        job = self.successResultOf(self.queue.submit(makeTask(**request), PROCESS))
        assert isinstance(job, Job)
        return job

    def execution(self, job: Job) -> FakeExecution:
        """The last execution of a job."""
        return [
            each
            for each in self.executor.executions
            if os.path.basename(each.directory) == job.id
        ][-1]

    def start(self, **request: Any) -> tuple[Job, FakeExecution]:
        """A job that has started."""
        job = self.submit(**request)
        execution = self.execution(job)
        execution.observer.started(77)
        return job, execution

    def stored(self, job: Job) -> Job:
        """What the store has of a job."""
        return self.store.jobs[job.id]

    def assertState(self, job: Job, state: State, message: str = "") -> None:
        """What the store has of a job."""
        self.assertIs(self.stored(job).state, state)
        self.assertIn(message, self.stored(job).message)


class StartedTestCase(QueueTestCase):
    """A queue that takes jobs."""

    def setUp(self) -> None:
        super().setUp()
        self.recover()


class AdmissionTests(StartedTestCase):
    """What is taken, and what is refused."""

    def test_interfaces(self) -> None:
        """The queue is one, and so are the stand-ins."""
        verifyObject(IJobQueue, self.queue)
        verifyObject(IExecutor, self.executor)
        verifyObject(IReferences, self.references)
        verifyObject(IExecution, FakeExecution("", None))  # type: ignore[arg-type]

    def test_accepted(self) -> None:
        """A job that is taken has a record and a directory."""
        task = makeTask(asynchronous=True, map="m", timeout=7, expire=8)
        job = self.successResultOf(self.queue.submit(task, PROCESS, realm="r"))
        expected = makeJob(
            job.id,
            processVersion="1.2",
            processTitle="A test",
            map="m",
            asynchronous=True,
            realm="r",
            timeout=7,
            expire=8,
        )
        self.assertEqual(job, expected)
        self.assertEqual(self.stored(job), expected)
        self.assertEqual(self.spool.task(job.id), task)
        self.assertEqual(self.execution(job).directory, self.spool.directory(job.id))

    def test_limits(self) -> None:
        """Nobody gets more time than the server allows."""
        for asked, timeout, expire in [(None, 100, 1000), (5, 5, 5), (9999, 100, 1000)]:
            self.queue = self.makeQueue()
            self.recover()
            job = self.submit(timeout=asked, expire=asked)
            self.assertEqual((job.timeout, job.expire), (timeout, expire))

    def test_notYet(self) -> None:
        """Before recovery, nothing is taken."""
        queue = self.makeQueue()
        error = refusal(self, queue.submit(makeTask(), PROCESS))
        self.assertIn("starting", str(error))
        self.assertIsNotNone(error.retryAfter)

    def test_inTurn(self) -> None:
        """Jobs begin in the order in which they came, as slots get free."""
        jobs = [self.submit() for _ in range(5)]
        begun = [2, 3, 4, 5, 5]
        for job, count in zip(jobs, begun, strict=True):
            self.assertEqual(
                [os.path.basename(e.directory) for e in self.executor.executions],
                [each.id for each in jobs[:count]],
            )
            self.execution(job).end(DONE)

    def test_full(self) -> None:
        """Who would wait behind too many is refused; slots do not count."""
        jobs = [self.submit() for _ in range(2 + 3)]
        error = refusal(self, self.queue.submit(makeTask(), PROCESS))
        self.assertEqual((error.faults[0].code, error.status), ("ServerBusy", 503))
        self.assertIsNotNone(error.retryAfter)
        self.assertIn("3 jobs", str(error))
        self.assertEqual(len(self.spool.jobIds()), 5)
        self.execution(jobs[0]).end(DONE)
        self.submit()
        refusal(self, self.queue.submit(makeTask(), PROCESS))

    def test_fullWhileAdmitted(self) -> None:
        """Jobs count from the moment at which they are submitted."""
        self.reactor.held = []
        submitted = [self.queue.submit(makeTask(), PROCESS) for _ in range(6)]
        refusal(self, submitted.pop())
        self.reactor.release()
        for d in submitted:
            self.assertIs(self.successResultOf(d).state, State.ACCEPTED)
        self.assertEqual(len(self.executor.executions), 2)

    def test_diskFull(self) -> None:
        """Without room for its data, a job is refused, and leaves nothing."""
        write = codec.write
        for number, code in [
            (errno.ENOSPC, "NotEnoughStorage"),
            (errno.EDQUOT, "NotEnoughStorage"),
            (errno.EACCES, None),
        ]:

            def fail(*_: object, number: int = number) -> None:
                raise OSError(number, os.strerror(number))

            self.patch(codec, "write", fail)
            d = self.queue.submit(makeTask(), PROCESS)
            if code is None:
                self.failureResultOf(d, OSError)
            else:
                error = refusal(self, d)
                self.assertEqual((error.faults[0].code, error.status), (code, 507))
                self.assertIsNotNone(error.retryAfter)
            self.assertEqual((self.spool.jobIds(), self.store.jobs), ([], {}))
        self.patch(codec, "write", write)
        self.submit()  # what was refused takes no place

    def test_storeFails(self) -> None:
        """Without a record, a job is refused, and leaves nothing."""
        self.store.failing = {"add"}
        for _ in range(9):
            self.assertEqual(
                refusal(self, self.queue.submit(makeTask(), PROCESS)).status, 503
            )
        self.assertEqual(self.spool.jobIds(), [])
        self.assertEqual(self.executor.executions, [])

    def test_cancelSubmission(self) -> None:
        """A client that goes away while its job is taken has it dismissed."""
        self.reactor.held = []
        d = self.queue.submit(makeTask(), PROCESS)
        d.cancel()
        self.failureResultOf(d, CancelledError)
        self.reactor.release()
        [job] = self.store.jobs.values()
        self.assertState(job, State.DISMISSED, "client")
        self.assertEqual(self.execution(job).cancelled, 1)

    def test_cancelRefused(self) -> None:
        """A client that goes away while its job is refused harms nobody."""
        self.store.failing = {"add"}
        self.reactor.held = []
        d = self.queue.submit(makeTask(), PROCESS)
        d.cancel()
        self.failureResultOf(d, CancelledError)
        self.reactor.release()
        self.assertEqual(self.spool.jobIds(), [])


class RunTests(StartedTestCase):
    """The life of a job."""

    def test_succeeded(self) -> None:
        """From accepted to succeeded."""
        job, execution = self.start()
        waiting = self.queue.wait(job.id)
        self.assertEqual(
            self.stored(job),
            attrs.evolve(job, state=State.STARTED, started=1000.0, pid=77),
        )
        self.reactor.advance(5)
        self.assertNoResult(waiting)
        execution.result.callback(DONE)
        expected = attrs.evolve(
            job,
            state=State.SUCCEEDED,
            started=1000.0,
            finished=1005.0,
            expires=2005.0,
            percent=100.0,
            pid=77,
            peakMemory=77,
        )
        self.assertEqual(self.stored(job), expected)
        self.assertEqual(self.successResultOf(waiting), expected)
        self.assertEqual(self.successResultOf(self.queue.wait(job.id)), expected)

    def test_faults(self) -> None:
        """A result with faults is a failure, and the message says why."""
        job, execution = self.start()
        faults = (Fault("NoApplicableCode", "no"), Fault("NoApplicableCode", "never"))
        execution.end(Result(faults=faults, peakMemory=5))
        self.assertState(job, State.FAILED, "no; never")
        self.assertEqual(self.stored(job).faults, faults)
        self.assertEqual(self.stored(job).peakMemory, 5)

    def test_lost(self) -> None:
        """Of a worker that is lost, the signal and the log's end are told."""
        job, execution = self.start()
        with open(os.path.join(execution.directory, "log"), "w") as log:
            log.write("".join(f"line {n}\n" for n in range(20)))
        execution.end(LOST)
        stored = self.stored(job)
        self.assertEqual(
            (stored.state, stored.signal, stored.peakMemory),
            (State.FAILED, "SIGSEGV", 4242),
        )
        [fault] = stored.faults
        for text in ("SIGSEGV", "line 19", "line 15"):
            self.assertIn(text, fault.text)
        self.assertNotIn("line 14", fault.text)

    def test_lostBeforeStart(self) -> None:
        """A worker may be lost before anybody has heard of it."""
        job = self.submit()
        self.execution(job).end(LOST)
        self.assertState(job, State.FAILED, "SIGSEGV")
        self.assertNotIn("log", self.stored(job).message)

    def test_unreadable(self) -> None:
        """A result that can't be read is a failure."""
        job, execution = self.start()
        execution.end(FileNotFoundError("result.json"))
        self.assertState(job, State.FAILED, "result.json")

    def test_resultOvertakesStart(self) -> None:
        """Answer and process id come over different sockets, in any order."""
        job = self.submit()
        execution = self.execution(job)
        execution.result.callback(DONE)
        execution.observer.started(77)
        self.assertState(job, State.SUCCEEDED)
        self.assertEqual(self.stored(job).started, 1000.0)
        self.assertIn("succeeded", self.stored(job).state)
        [expiry] = self.reactor.delays()
        self.assertEqual(expiry, 60, "there is no TIMEOUT")

    def test_progress(self) -> None:
        """Progress is stored at most once a second, and never goes back."""
        job, execution = self.start()
        for seconds, percent, message, stored in [
            (0.0, 10.0, "a", (10.0, "a")),
            (0.9, 20.0, "b", (10.0, "a")),
            (0.1, 15.0, "", (20.0, "b")),
            (5.0, None, "c", (20.0, "c")),
        ]:
            self.reactor.advance(seconds)
            execution.observer.progress(percent, message)
            now = self.stored(job)
            self.assertEqual((now.percent, now.message), stored)
        self.assertEqual(self.store.calls.count("progress"), 3)

    def test_progressBeforeStart(self) -> None:
        """Progress that overtakes the start is kept until then."""
        job = self.submit()
        observer = self.execution(job).observer
        observer.progress(30.0, "early")
        self.assertNotIn("progress", self.store.calls)
        observer.started(77)
        self.assertEqual(self.stored(job).percent, 30.0)

    def test_lateProgress(self) -> None:
        """Progress never revives a job that has ended."""
        job, execution = self.start()
        execution.result.callback(DONE)
        ended = self.stored(job)
        self.reactor.advance(5)
        execution.observer.progress(1.0, "late")
        self.assertEqual(self.stored(job), ended)

    def test_slot(self) -> None:
        """A slot is free when the process is gone, not before."""
        job, execution = self.start()
        self.submit()
        third = self.submit()
        execution.result.callback(DONE)
        self.assertState(job, State.SUCCEEDED)
        self.assertEqual(len(self.executor.executions), 2)
        execution.exited.callback(Exit(0))
        self.assertEqual(len(self.executor.executions), 3)
        self.execution(third)

    def test_tidied(self) -> None:
        """What a worker that did not end well has left is removed."""
        for exit in (Exit(), Exit(9), Exit(1 << 8)):
            _, execution = self.start()
            os.mkdir(os.path.join(execution.directory, "tmp"))
            execution.result.callback(DONE)
            self.assertIn("tmp", os.listdir(execution.directory))
            execution.exited.callback(exit)
            self.assertNotIn("tmp", os.listdir(execution.directory))

    def test_executorRefuses(self) -> None:
        """Any number of jobs that can't be executed fail, one after the other."""
        self.queue._limits = attrs.evolve(self.limits, waiting=2000)
        jobs = [self.submit() for _ in range(1000)]
        self.executor.refusal = LOST
        self.execution(jobs[0]).end(DONE)
        for job in jobs[2:]:
            self.assertState(job, State.FAILED, "SIGSEGV")
        self.assertState(jobs[1], State.ACCEPTED)

    def test_storeFails(self) -> None:
        """A store that fails meanwhile is logged, and does not stop a job."""
        self.store.failing = {"replace", "progress"}
        job, execution = self.start()
        waiting = self.queue.wait(job.id)
        execution.observer.progress(5.0, "")
        execution.end(DONE)
        self.assertIs(self.successResultOf(waiting).state, State.SUCCEEDED)
        self.assertEqual(len(self.flushLoggedErrors()), 3)

    def test_recordIsGone(self) -> None:
        """A record that somebody else has changed is logged."""
        job, execution = self.start()
        waiting = self.queue.wait(job.id)
        del self.store.jobs[job.id]
        with capturedLogs() as events:
            execution.end(DONE)
        self.assertIs(self.successResultOf(waiting).state, State.SUCCEEDED)
        self.assertEqual(self.store.jobs, {})
        [warning] = [e for e in events if e["log_level"] is LogLevel.warn]
        self.assertEqual(warning["job"], job.id)

    def test_waitCancelled(self) -> None:
        """Who no longer waits leaves the job and the others alone."""
        job, execution = self.start()
        first, second = self.queue.wait(job.id), self.queue.wait(job.id)
        first.cancel()
        self.failureResultOf(first, CancelledError)
        self.assertEqual(execution.cancelled, 0)
        execution.end(DONE)
        self.assertIs(self.successResultOf(second).state, State.SUCCEEDED)


@implementer(IJobObserver)
class Witness:
    """Takes down what it is told."""

    def __init__(self) -> None:
        self.told: list[tuple[object, ...]] = []

    def changed(self, job: Job, before: State | None) -> None:
        """See L{IJobObserver}."""
        self.told.append((before, job.state))

    def exited(self, job: Job, peakMemory: int | None) -> None:
        """See L{IJobObserver}."""
        self.told.append((job.processId, peakMemory))


class ObserverTests(StartedTestCase):
    """Who observes a queue."""

    def makeQueue(self) -> JobQueue:
        """A queue with an observer."""
        self.witness = Witness()
        return JobQueue(
            self.reactor,
            self.store,
            self.executor,
            self.spool,
            self.references,
            "here",
            self.limits,
            observer=self.witness,
        )

    def test_told(self) -> None:
        """It is told of each state, and of the end of the process."""
        verifyObject(IJobObserver, self.witness)
        job, execution = self.start()
        execution.end(Result())
        self.assertEqual(
            self.witness.told,
            [
                (None, State.ACCEPTED),
                (State.ACCEPTED, State.STARTED),
                (State.STARTED, State.SUCCEEDED),
                (job.processId, None),
            ],
        )

    def test_earlierRun(self) -> None:
        """What ended with an earlier run is not told of."""
        self.start()
        self.queue = self.makeQueue()
        self.recover()
        self.assertEqual(self.witness.told, [])
        self.assertIsNone(self.queue.refusal)

    def test_counts(self) -> None:
        """What waits and what runs can be read off."""
        for _ in range(self.capacity + 1):
            self.submit()
        self.assertEqual((self.queue.running, self.queue.waiting), (self.capacity, 1))
        self.execution(self.queue.unfinished()[0]).observer.started(1)
        states = [job.state for job in self.queue.unfinished()]
        self.assertEqual(states, [State.STARTED, State.ACCEPTED, State.ACCEPTED])


class TimeoutTests(StartedTestCase):
    """TIMEOUT"""

    capacity = 1

    def test_timeOut(self) -> None:
        """A run that lasts too long is ended, and what comes of it ignored."""
        job, execution = self.start(timeout=20)
        self.reactor.advance(19.9)
        self.assertState(job, State.STARTED)
        self.reactor.advance(0.1)
        self.assertState(job, State.FAILED, "TimeOut")
        [fault] = self.stored(job).faults
        self.assertEqual(fault.locator, "timeout")
        self.assertIn("20 s", fault.text)
        self.assertEqual(execution.cancelled, 1)

    def test_lateEnd(self) -> None:
        """The worker that is killed does not change why the job failed."""
        for late in (DONE, LOST, Result(faults=(Fault("NoApplicableCode", "no"),))):
            job, execution = self.start(timeout=20)
            self.reactor.advance(20)
            ended = self.stored(job)
            execution.end(late)
            self.assertEqual(self.stored(job), ended)

    def test_fromStart(self) -> None:
        """Time in the queue does not count."""
        _, execution = self.start()
        second = self.submit(timeout=20)
        self.reactor.advance(50)
        execution.end(DONE)
        self.reactor.advance(30)  # there is no fork server
        self.assertState(second, State.ACCEPTED)
        self.execution(second).observer.started(78)
        self.reactor.advance(19)
        self.assertState(second, State.STARTED)
        self.reactor.advance(1)
        self.assertState(second, State.FAILED, "TimeOut")

    def test_inTime(self) -> None:
        """A run that ends in time leaves no timer but that of its expiry."""
        job, execution = self.start(timeout=20, expire=30)
        execution.end(DONE)
        self.assertEqual(self.reactor.delays(), [30])
        self.reactor.advance(25)
        self.assertState(job, State.SUCCEEDED)


class DismissTests(StartedTestCase):
    """Dismissal"""

    capacity = 1

    def dismiss(self, job: Job) -> Job | None:
        """Dismiss a job."""
        dismissed = self.successResultOf(self.queue.dismiss(job.id, "enough"))
        assert dismissed is None or isinstance(dismissed, Job)
        return dismissed

    def test_waiting(self) -> None:
        """A job that waits never begins."""
        first, second, third = (self.submit() for _ in range(3))
        waiting = self.queue.wait(second.id)
        self.assertEqual(self.dismiss(second), self.stored(second))
        self.assertState(second, State.DISMISSED, "enough")
        self.assertIs(self.successResultOf(waiting).state, State.DISMISSED)
        self.execution(first).end(DONE)
        self.assertEqual(self.executor.executions[1:], [self.execution(third)])

    def test_running(self) -> None:
        """A job that runs is cancelled; its slot is free when it has ended."""
        job, execution = self.start()
        other = self.submit()
        self.dismiss(job)
        self.dismiss(job)
        self.assertState(job, State.DISMISSED, "enough")
        self.assertGreaterEqual(execution.cancelled, 1)
        self.assertEqual(len(self.executor.executions), 1)
        execution.end(LOST)
        self.assertState(job, State.DISMISSED, "enough")
        self.execution(other)

    def test_beforeStart(self) -> None:
        """A job whose worker is being made does not start any more."""
        job = self.submit()
        self.dismiss(job)
        self.execution(job).observer.started(77)
        self.assertState(job, State.DISMISSED)
        self.assertEqual(self.execution(job).cancelled, 1)

    def test_finished(self) -> None:
        """A job that has ended stays as it is."""
        job, execution = self.start()
        execution.end(DONE)
        ended = self.stored(job)
        self.assertEqual(self.dismiss(job), ended)
        self.assertEqual(self.stored(job), ended)

    def test_unknown(self) -> None:
        """There may be no such job."""
        self.assertIsNone(self.dismiss(makeJob("unknown")))


class ExpiryTests(StartedTestCase):
    """EXPIRE"""

    def test_expires(self) -> None:
        """Record and directory go at the job's time, counted from its end."""
        job, execution = self.start(expire=30)
        self.reactor.advance(20)
        execution.end(DONE)
        self.assertEqual(self.stored(job).expires, 1050.0)
        self.reactor.advance(29.9)
        self.assertState(job, State.SUCCEEDED)
        self.assertEqual(self.spool.jobIds(), [job.id])
        self.reactor.advance(0.1)
        self.assertEqual((self.store.jobs, self.spool.jobIds()), ({}, []))
        self.assertEqual(self.reactor.getDelayedCalls(), [])

    def test_everyEnd(self) -> None:
        """Jobs that failed or were dismissed expire as well."""
        self.start()[1].end(LOST)
        stubborn, execution = self.start()
        self.queue.dismiss(stubborn.id, "enough")
        for _ in range(17):
            self.reactor.advance(60)
        # A worker that does not end may still write: the directory follows it.
        self.assertEqual((self.store.jobs, self.spool.jobIds()), ({}, [stubborn.id]))
        execution.end(LOST)
        self.assertEqual(self.spool.jobIds(), [])


class RecoveryTests(QueueTestCase):
    """What an earlier run has left behind."""

    def leave(self, jobId: str, **attributes: Any) -> Job:
        """A job of an earlier run."""
        job = makeJob(jobId, **attributes)
        self.store.jobs[jobId] = job
        self.spool.create(jobId, makeTask())
        return job

    def test_recover(self) -> None:
        """Each is treated by its state; other servers' jobs are left alone."""
        jobs = [
            self.leave("third", created=30, asynchronous=True),
            self.leave("first", created=10, asynchronous=True),
            self.leave("second", created=20, asynchronous=True),
            self.leave("started", created=5, state=State.STARTED, asynchronous=True),
            self.leave("sync", created=6),
            self.leave("done", created=1, state=State.SUCCEEDED, expires=1030.0),
            self.leave("old", created=1, state=State.FAILED, expires=900.0),
            self.leave("theirs", created=1, state=State.STARTED, server="there"),
        ]
        self.spool.create("stray", makeTask())
        self.recover()
        self.assertEqual(
            [os.path.basename(e.directory) for e in self.executor.executions],
            ["first", "second"],
        )
        third, first, second, started, sync, done, _, theirs = jobs
        for job in (first, second, third, done, theirs):
            self.assertEqual(self.stored(job), job)
        self.assertState(started, State.FAILED, "restarted while the job ran")
        self.assertState(sync, State.FAILED, "connection")
        for job in (started, sync):
            self.assertEqual(self.stored(job).expires, 2000.0)
            self.assertEqual(self.stored(job).faults[0].code, "NoApplicableCode")
        self.reactor.advance(0)
        self.assertNotIn("stray", self.spool.jobIds())
        self.assertNotIn("old", self.store.jobs)
        self.reactor.advance(30)
        self.assertNotIn("done", self.store.jobs)
        self.assertEqual(
            sorted(self.spool.jobIds()),
            ["first", "second", "started", "sync", "theirs", "third"],
        )
        self.execution(first).end(DONE)
        self.execution(third)
        for _ in range(20):
            self.reactor.advance(60)
        self.assertEqual(self.store.calls.count("remove"), 6)

    def test_nothing(self) -> None:
        """There need not be anything."""
        self.recover()
        self.submit()

    def test_storeFails(self) -> None:
        """As long as it is not known what was left, nothing is taken."""
        self.store.failing = {"find"}
        refusal(self, Deferred.fromCoroutine(self.queue.recover()))
        refusal(self, self.queue.submit(makeTask(), PROCESS))
        self.store.failing = set()
        self.recover()
        self.submit()


class StopTests(StartedTestCase):
    """The end of the server."""

    def stop(self) -> Deferred[None]:
        """Begin to stop."""
        return Deferred.fromCoroutine(self.queue.stop())

    def test_idle(self) -> None:
        """Without jobs it stops at once and leaves no timer."""
        self.start()[1].end(DONE)
        self.successResultOf(self.stop())
        self.assertEqual(self.reactor.getDelayedCalls(), [])
        error = refusal(self, self.queue.submit(makeTask(), PROCESS))
        self.assertIn("stopping", str(error))

    def test_grace(self) -> None:
        """Running jobs may end in a time of grace, the rest fails."""
        quick, quickly = self.start()
        slow, slowly = self.start()
        stopping = self.stop()
        self.reactor.advance(5)
        quickly.end(DONE)
        self.reactor.advance(4.9)
        self.assertNoResult(stopping)
        self.assertEqual(slowly.cancelled, 0)
        self.reactor.advance(0.1)
        self.successResultOf(stopping)
        self.assertState(quick, State.SUCCEEDED)
        self.assertState(slow, State.FAILED, "stopped while the job ran")
        self.assertEqual(slowly.cancelled, 1)
        slowly.end(LOST)
        self.assertState(slow, State.FAILED, "stopped while the job ran")
        self.assertEqual(self.reactor.getDelayedCalls(), [])

    def test_allEnd(self) -> None:
        """It does not wait longer than it has to."""
        job, execution = self.start()
        waiting = self.queue.wait(job.id)
        stopping = self.stop()
        self.assertNoResult(stopping)
        execution.end(LOST)
        self.successResultOf(stopping)
        self.assertIn("SIGSEGV", self.successResultOf(waiting).message)
        self.assertEqual(self.reactor.getDelayedCalls(), [])

    def test_waiting(self) -> None:
        """What waits stays, unless its client waits with it."""
        self.start()
        self.start()
        asynchronous = self.submit(asynchronous=True)
        synchronous = self.submit()
        waiting = self.queue.wait(synchronous.id)
        stopping = self.stop()
        self.assertIs(self.successResultOf(waiting).state, State.DISMISSED)
        self.reactor.advance(10)
        self.successResultOf(stopping)
        self.assertState(asynchronous, State.ACCEPTED)
        self.assertState(synchronous, State.DISMISSED, "stopped")
        self.assertEqual(len(self.executor.executions), 2)

    def test_notStarted(self) -> None:
        """So does what has a slot, but no process yet."""
        asynchronous = self.submit(asynchronous=True)
        synchronous = self.submit()
        stopping = self.stop()
        for job in (asynchronous, synchronous):
            self.assertEqual(self.execution(job).cancelled, 1)
        self.execution(asynchronous).observer.started(77)
        self.execution(asynchronous).end(LOST)
        self.reactor.advance(10)
        self.successResultOf(stopping)
        self.assertState(asynchronous, State.ACCEPTED)
        self.assertState(synchronous, State.DISMISSED, "stopped")
        self.queue = self.makeQueue()
        self.recover()
        self.assertEqual(len(self.executor.executions), 3)

    def test_admitting(self) -> None:
        """A job that is being taken is treated as one that waits."""
        self.reactor.held = []
        submitted = [
            self.queue.submit(makeTask(asynchronous=each), PROCESS)
            for each in (True, False)
        ]
        stopping = self.stop()
        self.assertNoResult(stopping)
        self.reactor.release()
        self.successResultOf(stopping)
        states = [self.stored(self.successResultOf(d)).state for d in submitted]
        self.assertEqual(states, [State.ACCEPTED, State.DISMISSED])
        self.assertEqual(self.executor.executions, [])


class DirectoryKnowsMoreTests(RecoveryTests):
    """The store was out of reach when the earlier run ended."""

    def test_recover(self) -> None:
        """A job whose worker was there is never run again."""
        begun = self.leave("begun", asynchronous=True)
        done = self.leave("done", asynchronous=True)
        failed = self.leave("failed", state=State.STARTED, asynchronous=True)
        fault = Fault("NoApplicableCode", "the moon is in the way")
        for job in (begun, done, failed):
            with open(os.path.join(self.spool.directory(job.id), "log"), "w"):
                pass
        for job, result in ((done, DONE), (failed, Result(faults=(fault,)))):
            codec.write(
                os.path.join(self.spool.directory(job.id), "result.json"), result
            )
        self.recover()
        self.assertEqual(self.executor.executions, [])
        self.assertState(begun, State.FAILED, "restarted while the job ran")
        self.assertState(done, State.SUCCEEDED)
        self.assertState(failed, State.FAILED, "the moon is in the way")

    def test_broken(self) -> None:
        """A result that was cut off costs its job, and no other."""
        jobs = [self.leave(name, state=State.STARTED) for name in ("cut", "empty")]
        waiting = self.leave("waiting", asynchronous=True)
        for job, content in zip(jobs, ('{"outputs": ', ""), strict=True):
            directory = self.spool.directory(job.id)
            with open(os.path.join(directory, "result.json"), "w") as file:
                file.write(content)
        self.recover()
        for job in jobs:
            self.assertState(job, State.FAILED, "result is broken")
        self.execution(waiting).end(DONE)
        self.assertState(waiting, State.SUCCEEDED)


class WaitTests(StartedTestCase):
    """The time in the queue has a limit of its own."""

    capacity = 1
    limits = Limits(waiting=5, timeout=100, expire=1000, wait=30)

    def test_waitedTooLong(self) -> None:
        """A job that gets no process in time fails, and takes no other's."""
        running, execution = self.start()
        waiting = self.submit()
        waiter = self.queue.wait(waiting.id)
        self.reactor.advance(29)
        self.assertState(waiting, State.ACCEPTED)
        self.reactor.advance(1)
        self.assertState(waiting, State.FAILED, "no process was free")
        self.assertEqual(self.successResultOf(waiter).faults[0].code, "ServerBusy")
        execution.end(DONE)
        self.assertState(running, State.SUCCEEDED)
        self.assertEqual(len(self.executor.executions), 1)

    def test_noForkServer(self) -> None:
        """A slot is no process: it counts as waiting as well."""
        job = self.submit()
        self.assertEqual(self.queue.position(job.id), 1)
        self.reactor.advance(30)
        self.assertState(job, State.FAILED, "no process was free")
        self.assertEqual(self.execution(job).cancelled, 1)

    def test_inTime(self) -> None:
        """The limit is for the queue alone."""
        _, execution = self.start()
        waiting = self.submit()
        self.reactor.advance(20)
        execution.end(DONE)
        self.execution(waiting).observer.started(5)
        self.reactor.advance(90)
        self.assertState(waiting, State.STARTED)
        self.reactor.advance(10)
        self.assertState(waiting, State.FAILED, "TimeOut")


class PositionTests(StartedTestCase):
    """The place in the queue, and what is removed."""

    capacity = 1

    def test_position(self) -> None:
        """Who waits has a place, and moves up."""
        running, execution = self.start()
        first, second = self.submit(), self.submit()
        jobs = (running, first, second)
        self.assertEqual([self.queue.position(j.id) for j in jobs], [None, 1, 2])
        execution.end(DONE)
        # There is a slot for it, but no process yet.
        self.assertEqual([self.queue.position(j.id) for j in jobs], [None, 1, 2])
        self.execution(first).observer.started(5)
        self.assertEqual([self.queue.position(j.id) for j in jobs], [None, None, 1])
        self.assertIsNone(self.queue.position("unknown"))

    def test_remove(self) -> None:
        """Record and directory go, and the expiry finds nothing to do."""
        job, execution = self.start()
        execution.end(DONE)
        self.assertEqual(self.released, [])
        self.successResultOf(self.queue.remove(job.id))
        self.assertEqual(self.released, [(job.id, True)])
        self.assertNotIn(job.id, self.store.jobs)
        self.assertNotIn(job.id, self.spool.jobIds())
        self.reactor.advance(2000)


class StoreAwayTests(StartedTestCase):
    """The store takes a job's end only later."""

    def test_clientDoesNotWait(self) -> None:
        """Who waits for a job is told soon, who asks later at once."""
        job, execution = self.start()
        written: Deferred[bool] = Deferred()
        self.patch(self.store, "replace", lambda job, expected: written)
        waiter = self.queue.wait(job.id)
        execution.end(DONE)
        self.assertNoResult(waiter)
        self.reactor.advance(STORE_PATIENCE)
        self.assertIs(self.successResultOf(waiter).state, State.SUCCEEDED)
        later = self.successResultOf(self.queue.wait(job.id))
        self.assertIs(later.state, State.SUCCEEDED)
        written.callback(True)
        self.assertEqual(self.reactor.getDelayedCalls()[1:], [], "only the expiry")

    def test_stop(self) -> None:
        """A server that is told to stop does not wait for it for ever."""
        _, execution = self.start()
        self.patch(self.store, "replace", lambda job, expected: Deferred())
        execution.end(DONE)
        stopping = Deferred.fromCoroutine(self.queue.stop())
        self.assertNoResult(stopping)
        self.reactor.advance(STORE_PATIENCE)
        self.successResultOf(stopping)


class StrayTests(QueueTestCase):
    """Directories of which the store knows nothing."""

    def test_strays(self) -> None:
        """What has results stays as long as results do."""
        for jobId in ("new", "begun"):
            self.spool.create(jobId, makeTask())
        directory = self.spool.directory("begun")
        with open(os.path.join(directory, "log"), "w"):
            pass
        os.utime(directory, (900, 900))
        self.recover()
        self.reactor.advance(0)
        self.assertEqual(self.spool.jobIds(), ["begun"])
        self.reactor.advance(899)
        self.assertEqual(self.spool.jobIds(), ["begun"])
        self.reactor.advance(1)
        self.assertEqual(self.spool.jobIds(), [])

    def test_storeGoesAway(self) -> None:
        """Without an answer nothing is removed."""
        self.spool.create("new", makeTask())
        self.store.failing = {"get"}
        self.recover()
        self.reactor.advance(5000)
        self.assertEqual(self.spool.jobIds(), ["new"])


class ManyTests(StartedTestCase):
    """What many jobs leave behind."""

    capacity = 8
    limits = Limits(waiting=300, timeout=100, expire=1000, wait=50)

    def test_noTimers(self) -> None:
        """After 64 at once and 200 in a row there is but the timer of expiry."""
        jobs = [self.submit() for _ in range(64)]
        while any(not self.stored(job).state.terminal for job in jobs):
            for execution in list(self.executor.executions):
                if not execution.exited.called:
                    execution.observer.started(7)
                    execution.observer.progress(50.0, "half")
                    execution.end(DONE)
        for _ in range(200):
            self.start()[1].end(DONE)
        self.assertEqual(len(self.store.jobs), 264)
        self.assertEqual(len(self.reactor.getDelayedCalls()), 1)
        self.reactor.advance(1000)
        self.assertEqual((self.store.jobs, self.spool.jobIds()), ({}, []))
        self.assertEqual(self.reactor.getDelayedCalls(), [])


REFERENCE = (Input("IN", ReferenceValue("http://h/", Format(""))),)


class ReferenceTests(StartedTestCase):
    """What jobs refer to is fetched before they wait for a slot."""

    limits = Limits(waiting=3, timeout=100, expire=1000, wait=30)
    capacity = 1

    def refer(self, asynchronous: bool = True) -> Job:
        """Submit a job with a reference."""
        return self.submit(inputs=REFERENCE, asynchronous=asynchronous)

    def test_fetched(self) -> None:
        """A job gets its slot when all is there, and its task says where."""
        job = self.refer()
        self.assertState(job, State.ACCEPTED)
        self.assertEqual(self.executor.executions, [])
        [(task, directory, _)] = self.references.fetches
        self.assertEqual(directory, self.spool.directory(job.id))
        self.assertEqual(self.spool.task(job.id), task)
        self.assertTrue(os.path.isdir(directory))
        fetched = self.references.bring()
        self.assertTrue(fetched.request.isComplete)
        self.assertEqual(self.spool.task(job.id), fetched)
        self.execution(job).end(DONE)
        self.assertState(job, State.SUCCEEDED)

    def test_slots(self) -> None:
        """Who waits for data takes no slot, and comes after who did not."""
        slow = self.refer()
        fast = self.submit()
        self.execution(fast).observer.started(77)
        third = self.submit()
        self.assertEqual(self.queue.position(third.id), 1)
        self.assertEqual(self.queue.position(slow.id), 2)
        self.references.bring()
        self.assertEqual(self.queue.position(slow.id), 2)
        self.execution(fast).end(DONE)
        self.execution(third).end(DONE)
        self.execution(slow).end(DONE)
        self.assertState(slow, State.SUCCEEDED)

    def test_full(self) -> None:
        """Who waits for data counts among those who wait."""
        for _ in range(1 + 3):
            self.refer()
        error = refusal(self, self.queue.submit(makeTask(), PROCESS))
        self.assertEqual(error.status, 503)
        self.references.bring(0)
        refusal(self, self.queue.submit(makeTask(), PROCESS))
        self.executor.executions[0].end(DONE)
        self.submit()

    def test_refused(self) -> None:
        """What can be told at once is, and there is no job."""
        self.references.refusal = invalid("IN", "no")
        d = self.queue.submit(makeTask(inputs=REFERENCE), PROCESS)
        self.assertEqual(refusal(self, d).status, 400)
        self.assertEqual((self.store.jobs, self.spool.jobIds()), ({}, []))
        self.submit()  # others are not asked

    def test_fails(self) -> None:
        """A fetch that fails is the job's end, and says why."""
        job = self.refer(asynchronous=False)
        waiting = self.queue.wait(job.id)
        fault = Fault("FileSizeExceeded", "IN is too large", "IN")
        self.references.fetches[0][2].errback(OWSError(fault))
        self.assertState(job, State.FAILED, "IN is too large")
        self.assertEqual(self.successResultOf(waiting).faults, (fault,))
        self.assertEqual(self.executor.executions, [])
        self.assertIsNone(self.queue.position(job.id))
        self.submit()

    def test_unexpected(self) -> None:
        """What nobody expected ends the job, too, and is logged."""
        job = self.refer()
        self.references.fetches[0][2].errback(ZeroDivisionError("secret"))
        self.assertState(job, State.FAILED, "could not keep")
        self.assertNotIn("secret", self.stored(job).message)
        self.assertEqual(len(self.flushLoggedErrors(ZeroDivisionError)), 1)

    def test_diskFull(self) -> None:
        """Without room for what is now known, the job fails and says why."""
        job = self.refer()

        def fail(*_: object) -> None:
            raise OSError(errno.ENOSPC, "full")

        self.patch(codec, "write", fail)
        self.references.bring()
        self.assertState(job, State.FAILED, "no room")
        self.assertEqual(self.stored(job).faults[0].code, "NotEnoughStorage")

    def test_dismissed(self) -> None:
        """A job that is dismissed fetches no more."""
        job = self.refer()
        dismissed = self.successResultOf(self.queue.dismiss(job.id, "enough"))
        self.assertIs(dismissed and dismissed.state, State.DISMISSED)
        self.assertEqual(self.references.cancelled, 1)
        self.assertState(job, State.DISMISSED, "enough")
        self.assertEqual(self.executor.executions, [])
        self.reactor.advance(1000)
        self.assertEqual(self.reactor.delays(), [])

    def test_wait(self) -> None:
        """The time to wait for a slot begins when all is there."""
        blocking, _ = self.start()
        job = self.refer()
        self.reactor.advance(40)
        self.assertState(job, State.ACCEPTED)
        self.references.bring()
        self.reactor.advance(29)
        self.assertState(job, State.ACCEPTED)
        self.reactor.advance(1)
        self.assertState(job, State.FAILED, "no process was free")
        self.execution(blocking).end(DONE)

    def test_stopAndRecover(self) -> None:
        """What was not fetched when the server stopped is at its next start."""
        job = self.refer()
        waited = self.refer(asynchronous=False)
        self.successResultOf(Deferred.fromCoroutine(self.queue.stop()))
        self.assertEqual(self.references.cancelled, 2)
        self.assertState(job, State.ACCEPTED)
        self.assertState(waited, State.DISMISSED, "stopped")
        self.assertEqual(self.reactor.delays(), [])
        self.queue = self.makeQueue()
        self.recover()
        self.assertEqual(len(self.references.fetches), 3)
        self.assertEqual(self.references.fetches[2][1], self.spool.directory(job.id))
        self.assertEqual(self.executor.executions, [])
        self.references.bring()
        self.execution(job).end(DONE)
        self.assertState(job, State.SUCCEEDED)

    def test_recoverFetched(self) -> None:
        """What was fetched is not fetched again."""
        blocking, _ = self.start()
        job = self.refer()
        self.references.bring()
        self.queue = self.makeQueue()
        self.recover()
        self.assertEqual(len(self.references.fetches), 1)
        self.assertEqual(
            os.path.basename(self.executor.executions[-1].directory), job.id
        )
        self.assertState(blocking, State.FAILED)

    def test_recoverBroken(self) -> None:
        """Of a task that can't be read, the worker says what is wrong."""
        job = self.refer()
        self.queue = self.makeQueue()
        path = os.path.join(self.spool.directory(job.id), "task.json")
        with open(path, "w") as file:
            file.write("{")
        self.recover()
        self.execution(job)
        self.assertEqual(len(self.references.fetches), 1)
