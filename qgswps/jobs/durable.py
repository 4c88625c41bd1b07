"""
What becomes of jobs while their store is away.

A server's jobs go on when Redis is restarted or a disk is full.  What then
happens to them is kept here, and written when the store is back.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Awaitable, Callable, Coroutine, Iterable
from typing import Any, TypeVar

import attrs
from twisted.internet.defer import Deferred, fail, gatherResults
from twisted.python.failure import Failure
from zope.interface import implementer

from qgswps.errors import OWSError, busy
from qgswps.interfaces import IJobStore
from qgswps.journal import Logger
from qgswps.model import Job, State

log = Logger()

T = TypeVar("T")

#: The shortest and the longest time between tries to write, in seconds.
FIRST_DELAY = 0.5
LONGEST_DELAY = 5.0


@attrs.define(eq=False)
class _Write:
    """
    A change that is to be written.

    @ivar write: writes it to the store that it is given.  Its second argument
        tells whether it was tried before, perhaps with an effect.
    @ivar written: a Deferred of the store's answer.
    @ivar progress: the next progress may take its place.
    """

    write: Callable[[IJobStore, bool], Awaitable[Any]]
    progress: bool = False
    tried: bool = False
    written: Deferred[Any] = attrs.field(factory=Deferred)


@attrs.define(eq=False)
class _Line:
    """
    The changes of one job, the oldest first.

    @ivar moving: the first one is on its way to the store.
    """

    writes: deque[_Write] = attrs.field(factory=deque)
    moving: bool = False

    @property
    def hasProgressLast(self) -> bool:
        """The newest one is a progress that is not on its way."""
        resting = len(self.writes) - self.moving
        return resting > 0 and self.writes[-1].progress


@implementer(IJobStore)
class DurableStore:
    """
    A store before another one, whose absence delays writes and loses none.

    C{replace}, C{progress} and C{remove} fail only when this is closed: until
    then they wait for the other store to be reached, in order for each job.
    A C{replace} for a job of which the store knows nothing any more, because
    Redis was started without its data, adds the record.  C{add}, C{get} and
    C{find} fail at once.
    """

    def __init__(self, reactor: Any, store: IJobStore) -> None:
        """
        @param store: where all is kept; not open yet.
        """
        self._reactor = reactor
        self._store = store
        self._lines: dict[str, _Line] = {}
        self._away: OWSError | None = None
        self._delay = FIRST_DELAY
        self._timer: Any = None
        self._closing = False
        self._unwritten = 0
        self._whenEmpty: list[Deferred[None]] = []

    @property
    def pending(self) -> int:
        """How many changes are not written yet."""
        return sum(len(line.writes) for line in self._lines.values())

    @property
    def trouble(self) -> str | None:
        """Why the store could not be reached lately; None if it could."""
        return None if self._away is None else str(self._away)

    def open(self) -> Deferred[None]:
        """See L{IJobStore}."""
        opened: Deferred[None] = self._store.open()
        return opened

    def close(self) -> Deferred[None]:
        """
        See L{IJobStore}.  What is pending is tried once more, and fails then,
        as does from now on what can't be written at once.
        """
        self._closing = True
        if self._timer is not None:
            self._timer.cancel()
            self._timer = None
            self._start(self._writeAll())
        return Deferred.fromCoroutine(self._close())

    async def _close(self) -> None:
        if self._lines:
            empty: Deferred[None] = Deferred()
            self._whenEmpty.append(empty)
            await empty
        if self._unwritten:
            log.error(
                "the job store is away, {count} changes were not written",
                count=self._unwritten,
            )
            self._unwritten = 0
        await self._store.close()

    # What fails at once

    def add(self, job: Job) -> Deferred[None]:
        """See L{IJobStore}."""
        if self._away is not None:
            return fail(busy(str(self._away)))
        adding: Deferred[None] = self._store.add(job)

        def failed(reason: Failure) -> Failure:
            if _isAway(reason):
                # Nobody will hear of the job, so it must not be there when
                # the store has kept it and only the answer was lost.
                withdrawn = self._write(job.id, _Write(_withdraw(job)))
                withdrawn.addErrback(lambda _: None)
            return reason

        return adding.addErrback(failed)

    def get(self, jobId: str) -> Deferred[Job | None]:
        """See L{IJobStore}."""
        return self._watch(self._store.get(jobId))

    def find(
        self,
        states: Iterable[State] | None = None,
        processId: str | None = None,
        server: str | None = None,
        realm: str | None = None,
        offset: int = 0,
        limit: int | None = None,
    ) -> Deferred[list[Job]]:
        """See L{IJobStore}."""
        return self._watch(
            self._store.find(states, processId, server, realm, offset, limit)
        )

    def _watch(self, d: Deferred[T]) -> Deferred[T]:
        def failed(reason: Failure) -> Failure:
            if _isAway(reason):
                self._hasGone(reason.value)
            return reason

        return d.addErrback(failed)

    # What waits

    def replace(self, job: Job, expected: State) -> Deferred[bool]:
        """See L{IJobStore}; True as well if the record had to be added."""

        async def write(store: IJobStore, again: bool) -> bool:
            if await store.replace(job, expected):
                return True
            found = await store.get(job.id)
            if found is None:
                await store.add(job)
                log.warn("job {job} was gone from the store, and is kept", job=job.id)
                return True
            # The answer to the first try may be what was lost; progress may
            # have been noted since.
            return again and job == attrs.evolve(
                found, percent=job.percent, message=job.message
            )

        return self._write(job.id, _Write(write))

    def progress(self, jobId: str, percent: float, message: str) -> Deferred[None]:
        """See L{IJobStore}; only the newest is kept."""

        async def write(store: IJobStore, again: bool) -> None:
            await store.progress(jobId, percent, message)

        line = self._lines.get(jobId)
        if line is not None and line.hasProgressLast:
            line.writes.pop().written.callback(None)
        return self._write(jobId, _Write(write, progress=True))

    def remove(self, jobId: str) -> Deferred[None]:
        """See L{IJobStore}."""

        async def write(store: IJobStore, again: bool) -> None:
            await store.remove(jobId)

        return self._write(jobId, _Write(write))

    def _write(self, jobId: str, write: _Write) -> Deferred[Any]:
        isNew = jobId not in self._lines
        line = self._lines.setdefault(jobId, _Line())
        line.writes.append(write)
        if isNew and (self._away is None or self._closing):
            self._start(self._writeLine(jobId))
        return write.written

    def _start(self, work: Coroutine[Deferred[Any], Any, Any]) -> None:
        Deferred.fromCoroutine(work).addErrback(
            lambda reason: log.failure("writing jobs went wrong", reason)
        )

    async def _writeLine(self, jobId: str) -> bool:
        """
        Write all that waits for a job.

        @return: whether the store was there.
        """
        line = self._lines[jobId]
        line.moving = True
        while line.writes:
            write = line.writes[0]
            try:
                result = await write.write(self._store, write.tried)
            except Exception:
                result = Failure()
                if _isAway(result):
                    if not self._closing:
                        write.tried = True
                        line.moving = False
                        # Another job's turn next time, should it be this one
                        # alone that can't be written.
                        self._lines[jobId] = self._lines.pop(jobId)
                        self._hasGone(result.value)
                        return False
                    self._unwritten += 1
            line.writes.popleft()
            write.written.callback(result)
        del self._lines[jobId]
        if not self._lines:
            told, self._whenEmpty = self._whenEmpty, []
            for empty in told:
                empty.callback(None)
        return True

    # The store goes and comes

    def _hasGone(self, error: Any) -> None:
        if self._away is None and not self._closing:
            self._away = error
            log.warn("{error}; changes of jobs are kept until it is back", error=error)
            self._delay = FIRST_DELAY
            self._timer = self._reactor.callLater(self._delay, self._retry)

    def _retry(self) -> None:
        self._timer = None
        self._start(self._tryAgain())

    async def _tryAgain(self) -> None:
        count = self.pending
        if await self._isBack():
            self._away = None
            log.info(
                "the job store is back, {count} changes that were kept are written",
                count=count,
            )
        elif not self._closing:
            self._delay = min(self._delay * 2, LONGEST_DELAY)
            self._timer = self._reactor.callLater(self._delay, self._retry)
        else:
            await self._writeAll()

    async def _isBack(self) -> bool:
        """Write all that waits; whether that was possible."""
        if not self._lines:
            try:
                await self._store.get("")
            except OWSError:
                return False
        while self._lines and not self._closing:
            resting = self._resting()
            # One by itself, to ask no more of a store that is not there.
            if not resting or not await self._writeLine(resting[0]):
                break
            if not await self._writeAll():
                break
        return not self._lines and not self._closing

    def _resting(self) -> list[str]:
        """The jobs with changes none of which is on its way."""
        return [jobId for jobId, line in self._lines.items() if not line.moving]

    async def _writeAll(self) -> bool:
        """Write the changes of all jobs; whether the store was there."""
        written = await gatherResults(
            [
                Deferred.fromCoroutine(self._writeLine(jobId))
                for jobId in self._resting()
            ]
        )
        return all(written)


def _withdraw(job: Job) -> Callable[[IJobStore, bool], Awaitable[None]]:
    async def write(store: IJobStore, again: bool) -> None:
        # Not another record of that id, which is why this one was refused.
        if await store.get(job.id) == job:
            await store.remove(job.id)

    return write


def _isAway(reason: Failure) -> bool:
    error = reason.value
    return isinstance(error, OWSError) and error.status == 503
