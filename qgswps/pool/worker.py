"""One worker, as the server sees it: a process id and a socket."""

from __future__ import annotations

import contextlib
import os
import signal
from collections.abc import Callable
from typing import Any

from twisted.internet.defer import Deferred
from twisted.internet.error import ConnectionDone, ConnectionLost
from twisted.internet.protocol import connectionDone
from twisted.logger import LogLevel
from twisted.protocols import amp
from twisted.python.failure import Failure

from qgswps.journal import Logger
from qgswps.pool.commands import LogMessage, Progress, QuietAMP
from qgswps.pool.exits import Exit, WorkerLost

log = Logger()

ReportProgress = Callable[["float | None", str], None]


class WorkerConnection(QuietAMP):
    """The server's end of a worker's socket."""

    def __init__(self, worker: Worker) -> None:
        super().__init__()
        self.worker = worker

    @Progress.responder
    def progress(self, percent: float, message: str) -> dict[str, Any]:
        """The algorithm reports."""
        self.worker.reportProgress(percent if percent >= 0 else None, message)
        return {}

    @LogMessage.responder
    def logMessage(self, level: str, text: str) -> dict[str, Any]:
        """The worker has something to say to the server's log."""
        log.emit(
            LogLevel.lookupByName(level),
            "worker {pid}: {text}",
            pid=self.worker.pid,
            text=text,
        )
        return {}

    def connectionLost(self, reason: Failure = connectionDone) -> None:
        """The worker has ended or is about to."""
        super().connectionLost(reason)
        self.worker.connectionLost()


class Worker:
    """
    A forked process that does one thing, or many of one kind.

    It is told of its life by the fork server that made it.

    @ivar pid: its process id, None until the fork server has told it.
    @ivar forked: Deferred of the process id; fails with L{WorkerLost}.
    @ivar answer: Deferred of the first command's answer; fails with
        L{WorkerLost} or the command's declared error.
    @ivar exited: Deferred of an L{Exit}.
    """

    def __init__(
        self, reactor: Any, grace: float, reportProgress: ReportProgress
    ) -> None:
        self.pid: int | None = None
        self.exit: Exit | None = None
        self.forked: Deferred[int] = Deferred()
        self.answer: Deferred[dict[str, Any]] = Deferred()
        self.exited: Deferred[Exit] = Deferred()
        self.reportProgress = reportProgress
        self.connection = WorkerConnection(self)
        self._reactor = reactor
        self._grace = grace
        self._connected = True
        self._unanswered: list[Deferred[dict[str, Any]]] = [self.answer]
        self._asked = False
        self._cancelled = False
        self._killer: Any = None
        self._reason = ""

    def ask(
        self, command: type[amp.Command], **arguments: Any
    ) -> Deferred[dict[str, Any]]:
        """
        Send a command; needs a connection, but no process yet.

        @return: Deferred of its answer, as L{answer}, which it is for the
            first command.
        """
        answer = self.answer if not self._asked else Deferred()
        if self._asked:
            self._unanswered.append(answer)
        self._asked = True
        if not self._connected:
            self._settle()
            return answer
        try:
            d: Deferred[dict[str, Any]] = self.connection.callRemote(
                command, **arguments
            )
        except Exception:  # an argument is longer than a message may be
            self._unanswered.remove(answer)
            answer.errback(Failure())
            return answer
        d.addCallbacks(
            self._answered, self._failed, callbackArgs=(answer,), errbackArgs=(answer,)
        )
        return answer

    def _answered(
        self, result: dict[str, Any], answer: Deferred[dict[str, Any]]
    ) -> None:
        self._unanswered.remove(answer)
        answer.callback(result)

    def _failed(self, failure: Failure, answer: Deferred[dict[str, Any]]) -> None:
        if failure.check(ConnectionDone, ConnectionLost) or not self._connected:
            return  # its end will tell why
        self._unanswered.remove(answer)
        answer.errback(failure)

    def connectionLost(self) -> None:
        """The socket is closed."""
        self._connected = False
        self._settle()

    def hasForked(self, pid: int) -> None:
        """The fork server has made the process."""
        self.pid = pid
        if self._cancelled:
            self._terminate()
        self.forked.callback(pid)

    def hasExited(self, exit: Exit, reason: str = "") -> None:
        """The process is gone, or will never be."""
        if self.exit is not None:
            return
        self.exit = exit
        self._reason = reason or self._reason or f"{exit}"
        if self._killer is not None and self._killer.active():
            self._killer.cancel()
        if self.pid is None:
            self.forked.errback(Failure(WorkerLost(self._reason, exit)))
        if self._connected and self.connection.transport is not None:
            # An answer may still be in the socket: its end comes after it.
            # Without a process nobody will close the other end.
            if self.pid is None:
                self.connection.transport.loseConnection()
        else:
            self._connected = False
        self._settle()
        self.exited.callback(exit)

    def _settle(self) -> None:
        if self._connected or self.exit is None:
            return
        unanswered, self._unanswered = self._unanswered, []
        for answer in unanswered:
            answer.errback(Failure(WorkerLost(self._reason, self.exit)))

    def dismiss(self) -> None:
        """Nothing more is asked of it: it ends when it has answered."""
        if self.connection.transport is not None:
            self.connection.transport.loseConnection()

    def cancel(self) -> None:
        """SIGTERM, and SIGKILL for the whole group after the grace time."""
        if self._cancelled or self.exit is not None:
            return
        self._cancelled = True
        if self.pid is not None:
            self._terminate()

    def _terminate(self) -> None:
        self._signal(os.kill, signal.SIGTERM)
        self._killer = self._reactor.callLater(self._grace, self.kill)

    def kill(self, reason: str = "") -> None:
        """
        SIGKILL for the process group.

        @param reason: what those are told who wait for its answers.
        """
        self._reason = self._reason or reason
        self._signal(os.killpg, signal.SIGKILL)

    def _signal(self, send: Callable[[int, int], None], number: int) -> None:
        if self.pid is None or self.exit is not None:
            return
        # If there is none, the fork server is about to tell us.
        with contextlib.suppress(ProcessLookupError):
            send(self.pid, number)
