"""Tests of L{qgswps.pool.maps}."""

from __future__ import annotations

import os
import signal

from twisted.internet.defer import CancelledError, Deferred
from twisted.logger import capturedLogs
from zope.interface.verify import verifyObject

from qgswps.errors import Fault
from qgswps.interfaces import IMapServer
from qgswps.model import MapRequest, MapResponse
from qgswps.pool.commands import WorkerFault
from qgswps.pool.exits import Exit
from qgswps.pool.maps import IN_A_ROW, Limits, MapWorkers
from qgswps.pool.pool import FIRST_DELAY
from tests.fakes import ForkServerPeer, Link, MapWorkerPeer, forgive, refusal
from tests.pool.test_pool import PoolTestCase

LIMITS = Limits(workers=2, idleTime=60, maxRequests=100, waiting=40, timeout=30)


class Process:
    """A map worker that the fork server has made."""

    def __init__(self, pid: int, link: Link, peer: MapWorkerPeer) -> None:
        self.pid = pid
        self.link = link
        self.peer = peer

    def answer(self, status: int = 200) -> None:
        """Answer the request at hand."""
        asked, answer = self.peer.asked[-1]
        if "output" in asked:
            with open(asked["output"], "w") as file:
                file.write(asked["url"])
            answer.callback({"status": status, "headers": '{"A": "b"}'})
        else:
            answer.callback({})
        self.link.flush()


class MapsTestCase(PoolTestCase):
    """Map workers of a pool; the test plays the processes."""

    limits = LIMITS

    def setUp(self) -> None:
        super().setUp()
        self.answers = os.path.join(self.folder, "maps")
        self.maps = MapWorkers(self.reactor, self.pool, self.answers, self.limits)
        self.maps.start()
        self.pids = 200
        self.processes: dict[int, Process] = {}

    def stop(self) -> None:
        """Stop the maps, and then as always."""
        stopping = self.maps.stop()
        super().stop()
        self.successResultOf(stopping)
        self.assertEqual(os.listdir(self.answers), [])

    def ask(self, project: str = "/p", url: str = "u") -> Deferred[MapResponse]:
        """A request for a map of a project."""
        d = self.maps.serve(MapRequest(project, url, f"/jobs{project}"))
        forgive(self, d)
        return d

    def forked(self, peer: ForkServerPeer) -> Process:
        """The worker that was asked for is there."""
        self.link.flush()
        link = self.reactor.links[-1]
        worker = link.attach(MapWorkerPeer())
        self.pids += 1
        peer.forks[-1].callback({"pid": self.pids})
        self.link.flush()
        link.flush()
        process = Process(self.pids, link, worker)
        self.processes[self.pids] = process
        return process

    def exits(self, process: Process, peer: ForkServerPeer, status: int = 0) -> None:
        """A process ends."""
        process.link.close()
        peer.exited(process.pid, status)
        self.link.flush()

    def take(self, answer: Deferred[MapResponse]) -> str:
        """The body of an answer, whose file is removed."""
        response = self.successResultOf(answer)
        with open(response.body) as file:
            body = file.read()
        os.unlink(response.body)
        return body


