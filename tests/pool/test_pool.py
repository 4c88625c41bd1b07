"""Tests of L{qgswps.pool.pool} and L{qgswps.pool.execution}."""

from __future__ import annotations

import os
import signal
from typing import Any

from twisted.internet.defer import Deferred
from twisted.logger import LogLevel, capturedLogs
from twisted.trial.unittest import SynchronousTestCase
from zope.interface.verify import verifyObject

from qgswps import codec
from qgswps.errors import OWSError
from qgswps.interfaces import ICatalogue, IExecution, IExecutor
from qgswps.model import (
    Catalogue,
    LiteralValue,
    ProcessDescription,
    ProjectSummary,
    Result,
    WorkerSettings,
)
from qgswps.pool.commands import PROTOCOL_VERSION, Progress, WorkerFault
from qgswps.pool.execution import LONGEST_END, Execution
from qgswps.pool.exits import Cancelled, Exit, WorkerLost
from qgswps.pool.forkserver import FORK_TIMEOUT, STOP_TIMEOUT
from qgswps.pool.pool import (
    FIRST_DELAY,
    LONGEST_DELAY,
    SUMMARIES,
    ProcessPool,
)
from tests.fakes import (
    PROCESS,
    FakeCatalogue,
    FakeReactor,
    ForkServerPeer,
    Link,
    Signals,
    WorkerPeer,
    forgive,
    refusal,
)

RESULT = Result({"OUT": LiteralValue("1")})
SUMMARY = ProjectSummary("t", "EPSG:4326", ())


class Observer:
    """Notes what it is told."""

    def __init__(self) -> None:
        self.told: list[Any] = []

    def started(self, pid: int) -> None:
        """See L{IExecutionObserver}."""
        self.told.append(pid)

    def progress(self, percent: float | None, message: str) -> None:
        """See L{IExecutionObserver}."""
        self.told.append((percent, message))


class PoolTestCase(SynchronousTestCase):
    """A pool that has started; the test plays its processes."""

    startTimeout = 60

    def setUp(self) -> None:
        self.reactor = FakeReactor()
        self.reactor.advance(1000)
        self.signals = Signals.recorded(self)
        self.folder = os.path.abspath(self.mktemp())
        os.mkdir(self.folder)
        self.forks: list[float] = []
        self.pool = ProcessPool(
            self.reactor,
            self.folder,
            WorkerSettings("", "/profile", exposedProviders=("native",)),
            2,
            {"LANG": "C.UTF-8"},
            self.startTimeout,
            grace=5,
            hasForked=self.forks.append,
        )
        self.pool.startService()
        self.addCleanup(self.noTimers)

    def noTimers(self) -> None:
        """A pool that is stopped leaves no timer."""
        if self.pool.running:
            self.stop()
        self.reactor.advance(0)
        self.assertEqual(self.reactor.getDelayedCalls(), [])

    def stop(self) -> None:
        """Stop the pool and all that lives."""
        stopping = self.pool.stopService()
        self.reactor.advance(0)
        for process in self.reactor.processes:
            if process.alive:
                process.end(signal=9)
        self.reactor.advance(0)
        self.successResultOf(stopping)

    @property
    def settings(self) -> WorkerSettings:
        """The settings of the last fork server."""
        path = self.reactor.processes[-1].arguments["args"][-1]
        return codec.read(path, WorkerSettings)

    def getReady(self, *processes: ProcessDescription) -> ForkServerPeer:
        """The last fork server is ready."""
        codec.writeCatalogue(
            self.settings.catalogue, Catalogue(processes or (PROCESS,))
        )
        self.link = self.reactor.links[-1]
        peer: ForkServerPeer = self.link.attach(ForkServerPeer())
        peer.ready(self.settings.catalogue)
        self.link.flush()
        return peer

    def execute(self) -> tuple[Execution, Observer, str]:
        """Run a job."""
        directory = self.mktemp()
        os.mkdir(directory)
        observer = Observer()
        execution = self.pool.execute(directory, observer)  # type: ignore[arg-type]
        assert isinstance(execution, Execution)
        forgive(self, execution.result)
        return execution, observer, directory

    def fork(self, peer: ForkServerPeer, pid: int) -> tuple[Link, WorkerPeer]:
        """The last fork that was asked for is made."""
        link = self.reactor.links[-1]
        worker = link.attach(WorkerPeer())
        self.link.flush()
        peer.forks[-1].callback({"pid": pid})
        self.link.flush()
        link.flush()
        return link, worker

    def restartDelay(self) -> float:
        """The seconds to the next start; and that it starts then."""
        self.reactor.advance(0)
        [delay] = self.reactor.delays()
        spawned = len(self.reactor.processes)
        self.reactor.advance(delay - 0.01)
        self.assertEqual(len(self.reactor.processes), spawned)
        self.reactor.advance(0.01)
        self.assertEqual(len(self.reactor.processes), spawned + 1)
        return delay


