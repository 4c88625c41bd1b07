"""Tests of L{qgswps.pool.forkserver}."""

from __future__ import annotations

import os
import signal
import socket
import sys
from typing import Any

from twisted.internet.error import ConnectionLost
from twisted.internet.protocol import Protocol
from twisted.logger import capturedLogs
from twisted.trial.unittest import SynchronousTestCase

from qgswps.pool.commands import PROTOCOL_VERSION, Execute, LogMessage, WorkerFault
from qgswps.pool.exits import Exit, WorkerLost
from qgswps.pool.forkserver import (
    FORK_TIMEOUT,
    STOP_TIMEOUT,
    ForkServer,
    ForkServerFailed,
    State,
    connect,
)
from qgswps.pool.worker import Worker
from tests.fakes import (
    FakeReactor,
    ForkServerPeer,
    Link,
    Signals,
    WorkerPeer,
    forgive,
)


class ForkServerTestCase(SynchronousTestCase):
    """A fork server that is spawning, with a peer that the test plays."""

    def setUp(self) -> None:
        self.reactor = FakeReactor()
        self.signals = Signals.recorded(self)
        environment = {"LANG": "C.UTF-8"}
        self.server = ForkServer(self.reactor, "/s.json", environment, 60, grace=5)
        self.ready = self.server.start()
        [self.process] = self.reactor.processes
        [self.link] = self.reactor.links
        self.peer: ForkServerPeer = self.link.attach(ForkServerPeer())

    def getReady(self) -> None:
        """QGIS is warmed up."""
        self.peer.ready()
        self.link.flush()
        self.assertEqual(self.successResultOf(self.ready), "3.22")

    def ask(self) -> Worker:
        """Ask for a fork; how it fails is looked at only where it matters."""
        worker = self.server.fork(Execute, lambda *_: None, directory="/job")
        for d in (worker.forked, worker.answer):
            self.addCleanup(d.addErrback, lambda _: None)
        return worker

    def fork(self) -> tuple[Worker, Link]:
        """Ask for a fork, and have that arrive."""
        worker = self.ask()
        forgive(self, worker.forked, worker.answer)
        link = self.reactor.links[-1]
        link.attach(WorkerPeer())
        self.link.flush()
        return worker, link

    def forked(self, pid: int) -> tuple[Worker, Link]:
        """A worker."""
        worker, link = self.fork()
        self.peer.forks[-1].callback({"pid": pid})
        self.link.flush()
        return worker, link

    def lost(self, worker: Worker, link: Link) -> str:
        """What is said of a worker that is lost."""
        link.close(ConnectionLost)
        self.assertTrue(worker.exited.called)
        return str(self.failureResultOf(worker.answer, WorkerLost).value)

    def ended(self) -> str:
        """Why it has ended."""
        failed = self.successResultOf(self.server.ended)
        self.assertIsInstance(failed, ForkServerFailed)
        self.assertIs(self.server.state, State.DEAD)
        self.reactor.advance(0)
        self.assertFalse(self.link.open)
        self.assertEqual(self.reactor.getDelayedCalls(), [])
        return str(failed)


class ConnectTests(SynchronousTestCase):
    """L{connect}"""

    def test_descriptors(self) -> None:
        """Our end is the reactor's; the other one is the caller's to close."""

        class Reactor(FakeReactor):
            def adoptStreamConnection(self, number: int, family: int, f: Any) -> None:
                adopted.append(number)
                os.fstat(number)
                self.blocking = os.get_blocking(number)
                if self.refusal is not None:
                    raise self.refusal

        adopted: list[int] = []
        reactor = Reactor()
        theirs = connect(reactor, Protocol())
        self.assertEqual(theirs.family, socket.AF_UNIX)
        self.assertFalse(reactor.blocking)
        self.assertFalse(os.get_inheritable(theirs.fileno()))
        self.assertEqual(theirs.recv(1), b"", "our end is closed")
        theirs.close()
        reactor.refusal = OSError(24, "Too many open files")
        self.assertRaises(OSError, connect, reactor, Protocol())
        self.assertRaises(OSError, os.fstat, adopted[-1])


