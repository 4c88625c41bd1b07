"""
The job queue: admission, dispatch, TIMEOUT and EXPIRE, recovery.

The queue alone changes the records of this server's jobs; what an executor
tells it goes through L{qgswps.jobs.lifecycle.advance} and the store's
compare-and-set.
"""

from __future__ import annotations

import contextlib
import errno
import uuid
from collections import deque
from collections.abc import Callable, Iterator
from typing import Any, TypeVar

import attrs
from twisted.internet.defer import CancelledError, Deferred, DeferredList, succeed
from twisted.python.failure import Failure
from zope.interface import implementer

from qgswps.errors import Fault, OWSError, busy
from qgswps.interfaces import (
    IExecutor,
    IJobObserver,
    IJobQueue,
    IJobStore,
    IReferences,
)
from qgswps.jobs.active import ActiveJob
from qgswps.jobs.expiry import Expiry
from qgswps.jobs.lifecycle import advance
from qgswps.jobs.spool import Spool
from qgswps.journal import Logger
from qgswps.model import Job, ProcessDescription, Result, State, Task
from qgswps.threads import inThread

log = Logger()

T = TypeVar("T")

#: Progress is stored at most once in so many seconds.
PROGRESS_INTERVAL = 1.0

#: Seconds that a job's end may take to be stored before its client is told.
STORE_PATIENCE = 2.0

#: The locator of the fault of a job whose TIMEOUT passed.
TIMEOUT = "timeout"


@attrs.frozen
class Limits:
    """
    What a queue allows.  Times are in seconds.

    @ivar waiting: jobs that wait for a slot; one more is refused.
    @ivar timeout: how long a run lasts at most, and if the client says nothing.
    @ivar expire: how long results are kept at most, and likewise.
    @ivar wait: how long a job waits for a slot at most; 0 for any time.
    @ivar stopGrace: how long running jobs may go on when the server stops.
    """

    waiting: int = 100
    wait: float = 0.0
    timeout: int = 1800
    expire: int = 86400
    stopGrace: float = 10.0


@contextlib.contextmanager
def _roomy() -> Iterator[None]:
    """Say it in a client's words if a disk is full."""
    try:
        yield
    except OSError as error:
        if error.errno in (errno.ENOSPC, errno.EDQUOT):
            fault = Fault("NotEnoughStorage", "there is no room for the job's data")
            raise OWSError(fault, retryAfter=60) from None
        raise