class GenerationTests(PoolTestCase):
    """Fork servers come and go."""

    def test_interfaces(self) -> None:
        """A pool is an executor and a catalogue."""
        verifyObject(IExecutor, self.pool)
        for catalogue in (self.pool, FakeCatalogue()):
            verifyObject(ICatalogue, catalogue)
        verifyObject(IExecution, self.execute()[0])
        self.assertEqual(self.pool.capacity, 2)

    def test_settings(self) -> None:
        """The fork server is told where its catalogue and temporary files go."""
        settings = self.settings
        self.assertEqual(os.path.dirname(settings.catalogue), self.folder)
        self.assertEqual(settings.exposedProviders, ("native",))
        environment = dict(self.reactor.processes[0].arguments["env"])
        temporary = environment.pop("TMPDIR")
        self.assertEqual(os.path.dirname(temporary), self.folder)
        self.assertTrue(os.path.isdir(temporary))
        self.assertEqual(environment, {"LANG": "C.UTF-8"})

    def test_ready(self) -> None:
        """Its processes are known when a fork server is ready, and said once."""
        error = self.assertRaises(OWSError, self.pool.processes)
        self.assertEqual((error.status, str(error)), (503, "QGIS is starting"))
        self.assertIsNone(self.pool.qgisVersion)
        with capturedLogs() as events:
            self.getReady()
        self.assertEqual(self.pool.processes(), {PROCESS.identifier: PROCESS})
        self.assertEqual((self.pool.generation, self.pool.qgisVersion), (1, "3.22"))
        [ready] = [e for e in events if e["log_format"].startswith("ready")]
        self.assertEqual((ready["version"], ready["processes"]), ("3.22", 1))

    def test_restart(self) -> None:
        """After the end of one, the next; meanwhile the processes are known."""
        self.getReady()
        with capturedLogs() as events:
            self.link.close()
            self.reactor.processes[0].end(signal=9)
        self.assertIn(
            "SIGKILL",
            "".join(
                str(e.get("why")) for e in events if e["log_level"] is LogLevel.error
            ),
        )
        self.assertEqual(self.pool.processes(), {PROCESS.identifier: PROCESS})
        execution, observer, _ = self.execute()
        self.assertEqual(self.restartDelay(), FIRST_DELAY)
        peer = self.getReady(ProcessDescription("new", "New"))
        self.assertEqual(list(self.pool.processes()), ["new"])
        self.assertEqual(self.pool.generation, 2)
        self.fork(peer, 77)
        self.assertEqual(observer.told, [77])
        self.assertFalse(execution.waiting)

    def test_backOff(self) -> None:
        """The delay doubles to its bound, and begins anew when work was done."""
        delays = []
        for _ in range(8):
            self.reactor.processes[-1].end(exitCode=1)
            delays.append(self.restartDelay())
        self.assertEqual(delays, [0.5, 1, 2, 4, 8, 16, 30, LONGEST_DELAY])
        for status, expected in [(None, 30), (11, 30), (0, FIRST_DELAY)]:
            peer = self.getReady()
            if status is not None:
                execution, _, _ = self.execute()
                execution.result.addErrback(lambda _: None)
                self.fork(peer, 77)
                peer.exited(77, status)
                self.link.flush()
            self.link.close()
            self.reactor.processes[-1].end(exitCode=1)
            self.assertEqual(self.restartDelay(), expected, status)

    def test_neverReady(self) -> None:
        """A reason is told to clients as long as there is nothing else."""
        for break_, expected in [
            (lambda: self.reactor.advance(self.startTimeout), "not ready after 60"),
            (lambda: self.readyAs(PROTOCOL_VERSION + 1), "protocol"),
            (lambda: self.readyWith(b"no JSON"), "Expecting value"),
            (lambda: self.readyWith(None), "No such file"),
        ]:
            break_()
            self.reactor.advance(STOP_TIMEOUT)
            self.assertIn("KILL", self.reactor.processes[-1].signals)
            self.reactor.processes[-1].end(signal=9)
            self.reactor.advance(0)
            self.assertIn(
                expected, str(self.assertRaises(OWSError, self.pool.processes))
            )
            self.restartDelay()
        self.assertEqual(self.pool.generation, 0)
        self.getReady()
        self.pool.processes()

    def readyAs(self, protocol: int) -> None:
        """A fork server of another release is ready."""
        link = self.reactor.links[-1]
        link.attach(ForkServerPeer()).ready("", protocol)
        link.flush()

    def readyWith(self, catalogue: bytes | None) -> None:
        """A fork server with a bad catalogue is ready."""
        if catalogue is not None:
            with open(self.settings.catalogue, "wb") as file:
                file.write(catalogue)
        link = self.reactor.links[-1]
        link.attach(ForkServerPeer()).ready(self.settings.catalogue)
        link.flush()

    def test_endsWhileLoading(self) -> None:
        """One that ends while its catalogue is read is not taken."""
        self.reactor.held = []
        self.getReady()
        self.link.close()
        self.reactor.processes[-1].end(signal=9)
        self.reactor.release()
        self.assertRaises(OWSError, self.pool.processes)
        self.assertEqual(self.pool.generation, 0)
        self.restartDelay()

    def test_cantSpawn(self) -> None:
        """If no process can be made now, perhaps it can be later."""
        self.reactor.processes[-1].end(exitCode=1)
        self.reactor.refusal = OSError(12, "Cannot allocate memory")
        self.reactor.advance(FIRST_DELAY)
        error = self.assertRaises(OWSError, self.pool.processes)
        self.assertIn("Cannot allocate memory", str(error))
        self.reactor.refusal = None
        self.restartDelay()
        self.getReady()
        self.pool.processes()

    def test_swap(self) -> None:
        """A new generation takes over; the old one finishes its jobs."""
        old = self.getReady()
        first, _, directory = self.execute()
        link, worker = self.fork(old, 77)
        oldLink = self.link
        self.pool.reload()
        self.getReady(ProcessDescription("new", "New"))
        self.assertEqual(list(self.pool.processes()), ["new"])
        self.reactor.advance(0)
        self.assertTrue(oldLink.open)
        self.execute()
        self.assertEqual(len(old.forks), 1)

        codec.write(os.path.join(directory, "result.json"), RESULT)
        worker.answer.callback({"result": "result.json"})
        link.flush()
        link.close()
        old.exited(77)
        oldLink.flush()
        self.assertEqual(self.successResultOf(first.result), RESULT)
        self.reactor.advance(0)
        self.assertFalse(oldLink.open)
        self.reactor.processes[0].end()
        self.reactor.advance(0)
        self.assertEqual(len(self.reactor.processes), 2, "nobody needs a third")

    def test_restartBesideDraining(self) -> None:
        """One that drains does not keep the next one from starting."""
        old = self.getReady()
        self.execute()
        self.fork(old, 77)
        self.pool.reload()
        self.getReady()
        self.link.close()
        self.reactor.processes[1].end(signal=9)
        self.reactor.processes[0].end(signal=9)
        self.reactor.advance(FIRST_DELAY)
        self.assertEqual(len(self.reactor.processes), 3)
        self.reactor.advance(LONGEST_DELAY)
        self.assertEqual(len(self.reactor.processes), 3)


