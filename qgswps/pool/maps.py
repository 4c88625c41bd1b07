"""
Map workers: forked processes that answer requests by QGIS Server, each for
one project at a time.

A worker stays for further requests of its project.  When all of them are
taken and others wait, the one that has been idle for longest gives way.
"""

from __future__ import annotations

import contextlib
import json
import os
import re
from collections.abc import Callable
from typing import Any

import attrs
from twisted.internet.defer import Deferred, fail
from twisted.protocols.amp import TooLong
from twisted.python.failure import Failure
from zope.interface import implementer

from qgswps.errors import Fault, OWSError, busy, failure, noSuchJob
from qgswps.interfaces import IMapServer
from qgswps.journal import Logger
from qgswps.model import MapRequest, MapResponse
from qgswps.pool.commands import PrepareProject, ServeMap, WorkerFault
from qgswps.pool.exits import WorkerLost
from qgswps.pool.forkserver import ForkServer
from qgswps.pool.pool import ProcessPool
from qgswps.pool.worker import Worker
from qgswps.removal import removeTree
from qgswps.threads import inThread

log = Logger()

#: How many requests of its own project a worker may prefer to older ones of
#: other projects, one after the other.
IN_A_ROW = 10

#: How a worker's fault begins that has an HTTP status of its own.
_STATUS = re.compile(r"([45][0-9]{2}) ")

#: The exception codes of such faults.
_CODES = {
    400: "InvalidParameterValue",
    404: "InvalidParameterValue",
    501: "OperationNotSupported",
    507: "NotEnoughStorage",
}


@attrs.frozen
class Limits:
    """
    @ivar workers: how many processes there are at a time.
    @ivar idleTime: seconds after which one without work ends.
    @ivar maxRequests: how many requests one of them answers.
    @ivar waiting: how many requests may wait.
    @ivar timeout: seconds that a request may take, waiting included.
    """

    workers: int = 2
    idleTime: float = 60
    maxRequests: int = 1000
    waiting: int = 100
    timeout: float = 60


@attrs.define(eq=False)
class _Asked:
    """
    A request that was not answered yet.

    @ivar body: absolute path of a file for the body of the answer; empty to
        prepare the project only.
    @ivar answer: Deferred of what the worker says.
    @ivar worker: who works on it, None while it waits.
    """

    request: MapRequest
    body: str
    answer: Deferred[dict[str, Any]]
    timer: Any = None
    worker: _MapWorker | None = None

    def send(self, send: Callable[..., Any], folder: str) -> Any:
        """
        Send it as a command.

        @param send: is called with the command and its arguments.
        @param folder: absolute path of the one that the worker may write to.
        """
        request = self.request
        if not self.body:
            return send(PrepareProject, directory=request.directory or "")
        return send(
            ServeMap,
            project=request.project,
            directory=request.directory or "",
            method=request.method,
            url=request.url,
            headers=json.dumps(dict(request.headers)),
            body=self._inputIn(folder) if request.body else "",
            output=self.outputIn(folder),
        )

    def _inputIn(self, folder: str) -> str:
        """The body of the request, where the worker can read it."""
        path = self.outputIn(folder) + ".request"
        os.link(self.request.body or "", path)
        return path

    def outputIn(self, folder: str) -> str:
        """Where a worker writes the body of the answer to."""
        return os.path.join(folder, os.path.basename(self.body))


@attrs.define(eq=False)
class _MapWorker:
    """
    A worker and what it is up to.

    @ivar folder: absolute path of the one that it may write to.
    @ivar asked: the request that it works on.
    @ivar served: how many requests it was given.
    @ivar row: how many of them had overtaken others, since it last was their
        turn.
    @ivar condemned: it is about to end, and takes no more requests.
    @ivar timer: ends it when it has been idle for long.
    """

    worker: Worker
    server: ForkServer
    project: str
    directory: str | None
    folder: str
    asked: _Asked | None = None
    served: int = 0
    row: int = 0
    condemned: bool = False
    timer: Any = None

    @property
    def idle(self) -> bool:
        """It could take a request."""
        return self.asked is None and not self.condemned


