"""
Tests of L{qgswps.worker.isolation}, and of the forks that use it.

What changes a process is tried in a process of its own, which says what it
sees.  None of them needs QGIS.
"""

from __future__ import annotations

import json
import os
import subprocess
import sys
import textwrap
from typing import Any

from twisted.trial.unittest import SynchronousTestCase

import qgswps

ROOT = os.path.dirname(os.path.dirname(os.path.abspath(qgswps.__file__)))

_PROLOGUE = """
import json, os, signal, socket, subprocess, sys, time
from qgswps.worker import isolation

def inChild(work):
    "What a function in a forked child returns."
    reading, writing = os.pipe()
    if os.fork() == 0:
        try:
            os.write(writing, json.dumps(work()).encode())
        finally:
            os._exit(0)
    os.close(writing)
    os.wait()
    with os.fdopen(reading) as file:
        return json.load(file)

def forked(work):
    "A forked child that does something and then waits to be killed."
    pid = os.fork()
    if pid == 0:
        try:
            work()
            signal.pause()
        finally:
            os._exit(70)
    return pid

def ended(pid):
    "Whether a process is gone, or is soon."
    for _ in range(500):
        try:
            with open(f"/proc/{pid}/stat") as file:
                if file.read().rpartition(")")[2].split()[0] in "ZX":
                    return True
        except (FileNotFoundError, ProcessLookupError):
            return True
        time.sleep(0.01)
    return False

def tell(value):
    print(json.dumps(value), flush=True)
"""


def run(program: str) -> Any:
    """What a program tells of itself."""
    done = subprocess.run(
        [sys.executable, "-c", _PROLOGUE + textwrap.dedent(program)],
        cwd=ROOT,
        env={**os.environ, "PYTHONPATH": ROOT},
        capture_output=True,
        timeout=30,
        check=False,
    )
    if done.returncode != 0:
        raise AssertionError(done.stderr.decode())
    return json.loads(done.stdout)


class IsolationTests(SynchronousTestCase):
    """What makes a child a process of its own."""

    def test_eventDescriptors(self) -> None:
        """
        A child's eventfds have the old numbers, but nothing in common with
        those of its parent; other descriptors are left alone.
        """
        seen = run(
            """
            def read(number):
                try:
                    return os.eventfd_read(number)
                except BlockingIOError:
                    return None

            shared = [os.eventfd(0, os.EFD_NONBLOCK) for _ in range(3)]
            other = os.open("/", os.O_RDONLY)
            os.eventfd_write(shared[1], 5)
            found = isolation.eventDescriptors()

            def child():
                before = os.listdir("/proc/self/fd")
                isolation.ownEventDescriptors(found)
                os.eventfd_write(shared[0], 7)
                os.eventfd_write(shared[2], 9)
                return [
                    os.listdir("/proc/self/fd") == before,
                    read(shared[0]),
                    read(shared[1]),
                    os.path.samestat(os.fstat(other), os.stat("/")),
                ]

            tell([list(found) == shared, inChild(child), [read(n) for n in shared]])
            """
        )
        self.assertEqual(seen, [True, [True, 7, None, True], [None, 5, None]])

    def test_becomeWorker(self) -> None:
        """
        A worker leads a session, has its own eventfds, draws its own numbers
        and dies first.
        """
        seen = run(
            """
            import random
            random.seed(1)
            event = os.eventfd(1, os.EFD_NONBLOCK)
            parent = os.getpid()

            def child():
                isolation.becomeWorker(parent, [event])
                with open("/proc/self/oom_score_adj") as file:
                    score = int(file.read())
                leads = os.getpid() == os.getsid(0) == os.getpgid(0)
                try:
                    shared = os.eventfd_read(event)
                except BlockingIOError:
                    shared = None
                return [leads, score, shared, random.random()]

            tell([inChild(child), inChild(child)])
            """
        )
        for worker in seen:
            self.assertEqual(worker[:3], [True, 500, None])
        self.assertNotEqual(seen[0][3], seen[1][3])

    def test_parentIsGone(self) -> None:
        """A worker whose parent has ended before it could care ends too."""
        seen = run(
            """
            me = os.getpid()
            child = forked(lambda: isolation.becomeWorker(me + 1, []))
            tell(os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]))
            """
        )
        self.assertEqual(seen, 1)

    def test_parentDies(self) -> None:
        """A worker dies with its parent, however that dies."""
        seen = run(
            """
            reading, writing = os.pipe()

            def worker(parent, cares):
                isolation.becomeWorker(parent, [])
                if not cares:
                    isolation.dieWithParent(0)
                os.write(writing, json.dumps([cares, os.getpid()]).encode() + b"\\n")

            def forkServer():
                me = os.getpid()
                for cares in (True, False):
                    forked(lambda: worker(me, cares))

            parent = forked(forkServer)
            with os.fdopen(reading) as file:
                workers = dict(json.loads(file.readline()) for _ in range(2))
            os.kill(parent, signal.SIGKILL)
            os.waitpid(parent, 0)
            told = [ended(workers[True]), os.path.exists(f"/proc/{workers[False]}")]
            os.kill(workers[False], signal.SIGKILL)
            tell(told)
            """
        )
        self.assertEqual(seen, [True, True])

    def test_orphans(self) -> None:
        """Who has lost its parent is found, whatever group it is in."""
        seen = run(
            """
            isolation.adoptOrphans()
            reading, writing = os.pipe()

            def work():
                os.setsid()
                orphan = subprocess.Popen(["sleep", "60"], start_new_session=True)
                os.write(writing, b"%d" % orphan.pid)

            worker = forked(work)
            orphan = int(os.read(reading, 99))
            told = [list(isolation.orphans({worker}))]
            isolation.killGroup(worker)
            os.waitpid(worker, 0)
            told.append(list(isolation.orphans(set())) == [orphan])
            told.append(list(isolation.orphans({orphan})))
            os.kill(orphan, signal.SIGKILL)
            told.append(os.waitpid(orphan, 0)[0] == orphan)
            told.append(list(isolation.orphans(set())))
            tell(told)
            """
        )
        self.assertEqual(seen, [[], True, [], True, []])

    def test_endTrees(self) -> None:
        """Children end with all that is below them, whatever group that is in."""
        seen = run(
            """
            from qgswps import processes

            def work():
                for _ in range(3):
                    if os.fork() == 0:
                        os.setsid()

            others = subprocess.Popen(["sleep", "60"])
            root = forked(work)
            while len(found := processes.tree(root)) < 8:
                time.sleep(0.01)
            told = [len(processes.tree(root, 3)) >= 3]
            isolation.endTrees([root])
            os.waitpid(root, 0)
            told += [all(map(ended, found)), others.poll() is None]
            others.kill()
            tell(told)
            """
        )
        self.assertEqual(seen, [True, True, True])

    def test_killGroup(self) -> None:
        """A group is killed with all that is in it; there need not be one."""
        seen = run(
            """
            reading, writing = os.pipe()

            def work():
                os.setsid()
                os.write(writing, b"%d" % subprocess.Popen(["sleep", "60"]).pid)

            worker = forked(work)
            child = int(os.read(reading, 99))
            isolation.killGroup(worker)
            status = os.waitpid(worker, 0)[1]
            told = [os.waitstatus_to_exitcode(status), ended(child)]
            isolation.killGroup(worker)
            tell(told)
            """
        )
        self.assertEqual(seen, [-9, True])