class ReloadTests(PoolTestCase):
    """The next generation is asked for while there is one."""

    def setUp(self) -> None:
        super().setUp()
        self.old = self.getReady()
        self.oldLink = self.link

    def spawned(self) -> int:
        """How many fork servers were started so far."""
        self.reactor.advance(0)
        return len(self.reactor.processes)

    def test_changesOver(self) -> None:
        """Jobs begin in the old one until the new one is ready."""
        self.pool.reload()
        newLink = self.reactor.links.pop()
        self.execute()
        self.oldLink.flush()
        self.assertEqual(len(self.old.forks), 1)
        self.assertEqual(list(self.pool.processes()), [PROCESS.identifier])
        self.reactor.links.append(newLink)
        new = self.getReady(ProcessDescription("new", "New"))
        self.assertEqual(
            (list(self.pool.processes()), self.pool.generation), (["new"], 2)
        )
        self.execute()
        self.link.flush()
        self.assertEqual((len(self.old.forks), len(new.forks)), (1, 1))

    def test_idle(self) -> None:
        """An old one that has nothing to do ends at once, and is forgotten."""
        self.pool.reload()
        self.getReady()
        self.reactor.advance(0)
        self.assertFalse(self.oldLink.open)
        self.reactor.processes[0].end()
        self.assertEqual(self.spawned(), 2)
        self.assertEqual(
            {name.split(".")[0] for name in os.listdir(self.folder)}, {"generation-2"}
        )

    def test_failures(self) -> None:
        """The old one stays, the log says why once, and there is no other try."""

        def ends() -> None:
            self.reactor.processes[-1].end(exitCode=1)

        def tooSlow() -> None:
            self.reactor.advance(self.startTimeout)
            self.reactor.processes[-1].end(signal=9)

        def noCatalogue() -> None:
            link = self.reactor.links[-1]
            link.attach(ForkServerPeer()).ready(self.settings.catalogue)
            link.flush()
            self.assertEqual(self.reactor.processes[-1].signals, ["KILL"])
            self.reactor.processes[-1].end(signal=9)

        for break_, expected in (
            (ends, "status 1"),
            (tooSlow, "it was not ready after 60 seconds"),
            (noCatalogue, "its catalogue can't be read: [Errno 2]"),
        ):
            with capturedLogs() as events:
                self.pool.reload()
                before = self.spawned()
                break_()
            errors = [e for e in events if e["log_level"] >= LogLevel.error]
            self.assertEqual(len(errors), 1, errors)
            self.assertIn("generation {generation} stays", errors[0]["log_format"])
            self.assertIn(expected, errors[0]["why"])
            self.reactor.advance(LONGEST_DELAY)
            self.assertEqual(self.spawned(), before)
            self.assertEqual(list(self.pool.processes()), [PROCESS.identifier])
        self.assertEqual(self.pool.generation, 1)
        self.execute()
        self.oldLink.flush()
        self.assertEqual(len(self.old.forks), 1)
        self.pool.reload()
        self.getReady()
        self.assertEqual(self.pool.generation, 2)

    def test_cantSpawn(self) -> None:
        """No process can be made: the old one stays, too."""
        self.reactor.refusal = OSError(12, "Cannot allocate memory")
        with capturedLogs() as events:
            self.pool.reload()
        [error] = [e for e in events if e["log_level"] >= LogLevel.error]
        self.assertIn("Cannot allocate memory", error["why"])
        self.reactor.refusal = None
        self.reactor.advance(LONGEST_DELAY)
        self.assertEqual(self.spawned(), 1)
        self.pool.reload()
        self.assertEqual(self.spawned(), 2)

    def test_diesWhileLoading(self) -> None:
        """One that is about to end does not replace one that is not."""
        self.reactor.held = []
        self.pool.reload()
        self.getReady()
        self.link.close()
        self.reactor.release()
        self.assertEqual(self.pool.generation, 1)
        self.reactor.processes[-1].end(signal=9)
        self.assertTrue(self.oldLink.open)
        self.reactor.advance(LONGEST_DELAY)
        self.assertEqual(self.spawned(), 2)

    def test_oneAfterTheOther(self) -> None:
        """What is asked for during a reload is one more, after it."""
        self.pool.reload()
        for _ in range(3):
            self.pool.reload()
        self.assertEqual(self.spawned(), 2)
        self.getReady()
        self.assertEqual(self.spawned(), 3)
        self.getReady()
        self.assertEqual((self.spawned(), self.pool.generation), (3, 3))

    def test_againAfterFailure(self) -> None:
        """Also if the one that it waits for fails."""
        self.pool.reload()
        self.pool.reload()
        self.reactor.processes[-1].end(exitCode=1)
        self.assertEqual(self.spawned(), 3)
        self.getReady()
        self.assertEqual((self.spawned(), self.pool.generation), (3, 2))

    def test_oldOneDies(self) -> None:
        """The new one is awaited, and takes the jobs that wait."""
        self.pool.reload()
        self.oldLink.close()
        self.reactor.processes[0].end(signal=9)
        execution, _, _ = self.execute()
        self.reactor.advance(LONGEST_DELAY)
        self.assertEqual(self.spawned(), 2)
        self.assertTrue(execution.waiting)
        new = self.getReady()
        self.link.flush()
        self.assertEqual(len(new.forks), 1)

    def test_bothDie(self) -> None:
        """Then there is a next one, as ever."""
        self.pool.reload()
        self.pool.reload()
        self.oldLink.close()
        self.reactor.processes[0].end(signal=9)
        self.reactor.processes[1].end(exitCode=1)
        self.assertEqual(self.spawned(), 2)
        self.restartDelay()
        self.getReady()
        self.assertEqual(self.spawned(), 3)

    def test_insteadOfWaiting(self) -> None:
        """What is to start later starts now, and only once."""
        self.oldLink.close()
        self.reactor.processes[0].end(signal=9)
        self.assertEqual(self.spawned(), 1)
        self.pool.reload()
        self.assertEqual(self.spawned(), 2)
        self.getReady()
        self.reactor.advance(LONGEST_DELAY)
        self.assertEqual(self.spawned(), 2)

    def test_stop(self) -> None:
        """All generations end; what was asked for is not started any more."""
        self.execute()
        self.fork(self.old, 77)
        self.pool.reload()
        self.getReady()
        self.pool.reload()
        self.pool.reload()
        self.assertEqual(self.spawned(), 3)
        stopping = self.pool.stopService()
        self.reactor.advance(0)
        for process in self.reactor.processes:
            self.assertNoResult(stopping)
            process.end()
        self.successResultOf(stopping)
        self.pool.reload()
        self.assertEqual(self.spawned(), 3)

    def test_summary(self) -> None:
        """A project that the old one looks into is looked into to the end."""
        summary = self.pool.summarize("/p.qgs")
        link, worker = self.fork(self.old, 77)
        self.pool.reload()
        self.getReady()
        self.reactor.advance(0)
        self.assertTrue(self.oldLink.open)
        codec.write(worker.asked["output"], SUMMARY)
        worker.answer.callback({"changed": True})
        link.flush()
        self.assertEqual(self.successResultOf(summary), SUMMARY)
        self.old.exited(77)
        self.oldLink.flush()
        self.reactor.advance(0)
        self.assertFalse(self.oldLink.open)