@implementer(IMapServer)
class MapWorkers:
    """See L{IMapServer}."""

    def __init__(
        self, reactor: Any, pool: ProcessPool, folder: str, limits: Limits
    ) -> None:
        """
        @param pool: has the fork server.
        @param folder: absolute path of a folder for bodies of answers.
        """
        self._reactor = reactor
        self._pool = pool
        self._folder = folder
        self._limits = limits
        self._waiting: list[_Asked] = []
        # Those that were idle for longest stand first.
        self._workers: list[_MapWorker] = []
        self._answers = 0
        self._folders = 0
        self._wanting: Deferred[Any] | None = None
        self._running = False
        self._stopped: Deferred[None] | None = None
        pool.whenRetired(self._retire)

    # The service

    def start(self) -> None:
        """Take requests from now on."""
        # What an earlier run, which was killed, has left behind.
        removeTree(self._folder)
        os.makedirs(self._folder, mode=0o700, exist_ok=True)
        self._running = True

    def stop(self) -> Deferred[None]:
        """
        Refuse what waits and end the workers.

        @return: a Deferred that fires when all their processes are gone.
        """
        self._running = False
        for asked in list(self._waiting):
            self._fail(asked, busy("the server is stopping"))
        for worker in list(self._workers):
            self._kill(worker, busy("the server is stopping"))
        self._stopped = Deferred()
        stopped = self._stopped
        self._checkStopped()
        return stopped

    def _checkStopped(self) -> None:
        if self._stopped is not None and not self._workers:
            stopped, self._stopped = self._stopped, None
            stopped.callback(None)

    # IMapServer

    def serve(self, request: MapRequest) -> Deferred[MapResponse]:
        """See L{IMapServer}."""
        self._answers += 1
        body = os.path.join(self._folder, f"{self._answers}.body")
        answer = self._ask(request, body)

        def made(answer: dict[str, Any]) -> MapResponse:
            return MapResponse(answer["status"], json.loads(answer["headers"]), body)

        return answer.addCallback(made)

    def prepare(self, request: MapRequest) -> Deferred[None]:
        """See L{IMapServer}."""
        return self._ask(request, "").addCallback(lambda _: None)

    def release(self, directory: str) -> None:
        """See L{IMapServer}."""
        gone = noSuchJob(os.path.basename(directory))
        for asked in list(self._waiting):
            if asked.request.directory == directory:
                self._fail(asked, gone)
        for worker in list(self._workers):
            if worker.directory == directory:
                self._kill(worker, gone)

    # Requests

    def _ask(self, request: MapRequest, body: str) -> Deferred[dict[str, Any]]:
        if not self._running:
            return fail(busy("the server is stopping"))
        if len(self._waiting) >= self._limits.waiting:
            return fail(busy(f"{len(self._waiting)} requests for maps wait already"))
        asked = _Asked(request, body, Deferred(lambda _: self._cancel(asked)))
        asked.timer = self._reactor.callLater(
            self._limits.timeout, self._tooSlow, asked
        )
        self._waiting.append(asked)
        self._assign()
        return asked.answer

    def _finish(self, asked: _Asked) -> bool:
        """
        Let go of a request.

        @return: whether somebody still waits for its answer.
        """
        if asked.timer.active():
            asked.timer.cancel()
        if asked in self._waiting:
            self._waiting.remove(asked)
        return not asked.answer.called

    def _fail(self, asked: _Asked, error: Exception) -> None:
        if self._finish(asked):
            asked.answer.errback(Failure(error))

    def _cancel(self, asked: _Asked) -> None:
        """Nobody waits for it any more."""
        # A worker goes on until its time is over: it can't be told to stop, and
        # the next request would have to wait for another one.
        if asked.worker is None:
            self._finish(asked)

    def _tooSlow(self, asked: _Asked) -> None:
        worker = asked.worker
        seconds = f"within {self._limits.timeout:g} s"
        if worker is None:
            text = f"there was no process for this map {seconds}"
            self._fail(asked, failure(text, 504))
        else:
            log.warn("map worker {pid} took too long", pid=worker.worker.pid)
            self._kill(worker, failure(f"this map was not made {seconds}", 504))

    # Workers

    def _assign(self) -> None:
        """Give those who wait a worker, as far as there is one for them."""
        mayFork = True
        for asked in list(self._waiting):
            if asked not in self._waiting:
                continue  # it could not be asked, or was cancelled meanwhile
            worker = self._idleOne(asked.request.project)
            if worker is not None:
                self._use(worker, asked)
                continue
            # Who came first gets the next process.
            mayFork = mayFork and self._hasRoom()
            server = self._pool.forkServer
            if mayFork and server is None:
                mayFork = False
                self._assignWhenReady()
            if mayFork and server is not None:
                self._fork(server, asked)

    def _idleOne(self, project: str) -> _MapWorker | None:
        for worker in self._workers:
            if worker.idle and worker.project == project:
                return worker
        return None

    def _hasRoom(self) -> bool:
        """
        Whether there may be one more process.  If not, see to it that there is
        room for one soon.
        """
        if len(self._workers) < self._limits.workers:
            return True
        idle = [worker for worker in self._workers if worker.idle]
        # If one is about to end already, wait for that.
        if idle and not any(worker.condemned for worker in self._workers):
            self._dismiss(idle[0])
        return False

    def _assignWhenReady(self) -> None:
        if self._wanting is not None:
            return

        def ready(_: Any) -> None:
            self._wanting = None
            if self._running:
                self._assign()

        self._wanting = self._pool.whenReady()
        # Where it fails, the server is stopping, and they are told of that.
        self._wanting.addBoth(ready)

    def _fork(self, server: ForkServer, asked: _Asked) -> None:
        request = asked.request
        self._folders += 1
        folder = os.path.join(self._folder, f"worker-{self._folders}")
        os.mkdir(folder, 0o700)
        asked.send(
            lambda command, **arguments: self._started(
                server.fork(command, _ignore, **arguments), server, asked, folder
            ),
            folder,
        )
        log.debug("a map worker starts for {project}", project=request.project)

    def _started(
        self, process: Worker, server: ForkServer, asked: _Asked, folder: str
    ) -> None:
        request = asked.request
        worker = _MapWorker(process, server, request.project, request.directory, folder)
        self._workers.append(worker)
        process.forked.addCallbacks(self._forked, _ignore, callbackArgs=(worker,))
        self._take(worker, asked, process.answer)
        process.exited.addCallback(self._ended, worker)

    def _forked(self, pid: int, worker: _MapWorker) -> None:
        log.debug("map worker {pid}: {project}", pid=pid, project=worker.project)
        if worker.condemned:  # before there was a process
            worker.worker.kill()

    def _use(self, worker: _MapWorker, asked: _Asked) -> None:
        if worker.timer is not None and worker.timer.active():
            worker.timer.cancel()
        # The last one of the list has worked last.
        self._workers.remove(worker)
        self._workers.append(worker)
        self._take(worker, asked, asked.send(worker.worker.ask, worker.folder))

    def _take(
        self, worker: _MapWorker, asked: _Asked, answer: Deferred[dict[str, Any]]
    ) -> None:
        if asked in self._waiting:
            self._waiting.remove(asked)
        asked.worker = worker
        worker.asked = asked
        worker.served += 1
        answer.addBoth(self._answered, worker, asked)

    def _answered(self, answer: Any, worker: _MapWorker, asked: _Asked) -> None:
        """A worker has answered, or it will not."""
        worker.asked = None
        wanted = self._finish(asked)
        output = asked.outputIn(worker.folder) if asked.body else ""
        if asked.request.body:
            _remove(f"{output}.request")
        if wanted and output and not isinstance(answer, Failure):
            try:
                # The worker's folder goes with the worker.
                os.replace(output, asked.body)
            except OSError:
                answer = Failure()
        if isinstance(answer, Failure):
            if output:
                _remove(output)
            # Of its own end, unless we have wanted that, the log is to tell.
            if wanted or not worker.condemned:
                error = _explain(answer)
                self._fail(asked, error)
        elif wanted:
            asked.answer.callback(answer)
        elif output:
            _remove(output)
        if isinstance(answer, Failure) and not answer.check(WorkerFault, TooLong):
            worker.condemned = True  # it is gone, or not to be trusted
            worker.worker.kill()
        elif not worker.condemned:
            self._next(worker)

    def _next(self, worker: _MapWorker) -> None:
        """A worker is free: what is it to do?"""
        if worker.served >= self._limits.maxRequests or not self._isCurrent(worker):
            self._dismiss(worker)
            return
        project = worker.project
        mine = next((a for a in self._waiting if a.request.project == project), None)
        if mine is None:
            worker.row = 0
            worker.timer = self._reactor.callLater(
                self._limits.idleTime, self._dismiss, worker
            )
            self._assign()
            return
        worker.row = worker.row + 1 if mine is not self._waiting[0] else 0
        if worker.row <= IN_A_ROW:
            self._use(worker, mine)
        else:
            # It has served its own for long enough while others wait.
            self._dismiss(worker)

    def _isCurrent(self, worker: _MapWorker) -> bool:
        return worker.server is self._pool.forkServer

    def _dismiss(self, worker: _MapWorker) -> None:
        """End an idle worker."""
        worker.condemned = True
        if worker.timer is not None and worker.timer.active():
            worker.timer.cancel()
        worker.worker.dismiss()

    def _kill(self, worker: _MapWorker, error: OWSError) -> None:
        """End a worker now; its request fails."""
        worker.condemned = True
        if worker.timer is not None and worker.timer.active():
            worker.timer.cancel()
        if worker.asked is not None:
            self._fail(worker.asked, error)
        worker.worker.kill()

    def _ended(self, exit: Any, worker: _MapWorker) -> Any:
        """A worker's process is gone, or there never was one."""
        worker.condemned = True
        if worker.timer is not None and worker.timer.active():
            worker.timer.cancel()
        tidying = inThread(self._reactor, removeTree, worker.folder)
        tidying.addBoth(lambda _: self._gone(worker))
        return exit

    def _gone(self, worker: _MapWorker) -> None:
        """Nothing is left of a worker: its place is free."""
        self._workers.remove(worker)
        if self._running:
            self._assign()
        self._checkStopped()

    def _retire(self, server: ForkServer) -> None:
        """A fork server is about to be replaced, and waits for its workers."""
        for worker in list(self._workers):
            if worker.server is server and worker.idle:
                self._dismiss(worker)


def _ignore(*_: Any) -> None:
    """Nobody needs to know."""


def _remove(path: str) -> None:
    with contextlib.suppress(OSError):
        os.unlink(path)


def _explain(reason: Failure) -> OWSError:
    """What a client is told of a worker's failure."""
    error = reason.value
    if isinstance(error, WorkerLost):
        log.warn("a map worker was lost: {error}", error=error)
        return failure(f"the process that made this map is gone: {error}", 502)
    if isinstance(error, TooLong):
        return failure("the request is too long for a map worker", 414)
    if not isinstance(error, WorkerFault):
        log.failure("a map worker can't be used", reason)
        return failure("this map could not be made")
    text = str(error)
    found = _STATUS.match(text)
    if found is None:
        log.warn("a map worker failed: {error}", error=error)
        return failure("this map could not be made; the server's log has why")
    status = int(found.group(1))
    code = _CODES.get(status, "NoApplicableCode")
    locator = "MAP" if code == "InvalidParameterValue" else None
    return OWSError(Fault(code, text[found.end() :], locator), status)
