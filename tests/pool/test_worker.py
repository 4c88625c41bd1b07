"""Tests of L{qgswps.pool.worker}."""

from __future__ import annotations

import signal
from typing import Any

from twisted.internet.defer import Deferred
from twisted.internet.error import ConnectionDone, ConnectionLost
from twisted.trial.unittest import SynchronousTestCase

from qgswps.pool.commands import (
    Execute,
    LogMessage,
    PrepareProject,
    Progress,
    WorkerFault,
)
from qgswps.pool.exits import Exit, WorkerLost
from qgswps.pool.forkserver import connect
from qgswps.pool.worker import Worker
from tests.fakes import FakeReactor, MapWorkerPeer, Signals, WorkerPeer, forgive

TERM = ("kill", 77, signal.SIGTERM)
KILL = ("killpg", 77, signal.SIGKILL)


class WorkerTests(SynchronousTestCase):
    """A worker's life, told by two sockets."""

    def setUp(self) -> None:
        self.reactor = FakeReactor()
        self.signals = Signals.recorded(self)
        self.progress: list[tuple[float | None, str]] = []
        self.worker, self.link, self.peer = self.make()

    def make(self) -> tuple[Worker, Any, WorkerPeer]:
        """A worker that was asked to execute."""
        worker = Worker(self.reactor, 5, lambda *report: self.progress.append(report))
        forgive(self, worker.forked, worker.answer)
        connect(self.reactor, worker.connection).close()
        link = self.reactor.links[-1]
        worker.ask(Execute, directory="/job")
        return worker, link, link.attach(WorkerPeer())

    def answer(self) -> None:
        """The worker has done its work."""
        self.link.flush()
        self.peer.answer.callback({"result": "r.json"})

    def lost(self) -> WorkerLost:
        """Why there is no answer."""
        error = self.failureResultOf(self.worker.answer, WorkerLost).value
        assert isinstance(error, WorkerLost)
        return error

    def test_life(self) -> None:
        """It is forked, answers, and exits."""
        self.worker.hasForked(77)
        self.assertEqual(self.successResultOf(self.worker.forked), 77)
        self.assertEqual(self.worker.pid, 77)
        self.answer()
        self.assertEqual(self.peer.asked, {"directory": "/job"})
        self.assertNoResult(self.worker.answer)
        self.link.flush()
        self.assertEqual(self.successResultOf(self.worker.answer), {"result": "r.json"})
        self.link.close()
        self.assertNoResult(self.worker.exited)
        self.worker.hasExited(Exit(0, 5))
        self.assertEqual(self.successResultOf(self.worker.exited), Exit(0, 5))
        self.assertEqual(self.signals.sent, [])

    def test_askedBeforeForked(self) -> None:
        """The command waits in the socket: nothing waits for the fork."""
        self.link.flush()
        self.assertEqual(self.peer.asked, {"directory": "/job"})

    def test_askedAgain(self) -> None:
        """A worker may be asked many commands, each with its own answer."""
        worker = Worker(self.reactor, 5, lambda *report: None)
        connect(self.reactor, worker.connection).close()
        link = self.reactor.links[-1]
        peer = link.attach(MapWorkerPeer())
        answers = [
            worker.ask(PrepareProject, directory=name) for name in ("/1", "/2", "/3")
        ]
        self.assertIs(answers[0], worker.answer)
        link.flush()
        self.assertEqual(
            [arguments["directory"] for arguments, _ in peer.asked], ["/1", "/2", "/3"]
        )
        for n in (1, 0, 2):
            self.assertNoResult(answers[n])
            peer.asked[n][1].callback({})
            link.flush()
            self.assertEqual(self.successResultOf(answers[n]), {})

    def test_tooLong(self) -> None:
        """An argument that no message can hold fails, and nothing else does."""
        worker = Worker(self.reactor, 5, lambda *report: None)
        connect(self.reactor, worker.connection).close()
        link = self.reactor.links[-1]
        peer = link.attach(MapWorkerPeer())
        self.failureResultOf(worker.ask(PrepareProject, directory="x" * 70_000))
        again = worker.ask(PrepareProject, directory="/again")
        self.assertNoResult(again)
        link.flush()
        [(_, answer)] = peer.asked
        answer.callback({})
        link.flush()
        self.assertEqual(self.successResultOf(again), {})

    def test_lostWithMany(self) -> None:
        """Each command that was not answered fails; so do those that come later."""
        answers = [self.worker.answer, self.worker.ask(Execute, directory="/second")]
        self.worker.hasForked(77)
        self.link.close()
        self.worker.hasExited(Exit(11))
        answers.append(self.worker.ask(Execute, directory="/late"))
        for answer in answers:
            error = self.failureResultOf(answer, WorkerLost).value
            self.assertIn("SIGSEGV", str(error))

    def test_faultOfOne(self) -> None:
        """A fault is the answer to one command; the others have theirs."""
        self.link.flush()
        self.peer.answer.errback(WorkerFault("no"))
        self.link.flush()
        self.failureResultOf(self.worker.answer, WorkerFault)
        self.peer.answer = Deferred()
        again = self.worker.ask(Execute, directory="/second")
        self.link.flush()
        self.assertNoResult(again)
        self.peer.answer.callback({"result": "s.json"})
        self.link.flush()
        self.assertEqual(self.successResultOf(again), {"result": "s.json"})

    def test_dismiss(self) -> None:
        """A worker that is not needed any more ends by itself."""
        self.worker.hasForked(77)
        self.answer()
        self.link.flush()
        self.worker.dismiss()
        self.reactor.advance(0)
        self.assertFalse(self.link.open)
        self.assertEqual(self.signals.sent, [])
        self.worker.hasExited(Exit(0))
        self.successResultOf(self.worker.exited)

    def test_reports(self) -> None:
        """Progress is reported on; -1 is no news."""
        for percent in (12.5, -1.0):
            self.peer.callRemote(Progress, percent=percent, message="at it")
        self.peer.callRemote(LogMessage, level="info", text="hello")
        self.link.flush()
        self.assertEqual(self.progress, [(12.5, "at it"), (None, "at it")])

    def test_fault(self) -> None:
        """A declared error is the answer."""
        self.link.flush()
        self.peer.answer.errback(WorkerFault("no"))
        self.link.flush()
        error = self.failureResultOf(self.worker.answer, WorkerFault)
        self.assertEqual(str(error.value), "no")

    def test_exitOvertakesAnswer(self) -> None:
        """The news of the end may come before the answer is read."""
        self.worker.hasForked(77)
        self.answer()
        self.worker.hasExited(Exit(0))
        self.assertNoResult(self.worker.answer)
        self.link.flush()
        self.link.close()
        self.assertEqual(self.successResultOf(self.worker.answer), {"result": "r.json"})

    def test_lost(self) -> None:
        """Without an answer its end is told, whichever socket is first."""
        for reason in (ConnectionDone, ConnectionLost):
            for closedFirst in (True, False):
                self.worker, self.link, _ = self.make()
                self.worker.hasForked(77)
                if closedFirst:
                    self.link.close(reason)
                    self.assertNoResult(self.worker.answer)
                    self.worker.hasExited(Exit(11, 9))
                else:
                    self.worker.hasExited(Exit(11, 9))
                    self.assertNoResult(self.worker.answer)
                    self.link.close(reason)
                error = self.lost()
                self.assertIn("SIGSEGV", str(error))
                self.assertEqual(error.exit, Exit(11, 9))
                self.assertEqual(self.successResultOf(self.worker.exited), error.exit)

    def test_neverForked(self) -> None:
        """Where no process could be made, all who wait are told why."""
        self.worker.hasExited(Exit(), "no memory")
        self.failureResultOf(self.worker.forked, WorkerLost)
        self.reactor.advance(0)
        self.assertFalse(self.link.open)
        self.assertEqual(str(self.lost()), "no memory")
        self.assertEqual(self.successResultOf(self.worker.exited), Exit())

    def test_exitsOnce(self) -> None:
        """Only the first news of an end counts."""
        self.worker.hasForked(77)
        self.worker.hasExited(Exit(9))
        self.worker.hasExited(Exit(), "later")
        self.link.close()
        self.assertIn("SIGKILL", str(self.lost()))

    def test_killedFor(self) -> None:
        """Who waits is told what it was killed for."""
        self.worker.hasForked(77)
        self.worker.kill("it was too large")
        self.assertEqual(self.signals.sent, [KILL])
        self.link.close()
        self.worker.hasExited(Exit(9))
        self.assertEqual(str(self.lost()), "it was too large")

    def test_cancel(self) -> None:
        """It is asked to end, and killed with its children after the grace."""
        self.worker.hasForked(77)
        for _ in range(2):
            self.worker.cancel()
        self.assertEqual(self.signals.sent, [TERM])
        self.reactor.advance(4.9)
        self.assertEqual(self.signals.sent, [TERM])
        self.reactor.advance(0.1)
        self.assertEqual(self.signals.sent, [TERM, KILL])
        self.worker.hasExited(Exit(9))
        self.assertEqual(self.reactor.getDelayedCalls(), [])

    def test_cancelInTime(self) -> None:
        """It is not killed if it ends before."""
        self.worker.hasForked(77)
        self.worker.cancel()
        self.worker.hasExited(Exit(0))
        self.assertEqual(self.reactor.getDelayedCalls(), [])
        self.assertEqual(self.signals.sent, [TERM])

    def test_cancelBeforeFork(self) -> None:
        """If there is no process yet, it is asked as soon as there is one."""
        self.worker.cancel()
        self.assertEqual(self.signals.sent, [])
        self.worker.hasForked(77)
        self.assertEqual(self.signals.sent, [TERM])
        self.reactor.advance(5)
        self.assertEqual(self.signals.sent, [TERM, KILL])

    def test_neverSignalled(self) -> None:
        """Where there is no process, no other one gets its signals."""
        self.worker.kill()
        self.worker.hasForked(77)
        self.worker.hasExited(Exit(0))
        self.worker.cancel()
        self.worker.kill()
        self.assertEqual(self.signals.sent, [])

    def test_alreadyGone(self) -> None:
        """The process may be gone without our knowing yet."""
        self.worker.hasForked(77)
        self.signals.gone.add(77)
        self.worker.cancel()
        self.reactor.advance(5)
        self.assertEqual(self.signals.sent, [TERM, KILL])
        self.assertNoResult(self.worker.exited)