class ReloadingTests(PoolTestCase):
    """Who wants to know is told of reloads."""

    def setUp(self) -> None:
        super().setUp()
        self.told: list[bool] = []
        self.pool.whenReloading(self.told.append)

    def test_start(self) -> None:
        """The first generation comes without a reload."""
        self.assertEqual(self.pool.trouble, "QGIS is starting")
        self.reactor.processes[-1].end(1)
        self.assertIn("QGIS can't be started: ", self.pool.trouble or "")
        self.reactor.advance(FIRST_DELAY)
        self.getReady()
        self.assertEqual(self.told, [False])
        self.assertIsNone(self.pool.trouble)

    def test_reload(self) -> None:
        """A reload begins and ends, and the last one of several ends it."""
        self.getReady()
        self.told.clear()
        self.pool.reload()
        self.pool.reload()
        self.assertEqual(self.told, [True])
        self.getReady()
        self.assertEqual(self.told, [True, True])
        self.getReady()
        self.assertEqual(self.told, [True, True, False])

    def test_failure(self) -> None:
        """One that fails ends, too, and there is no trouble: the old one stays."""
        self.getReady()
        self.told.clear()
        self.pool.reload()
        self.reactor.processes[-1].end(1)
        self.assertEqual(self.told, [True, False])
        self.assertIsNone(self.pool.trouble)


