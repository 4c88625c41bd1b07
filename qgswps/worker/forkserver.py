"""
The fork server: starts QGIS, warms it up, and then does nothing but fork.

It never runs a job and never opens a project, so that each worker is forked
from the same pristine state.
"""

from __future__ import annotations

import contextlib
import faulthandler
import gc
import math
import os
import select
import signal
import socket
import sys
import time
import traceback
import warnings
from collections.abc import Callable
from typing import NoReturn, cast

from qgswps import codec
from qgswps.model import WorkerSettings
from qgswps.pool.commands import (
    PROTOCOL_VERSION,
    Exited,
    Fork,
    LogMessage,
    QuietAMP,
    Ready,
    WorkerFault,
    clip,
)
from qgswps.worker import isolation, qgisapp
from qgswps.worker.loop import BlockingTransport
from qgswps.worker.sandbox import Sandbox
from qgswps.worker.supervision import Supervisor

#: Seconds that processes may take to end that were killed.  The server waits
#: for longer than that.
_LAST = 2.0


class ForkServerProtocol(QuietAMP):
    """
    Forks on demand.

    @ivar workers: process ids of the workers that live.
    @ivar events: the eventfds that a child must not share.
    """

    def __init__(
        self,
        work: Callable[[socket.socket, set[int | signal.Signals]], None],
        supervisor: Supervisor,
    ) -> None:
        """
        @param work: what a forked child does with its socket and the signals
            to block.
        @param supervisor: looks at the workers.
        """
        super().__init__()
        self.workers: set[int] = set()
        self.events: tuple[int, ...] = ()
        self._work = work
        self._supervisor = supervisor
        # Of workers that were ended for it.
        self._excesses: dict[int, str] = {}

    @Fork.responder
    def fork(self, socket: int) -> dict[str, int]:
        """Make a worker that talks on this descriptor."""
        try:
            pid = self._fork(socket)
        except OSError as error:
            raise WorkerFault(f"cannot fork: {error}") from None
        finally:
            os.close(socket)
        self.workers.add(pid)
        return {"pid": pid}

    def _fork(self, descriptor: int) -> int:
        parent = os.getpid()
        sys.stdout.flush()
        sys.stderr.flush()
        # Signals stay blocked until the child has handlers of its own.
        mask = signal.pthread_sigmask(
            signal.SIG_BLOCK, (signal.SIGTERM, signal.SIGCHLD, signal.SIGINT)
        )
        try:
            with warnings.catch_warnings():
                # Python warns of a fork beside threads. It is meant here: the
                # idle helper threads of Qt are not needed in the child.
                warnings.simplefilter("ignore", DeprecationWarning)
                pid = os.fork()
            if pid == 0:
                self._becomeWorker(parent, descriptor, mask)
            return pid
        finally:
            signal.pthread_sigmask(signal.SIG_SETMASK, mask)

    def _becomeWorker(
        self, parent: int, descriptor: int, mask: set[int | signal.Signals]
    ) -> NoReturn:
        try:
            isolation.becomeWorker(parent, self.events)
            signal.set_wakeup_fd(-1)
            signal.signal(signal.SIGCHLD, signal.SIG_DFL)
            signal.signal(signal.SIGINT, signal.SIG_DFL)
            cast(BlockingTransport, self.transport).connection.close()
            # Those that came together with ours are our siblings': as long as
            # we had them, the server would not see a sibling's end.
            for sibling in self._descriptors.values():
                os.close(sibling)
            connection = socket.socket(fileno=os.dup(descriptor))
            os.close(descriptor)
            self._work(connection, mask)
        except BaseException:
            traceback.print_exc()
        # Whatever happens, a child never runs the fork server's loop.
        os._exit(70)

    def reap(self) -> None:
        """Report the workers that have ended, and end what they left behind."""
        self._report()
        # What left its worker's process group comes to us when the worker ends,
        # since we adopt orphans; and what has left its worker while that lives.
        isolation.endTrees(isolation.orphans(self.workers))

    def _report(self) -> None:
        while True:
            try:
                pid, status, usage = os.wait4(-1, os.WNOHANG)
            except ChildProcessError:
                break
            if pid == 0:
                break
            if pid in self.workers:
                self.workers.discard(pid)
                self.callRemote(
                    Exited,
                    pid=pid,
                    status=status,
                    peak=usage.ru_maxrss,
                    excess=self._excesses.pop(pid, ""),
                )

    @property
    def patience(self) -> float | None:
        """Seconds until the workers are to be looked at; None without any."""
        if not self.workers:
            return None
        return max(0.0, self._supervisor.due - time.monotonic())

    def look(self) -> None:
        """End the workers that have too much, if it is time to look."""
        if self.patience != 0:
            return
        self.reap()
        self._excesses.update(self._supervisor.look(self.workers))
        isolation.endTrees(self._excesses)

    def killAll(self) -> None:
        """End all workers, and all that they have started; wait until they have."""
        isolation.endTrees(isolation.orphans(set()))
        deadline = time.monotonic() + _LAST
        with contextlib.suppress(ChildProcessError):
            while time.monotonic() < deadline:
                if os.waitpid(-1, os.WNOHANG)[0] == 0:
                    time.sleep(0.005)

    def log(self, level: str, text: str) -> None:
        """Send a line to the server's log."""
        self.callRemote(LogMessage, level=level, text=clip(text))


