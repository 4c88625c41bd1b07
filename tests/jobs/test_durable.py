"""Tests of L{qgswps.jobs.durable}."""

from __future__ import annotations

import time
from collections.abc import Callable
from itertools import pairwise
from typing import Any

import attrs
from twisted.internet import reactor
from twisted.internet.defer import Deferred, fail
from twisted.internet.task import Clock, deferLater
from twisted.logger import LogLevel, globalLogPublisher
from twisted.python.failure import Failure
from twisted.trial.unittest import SynchronousTestCase

from qgswps.errors import OWSError, busy
from qgswps.jobs.durable import FIRST_DELAY, LONGEST_DELAY, DurableStore
from qgswps.jobs.lifecycle import advance
from qgswps.jobs.redisstore import RedisStore, makeEndpoint
from qgswps.model import Job, State
from tests.fakes import AsyncTestCase, MemoryStore, makeJob, refusal
from tests.jobs.storesuite import StoreSuite
from tests.live import PATIENCE
from tests.redisserver import RedisServer


class FlakyStore(MemoryStore):
    """
    A store with the faults that one over a network has.

    @ivar away: all fails.
    @ivar deaf: all is done, but the answers are lost.
    @ivar held: the work that waits for L{release} or L{lose}; None to do it
        at once.
    """

    def __init__(self) -> None:
        super().__init__()
        self.away = False
        self.deaf = False
        self.held: list[tuple[Deferred[Any], Callable[[], Any]]] | None = None

    def _do(self, name: str, work: Callable[[], Any]) -> Deferred[Any]:
        if name in ("open", "close"):
            return super()._do(name, work)
        if self.held is not None:
            self.calls.append(name)
            answer: Deferred[Any] = Deferred()
            self.held.append((answer, work))
            return answer
        if self.away:
            self.calls.append(name)
            return fail(busy("away"))
        done = super()._do(name, work)
        return done.addCallback(lambda _: fail(busy("deaf"))) if self.deaf else done

    def release(self) -> None:
        """Do the work that waits, and what follows on it."""
        held, self.held = self.held or [], None
        for answer, work in held:
            answer.callback(work())

    def lose(self) -> None:
        """The work that waits is not done, nor anything else from now on."""
        held, self.held = self.held or [], None
        self.away = True
        for answer, _ in held:
            answer.errback(busy("lost"))


class DurableSuiteTests(StoreSuite, AsyncTestCase):
    """L{DurableStore} does what every store has to do, and more."""

    def makeStore(self) -> DurableStore:
        """See L{StoreSuite}."""
        return DurableStore(Clock(), MemoryStore())

    async def test_replaceUnknown(self) -> None:
        """A record that the store has lost is made again."""
        self.assertIs(await self.store.replace(makeJob("a"), State.ACCEPTED), True)
        self.assertEqual(await self.store.get("a"), makeJob("a"))