class ExecutionTests(PoolTestCase):
    """Jobs."""

    def setUp(self) -> None:
        super().setUp()
        self.peer = self.getReady()

    def die(self) -> None:
        """The fork server is killed."""
        self.link.close()
        self.reactor.processes[-1].end(signal=9)
        self.reactor.advance(0)

    def test_run(self) -> None:
        """A job runs, reports, has a result and exits."""
        execution, observer, directory = self.execute()
        link, worker = self.fork(self.peer, 77)
        self.assertEqual(worker.asked, {"directory": directory})
        worker.callRemote(Progress, percent=50.0, message="half")
        link.flush()
        self.assertEqual(observer.told, [77, (50.0, "half")])
        codec.write(os.path.join(directory, "result.json"), RESULT)
        worker.answer.callback({"result": "result.json"})
        link.flush()
        self.assertEqual(self.successResultOf(execution.result), RESULT)
        self.assertNoResult(execution.exited)
        link.close()
        self.peer.exited(77, 0, 99)
        self.link.flush()
        self.assertEqual(self.successResultOf(execution.exited), Exit(0, 99))

    def test_neverEnds(self) -> None:
        """A worker that has answered and goes on is ended."""
        _, _, directory = self.execute()
        link, worker = self.fork(self.peer, 77)
        codec.write(os.path.join(directory, "result.json"), RESULT)
        worker.answer.callback({"result": "result.json"})
        link.flush()
        self.reactor.advance(LONGEST_END - 1)
        self.assertEqual(self.signals.sent, [])
        self.reactor.advance(1)
        self.assertEqual(self.signals.sent, [("killpg", 77, signal.SIGKILL)])
        link.close()
        self.peer.exited(77, 9)
        self.link.flush()

    def test_forkTime(self) -> None:
        """How long a fork takes is told."""
        peer = self.getReady()
        self.execute()
        self.reactor.advance(0.25)
        self.fork(peer, 50)
        self.assertEqual(self.forks, [0.25])

    def test_exitOvertakesAnswer(self) -> None:
        """It has not exited before its result is known."""
        execution, _, directory = self.execute()
        link, worker = self.fork(self.peer, 77)
        codec.write(os.path.join(directory, "result.json"), RESULT)
        worker.answer.callback({"result": "result.json"})
        self.peer.exited(77)
        self.link.flush()
        self.assertNoResult(execution.exited)
        link.flush()
        link.close()
        self.assertEqual(self.successResultOf(execution.result), RESULT)
        self.successResultOf(execution.exited)

    def test_result(self) -> None:
        """A result that is not there, or elsewhere, is a failure."""
        for name in ("result.json", "../../other.json"):
            execution, _, directory = self.execute()
            codec.write(f"{directory}.json", RESULT)
            link, worker = self.fork(self.peer, 77)
            worker.answer.callback({"result": name})
            link.flush()
            self.failureResultOf(execution.result, FileNotFoundError)
            self.peer.exited(77)
            self.link.flush()
            self.successResultOf(execution.exited)

    def test_fault(self) -> None:
        """A worker that can't do its work says so."""
        execution, _, _ = self.execute()
        link, worker = self.fork(self.peer, 77)
        worker.answer.errback(WorkerFault("no"))
        link.flush()
        self.failureResultOf(execution.result, WorkerFault)
        self.assertNoResult(execution.exited)
        link.close()
        self.peer.exited(77)
        self.link.flush()
        self.successResultOf(execution.exited)

    def test_crash(self) -> None:
        """A worker that is lost is told with its signal."""
        execution, _, _ = self.execute()
        link, _ = self.fork(self.peer, 77)
        self.peer.exited(77, 11)
        self.link.flush()
        link.close()
        lost = self.failureResultOf(execution.result, WorkerLost).value
        self.assertEqual(lost.exit.signal, "SIGSEGV")
        self.assertEqual(self.successResultOf(execution.exited), lost.exit)

    def test_forkServerDies(self) -> None:
        """All jobs are lost with it, with the reason; the next ones wait."""
        lost = []
        for pid in (77, 78):
            lost.append(self.execute()[0])
            link, _ = self.fork(self.peer, pid)
            self.reactor.callLater(0, link.close)
        lost.append(self.execute()[0])
        # Who hears of an end may begin the next job at once.
        after: list[Execution] = []
        lost[0].exited.addCallback(lambda _: after.append(self.execute()[0]))
        self.die()
        for execution in lost:
            error = self.failureResultOf(execution.result, WorkerLost).value
            self.assertIn(
                "the fork server 100 ended: the process was ended by", str(error)
            )
            self.assertTrue(execution.exited.called)
        after.append(self.execute()[0])
        self.assertEqual([each.waiting for each in after], [True, True])
        self.reactor.advance(FIRST_DELAY)
        peer = self.getReady()
        self.link.flush()
        self.assertEqual(len(peer.forks), 2)

    def test_noMoreForks(self) -> None:
        """A fork server whose connection is gone gets no more jobs."""
        self.link.close()
        execution, _, _ = self.execute()
        self.assertTrue(execution.waiting)
        self.reactor.advance(STOP_TIMEOUT)
        self.assertEqual(self.reactor.processes[0].signals, ["KILL"])

    def test_forkTakesTooLong(self) -> None:
        """A fork server that does not fork is replaced."""
        execution, _, _ = self.execute()
        self.reactor.links[-1].attach(WorkerPeer())
        self.link.flush()
        self.reactor.advance(FORK_TIMEOUT)
        self.assertEqual(self.reactor.processes[0].signals, ["KILL"])
        self.die()
        self.reactor.advance(0)
        error = self.failureResultOf(execution.result, WorkerLost).value
        self.assertIn("no process could be made", str(error))
        self.successResultOf(execution.exited)
        self.restartDelay()

    def test_cancelWaiting(self) -> None:
        """A job that waits for a fork server never begins."""
        self.die()
        execution, _, _ = self.execute()
        for _ in range(2):
            execution.cancel()
        self.failureResultOf(execution.result, Cancelled)
        self.assertEqual(self.successResultOf(execution.exited), Exit())
        self.restartDelay()
        peer = self.getReady()
        self.link.flush()
        self.assertEqual(peer.forks, [])

    def test_cancelWhileForking(self) -> None:
        """A job whose worker is being made is ended as soon as it is there."""
        execution, _, _ = self.execute()
        execution.cancel()
        self.assertEqual(self.signals.sent, [])
        self.fork(self.peer, 77)
        self.assertEqual(self.signals.sent, [("kill", 77, signal.SIGTERM)])

    def test_cancelRunning(self) -> None:
        """A job that runs is asked to end, and killed after the grace."""
        execution, _, _ = self.execute()
        self.fork(self.peer, 77)
        execution.cancel()
        self.reactor.advance(5)
        self.assertEqual(
            self.signals.sent,
            [("kill", 77, signal.SIGTERM), ("killpg", 77, signal.SIGKILL)],
        )

    def test_cancelEnded(self) -> None:
        """A job that has ended is left alone, and so is its process id."""
        execution, _, _ = self.execute()
        link, _ = self.fork(self.peer, 77)
        self.peer.exited(77, 9)
        self.link.flush()
        link.close()
        execution.cancel()
        self.assertEqual(self.signals.sent, [])
        self.failureResultOf(execution.result, WorkerLost)