class StartTests(ForkServerTestCase):
    """From spawning to ready."""

    def test_spawn(self) -> None:
        """The process gets its socket and its settings, and nothing to read."""
        arguments = self.process.arguments
        self.assertEqual(
            arguments["args"],
            [sys.executable, "-m", "qgswps.worker", "3", "/s.json"],
        )
        self.assertEqual(arguments["env"], {"LANG": "C.UTF-8"})
        descriptors = arguments["childFDs"]
        self.assertEqual(
            {n: descriptors[n] for n in (0, 1, 2)}, {0: "w", 1: "r", 2: "r"}
        )
        self.assertRaises(OSError, os.fstat, descriptors[3])  # ours is closed
        self.assertFalse(self.process.stdinOpen)
        self.assertEqual(self.server.pid, 100)
        self.assertIs(self.server.state, State.SPAWNING)

    def test_cantSpawn(self) -> None:
        """Without a process there is an error and no timer."""
        server = ForkServer(FakeReactor(), "/s.json", {})
        server._reactor.refusal = OSError(11, "no")
        self.assertRaises(OSError, server.start)
        self.assertIs(server.state, State.DEAD)
        self.assertEqual(server._reactor.getDelayedCalls(), [])

    def test_ready(self) -> None:
        """Ready ends the waiting."""
        self.getReady()
        self.assertIs(self.server.state, State.READY)
        self.assertEqual(self.reactor.getDelayedCalls(), [])

    def test_readyTwice(self) -> None:
        """A second Ready means nothing."""
        self.getReady()
        self.peer.ready()
        self.link.flush()
        self.assertIs(self.server.state, State.READY)

    def test_tooSlow(self) -> None:
        """Who takes too long is killed; being ready then is no help."""
        self.reactor.advance(59)
        self.assertEqual(self.process.signals, [])
        self.reactor.advance(1)
        self.assertEqual(self.process.signals, ["KILL"])
        self.peer.ready()
        self.link.flush()
        self.assertNoResult(self.ready)
        self.process.end(signal=9)
        self.assertIn("not ready after 60 seconds", self.ended())
        self.failureResultOf(self.ready, ForkServerFailed)

    def test_wrongProtocol(self) -> None:
        """Another release is not talked to."""
        self.peer.ready(protocol=PROTOCOL_VERSION + 1)
        self.link.flush()
        self.assertEqual(self.process.signals, ["KILL"])
        self.process.end(signal=9)
        self.assertIn(f"protocol {PROTOCOL_VERSION + 1}", self.ended())
        self.failureResultOf(self.ready, ForkServerFailed)

    def test_ends(self) -> None:
        """One that ends while it starts says how."""
        self.link.close()
        self.process.end(exitCode=1)
        self.assertIn("exit status 1", self.ended())
        self.failureResultOf(self.ready, ForkServerFailed)

    def test_stop(self) -> None:
        """One that still starts is not asked, but killed."""
        self.server.stop()
        self.assertEqual(self.process.signals, ["KILL"])
        self.process.end(signal=9)
        self.assertIn("stopped", self.ended())
        self.failureResultOf(self.ready, ForkServerFailed)

    def test_output(self) -> None:
        """What it prints and what it logs is logged."""
        with capturedLogs() as events:
            self.process.protocol.childDataReceived(1, "ä\n\n".encode())
            self.process.protocol.childDataReceived(2, b"\xffb")
            self.peer.callRemote(LogMessage, level="warn", text="c {d}")
            self.link.flush()
        texts = [event.get("line", event.get("text")) for event in events]
        self.assertEqual([t for t in texts if t], ["ä", "\ufffdb", "c {d}"])
        self.assertEqual(events[-1]["log_level"].name, "warn")


