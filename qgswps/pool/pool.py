"""
The process pool: keeps a fork server alive and runs jobs in its workers.

A generation is one fork server. A reload starts the next one beside the
current one and swaps when it is ready.
"""

from __future__ import annotations

import contextlib
import os
import tempfile
from collections.abc import Callable, Mapping
from typing import Any, TypeVar

import attrs
from twisted.application.service import Service
from twisted.internet.defer import Deferred, DeferredSemaphore, fail, succeed
from twisted.python.failure import Failure
from zope.interface import implementer

from qgswps import codec
from qgswps.errors import busy, failure, invalid
from qgswps.interfaces import ICatalogue, IExecution, IExecutionObserver, IExecutor
from qgswps.journal import Logger
from qgswps.model import (
    Catalogue,
    ProcessDescription,
    ProjectSummary,
    WorkerSettings,
)
from qgswps.pool.commands import SummarizeProject, WorkerFault
from qgswps.pool.execution import Execution
from qgswps.pool.forkserver import ForkServer, ForkServerFailed, State
from qgswps.removal import removeTree
from qgswps.threads import inThread

log = Logger()

T = TypeVar("T")

#: Seconds from the end of a fork server to the start of the next: at first,
#: and at most.  The count starts anew with one whose workers do their work.
FIRST_DELAY = 0.5
LONGEST_DELAY = 30.0

#: How many projects are looked into side by side.
SUMMARIES = 2


def _discard(folder: str, *prefixes: str) -> None:
    """Remove the files and folders of a folder whose names begin so."""
    with contextlib.suppress(OSError), os.scandir(folder) as entries:
        for entry in entries:
            if not entry.name.startswith(prefixes):
                continue
            if entry.is_dir(follow_symlinks=False):
                removeTree(entry.path)
            else:
                os.unlink(entry.path)


