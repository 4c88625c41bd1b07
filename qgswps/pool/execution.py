"""One job in the pool, from the wait for a fork server to its worker's end."""

from __future__ import annotations

import os
from typing import Any

from twisted.internet.defer import Deferred
from twisted.python.failure import Failure
from zope.interface import implementer

from qgswps import codec
from qgswps.interfaces import IExecution, IExecutionObserver
from qgswps.model import Result
from qgswps.pool.commands import Execute
from qgswps.pool.disk import DiskWatch
from qgswps.pool.exits import Cancelled, Exit
from qgswps.pool.forkserver import ForkServer
from qgswps.pool.worker import Worker
from qgswps.threads import inThread

#: Seconds that a worker may go on when it has answered.
LONGEST_END = 30.0


@implementer(IExecution)
class Execution:
    """
    See L{IExecution}.

    @ivar waiting: no fork server has taken it yet.
    """

    def __init__(
        self,
        reactor: Any,
        directory: str,
        observer: IExecutionObserver,
        disk: int = 0,
    ) -> None:
        """
        @param disk: the room that the job's files may take, in MiB; 0 for any.
        """
        self.result: Deferred[Result] = Deferred()
        self.exited: Deferred[Exit] = Deferred()
        self.waiting = True
        self._reactor = reactor
        self._directory = directory
        self._observer = observer
        self._worker: Worker | None = None
        self._disk = DiskWatch(reactor, directory, disk, self._end)
        self._ending: Any = None

    def begin(self, forkServer: ForkServer) -> None:
        """Take a worker of this fork server."""
        self.waiting = False
        worker = self._worker = forkServer.fork(
            Execute, self._observer.progress, directory=self._directory
        )
        worker.forked.addCallbacks(self._forked, lambda _: None)
        worker.answer.addCallback(self._read)
        worker.answer.addCallbacks(self.result.callback, self.result.errback)
        # The news of the end may overtake the answer, which comes on another
        # socket.
        worker.answer.addCallback(lambda _: worker.exited)
        worker.answer.addCallback(self._exited)
        worker.answer.addCallback(self.exited.callback)

    def _forked(self, pid: int) -> None:
        self._disk.start(pid)
        self._observer.started(pid)

    def _exited(self, exit: Exit) -> Exit | Deferred[Exit]:
        self._disk.stop()
        if self._ending is not None and self._ending.active():
            self._ending.cancel()
        if not self._disk.exceeded:
            return exit
        # Others may need the room.
        return self._disk.cleared().addBoth(lambda _: exit)

    def _end(self, reason: str) -> None:
        """The job takes too much."""
        if self._worker is not None:
            self._worker.kill(reason)

    def _read(self, answer: dict[str, str]) -> Deferred[Result]:
        self._disk.stop()
        # It has nothing more to do, and a place that others wait for.
        self._ending = self._reactor.callLater(
            LONGEST_END, self._end, "it did not end after its work"
        )
        path = os.path.join(self._directory, os.path.basename(answer["result"]))
        return inThread(self._reactor, codec.read, path, Result)

    def cancel(self) -> None:
        """See L{IExecution}."""
        if self._worker is not None:
            self._worker.cancel()
        elif self.waiting:
            self.waiting = False
            self.result.errback(Failure(Cancelled("it was cancelled before it began")))
            self.exited.callback(Exit())

    def abandon(self, reason: str) -> None:
        """There will be no fork server for it."""
        if self.waiting:
            self.waiting = False
            self.result.errback(Failure(Cancelled(reason)))
            self.exited.callback(Exit())