class MapWorkersTests(MapsTestCase):
    """One worker after the other."""

    def test_interface(self) -> None:
        """It has what the interface says."""
        self.assertTrue(verifyObject(IMapServer, self.maps))

    def test_answer(self) -> None:
        """A request is the first command of a new worker; it stays for more."""
        peer = self.getReady()
        answer = self.ask(url="http://h/1")
        process = self.forked(peer)
        asked = process.peer.asked[0][0]
        self.assertEqual(asked["project"], "/p")
        self.assertEqual(asked["directory"], "/jobs/p")
        self.assertEqual(asked["method"], "GET")
        self.assertNoResult(answer)
        process.answer(201)
        response = self.successResultOf(answer)
        self.assertEqual((response.status, response.headers), (201, {"A": "b"}))
        self.assertEqual(response.body, os.path.join(self.answers, "1.body"))
        os.unlink(response.body)
        again = self.ask(url="http://h/2")
        process.link.flush()
        process.answer()
        self.assertEqual(self.take(again), "http://h/2")
        self.assertEqual(len(peer.forks), 1)

    def test_prepare(self) -> None:
        """A project is made without a map."""
        peer = self.getReady()
        done = self.maps.prepare(MapRequest("/p", "", "/jobs/p"))
        process = self.forked(peer)
        self.assertEqual(process.peer.asked[0][0], {"directory": "/jobs/p"})
        self.assertNoResult(done)
        process.answer()
        self.assertIsNone(self.successResultOf(done))

    def test_waitsForQGIS(self) -> None:
        """A request that comes before QGIS is ready waits for it."""
        answer = self.ask()
        self.assertNoResult(answer)
        self.forked(self.getReady()).answer()
        self.take(answer)

    def test_sideBySide(self) -> None:
        """Two workers may serve one project; a third request waits."""
        peer = self.getReady()
        answers = [self.ask(url=str(n)) for n in range(3)]
        first = self.reactor.links[-2].attach(MapWorkerPeer())
        second = self.forked(peer)
        peer.forks[0].callback({"pid": 90})
        self.link.flush()
        self.reactor.links[-2].flush()
        self.assertEqual((len(peer.forks), len(first.asked)), (2, 1))
        second.answer()
        second.link.flush()
        second.answer()
        self.assertEqual([self.take(answers[n]) for n in (1, 2)], ["1", "2"])

    def test_replacesIdle(self) -> None:
        """The one that was idle for longest gives way to another project."""
        peer = self.getReady()
        processes = []
        for project in ("/p", "/q"):
            answer = self.ask(project)
            processes.append(self.forked(peer))
            processes[-1].answer()
            self.take(answer)
        answer = self.ask("/p")  # so /q's is idle for longest
        processes[0].link.flush()
        processes[0].answer()
        self.take(answer)
        answers = [self.ask("/r"), self.ask("/r")]
        self.reactor.advance(0)
        self.assertTrue(processes[0].link.open)
        self.assertFalse(processes[1].link.open)
        self.assertEqual(len(peer.forks), 2)
        self.exits(processes[1], peer)
        third = self.forked(peer)
        third.answer()
        third.link.flush()
        third.answer()
        for answer in answers:
            self.take(answer)

    def test_fairness(self) -> None:
        """Requests of its own overtake others only some times in a row."""
        peer = self.getReady()
        self.ask("/q")
        self.forked(peer)
        self.ask("/p", "first")
        process = self.forked(peer)
        other = self.ask("/r", "other")
        own = [self.ask("/p", str(n)) for n in range(IN_A_ROW + 2)]
        for _ in range(IN_A_ROW + 1):
            process.link.flush()
            process.answer()
        for answer in own[:IN_A_ROW]:
            self.take(answer)
        self.assertNoResult(own[IN_A_ROW])
        self.reactor.advance(0)
        self.exits(process, peer)
        third = self.forked(peer)
        self.assertEqual(third.peer.asked[0][0]["url"], "other")
        third.answer()
        self.take(other)
        os.unlink(os.path.join(self.answers, "2.body"))

    def test_queueIsFull(self) -> None:
        """No more than so many wait."""
        answers = [self.ask() for _ in range(LIMITS.waiting)]
        error = refusal(self, self.ask())
        self.assertEqual(error.status, 503)
        self.assertIsNotNone(error.retryAfter)
        answers[0].cancel()
        self.failureResultOf(answers[0], CancelledError)
        self.assertNoResult(self.ask())

    def test_idleEnds(self) -> None:
        """A worker without work ends after a while."""
        peer = self.getReady()
        answer = self.ask()
        process = self.forked(peer)
        process.answer()
        self.take(answer)
        self.reactor.advance(59)
        self.assertTrue(process.link.open)
        self.reactor.advance(1)
        self.reactor.advance(0)
        self.assertFalse(process.link.open)
        self.exits(process, peer)
        self.ask()
        self.link.flush()
        self.assertEqual(len(peer.forks), 2)

    def test_tooSlowWaiting(self) -> None:
        """Who waits for too long is told so."""
        answer = self.ask()
        self.reactor.advance(30)
        error = refusal(self, answer)
        self.assertEqual(error.status, 504)
        self.assertIn("30 s", str(error))

    def test_tooSlowRunning(self) -> None:
        """A worker that takes too long is killed; the next request has another."""
        peer = self.getReady()
        answer = self.ask()
        process = self.forked(peer)
        waiting = [self.ask("/q"), self.ask("/r")]
        self.reactor.advance(29)
        self.assertEqual(self.signals.sent, [])
        self.reactor.advance(1)
        self.assertEqual(refusal(self, answer).status, 504)
        self.assertIn(("killpg", process.pid, signal.SIGKILL), self.signals.sent)
        self.exits(process, peer, 9)
        for each in waiting:
            self.assertEqual(refusal(self, each).status, 504)

    def test_crash(self) -> None:
        """A worker's death costs its request; nothing is tried again."""
        peer = self.getReady()
        answer = self.ask()
        process = self.forked(peer)
        with capturedLogs() as logs:
            self.exits(process, peer, 11)
        error = refusal(self, answer)
        self.assertEqual(error.status, 502)
        self.assertIn("SIGSEGV", str(error))
        self.assertEqual(len(logs), 1)
        self.assertEqual(len(peer.forks), 1)
        again = self.ask()
        self.forked(peer).answer()
        self.take(again)

    def test_faults(self) -> None:
        """What a worker can't do has a status; the worker goes on."""
        peer = self.getReady()
        answer = self.ask()
        process = self.forked(peer)
        unknown = "this map could not be made; the server's log has why"
        for text, status, told in (
            ("404 no layers", 404, "no layers"),
            ("501 install it", 501, "install it"),
            ("507 no room", 507, "no room"),
            ("RuntimeError: oh", 500, unknown),
        ):
            process.peer.asked[-1][1].errback(WorkerFault(text))
            process.link.flush()
            error = refusal(self, answer)
            self.assertEqual((error.status, str(error)), (status, told))
            answer = self.ask()
            process.link.flush()
        process.answer()
        self.take(answer)

    def test_faultNamesMAP(self) -> None:
        """What is wrong with a project is wrong with C{MAP}."""
        peer = self.getReady()
        answer = self.ask()
        process = self.forked(peer)
        process.peer.asked[-1][1].errback(WorkerFault("400 damaged"))
        process.link.flush()
        [fault] = refusal(self, answer).faults
        self.assertEqual(fault, Fault("InvalidParameterValue", "damaged", "MAP"))

    def test_tooLong(self) -> None:
        """What no message can hold fails; others are answered, by the same worker."""
        peer = self.getReady()
        self.ask("/q")
        other = self.forked(peer)
        first = self.ask()
        process = self.forked(peer)
        long, waiting = self.ask(url="x" * 70_000), self.ask(url="short")
        self.assertNoResult(long)
        process.answer()
        self.take(first)
        self.assertEqual(refusal(self, long).status, 414)
        process.link.flush()
        process.answer()
        self.assertEqual(self.take(waiting), "short")
        idle = self.ask(url="x" * 70_000)
        self.assertEqual(refusal(self, idle).status, 414)
        self.assertEqual(len(peer.forks), 2)
        self.reactor.advance(LIMITS.idleTime)
        self.reactor.advance(0)
        self.assertFalse(process.link.open)
        self.assertTrue(other.link.open)

    def test_tooLongAtFirst(self) -> None:
        """The worker that was made for it takes the next request."""
        peer = self.getReady()
        self.assertEqual(refusal(self, self.ask(url="x" * 70_000)).status, 414)
        answer = self.ask(url="short")
        self.forked(peer).answer()
        self.assertEqual(self.take(answer), "short")
        self.assertEqual(len(peer.forks), 1)

    def test_cancelledWhileItRuns(self) -> None:
        """The answer that nobody waits for is dropped, and its file."""
        peer = self.getReady()
        answer = self.ask()
        process = self.forked(peer)
        answer.cancel()
        self.failureResultOf(answer, CancelledError)
        self.assertEqual(self.signals.sent, [])
        process.answer()
        (folder,) = os.listdir(self.answers)
        self.assertEqual(os.listdir(os.path.join(self.answers, folder)), [])
        self.ask()
        process.link.flush()
        self.assertEqual(len(process.peer.asked), 2)

    def test_cancelledAndStuck(self) -> None:
        """It is killed in time though nobody waits for it."""
        peer = self.getReady()
        answer = self.ask()
        process = self.forked(peer)
        answer.cancel()
        self.reactor.advance(30)
        self.assertIn(("killpg", process.pid, signal.SIGKILL), self.signals.sent)

    def test_neverForked(self) -> None:
        """Where no process can be made, the request fails."""
        self.getReady()
        self.reactor.refusal = OSError("no descriptors")
        error = refusal(self, self.ask())
        self.assertIn("no descriptors", str(error))

    def test_killedBeforeItsFork(self) -> None:
        """A worker that is not wanted any more ends as soon as it is there."""
        peer = self.getReady()
        answer = self.ask()
        self.reactor.advance(29)
        self.maps.release("/jobs/p")
        self.assertEqual(refusal(self, answer).status, 404)
        process = self.forked(peer)
        self.assertEqual(self.signals.sent, [("killpg", process.pid, signal.SIGKILL)])

    def test_release(self) -> None:
        """With a job go its workers and its requests, and no others."""
        peer = self.getReady()
        running, other = self.ask("/p"), self.ask("/q")
        self.link.flush()
        waiting, others = self.ask("/p"), self.ask("/q")
        self.maps.release("/jobs/p")
        for answer in (running, waiting):
            self.assertEqual(refusal(self, answer).status, 404)
        for answer in (other, others):
            self.assertNoResult(answer)
        self.assertEqual(len(peer.forks), 2)

    def test_leftovers(self) -> None:
        """What an earlier run has left is removed at the start."""
        path = os.path.join(self.answers, "7.body")
        with open(path, "w"):
            pass
        self.maps.start()
        self.assertEqual(os.listdir(self.answers), [])

    def test_stopped(self) -> None:
        """Nobody waits for a server that stops."""
        waiting = self.ask()
        self.stop()
        for answer in (waiting, self.ask()):
            self.assertEqual(refusal(self, answer).status, 503)