class DurableStoreTests(SynchronousTestCase):
    """L{DurableStore} before a store that goes and comes."""

    def setUp(self) -> None:
        self.clock = Clock()
        self.inner = FlakyStore()
        self.store = DurableStore(self.clock, self.inner)
        self.accepted = makeJob("a")
        self.started = advance(self.accepted, State.STARTED, 5.0)
        self.ended = advance(self.started, State.SUCCEEDED, 6.0)
        self.inner.jobs["a"] = self.accepted
        self.events: list[Any] = []
        globalLogPublisher.addObserver(self.observe)  # type: ignore[arg-type]
        self.addCleanup(globalLogPublisher.removeObserver, self.observe)

    def observe(self, event: Any) -> None:
        """Take down what the module logs."""
        if event["log_namespace"] == "qgswps.jobs.durable":
            self.events.append(event)

    @property
    def levels(self) -> list[Any]:
        """The levels of what was logged so far."""
        return [event["log_level"] for event in self.events]

    def tearDown(self) -> None:
        """No timer is left when the store is closed."""
        self.inner.lose() if self.inner.held is not None else None
        self.inner.away = self.inner.deaf = False
        self.successResultOf(self.store.close())
        self.assertEqual(self.clock.getDelayedCalls(), [])
        self.assertEqual(self.store.pending, 0)

    def replaceAll(self) -> list[Deferred[bool]]:
        """Start and end the job."""
        return [
            self.store.replace(self.started, State.ACCEPTED),
            self.store.replace(self.ended, State.STARTED),
        ]

    def test_kept(self) -> None:
        """Changes wait for the store, in order, and then have their answers."""
        self.inner.away = True
        replaced = self.replaceAll()
        late = self.store.replace(self.ended, State.ACCEPTED)
        removed = self.store.remove("b")
        for d in (*replaced, late, removed):
            self.assertNoResult(d)
        self.assertEqual(self.store.pending, 4)
        self.inner.away = False
        self.clock.advance(FIRST_DELAY)
        for d in replaced:
            self.assertIs(self.successResultOf(d), True)
        self.assertIs(self.successResultOf(late), False)
        self.successResultOf(removed)
        self.assertEqual(self.inner.jobs, {"a": self.ended})
        self.assertEqual(self.store.pending, 0)
        self.assertEqual(self.clock.getDelayedCalls(), [])

    def test_backOff(self) -> None:
        """One change is tried, after longer and longer times."""
        self.inner.away = True
        replaced = self.replaceAll()
        others = [self.store.remove(str(n)) for n in range(100)]
        self.assertEqual(self.inner.calls, ["replace"])
        times = []
        for _ in range(400):
            before = len(self.inner.calls)
            self.clock.advance(0.125)
            if len(self.inner.calls) > before:
                self.assertEqual(len(self.inner.calls), before + 1)
                times.append(self.clock.seconds())
        between = [b - a for a, b in pairwise(times)]
        self.assertEqual(times[0], FIRST_DELAY)
        self.assertEqual(between[:4], [1.0, 2.0, 4.0, LONGEST_DELAY])
        self.assertEqual(set(between[3:]), {LONGEST_DELAY})
        self.inner.away = False
        self.clock.advance(LONGEST_DELAY)
        for d in (*replaced, *others):
            self.successResultOf(d)
        # The next time it begins with short ones again.
        self.inner.away = True
        self.store.remove("x")
        self.assertEqual(self.clock.getDelayedCalls()[0].getTime(), self.now() + 0.5)

    def now(self) -> float:
        """The clock's time."""
        seconds: float = self.clock.seconds()
        return seconds

    def test_logged(self) -> None:
        """One line says that the store is away, and one that it is back."""
        self.inner.away = True
        self.replaceAll()
        for n in range(5):
            self.store.progress("b", float(n), "")
            self.clock.advance(10)
        self.assertEqual(self.levels, [LogLevel.warn])
        self.inner.away = False
        self.clock.advance(10)
        self.assertEqual(self.levels, [LogLevel.warn, LogLevel.info])
        self.assertEqual(self.events[1]["count"], 3)

    def test_failsAtOnce(self) -> None:
        """What a client waits for fails, and the store is not asked to add."""
        self.inner.away = True
        for d in (self.store.get("a"), self.store.find()):
            error = refusal(self, d)
            self.assertEqual(error.status, 503)
            self.assertIsNotNone(error.retryAfter)
        error = refusal(self, self.store.add(makeJob("b")))
        self.assertEqual(error.status, 503)
        self.assertIsNotNone(error.retryAfter)
        self.assertEqual(self.inner.calls, ["get", "find"])
        self.assertEqual(self.levels, [LogLevel.warn])
        # Without a change to write, a question shows whether it is back.
        self.clock.advance(FIRST_DELAY)
        self.assertEqual(self.inner.calls[2:], ["get"])
        self.inner.away = False
        self.clock.advance(2 * FIRST_DELAY)
        self.successResultOf(self.store.add(makeJob("b")))

    def test_answerLost(self) -> None:
        """A change that was made, though its answer was lost, is one made."""
        self.inner.deaf = True
        replaced = self.replaceAll()
        self.assertEqual(self.inner.jobs["a"], self.started)
        # Another's progress does not make it another record.
        self.inner.jobs["a"] = attrs.evolve(self.started, percent=7.0, message="m")
        self.inner.deaf = False
        self.clock.advance(FIRST_DELAY)
        for d in replaced:
            self.assertIs(self.successResultOf(d), True)
        self.assertEqual(self.inner.jobs["a"], self.ended)

    def test_comparedAndSet(self) -> None:
        """A record that another has changed meanwhile is not replaced."""
        self.inner.away = True
        replaced = self.store.replace(self.started, State.ACCEPTED)
        dismissed = advance(self.accepted, State.DISMISSED, 5.5)
        self.inner.jobs["a"] = dismissed
        self.inner.away = False
        self.clock.advance(FIRST_DELAY)
        self.assertIs(self.successResultOf(replaced), False)
        self.assertEqual(self.inner.jobs["a"], dismissed)

    def test_dataLost(self) -> None:
        """A store that comes back without its data gets the record anew."""
        self.inner.away = True
        replaced = self.replaceAll()
        self.inner.jobs.clear()
        self.inner.away = False
        self.clock.advance(FIRST_DELAY)
        for d in replaced:
            self.assertIs(self.successResultOf(d), True)
        self.assertEqual(self.inner.jobs, {"a": self.ended})

    def test_dataLostUnnoticed(self) -> None:
        """So does one that was not seen to be away, and at no time two."""
        self.inner.jobs.clear()
        self.inner.held = []
        replaced = self.replaceAll()
        progress = self.store.progress("a", 50.0, "half")
        self.assertEqual(self.inner.calls, ["replace"])
        self.inner.release()
        for d in (*replaced, progress):
            self.successResultOf(d)
        self.assertEqual(self.inner.jobs, {"a": self.ended})

    def test_removedLast(self) -> None:
        """A job that is to go does not come back."""
        self.inner.away = True
        self.replaceAll()
        self.store.remove("a")
        self.inner.jobs.clear()
        self.inner.away = False
        self.clock.advance(FIRST_DELAY)
        self.assertEqual(self.inner.jobs, {})

    def test_progress(self) -> None:
        """Of progress only the newest is kept."""
        self.inner.jobs["a"] = self.started
        self.inner.away = True
        kept = [self.store.progress("a", float(n), str(n)) for n in range(9)]
        for d in kept[:-1]:
            self.successResultOf(d)
        self.assertNoResult(kept[-1])
        self.assertEqual(self.store.pending, 1)
        self.inner.calls.clear()
        self.inner.away = False
        self.clock.advance(FIRST_DELAY)
        self.successResultOf(kept[-1])
        self.assertEqual(self.inner.calls, ["progress"])
        self.assertEqual(self.inner.jobs["a"].message, "8")

    def test_progressOnItsWay(self) -> None:
        """Progress that was sent is left alone; what comes then is kept."""
        self.inner.jobs["a"] = self.started
        self.inner.held = []
        kept = [self.store.progress("a", float(n), str(n)) for n in range(3)]
        self.assertNoResult(kept[0])
        self.successResultOf(kept[1])
        self.inner.release()
        self.assertEqual(self.inner.calls, ["progress"] * 2)
        self.assertEqual(self.inner.jobs["a"].message, "2")

    def test_progressStaysBehind(self) -> None:
        """Progress that was kept before a change does not replace that."""
        self.inner.away = True
        self.store.replace(self.started, State.ACCEPTED)
        self.store.progress("a", 10.0, "begun")
        ended = self.store.replace(self.ended, State.STARTED)
        self.store.progress("a", 20.0, "late")
        self.assertEqual(self.store.pending, 4)
        self.inner.away = False
        self.clock.advance(FIRST_DELAY)
        self.assertIs(self.successResultOf(ended), True)
        self.assertEqual(self.inner.jobs["a"], self.ended)

    def test_onTheirWay(self) -> None:
        """Changes that were sent when the store went are kept as well."""
        self.inner.jobs["b"] = makeJob("b")
        self.inner.held = []
        replaced = [
            *self.replaceAll(),
            self.store.replace(makeJob("b", state=State.STARTED), State.ACCEPTED),
        ]
        self.assertEqual(self.inner.calls, ["replace"] * 2)
        self.inner.lose()
        self.assertEqual(self.levels, [LogLevel.warn])
        self.inner.away = False
        self.clock.advance(FIRST_DELAY)
        for d in replaced:
            self.assertIs(self.successResultOf(d), True)
        self.assertEqual(self.inner.jobs["a"], self.ended)

    def test_slowOne(self) -> None:
        """A change whose answer is awaited is not sent a second time."""
        self.inner.held = []
        slow = self.store.replace(self.started, State.ACCEPTED)
        held, self.inner.held = self.inner.held, None
        self.inner.away = True
        self.store.remove("b")
        self.inner.away = False
        self.inner.calls.clear()
        self.clock.advance(FIRST_DELAY)
        self.assertEqual(self.inner.calls, ["remove"])
        self.assertNoResult(slow)
        self.inner.held = held
        self.inner.release()
        self.assertIs(self.successResultOf(slow), True)
        self.clock.advance(LONGEST_DELAY)
        self.assertEqual(self.levels, [LogLevel.warn, LogLevel.info])

    def test_hopelessOne(self) -> None:
        """A change that can't be written holds up those of its job alone."""
        real = self.inner.remove

        def remove(jobId: str) -> Deferred[None]:
            return fail(busy("not this one")) if jobId == "bad" else real(jobId)

        self.patch(self.inner, "remove", remove)
        bad = self.store.remove("bad")
        good = self.replaceAll()
        self.clock.advance(FIRST_DELAY)
        self.clock.advance(2 * FIRST_DELAY)
        for d in good:
            self.assertIs(self.successResultOf(d), True)
        self.assertNoResult(bad)
        self.assertEqual(self.levels, [LogLevel.warn])
        bad.addErrback(lambda _: None)

    def test_otherFailure(self) -> None:
        """What is no absence of the store is for who asked."""
        self.patch(self.inner, "remove", lambda jobId: fail(ValueError(jobId)))
        self.failureResultOf(self.store.remove("x"), ValueError)
        self.assertEqual(self.store.pending, 0)
        self.assertEqual(self.events, [])

    def test_reentrant(self) -> None:
        """Who hears of a change may make the next one at once."""
        answers: list[Any] = []

        def next(answer: bool) -> None:
            answers.append(answer)
            self.store.progress("a", 1.0, "m")
            self.store.replace(self.ended, State.STARTED).addBoth(answers.append)

        for away in (False, True):
            self.inner.jobs["a"] = self.accepted
            self.inner.away = away
            self.store.replace(self.started, State.ACCEPTED).addCallback(next)
            self.inner.away = False
            self.clock.advance(FIRST_DELAY)
            self.assertEqual(self.inner.jobs["a"], self.ended)
        self.assertEqual(answers, [True] * 4)

    def test_addWithdrawn(self) -> None:
        """A job of which nobody was told does not stay in the store."""
        self.inner.deaf = True
        refusal(self, self.store.add(makeJob("b")))
        self.assertIn("b", self.inner.jobs)
        self.inner.deaf = False
        self.clock.advance(FIRST_DELAY)
        self.assertEqual(self.inner.jobs, {"a": self.accepted})
        # But one that was there before does.
        refusal(self, self.store.add(makeJob("a", message="other")))
        self.assertEqual(self.inner.jobs, {"a": self.accepted})
        self.assertEqual(self.store.pending, 0)

    def test_close(self) -> None:
        """When it is closed, what is kept is written without delay."""
        self.inner.away = True
        replaced = self.replaceAll()
        self.inner.away = False
        self.successResultOf(self.store.close())
        for d in replaced:
            self.assertIs(self.successResultOf(d), True)
        self.assertEqual(self.inner.calls[-1], "close")
        self.assertEqual(self.levels, [LogLevel.warn])

    def test_closeAway(self) -> None:
        """What can't be written then fails, and how much that is is logged."""
        self.inner.away = True
        kept: list[Deferred[Any]] = [*self.replaceAll(), self.store.remove("b")]
        self.successResultOf(self.store.close())
        late = self.store.remove("c")
        for d in (*kept, late):
            self.assertEqual(refusal(self, d).status, 503)
        self.assertEqual(self.levels, [LogLevel.warn, LogLevel.error])
        self.assertEqual(self.events[1]["count"], 3)

    def test_closeWhileTrying(self) -> None:
        """It waits for what is on its way."""
        for isLost in (False, True):
            self.setUp()
            self.inner.jobs["b"] = makeJob("b")
            self.inner.away = True
            kept: list[Deferred[Any]] = [*self.replaceAll(), self.store.remove("b")]
            self.inner.held = []
            self.clock.advance(FIRST_DELAY)
            self.assertEqual(len(self.inner.held), 1)
            closed = self.store.close()
            self.assertNoResult(closed)
            if isLost:
                self.inner.lose()
                for d in kept:
                    refusal(self, d)
            else:
                self.inner.away = False
                self.inner.release()
                for d in kept:
                    self.successResultOf(d)
                self.assertEqual(self.inner.jobs, {"a": self.ended})
            self.successResultOf(closed)
            self.assertEqual(self.clock.getDelayedCalls(), [])