class SummaryTests(PoolTestCase):
    """Projects."""

    def setUp(self) -> None:
        super().setUp()
        self.peer = self.getReady()

    def summarize(
        self, known: str = ""
    ) -> tuple[Deferred[ProjectSummary | None], Link, WorkerPeer]:
        """Look into a project."""
        summary = self.pool.summarize("/p.qgs", known)
        link, worker = self.fork(self.peer, 77)
        self.assertEqual(worker.asked["map"], "/p.qgs")
        self.assertEqual(worker.asked["known"], known)
        return summary, link, worker

    def temporary(self) -> list[str]:
        """The files that summaries have left."""
        return [name for name in os.listdir(self.folder) if "summary" in name]

    def test_summary(self) -> None:
        """A worker writes it to a file, which is gone afterwards."""
        summary, link, worker = self.summarize()
        codec.write(worker.asked["output"], SUMMARY)
        self.assertEqual(len(self.temporary()), 1)
        worker.answer.callback({"changed": True})
        link.flush()
        self.assertEqual(self.successResultOf(summary), SUMMARY)
        self.assertEqual(self.temporary(), [])

    def test_unchanged(self) -> None:
        """Nothing is read of a project that is as it was."""
        summary, link, worker = self.summarize("yesterday")
        worker.answer.callback({"changed": False})
        link.flush()
        self.assertIsNone(self.successResultOf(summary))
        self.assertEqual(self.temporary(), [])

    def test_broken(self) -> None:
        """A project that can't be read is the client's affair."""
        summary, link, worker = self.summarize()
        worker.answer.errback(WorkerFault("there is no layer"))
        link.flush()
        error = refusal(self, summary)
        self.assertEqual((error.status, error.faults[0].locator), (400, "MAP"))
        self.assertIn("there is no layer", str(error))
        self.assertEqual(self.temporary(), [])

    def test_lost(self) -> None:
        """A worker that is lost is ours."""
        summary, link, _ = self.summarize()
        self.peer.exited(77, 11)
        self.link.flush()
        link.close()
        error = refusal(self, summary)
        self.assertEqual(error.status, 500)
        self.assertIn("SIGSEGV", str(error))
        self.assertEqual((self.temporary(), self.signals.sent), ([], []))

    def test_tooSlow(self) -> None:
        """A worker that takes too long is killed."""
        summary, link, _ = self.summarize()
        self.reactor.advance(self.startTimeout)
        self.assertEqual(refusal(self, summary).status, 500)
        self.assertEqual(self.signals.sent, [("killpg", 77, signal.SIGKILL)])
        self.peer.exited(77, 9)
        self.link.flush()
        link.close()

    def test_sideBySide(self) -> None:
        """There are never more than so many, and all get their turn."""
        summaries = [self.pool.summarize("/p.qgs") for _ in range(SUMMARIES + 1)]
        self.link.flush()
        self.assertEqual(len(self.peer.forks), SUMMARIES)
        link, worker = self.fork(self.peer, 77)
        worker.answer.errback(WorkerFault("no"))
        link.flush()
        refusal(self, summaries[SUMMARIES - 1])
        self.link.flush()
        self.assertEqual(len(self.peer.forks), SUMMARIES + 1)
        self.stop()
        for link in self.reactor.links:
            link.close()
        for summary in (summaries[0], summaries[-1]):
            refusal(self, summary)

    def test_noForkServer(self) -> None:
        """Without a fork server, it fails at once."""
        self.link.close()
        self.reactor.processes[0].end(signal=9)
        error = refusal(self, self.pool.summarize("/p.qgs"))
        self.assertEqual(error.faults[0].code, "ServerBusy")