@implementer(IExecutor, ICatalogue)
class ProcessPool(Service):
    """
    See L{IExecutor} and L{ICatalogue}.

    @ivar capacity: how many jobs run side by side.
    @ivar generation: counts the fork servers that got ready.
    @ivar qgisVersion: of the current generation, None before the first.
    """

    def __init__(
        self,
        reactor: Any,
        directory: str,
        settings: WorkerSettings,
        capacity: int,
        environment: Mapping[str, str],
        startTimeout: float = 60,
        grace: float = 5,
        hasForked: Callable[[float], None] | None = None,
    ) -> None:
        """
        @param directory: absolute path of a folder for the pool's own files.
        @param settings: how to start QGIS; C{catalogue} is filled in.
        @param environment: of the fork servers.
        @param grace: seconds between SIGTERM and SIGKILL.
        @param hasForked: as of L{ForkServer}.
        """
        self.capacity = capacity
        self.generation = 0
        self.qgisVersion: str | None = None
        self._reactor = reactor
        self._directory = directory
        self._settings = settings
        self._environment = dict(environment)
        self._startTimeout = startTimeout
        self._grace = grace
        self._hasForked = hasForked
        self._current: ForkServer | None = None
        # The one that is to take over when it is ready, and whether it has to
        # be followed by yet another one, since it may have read too early.
        self._next: ForkServer | None = None
        self._again = False
        self._servers: set[ForkServer] = set()
        self._waiting: list[Execution] = []
        self._wanting: list[Deferred[ForkServer]] = []
        self._retiring: list[Callable[[ForkServer], None]] = []
        self._reloading: list[Callable[[bool], None]] = []
        self._processes: dict[str, ProcessDescription] | None = None
        self._spawned = 0
        self._delay = FIRST_DELAY
        self._restart: Any = None
        self._lastFailure = ""
        self._summaries = DeferredSemaphore(SUMMARIES)

    # The service

    def startService(self) -> None:
        """Start the first fork server."""
        super().startService()
        # What an earlier run, which was killed, has left behind.
        _discard(self._directory, "generation-", "summary-")
        self._spawn()

    def stopService(self) -> Deferred[None]:
        """End all fork servers and their workers."""
        super().stopService()
        self._again = False
        if self._restart is not None and self._restart.active():
            self._restart.cancel()
        waiting, self._waiting = self._waiting, []
        for execution in waiting:
            execution.abandon("the server is stopping")
        wanting, self._wanting = self._wanting, []
        for wanted in wanting:
            wanted.errback(Failure(busy("the server is stopping")))
        return self._stopped()

    def _stopped(self) -> Deferred[None]:
        # Deferreds are waited for by callbacks of their own, since others
        # wait for them too.
        done: Deferred[None] = Deferred()

        def check(result: T) -> T:
            if not self._servers and not done.called:
                done.callback(None)
            return result

        for server in list(self._servers):
            server.stop()
            server.ended.addCallback(check)
        check(None)
        return done

    # Generations

    def reload(self) -> None:
        """
        Start the next generation, from what is on the disk now.  It takes over
        when it is ready; if it never is, the current one stays.

        While one starts already, another one follows it, however often this
        is asked for.
        """
        if not self.running:
            return
        if self._next is not None:
            self._again = True
            return
        if self._restart is not None and self._restart.active():
            # Perhaps what has kept the last one from starting is mended.
            self._restart.cancel()
        self._spawn()

    def _settled(self) -> None:
        """The one that was to take over does, or never will."""
        self._next = None
        again, self._again = self._again, False
        if again:
            self.reload()
        else:
            self._tellReloading(False)

    def _tellReloading(self, begins: bool) -> None:
        for tell in self._reloading:
            tell(begins)

    def _spawn(self) -> None:
        if self._current is not None:
            self._tellReloading(True)
        self._spawned += 1
        prefix = os.path.join(self._directory, f"generation-{self._spawned}")
        settings = attrs.evolve(self._settings, catalogue=f"{prefix}.catalogue.json")
        # What QGIS leaves in its temporary folder goes when it has ended.
        temporary = f"{prefix}.tmp"
        server = ForkServer(
            self._reactor,
            f"{prefix}.settings.json",
            {**self._environment, "TMPDIR": temporary},
            self._startTimeout,
            self._grace,
            self._hasForked,
        )
        try:
            codec.write(f"{prefix}.settings.json", settings)
            os.mkdir(temporary, 0o700)
            ready = server.start()
        except Exception as error:
            # No room, no memory, no descriptor: perhaps later.
            _discard(self._directory, f"{os.path.basename(prefix)}.")
            self._failed(f"no process could be made: {error}")
            return
        self._servers.add(server)
        self._next = server
        server.ended.addCallback(self._ended, server, os.path.basename(prefix))
        ready.addCallback(self._load, settings.catalogue)
        ready.addCallbacks(
            self._swap, self._unusable, callbackArgs=(server,), errbackArgs=(server,)
        )
        log.debug("fork server {pid} spawned", pid=server.pid)

    def _load(self, version: str, path: str) -> Deferred[tuple[str, Catalogue]]:
        reading = inThread(self._reactor, codec.readCatalogue, path)
        return reading.addCallback(lambda catalogue: (version, catalogue))

    def _swap(self, loaded: tuple[str, Catalogue], server: ForkServer) -> None:
        if server.state is not State.READY or not self.running:
            return  # it has ended while its catalogue was read, or is about to
        version, catalogue = loaded
        previous, self._current = self._current, server
        self._processes = {p.identifier: p for p in catalogue.processes}
        self.generation += 1
        self._lastFailure = ""
        self.qgisVersion = version
        log.info(
            "ready: QGIS {version}, {processes} processes, {slots} slots",
            version=version,
            processes=len(self._processes),
            slots=self.capacity,
            pid=server.pid,
            generation=self.generation,
        )
        if previous is not None:
            for retire in self._retiring:
                retire(previous)
            previous.drain()
        waiting, self._waiting = self._waiting, []
        for execution in waiting:
            if execution.waiting:
                execution.begin(server)
        wanting, self._wanting = self._wanting, []
        for wanted in wanting:
            wanted.callback(server)
        self._settled()

    def _unusable(self, reason: Failure, server: ForkServer) -> None:
        if reason.check(ForkServerFailed) or server.state is State.DEAD:
            return  # its end tells why
        server.kill(f"its catalogue can't be read: {reason.value}")

    def _ended(
        self, why: ForkServerFailed, server: ForkServer, prefix: str
    ) -> ForkServerFailed:
        self._servers.discard(server)
        _discard(self._directory, f"{prefix}.")
        if self._current is server:
            self._current = None
            if server.proven:
                self._delay = FIRST_DELAY
        wasNext = self._next is server
        if wasNext:
            self._next = None
        if not self.running:
            return why
        if wasNext:
            self._failed(str(why))
        elif self._current is None and self._next is None:
            self._spawnLater(str(why))
        return why

    def _failed(self, why: str) -> None:
        """The one that was to take over never will."""
        self._lastFailure = why
        if self._current is None:
            self._again = False  # the next one comes anyway
            self._spawnLater(why)
            return
        # No further try: what is wrong is on the disk, and jobs can run.
        log.error(
            "the reload has failed: {why}; generation {generation} stays",
            why=why,
            generation=self.generation,
        )
        self._settled()

    def _spawnLater(self, why: str) -> None:
        if self._restart is not None and self._restart.active():
            return
        log.error("{why}; the next one starts in {delay} s", why=why, delay=self._delay)
        self._restart = self._reactor.callLater(self._delay, self._spawn)
        self._delay = min(self._delay * 2, LONGEST_DELAY)

    @property
    def trouble(self) -> str | None:
        """Why no job can begin now; None if one can."""
        if self._usable is not None:
            return None
        if self._lastFailure:
            return f"QGIS can't be started: {self._lastFailure}"
        return "QGIS is starting"

    @property
    def _usable(self) -> ForkServer | None:
        """
        The current fork server, unless its end is near: then others hear of
        that before L{_ended} does.
        """
        current = self._current
        return current if current and current.state is State.READY else None

    # For those that keep workers of their own

    @property
    def forkServer(self) -> ForkServer | None:
        """What forks workers now; None if there is no such thing."""
        return self._usable if self.running else None

    def whenReady(self) -> Deferred[ForkServer]:
        """
        The L{forkServer}, as soon as there is one.

        @return: a Deferred; fails with C{ServerBusy} when the pool stops.
        """
        server = self.forkServer
        if server is not None:
            return succeed(server)
        if not self.running:
            return fail(busy("the server is stopping"))
        wanted: Deferred[ForkServer] = Deferred()
        self._wanting.append(wanted)
        return wanted

    def whenRetired(self, retire: Callable[[ForkServer], None]) -> None:
        """
        Be told of each fork server that is about to be replaced: it ends as
        soon as all its workers have.
        """
        self._retiring.append(retire)

    def whenReloading(self, tell: Callable[[bool], None]) -> None:
        """
        Be told when a reload begins, by True, and by False when it is over:
        the next generation has taken over, be it the first, or never will.
        """
        self._reloading.append(tell)

    # IExecutor

    def execute(self, directory: str, observer: IExecutionObserver) -> IExecution:
        """See L{IExecutor}."""
        execution = Execution(
            self._reactor, directory, observer, self._settings.sandbox.disk
        )
        server = self._usable
        if not self.running:
            execution.abandon("the server is stopping")
        elif server is None:
            self._waiting.append(execution)
        else:
            execution.begin(server)
        return execution

    def summarize(self, map: str, known: str = "") -> Deferred[ProjectSummary | None]:
        """See L{IExecutor}."""
        if self._usable is None:
            return fail(busy("QGIS is starting"))
        return self._summaries.run(self._summarize, map, known)

    async def _summarizeNow(
        self, map: str, known: str, output: str
    ) -> ProjectSummary | None:
        server = self._usable
        if server is None:
            raise busy("QGIS is starting")
        worker = server.fork(
            SummarizeProject,
            lambda percent, message: None,
            map=map,
            output=output,
            known=known,
        )
        worker.forked.addErrback(lambda _: None)
        try:
            answer = await worker.answer.addTimeout(self._startTimeout, self._reactor)
        except WorkerFault as fault:
            raise invalid("MAP", str(fault)) from None
        except Exception as error:
            worker.kill()
            raise failure(f"the project could not be read: {error}") from None
        if not answer["changed"]:
            return None
        return await inThread(self._reactor, codec.read, output, ProjectSummary)

    def _summarize(self, map: str, known: str) -> Deferred[ProjectSummary | None]:
        # A folder, which is all that the worker can write to.
        folder = tempfile.mkdtemp("", "summary-", self._directory)
        output = os.path.join(folder, "summary.json")

        def clean(result: Any) -> Any:
            removeTree(folder)
            return result

        summarizing = Deferred.fromCoroutine(self._summarizeNow(map, known, output))
        return summarizing.addBoth(clean)

    # ICatalogue

    def processes(self) -> Mapping[str, ProcessDescription]:
        """See L{ICatalogue}."""
        if self._processes is None:
            raise busy(self.trouble or "QGIS is starting")
        return self._processes