def serve(connection: socket.socket, settings: WorkerSettings) -> None:
    """
    Start QGIS, say Ready, fork until the server closes the connection.

    @param connection: UNIX socket to the server.
    """
    # To the server it means a reload.  It may be sent to all of its processes,
    # as systemctl kill does, and must not end a job.
    signal.signal(signal.SIGHUP, signal.SIG_IGN)
    # A server that dies now would not be noticed before QGIS has started.
    isolation.dieWithParent()
    isolation.adoptOrphans()

    def work(connection: socket.socket, mask: set[int | signal.Signals]) -> None:
        child.main(connection, mask, sandbox)

    protocol = ForkServerProtocol(work, Supervisor(settings.sandbox))
    transport = BlockingTransport(connection, protocol)
    qgisapp.start(settings, protocol.log)
    # They need QGIS's own plugins, which only a started QGIS can import.
    from qgswps.worker import catalogue, child

    published = catalogue.build(settings)
    codec.writeCatalogue(settings.catalogue, published)
    for omission in published.omitted:
        protocol.log("info", f"not published: {omission.name}: {omission.reason}")
    qgisapp.warmUp()
    sandbox = Sandbox(settings)
    if sandbox.refusal:
        protocol.log(
            "warn", f"jobs can read and write what the server can: {sandbox.refusal}"
        )

    wakeUp, signalled = socket.socketpair()
    for end in (wakeUp, signalled):
        end.setblocking(False)
    signal.set_wakeup_fd(signalled.fileno(), warn_on_full_buffer=False)
    signal.signal(signal.SIGCHLD, lambda *_: None)
    signal.signal(signal.SIGTERM, lambda *_: transport.loseConnection())
    # The server's Ctrl-C is the server's affair.
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    # From here the end of the connection tells that the server is gone, and
    # the workers' own children can be ended in order.
    isolation.dieWithParent(0)
    # A worker that crashes writes where it was to what is standard error then:
    # the log of its job.
    faulthandler.enable(file=2)
    protocol.events = isolation.eventDescriptors()
    gc.collect()
    gc.freeze()
    protocol.callRemote(
        Ready,
        pid=os.getpid(),
        protocol=PROTOCOL_VERSION,
        qgisVersion=qgisapp.version(),
        catalogue=settings.catalogue,
    )
    poll = select.poll()
    poll.register(connection, select.POLLIN)
    poll.register(wakeUp, select.POLLIN)
    while transport.connected:
        patience = protocol.patience
        for descriptor, _ in poll.poll(
            None if patience is None else math.ceil(patience * 1000)
        ):
            if descriptor == wakeUp.fileno():
                wakeUp.recv(4096)
                protocol.reap()
            elif not transport.receive():
                break
        protocol.look()
    protocol.killAll()
    os._exit(0)