class ForkTests(SynchronousTestCase):
    """L{qgswps.worker.forkserver.ForkServerProtocol}, without QGIS."""

    def test_descriptors(self) -> None:
        """
        A worker has its own socket only: else the others' ends would not be
        seen before its own.
        """
        seen = run(
            """
            import types
            sys.modules["qgswps.worker.qgisapp"] = types.ModuleType("qgisapp")
            import qgswps.worker
            qgswps.worker.qgisapp = sys.modules["qgswps.worker.qgisapp"]
            from twisted.internet.testing import StringTransport
            from twisted.protocols import amp
            from qgswps.pool.commands import Fork
            from qgswps.worker.forkserver import ForkServerProtocol
            from qgswps.model import SandboxSettings
            from qgswps.worker.loop import BlockingTransport
            from qgswps.worker.supervision import Supervisor

            def work(connection, mask):
                number = connection.recv(1)
                if number == b"2":
                    os._exit(0)
                signal.pause()

            ours, theirs = socket.socketpair()
            protocol = ForkServerProtocol(work, Supervisor(SandboxSettings()))
            transport = BlockingTransport(ours, protocol)
            peer, sent = amp.AMP(), StringTransport()
            sent.sendFileDescriptor = lambda number: None
            peer.makeConnection(sent)
            pairs = [socket.socketpair() for _ in range(2)]
            for mine, other in pairs:
                peer.callRemote(Fork, socket=other.fileno())
            # As Twisted sends them: all descriptors before the first command.
            data = sent.value()
            for mine, other in pairs:
                socket.send_fds(theirs, [data[:1]], [other.fileno()])
                data = data[1:]
                other.close()
            theirs.sendall(data)
            while len(protocol.workers) < 2:
                transport.receive()
            first, second = pairs[0][0], pairs[1][0]
            first.sendall(b"1")
            second.sendall(b"2")
            second.settimeout(5)
            try:
                told = second.recv(1).decode()
            except TimeoutError:
                told = "still open"
            protocol.killAll()
            tell(told)
            """
        )
        self.assertEqual(seen, "")