class RecyclingTests(MapsTestCase):
    """Workers that answer few requests."""

    limits = Limits(workers=1, maxRequests=2)

    def test_recycled(self) -> None:
        """After so many requests a new worker takes over."""
        peer = self.getReady()
        answers = [self.ask(url=str(n)) for n in range(3)]
        process = self.forked(peer)
        for _ in range(2):
            process.link.flush()
            process.answer()
        self.reactor.advance(0)
        self.assertFalse(process.link.open)
        self.exits(process, peer)
        self.forked(peer).answer()
        self.assertEqual([self.take(answer) for answer in answers], ["0", "1", "2"])


class GenerationTests(MapsTestCase):
    """A fork server that ends."""

    def test_forkServerDies(self) -> None:
        """Its workers' requests fail; those that wait have the next one."""
        peer = self.getReady()
        running = [self.ask("/p"), self.ask("/q")]
        self.forked(peer)
        waiting = self.ask("/r")
        self.reactor.processes[-1].end(signal=9)
        for answer in running:
            self.reactor.advance(0)
            for link in self.reactor.links:
                link.close()
            self.assertEqual(refusal(self, answer).status, 502)
        self.assertNoResult(waiting)
        self.reactor.advance(FIRST_DELAY)
        self.forked(self.getReady()).answer()
        self.take(waiting)

    def test_retired(self) -> None:
        """Idle workers don't keep a fork server that is to be replaced."""
        peer = self.getReady()
        old = self.reactor.processes[-1]
        answer = self.ask("/p")
        idle = self.forked(peer)
        idle.answer()
        self.take(answer)
        answer = self.ask("/q")
        busy = self.forked(peer)
        link = self.link
        self.pool._spawn()  # as a reload will
        self.getReady()
        self.link = link
        self.reactor.advance(0)
        self.assertFalse(idle.link.open)
        self.assertTrue(busy.link.open)
        self.exits(idle, peer)
        busy.answer()
        self.take(answer)
        self.reactor.advance(0)
        self.assertFalse(busy.link.open)
        self.exits(busy, peer)
        self.reactor.advance(0)
        self.assertFalse(link.open)
        old.end(0)


class EndTests(MapsTestCase):
    """The end of a worker that has nothing to do."""

    def test_idleDies(self) -> None:
        """Nobody notices; the next request has a new one."""
        peer = self.getReady()
        answer = self.ask()
        process = self.forked(peer)
        process.answer()
        self.take(answer)
        self.exits(process, peer, Exit(9).status or 0)
        self.ask()
        self.link.flush()
        self.assertEqual(len(peer.forks), 2)