class ForkTests(ForkServerTestCase):
    """Workers."""

    def setUp(self) -> None:
        super().setUp()
        self.getReady()

    def test_fork(self) -> None:
        """A worker is made, and its end is told."""
        worker, _ = self.fork()
        self.assertTrue(self.server.busy)
        self.assertNoResult(worker.forked)
        self.peer.forks[0].callback({"pid": 77})
        self.link.flush()
        self.assertEqual(self.successResultOf(worker.forked), 77)
        self.assertTrue(self.server.busy)
        self.peer.exited(77, 9, 1234)
        self.link.flush()
        self.assertEqual(self.successResultOf(worker.exited), Exit(9, 1234))
        self.assertFalse(self.server.busy)
        self.assertEqual(self.reactor.getDelayedCalls(), [])

    def test_descriptor(self) -> None:
        """The socket's other end is closed once the fork server has it."""
        sent: list[int] = []
        self.patch(self.link._ours, "sendFileDescriptor", sent.append)
        self.ask()
        os.fstat(sent[0])
        self.peer.fileDescriptorReceived(sent[0])
        self.link.flush()
        self.peer.forks[0].callback({"pid": 77})
        self.link.flush()
        self.assertRaises(OSError, os.fstat, sent[0])

    def test_strangers(self) -> None:
        """The end of a process that is none of ours means nothing."""
        worker, _ = self.forked(77)
        self.peer.exited(78)
        self.link.flush()
        self.assertNoResult(worker.exited)

    def test_cantFork(self) -> None:
        """If it can't fork, one job is lost, and the reason is told."""
        worker, link = self.fork()
        self.peer.forks[-1].errback(WorkerFault("cannot fork: no memory"))
        self.link.flush()
        self.assertIn("no process could be made: cannot", self.lost(worker, link))
        self.failureResultOf(worker.forked, WorkerLost)
        self.assertFalse(self.server.busy)

    def test_noDescriptors(self) -> None:
        """If we can't make a socket pair, one job is lost."""
        self.reactor.refusal = OSError(24, "Too many open files")
        worker = self.ask()
        error = self.failureResultOf(worker.answer, WorkerLost).value
        self.assertIn("Too many open files", str(error))
        self.failureResultOf(worker.forked, WorkerLost)
        self.assertFalse(self.server.busy)

    def test_stuck(self) -> None:
        """One that does not fork in time is killed."""
        other, otherLink = self.forked(77)
        worker, link = self.fork()
        self.reactor.advance(FORK_TIMEOUT)
        self.assertIn("no process", self.lost(worker, link))
        self.assertEqual(self.process.signals, ["KILL"])
        self.process.end(signal=9)
        self.assertIn(f"did not fork within {FORK_TIMEOUT}", self.ended())
        self.assertIn("did not fork", self.lost(other, otherLink))

    def test_connectionIsLost(self) -> None:
        """Without a connection there are no forks, and soon no process."""
        worker, link = self.fork()
        self.link.close()
        self.assertIs(self.server.state, State.DRAINING)
        late = self.ask()
        for d in (late.answer, late.forked):
            error = self.failureResultOf(d, WorkerLost).value
            self.assertIn("draining", str(error))
        self.reactor.advance(STOP_TIMEOUT)
        self.assertEqual(self.process.signals, ["KILL"])
        self.process.end(signal=9)
        self.assertIn("closed its connection", self.ended())
        self.assertIn("closed its connection", self.lost(worker, link))

    def test_ends(self) -> None:
        """With it all its workers end, and what they have started."""
        lost = [self.forked(pid) for pid in (77, 78)]
        lost.append(self.fork())
        self.signals.gone.add(77)
        self.link.close()
        self.process.end(signal=9)
        self.assertIn("SIGKILL", self.ended())
        self.assertEqual(
            self.signals.sent,
            [("killpg", pid, signal.SIGKILL) for pid in (77, 78)],
        )
        for worker, link in lost:
            self.assertIn("the fork server 100 ended", self.lost(worker, link))

    def test_endsBeforeConnection(self) -> None:
        """The end of the process may be known before that of the connection."""
        worker, link = self.fork()
        self.process.end(exitCode=3)
        self.assertIn("exit status 3", self.ended())
        self.assertIn("exit status 3", self.lost(worker, link))


class StopTests(ForkServerTestCase):
    """The end."""

    def setUp(self) -> None:
        super().setUp()
        self.getReady()

    def test_stop(self) -> None:
        """It is told by the end of the connection."""
        for _ in range(2):
            self.assertIs(self.server.stop(), self.server.ended)
        self.reactor.advance(0)
        self.assertFalse(self.link.open)
        self.process.end()
        self.assertIn("stopped", self.ended())
        self.assertEqual(self.process.signals, [])
        self.server.stop()
        self.server.kill("again")
        self.assertEqual(self.reactor.getDelayedCalls(), [])

    def test_stopTakesLong(self) -> None:
        """It is killed if that does not help."""
        self.server.stop()
        self.reactor.advance(STOP_TIMEOUT)
        self.assertEqual(self.process.signals, ["KILL"])
        self.process.end(signal=9)
        self.assertIn("stopped", self.ended())

    def test_killTooLate(self) -> None:
        """It may be gone before it is killed."""
        self.process.alive = False
        self.server.kill("why")
        self.process.end(signal=9)
        self.assertIn("why", self.ended())

    def test_drain(self) -> None:
        """It ends when its workers have ended, one way or another."""
        self.forked(77)
        self.fork()
        self.fork()
        self.server.drain()
        self.assertIs(self.server.state, State.DRAINING)
        self.peer.exited(77)
        self.link.flush()
        self.peer.forks[1].callback({"pid": 78})
        self.link.flush()
        self.peer.exited(78)
        self.link.flush()
        self.reactor.advance(0)
        self.assertTrue(self.link.open)
        self.peer.forks[2].errback(WorkerFault("no"))
        self.link.flush()
        self.reactor.advance(0)
        self.assertFalse(self.link.open)
        self.process.end()
        self.assertIn("stopped", self.ended())

    def test_drainIdle(self) -> None:
        """Without workers it ends at once."""
        self.server.drain()
        self.reactor.advance(0)
        self.assertFalse(self.link.open)