@implementer(IJobQueue)
class JobQueue:
    """See L{IJobQueue}."""

    def __init__(
        self,
        reactor: Any,
        store: IJobStore,
        executor: IExecutor,
        spool: Spool,
        references: IReferences,
        server: str,
        limits: Limits,
        release: Callable[[str], None] | None = None,
        observer: IJobObserver | None = None,
    ) -> None:
        """
        @param references: fetches what jobs refer to, before they wait for a
            slot.
        @param server: the name under which this server's jobs are found again
            after a restart.
        @param release: is told of each job's directory that is about to go.
        @param observer: is told of what happens from L{recover} on; what that
            finds to have ended with an earlier run is none of it.
        """
        self._reactor = reactor
        self._store = store
        self._executor = executor
        self._spool = spool
        self._references = references
        self._server = server
        self._limits = limits
        self._release = release
        self._observer = observer
        self._active: dict[str, ActiveJob] = {}
        self._waiting: deque[ActiveJob] = deque()
        self._fetching: set[ActiveJob] = set()
        self._admitting = 0
        self._running: set[ActiveJob] = set()
        self._pending: set[Deferred[Any]] = set()
        self._expiry = Expiry(reactor, self._expire)
        self._stopping = False
        self._dispatching = False
        self._recovered = False
        self._refusal = "the server is starting"

    # The service

    def refuse(self, why: str) -> None:
        """Tell clients why no jobs are taken, until L{recover} has succeeded."""
        self._refusal = why

    @property
    def refusal(self) -> str | None:
        """Why no job is taken now, be the queue full or not; None if one is."""
        if self._stopping:
            return "the server is stopping"
        return None if self._recovered else self._refusal

    @property
    def waiting(self) -> int:
        """How many jobs wait for a slot, or for what they refer to."""
        return len(self._waiting) + len(self._fetching)

    @property
    def running(self) -> int:
        """How many slots are taken."""
        return len(self._running)

    def unfinished(self) -> list[Job]:
        """The records of this server's jobs that wait or run."""
        jobs = (active.job for active in self._active.values())
        return [job for job in jobs if not job.state.terminal]

    async def recover(self) -> None:
        """
        Take up what an earlier run of this server left behind, then take jobs.

        @raise OWSError: the store is away; then nothing was done, and it may
            be called again.
        """
        unfinished = await self._store.find(
            states=(State.ACCEPTED, State.STARTED), server=self._server
        )
        finished = await self._store.find(
            states=(State.SUCCEEDED, State.FAILED, State.DISMISSED),
            server=self._server,
        )
        begun, tasks = await inThread(self._reactor, self._lookAt, unfinished)
        for job in reversed(unfinished):
            active = self._active[job.id] = ActiveJob(self, job)
            if job.state is State.ACCEPTED and job.asynchronous and job.id not in begun:
                task = tasks.get(job.id)
                if task is None:
                    self._enqueue(active)
                else:
                    self._fetch(active, task)
            else:
                await self._conclude(active, job.id in begun)
        for job in finished:
            if job.expires is not None:
                self._expiry.add(job.id, job.expires)
        await self._expireStrays({job.id for job in (*unfinished, *finished)})
        self._recovered = True
        if unfinished:
            log.info(
                "recovered: {queued} jobs wait again, {failed} had been running",
                queued=len(self._waiting) + len(self._fetching),
                failed=len(unfinished) - len(self._waiting) - len(self._fetching),
            )
        self._dispatch()

    def _lookAt(self, jobs: list[Job]) -> tuple[set[str], dict[str, Task]]:
        """
        Which jobs a worker has taken, and what the others have to do that
        still lack what they refer to.
        """
        begun = {job.id for job in jobs if self._spool.hasBegun(job.id)}
        tasks = {}
        for job in jobs:
            if job.state is State.ACCEPTED and job.id not in begun:
                # A worker says what is wrong with a task that is broken.
                with contextlib.suppress(Exception):
                    task = self._spool.task(job.id)
                    if not task.request.isComplete:
                        tasks[job.id] = task
        return begun, tasks

    async def _conclude(self, active: ActiveJob, begun: bool) -> None:
        """
        End a job of an earlier run that can't be queued again.

        The directory knows more than the record where the server ended, or
        lost its store, before it could write what it knew.
        """
        job = active.job
        if await inThread(self._reactor, self._spool.hasResult, job.id):
            try:
                result = await inThread(self._reactor, self._spool.result, job.id)
            except Exception as error:  # whatever a broken file may cause
                text = (
                    f"the server was restarted, and the job's result is broken: {error}"
                )
            else:
                self._hasResult(result, active)
                return
        elif begun or job.state is State.STARTED:
            text = "the server was restarted while the job ran"
        else:
            text = (
                "the server was restarted, and with it the connection to the"
                " client that waited for the job"
            )
        await inThread(self._reactor, self._spool.tidy, job.id)
        self._finish(active, State.FAILED, (Fault("NoApplicableCode", text),))

    async def _expireStrays(self, known: set[str]) -> None:
        """
        Remove directories of which no record tells: at once if nothing has
        run there, else when their results would have expired, since the store
        may be the one that is wrong.
        """
        strays = await inThread(
            self._reactor,
            lambda: [
                (jobId, self._spool.changed(jobId), self._spool.hasBegun(jobId))
                for jobId in self._spool.jobIds()
                if jobId not in known
            ],
        )
        for jobId, changed, begun in strays:
            try:
                if await self._store.get(jobId) is not None:
                    continue  # it has another name on it: this one was lost
            except OWSError:
                continue  # there will be another start
            if begun:
                log.warn("the store knows nothing of the directory {job}", job=jobId)
            self._expiry.add(jobId, changed + self._limits.expire if begun else 0.0)

    async def stop(self) -> None:
        """
        Take no more jobs, let the running ones end or end them, and return
        when all is stored.  What waits stays accepted, for the next start.
        """
        self._stopping = True
        self._expiry.stop()
        waiting, self._waiting = [*self._fetching, *self._waiting], deque()
        for active in waiting:
            if active.fetching is not None:
                active.fetching.cancel()
            self._leave(active)
        for active in list(self._running):
            if self._isLeft(active) and active.execution is not None:
                active.execution.cancel()
        running = [
            active.wait() for active in self._running if not active.job.state.terminal
        ]
        if running:
            log.info("waiting for {count} running jobs", count=len(running))
            everything = DeferredList(running, consumeErrors=True)
            everything.addTimeout(self._limits.stopGrace, self._reactor)
            everything.addErrback(lambda _: None)
            await everything
        fault = Fault("NoApplicableCode", "the server was stopped while the job ran")
        for active in list(self._running):
            if self._isLeft(active):
                self._leave(active)
            elif not active.job.state.terminal:
                self._finish(active, State.FAILED, (fault,))
            if active.execution is not None:
                active.execution.cancel()
        await self._written()

    async def _written(self) -> None:
        """Wait until all is stored, but not for a store that is away."""
        impatience: Deferred[None] = Deferred()
        timer = self._reactor.callLater(STORE_PATIENCE, impatience.callback, None)
        while self._pending and not impatience.called:
            either: list[Deferred[Any]] = [
                DeferredList(list(self._pending), consumeErrors=True),
                impatience,
            ]
            await DeferredList(either, fireOnOneCallback=True)
        if timer.active():
            timer.cancel()

    def _isLeft(self, active: ActiveJob) -> bool:
        """Whether the server stops before the job has begun."""
        return self._stopping and active.job.state is State.ACCEPTED

    def _leave(self, active: ActiveJob) -> None:
        """Leave a job that nobody waits for to the next start."""
        if not active.job.asynchronous:
            self._finish(active, State.DISMISSED, (), "the server was stopped")

    # IJobQueue

    def submit(
        self, task: Task, description: ProcessDescription, realm: str | None = None
    ) -> Deferred[Job]:
        """See L{IJobQueue}; a job whose submission is cancelled is dismissed."""
        answer: Deferred[Job] = Deferred()
        submitting = Deferred.fromCoroutine(self._submit(task, description, realm))
        self._pending.add(submitting)

        def submitted(result: Job | Failure) -> None:
            self._pending.discard(submitting)
            if not answer.called:
                answer.callback(result)
            elif isinstance(result, Job):
                self.dismiss(result.id, "the client went away")

        submitting.addBoth(submitted)
        return answer

    async def _submit(
        self, task: Task, description: ProcessDescription, realm: str | None
    ) -> Job:
        if self.refusal is not None:
            raise busy(self.refusal)
        free = max(0, self._executor.capacity - len(self._running))
        if self.waiting + self._admitting >= self._limits.waiting + free:
            raise busy(f"{self.waiting} jobs are waiting already; try again later")
        request = task.request
        job = Job(
            id=str(uuid.uuid4()),
            processId=request.processId,
            processVersion=description.version,
            processTitle=description.title,
            server=self._server,
            created=self._reactor.seconds(),
            map=request.map,
            asynchronous=request.asynchronous,
            realm=realm,
            timeout=min(request.timeout or self._limits.timeout, self._limits.timeout),
            expire=min(request.expire or self._limits.expire, self._limits.expire),
        )
        self._admitting += 1
        try:
            if not request.isComplete:
                await self._references.check(task)
            await inThread(self._reactor, self._create, job.id, task)
            try:
                await self._store.add(job)
            except BaseException:
                await inThread(self._reactor, self._spool.remove, job.id)
                raise
        finally:
            self._admitting -= 1
        active = self._active[job.id] = ActiveJob(self, job)
        self._tell(job, None)
        if self._isLeft(active):
            self._leave(active)
            return job
        if request.isComplete:
            self._enqueue(active)
        else:
            self._fetch(active, task)
        log.debug("job {job} accepted: {process}", job=job.id, process=job.processId)
        self._dispatch()
        return job

    def _create(self, jobId: str, task: Task) -> None:
        with _roomy():
            self._spool.create(jobId, task)

    def _replaceTask(self, jobId: str, task: Task) -> None:
        with _roomy():
            self._spool.replaceTask(jobId, task)

    def wait(self, jobId: str) -> Deferred[Job]:
        """See L{IJobQueue}."""
        active = self._active.get(jobId)
        if active is None:
            stored: Deferred[Job] = self._store.get(jobId)
            return stored
        return active.wait()

    def dismiss(self, jobId: str, message: str) -> Deferred[Job | None]:
        """See L{IJobQueue}."""
        active = self._active.get(jobId)
        if active is None:
            stored: Deferred[Job | None] = self._store.get(jobId)
            return stored
        self._forget(active)
        if active.fetching is not None:
            active.fetching.cancel()
        if not active.job.state.terminal:
            self._finish(active, State.DISMISSED, (), message)
        if active.execution is not None:
            active.execution.cancel()
        return succeed(active.job)

    def remove(self, jobId: str) -> Deferred[None]:
        """See L{IJobQueue}."""
        return Deferred.fromCoroutine(self._remove(jobId))

    def position(self, jobId: str) -> int | None:
        """See L{IJobQueue}."""
        active = self._active.get(jobId)
        if active is None or active.job.state is not State.ACCEPTED:
            return None
        # Who has a slot waits for its process, before all others.
        begun = sum(each.job.state is State.ACCEPTED for each in self._running)
        if active in self._waiting:
            return begun + self._waiting.index(active) + 1
        # It waits behind all others when what it refers to is there.
        return begun + len(self._waiting) + 1 if active in self._fetching else 1

    # References

    def _fetch(self, active: ActiveJob, task: Task) -> None:
        """Have fetched what a job refers to; then it waits for a slot."""
        self._fetching.add(active)
        fetching = Deferred.fromCoroutine(self._fetched(active, task))

        def done(_: object) -> None:
            self._fetching.discard(active)
            active.fetching = None

        fetching.addCallback(done)
        if active in self._fetching:
            active.fetching = fetching
        self._keep(fetching)

    async def _fetched(self, active: ActiveJob, task: Task) -> None:
        jobId = active.job.id
        try:
            task = await self._references.fetch(task, self._spool.directory(jobId))
            await inThread(self._reactor, self._replaceTask, jobId, task)
        except CancelledError:
            return  # it was dismissed, or is left to the next start
        except Exception as error:
            if active.job.state.terminal or self._stopping:
                return
            if isinstance(error, OWSError):
                faults = error.faults
            else:
                log.failure("the references of {job} went wrong", job=jobId)
                text = "the server could not keep what the inputs refer to"
                faults = (Fault("NoApplicableCode", text),)
            self._finish(active, State.FAILED, faults)
            return
        if active.job.state.terminal or self._stopping:
            return
        self._fetching.discard(active)
        self._enqueue(active, self._reactor.seconds())
        self._dispatch()

    # Dispatch

    def _enqueue(self, active: ActiveJob, since: float | None = None) -> None:
        """
        @param since: from when on it waits for a slot; by default since it
            was accepted.
        """
        self._waiting.append(active)
        if self._limits.wait:
            since = active.job.created if since is None else since
            left = since + self._limits.wait - self._reactor.seconds()
            active.timer = self._reactor.callLater(
                max(0.0, left), self._waitedTooLong, active
            )

    def _forget(self, active: ActiveJob) -> None:
        if active in self._waiting:
            self._waiting.remove(active)

    def _waitedTooLong(self, active: ActiveJob) -> None:
        self._forget(active)
        if active.execution is not None:  # there was a slot, but no fork server
            active.execution.cancel()
        text = f"no process was free for it within {self._limits.wait:g} s"
        self._finish(active, State.FAILED, (Fault("ServerBusy", text),))

    def _dispatch(self) -> None:
        if self._dispatching or self._stopping:
            return
        # What can't be executed has exited at once, and would come back here.
        self._dispatching = True
        while self._waiting and len(self._running) < self._executor.capacity:
            self._begin(self._waiting.popleft())
        self._dispatching = False

    def _begin(self, active: ActiveJob) -> None:
        self._running.add(active)
        directory = self._spool.directory(active.job.id)
        active.execution = self._executor.execute(directory, active)
        active.execution.exited.addCallback(self._hasExited, active)
        active.execution.exited.addErrback(
            lambda reason: log.failure("a worker's end went wrong", reason)
        )
        active.execution.result.addCallbacks(
            self._hasResult,
            self._hasFailed,
            callbackArgs=(active,),
            errbackArgs=(active,),
        )
        active.execution.result.addErrback(
            lambda reason: log.failure("a job's end went wrong", reason)
        )

    def hasStarted(self, active: ActiveJob, pid: int) -> None:
        """A worker has taken the job."""
        if active.job.state is not State.ACCEPTED or self._stopping:
            return  # its worker is being ended
        self._advance(active, State.STARTED, pid=pid)
        active.cancelTimer()
        active.timer = self._reactor.callLater(
            active.job.timeout or self._limits.timeout, self._timeOut, active
        )
        log.debug("job {job} started in {pid}", job=active.job.id, pid=pid)

    def hasProgressed(self, active: ActiveJob) -> None:
        """The algorithm has reported."""
        now = self._reactor.seconds()
        job = active.job
        if (
            job.state is State.STARTED
            and now - active.progressStored >= PROGRESS_INTERVAL
        ):
            active.progressStored = now
            self._keep(self._store.progress(job.id, job.percent, job.message))

    def _timeOut(self, active: ActiveJob) -> None:
        text = f"TimeOut: the run took longer than {active.job.timeout} s and was ended"
        self._finish(active, State.FAILED, (Fault("NoApplicableCode", text, TIMEOUT),))
        if active.execution is not None:
            active.execution.cancel()

    def _hasResult(self, result: Result, active: ActiveJob) -> None:
        if active.job.state.terminal or (result.faults and self._isLeft(active)):
            return
        state = State.FAILED if result.faults else State.SUCCEEDED
        if active.job.state is State.ACCEPTED:
            self._advance(active, State.STARTED)
        self._finish(active, state, result.faults, peakMemory=result.peakMemory)

    async def _explain(self, reason: Failure, active: ActiveJob) -> None:
        exit = getattr(reason.value, "exit", None)
        lines = await inThread(self._reactor, self._spool.lastLines, active.job.id)
        if active.job.state.terminal:
            return
        text = f"The job failed: {reason.value}."
        if lines:
            text += " The last lines of its log: " + " | ".join(lines)
        self._finish(
            active,
            State.FAILED,
            (Fault("NoApplicableCode", text),),
            signal=getattr(exit, "signal", None),
            peakMemory=getattr(exit, "peakMemory", None),
        )

    def _hasFailed(self, reason: Failure, active: ActiveJob) -> Deferred[None] | None:
        if active.job.state.terminal or self._isLeft(active):
            return None
        return self._keep(Deferred.fromCoroutine(self._explain(reason, active)))

    def _hasExited(self, exit: Any, active: ActiveJob) -> None:
        # Only now is the slot free: slots are counted from live processes.
        self._running.discard(active)
        if self._observer is not None:
            self._observer.exited(active.job, getattr(exit, "peakMemory", None))
        if active.removed:
            self._keep(self._discard(active.job.id))
        elif exit.status != 0:  # a worker that ends well has tidied up itself
            self._keep(inThread(self._reactor, self._spool.tidy, active.job.id))
        self._dispatch()

    # Records

    def _tell(self, job: Job, before: State | None) -> None:
        if self._observer is not None and self._recovered:
            self._observer.changed(job, before)

    def _advance(
        self, active: ActiveJob, state: State, **changes: Any
    ) -> Deferred[Any]:
        before = active.job
        active.job = advance(before, state, self._reactor.seconds(), **changes)
        self._tell(active.job, before.state)

        def replaced(inState: bool | None) -> None:
            if inState is False:
                log.warn(
                    "job {job} was not {before} in the store, and could not be {state}",
                    job=before.id,
                    before=before.state.value,
                    state=state.value,
                )

        stored = self._keep(self._store.replace(active.job, before.state))
        return stored.addCallback(replaced)

    def _finish(
        self,
        active: ActiveJob,
        state: State,
        faults: tuple[Fault, ...],
        message: str = "",
        **changes: Any,
    ) -> None:
        """The job has ended: store it, then tell those who wait."""
        active.cancelTimer()
        now = self._reactor.seconds()
        message = message or "; ".join(fault.text for fault in faults)
        expires = now + (active.job.expire or self._limits.expire)
        stored = self._advance(
            active,
            state,
            faults=faults,
            message=message or active.job.message,
            expires=expires,
            **changes,
        )
        log.info(
            "job {job} {state}: {process}, {seconds:.3f} s",
            job=active.job.id,
            state=state.value,
            process=active.job.processId,
            seconds=now - active.job.created,
            message=message,
        )

        # With the store away the record is kept for it; who waits for the job
        # need not.
        impatience = self._reactor.callLater(STORE_PATIENCE, active.settled)

        def kept(_: Any) -> None:
            self._active.pop(active.job.id, None)
            if not self._stopping:
                self._expiry.add(active.job.id, expires)
            if impatience.active():
                impatience.cancel()
            active.settled()

        stored.addCallback(kept)

    def _expire(self, jobId: str) -> None:
        log.debug("job {job} has expired", job=jobId)
        self._keep(self.remove(jobId))

    async def _remove(self, jobId: str) -> None:
        await self._store.remove(jobId)
        for active in self._running:
            if active.job.id == jobId:
                # Its processes may still write: the directory goes after them.
                active.removed = True
                return
        await self._discard(jobId)

    def _discard(self, jobId: str) -> Deferred[None]:
        """Remove the directory of a job that has ended."""
        if self._release is not None:
            self._release(self._spool.directory(jobId))
        return inThread(self._reactor, self._spool.remove, jobId)

    def _keep(self, d: Deferred[T]) -> Deferred[T | None]:
        """Have L{stop} wait for it, and log it if it fails."""
        self._pending.add(d)

        def done(result: Any) -> Any:
            self._pending.discard(d)
            if isinstance(result, Failure):
                # At the end the store says by itself what it could not keep.
                if not (self._stopping and result.check(OWSError)):
                    log.failure("a record or directory could not be kept", result)
                return None
            return result

        return d.addBoth(done)