class RedisTests(AsyncTestCase):
    """With a Redis server that is killed and started again."""

    def setUp(self) -> None:
        self.kept: list[Deferred[bool]] = []

    async def serve(self, appendOnly: bool) -> tuple[RedisServer, DurableStore]:
        """A Redis server and an open store."""
        server = RedisServer(appendOnly=appendOnly)
        self.addCleanup(server.close)
        endpoint = makeEndpoint(reactor, "127.0.0.1", server.port, 5.0)
        store = DurableStore(reactor, RedisStore(reactor, endpoint))
        self.addCleanup(store.close)
        await store.open()
        return server, store

    async def find(self, store: DurableStore) -> list[Job]:
        """All jobs, as soon as the store can be asked."""
        deadline = time.monotonic() + PATIENCE
        while True:
            try:
                return await store.find()
            except OWSError:
                self.assertLess(time.monotonic(), deadline)
            await deferLater(reactor, 0.02)  # type: ignore[arg-type]

    async def runJobs(self, appendOnly: bool) -> None:
        """Run jobs while Redis is killed twice."""
        server, store = await self.serve(appendOnly)
        accepted = [makeJob(f"j{n}", created=float(n)) for n in range(200)]
        ends = {}
        for job in accepted:
            await store.add(job)
        for number, job in enumerate(accepted):
            if number in (50, 150):
                server.kill()
            if number == 100:
                server.start()
                await self.find(store)
            started = advance(job, State.STARTED, 5.0)
            ended = ends[job.id] = advance(started, State.SUCCEEDED, 6.0)
            self.kept += [
                store.replace(started, State.ACCEPTED),
                store.replace(ended, State.STARTED),
            ]
            store.progress(job.id, 99.0, "late")
            await deferLater(reactor, 0.001)  # type: ignore[arg-type]
        server.start()
        for d in self.kept:
            self.assertIs(await d, True)
        await self.untilWritten(store)
        found = {job.id: job for job in await self.find(store)}
        if appendOnly:
            self.assertEqual(found, ends)
        else:
            # Those that had ended before are gone with its data.
            self.assertEqual(found, {key: ends[key] for key in found})
            self.assertGreaterEqual(len(found), 50)

    async def untilWritten(self, store: DurableStore) -> None:
        """Wait until nothing is kept any more."""
        while store.pending:
            await deferLater(reactor, 0.02)  # type: ignore[arg-type]

    async def test_killed(self) -> None:
        """Nothing is lost."""
        await self.runJobs(True)

    async def test_killedWithData(self) -> None:
        """What ends while Redis has lost all is kept."""
        await self.runJobs(False)

    async def test_silent(self) -> None:
        """A Redis that is stopped for a while."""
        server = RedisServer()
        self.addCleanup(server.close)
        endpoint = makeEndpoint(reactor, "127.0.0.1", server.port, 0.3)
        inner = RedisStore(reactor, endpoint, timeout=0.3)
        store = DurableStore(reactor, inner)
        self.addCleanup(store.close)
        await store.open()
        job = makeJob("a")
        await store.add(job)
        server.pause()
        self.addCleanup(server.resume)
        adding = store.add(makeJob("b"))
        replaced = store.replace(advance(job, State.STARTED, 5.0), State.ACCEPTED)
        failures: list[Failure] = []
        await adding.addErrback(failures.append)
        self.assertEqual(len(failures), 1)
        self.assertTrue(store.pending)
        server.resume()
        self.assertIs(await replaced, True)
        await self.untilWritten(store)
        self.assertEqual([job.id for job in await store.find()], ["a"])