class StopTests(PoolTestCase):
    """The end."""

    def test_starting(self) -> None:
        """While one starts: it is killed, what waits is told."""
        waiting, _, _ = self.execute()
        stopping = self.pool.stopService()
        self.assertEqual(self.reactor.processes[0].signals, ["KILL"])
        self.assertIn(
            "stopping", str(self.failureResultOf(waiting.result, Cancelled).value)
        )
        self.successResultOf(waiting.exited)
        self.assertNoResult(stopping)
        self.reactor.processes[0].end(signal=9)
        self.successResultOf(stopping)

    def test_running(self) -> None:
        """While jobs run: they are lost."""
        peer = self.getReady()
        execution, _, _ = self.execute()
        link, _ = self.fork(peer, 77)
        stopping = self.pool.stopService()
        self.reactor.advance(0)
        self.assertFalse(self.link.open)
        self.assertNoResult(stopping)
        link.close()
        self.reactor.processes[0].end()
        self.successResultOf(stopping)
        self.failureResultOf(execution.result, WorkerLost)
        late, _, _ = self.execute()
        self.failureResultOf(late.result, Cancelled)

    def test_waitingToRestart(self) -> None:
        """While there is none: none is started any more."""
        self.reactor.processes[0].end(exitCode=1)
        self.successResultOf(self.pool.stopService())
        self.reactor.advance(LONGEST_DELAY)
        self.assertEqual(len(self.reactor.processes), 1)

    def test_loading(self) -> None:
        """While a catalogue is read: it is not published any more."""
        self.reactor.held = []
        self.getReady()
        stopping = self.pool.stopService()
        self.reactor.advance(0)
        self.reactor.release()
        self.assertEqual(self.pool.generation, 0)
        self.reactor.processes[0].end()
        self.successResultOf(stopping)
