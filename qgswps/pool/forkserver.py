"""
One fork server process, as the server sees it: a ProcessProtocol for its
life, an AMP connection for its work.
"""

from __future__ import annotations

import contextlib
import enum
import os
import signal
import socket
import sys
from collections.abc import Callable
from typing import Any

from twisted.internet.defer import Deferred, TimeoutError
from twisted.internet.error import (
    ConnectionDone,
    ConnectionLost,
    ProcessExitedAlready,
    ProcessTerminated,
)
from twisted.internet.protocol import (
    Factory,
    ProcessProtocol,
    Protocol,
    connectionDone,
)
from twisted.logger import LogLevel
from twisted.protocols import amp
from twisted.python.failure import Failure

from qgswps.journal import Logger
from qgswps.pool.commands import (
    PROTOCOL_VERSION,
    Exited,
    Fork,
    LogMessage,
    QuietAMP,
    Ready,
)
from qgswps.pool.exits import Exit
from qgswps.pool.worker import Worker

log = Logger()

#: Seconds that a fork server may take for one fork before it counts as stuck.
FORK_TIMEOUT = 30

#: Seconds that a fork server may take to end before it is killed.
STOP_TIMEOUT = 5


class State(enum.Enum):
    """The life of a fork server."""

    SPAWNING = "spawning"
    READY = "ready"
    DRAINING = "draining"
    DEAD = "dead"


class ForkServerFailed(Exception):
    """A fork server ended, or never got ready."""


class _Adopted(Factory):
    """Gives one connection its protocol."""

    noisy = False

    def __init__(self, protocol: Protocol) -> None:
        self._protocol = protocol

    def buildProtocol(self, addr: Any) -> Protocol:
        return self._protocol


def connect(reactor: Any, protocol: Protocol) -> socket.socket:
    """
    Make a UNIX socket pair and give one end to a protocol.

    @return: the other end, which the caller has to close.
    """
    ours, theirs = socket.socketpair(socket.AF_UNIX, socket.SOCK_STREAM)
    try:
        ours.setblocking(False)
        reactor.adoptStreamConnection(ours.fileno(), socket.AF_UNIX, _Adopted(protocol))
    finally:
        ours.close()  # the reactor has its own descriptor
    return theirs


class ForkServerConnection(QuietAMP):
    """The server's end of the fork server's socket."""

    def __init__(self, forkServer: ForkServer) -> None:
        super().__init__()
        self.forkServer = forkServer

    @Ready.responder
    def ready(
        self, pid: int, protocol: int, qgisVersion: str, catalogue: str
    ) -> dict[str, Any]:
        """QGIS is warmed up."""
        self.forkServer.isReady(protocol, qgisVersion)
        return {}

    @Exited.responder
    def exited(self, pid: int, status: int, peak: int, excess: str) -> dict[str, Any]:
        """A worker is gone."""
        self.forkServer.workerExited(pid, Exit(status, peak), excess)
        return {}

    @LogMessage.responder
    def logMessage(self, level: str, text: str) -> dict[str, Any]:
        """A line for the log."""
        log.emit(LogLevel.lookupByName(level), "{text}", text=text)
        return {}

    def connectionLost(self, reason: Failure = connectionDone) -> None:
        """The process has ended or is about to."""
        super().connectionLost(reason)
        self.forkServer.connectionLost()


class _Process(ProcessProtocol):
    """The life and the output of a fork server's process."""

    def __init__(self, forkServer: ForkServer) -> None:
        self.forkServer = forkServer

    def outReceived(self, data: bytes) -> None:
        self._log(data)

    def errReceived(self, data: bytes) -> None:
        self._log(data)

    def _log(self, data: bytes) -> None:
        for line in data.decode("utf-8", "replace").splitlines():
            if line.strip():
                log.info(
                    "fork server {pid}: {line}", pid=self.forkServer.pid, line=line
                )

    def processEnded(self, reason: Failure) -> None:
        self.forkServer.processEnded(reason)


class ForkServer:
    """
    A QGIS process that forks workers.

    @ivar state: where it is in its life.
    @ivar proven: whether one of its workers has done its work.
    @ivar ready: Deferred of the QGIS version; fails with
        L{ForkServerFailed} if it ends or takes too long before it is ready.
    @ivar ended: Deferred that fires with L{ForkServerFailed} (as a value)
        when the process is gone, whatever the reason.
    """

    def __init__(
        self,
        reactor: Any,
        settingsPath: str,
        environment: dict[str, str],
        startTimeout: float = 60,
        grace: float = 5,
        hasForked: Callable[[float], None] | None = None,
    ) -> None:
        """
        @param hasForked: is told the seconds of each fork, from the request to
            the answer.
        """
        self.state = State.SPAWNING
        self.proven = False
        self.pid: int | None = None
        self.ready: Deferred[str] = Deferred()
        self.ended: Deferred[ForkServerFailed] = Deferred()
        self._reactor = reactor
        self._settingsPath = settingsPath
        self._environment = environment
        self._startTimeout = startTimeout
        self._grace = grace
        self._hasForked = hasForked
        self._connection = ForkServerConnection(self)
        self._workers: dict[int, Worker] = {}
        self._forking: list[Worker] = []
        self._transport: Any = None
        self._startTimer: Any = None
        self._killer: Any = None
        self._reason = ""

    def start(self) -> Deferred[str]:
        """
        Spawn the process.

        @return: L{ready}.
        """
        try:
            theirs = connect(self._reactor, self._connection)
            try:
                self._transport = self._reactor.spawnProcess(
                    _Process(self),
                    sys.executable,
                    [sys.executable, "-m", "qgswps.worker", "3", self._settingsPath],
                    env=self._environment,
                    childFDs={0: "w", 1: "r", 2: "r", 3: theirs.fileno()},
                )
            finally:
                theirs.close()
        except BaseException:
            self.state = State.DEAD
            raise
        self._transport.closeStdin()
        self.pid = self._transport.pid
        self._startTimer = self._reactor.callLater(self._startTimeout, self._tooSlow)
        return self.ready

    def _tooSlow(self) -> None:
        self.kill(f"it was not ready after {self._startTimeout:g} seconds")

    def isReady(self, protocol: int, qgisVersion: str) -> None:
        """The process says so."""
        if not self._startTimer.active():
            return  # too late, or for the second time
        self._startTimer.cancel()
        if protocol != PROTOCOL_VERSION:
            self.kill(f"it speaks protocol {protocol}, not {PROTOCOL_VERSION}")
            return
        self.state = State.READY
        self.ready.callback(qgisVersion)

    def fork(
        self,
        command: type[amp.Command],
        reportProgress: Callable[[float | None, str], None],
        **arguments: Any,
    ) -> Worker:
        """Make a worker that answers one command."""
        worker = Worker(self._reactor, self._grace, reportProgress)
        if self.state is not State.READY:
            worker.hasExited(Exit(), f"the fork server is {self.state.value}")
            return worker
        try:
            theirs = connect(self._reactor, worker.connection)
        except OSError as error:  # no descriptors left
            worker.hasExited(Exit(), f"no process could be made: {error}")
            return worker
        # The command waits in the socket until the worker reads it: no
        # round trip is spent on waiting for the fork.
        worker.ask(command, **arguments)
        self._forking.append(worker)
        begun = self._reactor.seconds()
        forked: Deferred[dict[str, int]] = self._connection.callRemote(
            Fork, socket=theirs.fileno()
        )
        forked.addTimeout(FORK_TIMEOUT, self._reactor)

        def done(result: Any) -> Any:
            theirs.close()
            return result

        def succeeded(answer: dict[str, int]) -> None:
            self._forking.remove(worker)
            if self._hasForked is not None:
                self._hasForked(self._reactor.seconds() - begun)
            self._workers[answer["pid"]] = worker
            worker.hasForked(answer["pid"])

        def failed(failure: Failure) -> None:
            if failure.check(ConnectionDone, ConnectionLost):
                return  # the end of the process will tell why
            self._forking.remove(worker)
            worker.hasExited(Exit(), f"no process could be made: {failure.value}")
            if failure.check(TimeoutError):
                self.kill(f"it did not fork within {FORK_TIMEOUT} seconds")
            self._stopIfDrained()

        forked.addBoth(done)
        forked.addCallbacks(succeeded, failed)
        forked.addErrback(lambda f: log.failure("a fork went wrong", f))
        return worker

    def workerExited(self, pid: int, exit: Exit, excess: str = "") -> None:
        """The process says that a worker is gone, or why it has ended it."""
        worker = self._workers.pop(pid, None)
        if worker is not None:
            self.proven = self.proven or exit.status == 0
            worker.hasExited(exit, excess)
        self._stopIfDrained()

    def connectionLost(self) -> None:
        """The process is gone, about to go, or can't be used any more."""
        if self.state is not State.DEAD:
            self.state = State.DRAINING
            self._killAfter(STOP_TIMEOUT, "it closed its connection")

    @property
    def busy(self) -> bool:
        """It has workers, or is making one."""
        return bool(self._workers or self._forking)

    def drain(self) -> None:
        """Let the workers finish, then end; no more forks are asked for."""
        if self.state is State.READY:
            self.state = State.DRAINING
        self._stopIfDrained()

    def _stopIfDrained(self) -> None:
        if self.state is State.DRAINING and not self.busy:
            self.stop()

    def stop(self) -> Deferred[ForkServerFailed]:
        """
        End the process and its workers now.

        @return: L{ended}.
        """
        self._reason = self._reason or "it was stopped"
        if self.state is State.SPAWNING:
            self.kill("")  # it does not look at its connection yet
        elif self.state is not State.DEAD:
            if self._connection.transport is not None:
                self._connection.transport.loseConnection()
            self._killAfter(STOP_TIMEOUT, "")
        return self.ended

    def _killAfter(self, seconds: float, reason: str) -> None:
        if self._killer is None:
            self._killer = self._reactor.callLater(seconds, self.kill, reason)

    def kill(self, reason: str) -> None:
        """End the process the hard way."""
        if self.state is State.DEAD:
            return
        self._reason = self._reason or reason
        # If it has exited, processEnded is about to be called.
        with contextlib.suppress(ProcessExitedAlready):
            self._transport.signalProcess("KILL")

    def processEnded(self, reason: Failure) -> None:
        """The process is gone."""
        self.state = State.DEAD
        for timer in (self._startTimer, self._killer):
            if timer is not None and timer.active():
                timer.cancel()
        status = (
            reason.value.status if isinstance(reason.value, ProcessTerminated) else 0
        )
        text = self._reason or str(Exit(status))
        failure = ForkServerFailed(f"the fork server {self.pid} ended: {text}")
        if self._connection.transport is not None:
            self._connection.transport.loseConnection()
        workers, self._workers = self._workers, {}
        for pid, worker in workers.items():
            # The kernel ends the workers, but not what they have started.
            with contextlib.suppress(ProcessLookupError):
                os.killpg(pid, signal.SIGKILL)
            worker.hasExited(Exit(), str(failure))
        forking, self._forking = self._forking, []
        for worker in forking:
            worker.hasExited(Exit(), str(failure))
        if not self.ready.called:
            self.ready.errback(Failure(failure))
        self.ended.callback(failure)
