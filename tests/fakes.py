"""Stand-ins that tests of several layers share."""

from __future__ import annotations

import contextlib
import functools
import http.client
import inspect
import io
import os
import re
import signal
from collections.abc import Callable, Iterable, Mapping
from typing import Any, TypeVar, cast

import attrs
from twisted.internet.address import IPv4Address
from twisted.internet.defer import Deferred, fail, succeed
from twisted.internet.error import (
    ConnectionDone,
    ProcessDone,
    ProcessExitedAlready,
    ProcessTerminated,
)
from twisted.internet.protocol import Factory, ProcessProtocol
from twisted.internet.task import Clock
from twisted.internet.testing import StringTransport
from twisted.protocols import amp
from twisted.python.failure import Failure
from twisted.trial.unittest import SynchronousTestCase, TestCase
from twisted.web.resource import IResource
from twisted.web.server import Site
from zope.interface import implementer

from qgswps.errors import OWSError, busy
from qgswps.interfaces import (
    ICatalogue,
    IExecution,
    IExecutionObserver,
    IExecutor,
    IJobStore,
    IMapServer,
    IReferences,
)
from qgswps.model import (
    ExecuteRequest,
    FileValue,
    Job,
    MapRequest,
    MapResponse,
    ProcessDescription,
    ProjectSummary,
    ReferenceValue,
    Result,
    State,
    Task,
)
from qgswps.pool.commands import (
    PROTOCOL_VERSION,
    Execute,
    Exited,
    Fork,
    PrepareProject,
    Ready,
    ServeMap,
    SummarizeProject,
)
from qgswps.pool.exits import Exit
from tests import schemas

T = TypeVar("T")

PROCESS = ProcessDescription("test:process", "A test", version="1.2")


def makeJob(jobId: str = "j1", **attributes: Any) -> Job:
    """A record of L{PROCESS}."""
    values = {"processId": "test:process", "server": "here", "created": 1000.0}
    return Job(id=jobId, **{**values, **attributes})


def makeTask(**attributes: Any) -> Task:
    """A task of L{PROCESS}."""
    return Task(ExecuteRequest("test:process", **attributes))


class AsyncTestCase(TestCase):
    """
    A test case whose tests may be coroutines.

    trial has learned to await them after Twisted 22.4; there, such a test
    would pass without being run.
    """

    def __init_subclass__(cls) -> None:
        for name in filter(re.compile("test_").match, dir(cls)):
            method = getattr(cls, name)
            if inspect.iscoroutinefunction(method):
                setattr(cls, name, _deferred(method))


def _deferred(method: Callable[..., Any]) -> Callable[..., Deferred[Any]]:
    @functools.wraps(method)
    def test(self: TestCase) -> Deferred[Any]:
        return Deferred.fromCoroutine(method(self))

    return test


def forgive(case: SynchronousTestCase, *deferreds: Deferred[Any]) -> None:
    """At the end of the test, take failures that it did not look at."""
    for d in deferreds:
        case.addCleanup(d.addErrback, lambda reason: None)


# The reactor


class FakeTransport(StringTransport):
    """A UNIX stream connection; what is sent waits in L{Link}."""

    def __init__(self, lose: Callable[[], Any]) -> None:
        super().__init__()
        self.descriptors: list[int] = []
        self._lose = lose

    def sendFileDescriptor(self, descriptor: int) -> None:
        """See C{IUNIXTransport}."""
        self.descriptors.append(descriptor)

    def loseConnection(self) -> None:
        """See C{ITransport}."""
        if not self.disconnecting:
            super().loseConnection()
            self._lose()

    abortConnection = loseConnection


class Link:
    """
    A socket pair: one end is a protocol of ours, the other one a test's.

    Nothing arrives before L{flush}, so that a test says in which order the
    news of several sockets come.
    """

    def __init__(self, reactor: FakeReactor, protocol: Any) -> None:
        self.open = True
        self.protocol = protocol
        self.peer: Any = None
        self._ours = FakeTransport(lambda: reactor.callLater(0, self.close))
        self._theirs = FakeTransport(lambda: reactor.callLater(0, self.close))
        protocol.makeConnection(self._ours)

    def attach(self, peer: Any) -> Any:
        """Give the other end a protocol."""
        self.peer = peer
        peer.makeConnection(self._theirs)
        return peer

    def flush(self) -> None:
        """Deliver all that was sent, and the answers to it."""
        while self._ours.value() or self._theirs.value():
            for source, target in (
                (self._ours, self.peer),
                (self._theirs, self.protocol),
            ):
                descriptors, source.descriptors = source.descriptors, []
                for descriptor in descriptors:
                    target.fileDescriptorReceived(descriptor)
                data = source.value()
                source.clear()
                if data:
                    target.dataReceived(data)

    def close(self, reason: type[Exception] = ConnectionDone) -> None:
        """The connection ends; what was not flushed is lost."""
        if self.open:
            self.open = False
            self.protocol.connectionLost(Failure(reason()))


class FakeProcess:
    """A process transport."""

    def __init__(
        self, protocol: ProcessProtocol, pid: int, arguments: dict[str, Any]
    ) -> None:
        self.protocol = protocol
        self.pid = pid
        self.arguments = arguments
        self.signals: list[str] = []
        self.stdinOpen = True
        self.alive = True

    def signalProcess(self, name: str) -> None:
        """See C{IProcessTransport}."""
        if not self.alive:
            raise ProcessExitedAlready()
        self.signals.append(name)

    def closeStdin(self) -> None:
        """See C{IProcessTransport}."""
        self.stdinOpen = False

    def end(self, exitCode: int | None = None, signal: int | None = None) -> None:
        """The process ends."""
        self.alive = False
        status = signal if signal is not None else (exitCode or 0) << 8
        done = ProcessTerminated(exitCode, signal, status) if status else ProcessDone(0)
        self.protocol.processEnded(Failure(done))


class FakeReactor(Clock):
    """
    A clock that also makes connections and processes, and runs the work of
    threads at once.

    @ivar links: each connection made, in order.
    @ivar processes: each process made, in order.
    @ivar held: work for threads that waits for L{release}; None to run it at
        once.
    @ivar refusal: raised in place of the next connection or process.
    """

    def __init__(self) -> None:
        super().__init__()
        self.links: list[Link] = []
        self.processes: list[FakeProcess] = []
        self.held: list[Callable[[], None]] | None = None
        self.refusal: OSError | None = None

    def _refuse(self) -> None:
        if self.refusal is not None:
            raise self.refusal

    def adoptStreamConnection(self, descriptor: int, family: int, factory: Any) -> None:
        """See C{IReactorSocket}."""
        self._refuse()
        self.links.append(Link(self, factory.buildProtocol(None)))

    def spawnProcess(
        self, protocol: ProcessProtocol, executable: str, args: Any, **arguments: Any
    ) -> FakeProcess:
        """See C{IReactorProcess}."""
        self._refuse()
        arguments.update(executable=executable, args=args)
        process = FakeProcess(protocol, 100 + len(self.processes), arguments)
        self.processes.append(process)
        return process

    def getThreadPool(self) -> FakeReactor:
        """See C{IReactorThreads}."""
        return self

    def callInThreadWithCallback(
        self, done: Callable[[bool, Any], None], work: Callable[..., Any], *args: Any
    ) -> None:
        """See L{twisted.python.threadpool.ThreadPool}."""

        def run() -> None:
            try:
                result = work(*args)
            except Exception:
                done(False, Failure())
            else:
                done(True, result)

        if self.held is None:
            run()
        else:
            self.held.append(run)

    def release(self) -> None:
        """Run the work that waits for threads."""
        held, self.held = self.held or [], None
        for run in held:
            run()

    def callFromThread(self, call: Callable[..., Any], *args: Any) -> None:
        """See C{IReactorThreads}."""
        call(*args)

    def delays(self) -> list[float]:
        """The seconds to each delayed call."""
        return sorted(
            call.getTime() - self.seconds() for call in self.getDelayedCalls()
        )


@attrs.define
class Signals:
    """
    What was sent to processes, as C{(function, pid, signal)}.

    @ivar gone: processes that are not there any more.
    """

    sent: list[tuple[str, int, signal.Signals]] = attrs.field(factory=list)
    gone: set[int] = attrs.field(factory=set)

    @classmethod
    def recorded(cls, case: SynchronousTestCase) -> Signals:
        """Record in place of sending, for the time of a test."""
        signals = cls()
        for name in ("kill", "killpg"):

            def send(pid: int, number: int, name: str = name) -> None:
                signals.sent.append((name, pid, signal.Signals(number)))
                if pid in signals.gone:
                    raise ProcessLookupError()

            case.patch(os, name, send)
        return signals


class ForkServerPeer(amp.AMP):
    """
    A fork server as a test plays it.

    @ivar forks: a Deferred for each Fork that was asked for.
    """

    def __init__(self) -> None:
        super().__init__()
        self.forks: list[Deferred[dict[str, int]]] = []

    @Fork.responder
    def fork(self, socket: int) -> Deferred[dict[str, int]]:
        """Left to the test."""
        os.fstat(socket)  # it is open
        forked: Deferred[dict[str, int]] = Deferred()
        self.forks.append(forked)
        return forked

    def ready(self, catalogue: str = "", protocol: int = PROTOCOL_VERSION) -> None:
        """Say Ready."""
        self.callRemote(
            Ready, pid=100, protocol=protocol, qgisVersion="3.22", catalogue=catalogue
        )

    def exited(
        self, pid: int, status: int = 0, peak: int = 1000, excess: str = ""
    ) -> None:
        """Say Exited."""
        self.callRemote(Exited, pid=pid, status=status, peak=peak, excess=excess)


class WorkerPeer(amp.AMP):
    """
    A worker as a test plays it.

    @ivar asked: the arguments of its one command.
    @ivar answer: Deferred of its answer.
    """

    def __init__(self) -> None:
        super().__init__()
        self.asked: dict[str, str] = {}
        self.answer: Deferred[dict[str, Any]] = Deferred()

    @Execute.responder
    def execute(self, **arguments: str) -> Deferred[dict[str, Any]]:
        """Left to the test."""
        self.asked = arguments
        return self.answer

    @SummarizeProject.responder
    def summarize(self, **arguments: str) -> Deferred[dict[str, Any]]:
        """Left to the test."""
        self.asked = arguments
        return self.answer


class MapWorkerPeer(amp.AMP):
    """
    A map worker as a test plays it.

    @ivar asked: the arguments of each command, and the Deferred of its answer.
    """

    def __init__(self) -> None:
        super().__init__()
        self.asked: list[tuple[dict[str, str], Deferred[dict[str, Any]]]] = []

    def _ask(self, arguments: dict[str, str]) -> Deferred[dict[str, Any]]:
        answer: Deferred[dict[str, Any]] = Deferred()
        self.asked.append((arguments, answer))
        return answer

    @ServeMap.responder
    def serveMap(self, **arguments: str) -> Deferred[dict[str, Any]]:
        """Left to the test."""
        return self._ask(arguments)

    @PrepareProject.responder
    def prepareProject(self, **arguments: str) -> Deferred[dict[str, Any]]:
        """Left to the test."""
        return self._ask(arguments)


# Interfaces


@implementer(IExecution)
class FakeExecution:
    """
    An execution that a test brings forward.

    @ivar cancelled: how many times L{cancel} was called.
    """

    def __init__(self, directory: str, observer: IExecutionObserver) -> None:
        self.directory = directory
        self.observer = observer
        self.result: Deferred[Result] = Deferred()
        self.exited: Deferred[Exit] = Deferred()
        self.cancelled = 0

    def cancel(self) -> None:
        """See L{IExecution}."""
        self.cancelled += 1

    def end(self, result: Result | Exception) -> None:
        """Have a result, then exit."""
        if isinstance(result, Exception):
            self.result.errback(Failure(result))
        else:
            self.result.callback(result)
        self.exited.callback(getattr(result, "exit", Exit(0)))


@implementer(IReferences)
class FakeReferences:
    """
    Fetches what a test says.

    @ivar fetches: the task, the directory and the Deferred of each fetch.
    @ivar refusal: what checks fail with, or None.
    @ivar cancelled: how many fetches were cancelled.
    """

    def __init__(self) -> None:
        self.fetches: list[tuple[Task, str, Deferred[Task]]] = []
        self.refusal: OWSError | None = None
        self.cancelled = 0

    def check(self, task: Task) -> Deferred[None]:
        """See L{IReferences}."""
        return succeed(None) if self.refusal is None else fail(self.refusal)

    def fetch(self, task: Task, directory: str) -> Deferred[Task]:
        """See L{IReferences}."""

        def cancel(_: object) -> None:
            self.cancelled += 1

        d: Deferred[Task] = Deferred(cancel)
        self.fetches.append((task, directory, d))
        return d

    def bring(self, number: int = -1) -> Task:
        """Let a fetch end; the task with what was fetched."""
        task, _, d = self.fetches[number]
        inputs = [
            attrs.evolve(
                each,
                value=attrs.evolve(
                    each.value, file=FileValue("inputs/@0", each.value.format)
                ),
            )
            if isinstance(each.value, ReferenceValue)
            else each
            for each in task.request.inputs
        ]
        request = attrs.evolve(task.request, inputs=tuple(inputs))
        fetched = attrs.evolve(task, request=request)
        d.callback(fetched)
        return fetched


@implementer(IExecutor)
class FakeExecutor:
    """
    An executor whose executions a test brings forward.

    @ivar executions: each one, in order.
    @ivar summaries: the project and the Deferred of each summary asked for.
    @ivar known: what whoever asked for these knew already.
    """

    def __init__(self, capacity: int = 1) -> None:
        self.capacity = capacity
        self.executions: list[FakeExecution] = []
        self.summaries: list[tuple[str, Deferred[ProjectSummary | None]]] = []
        self.known: list[str] = []
        self.refusal: Exception | None = None

    def execute(self, directory: str, observer: IExecutionObserver) -> IExecution:
        """See L{IExecutor}; an execution ends at once with L{refusal}."""
        execution = FakeExecution(directory, observer)
        self.executions.append(execution)
        if self.refusal is not None:
            execution.end(self.refusal)
        return execution

    def summarize(self, map: str, known: str = "") -> Deferred[ProjectSummary | None]:
        """See L{IExecutor}."""
        summary: Deferred[ProjectSummary | None] = Deferred()
        self.summaries.append((map, summary))
        self.known.append(known)
        return summary


@implementer(ICatalogue)
class FakeCatalogue:
    """A catalogue of the processes given."""

    generation = 1
    qgisVersion: str | None = "3.22"

    def __init__(self, *processes: ProcessDescription) -> None:
        self.published = {process.identifier: process for process in processes}

    def processes(self) -> Mapping[str, ProcessDescription]:
        """See L{ICatalogue}."""
        if not self.published:
            raise busy("QGIS is starting")
        return self.published


@implementer(IMapServer)
class FakeMapServer:
    """
    A map server whose answers a test gives.

    @ivar asked: each request, and the Deferred of its answer, in order.
    @ivar prepared: likewise.
    @ivar released: the directories.
    """

    def __init__(self, folder: str) -> None:
        self.asked: list[tuple[MapRequest, Deferred[MapResponse]]] = []
        self.prepared: list[tuple[MapRequest, Deferred[None]]] = []
        self.released: list[str] = []
        self._folder = folder

    def serve(self, request: MapRequest) -> Deferred[MapResponse]:
        """See L{IMapServer}."""
        answer: Deferred[MapResponse] = Deferred()
        self.asked.append((request, answer))
        return answer

    def prepare(self, request: MapRequest) -> Deferred[None]:
        """See L{IMapServer}."""
        done: Deferred[None] = Deferred()
        self.prepared.append((request, done))
        return done

    def release(self, directory: str) -> None:
        """See L{IMapServer}."""
        self.released.append(directory)

    def answer(self, body: bytes, status: int = 200, **headers: str) -> None:
        """Answer the last request."""
        path = os.path.join(self._folder, f"{len(self.asked)}.body")
        with open(path, "wb") as file:
            file.write(body)
        fields = {name.replace("_", "-"): value for name, value in headers.items()}
        self.asked[-1][1].callback(MapResponse(status, fields, path))


@implementer(IJobStore)
class MemoryStore:
    """
    A store that answers at once.

    @ivar jobs: the records by id.
    @ivar calls: the names of the methods called.
    @ivar failing: names of methods that fail.
    """

    def __init__(self) -> None:
        self.jobs: dict[str, Job] = {}
        self.calls: list[str] = []
        self.failing: set[str] = set()

    def _do(self, name: str, work: Callable[[], T]) -> Deferred[T]:
        self.calls.append(name)
        if name in self.failing:
            return fail(busy("the job store failed: test"))
        return succeed(work())

    def open(self) -> Deferred[None]:
        """See L{IJobStore}."""
        return self._do("open", lambda: None)

    def close(self) -> Deferred[None]:
        """See L{IJobStore}."""
        return self._do("close", lambda: None)

    def add(self, job: Job) -> Deferred[None]:
        """See L{IJobStore}."""

        def add() -> None:
            assert job.id not in self.jobs
            self.jobs[job.id] = job

        if job.id in self.jobs:
            return fail(busy("the job store failed: there is such a job"))
        return self._do("add", add)

    def get(self, jobId: str) -> Deferred[Job | None]:
        """See L{IJobStore}."""
        return self._do("get", lambda: self.jobs.get(jobId))

    def replace(self, job: Job, expected: State) -> Deferred[bool]:
        """See L{IJobStore}."""

        def replace() -> bool:
            known = self.jobs.get(job.id)
            if known is None or known.state is not expected:
                return False
            self.jobs[job.id] = job
            return True

        return self._do("replace", replace)

    def progress(self, jobId: str, percent: float, message: str) -> Deferred[None]:
        """See L{IJobStore}."""

        def progress() -> None:
            job = self.jobs.get(jobId)
            if job is not None and job.state is State.STARTED:
                self.jobs[jobId] = attrs.evolve(job, percent=percent, message=message)

        return self._do("progress", progress)

    def find(
        self,
        states: Iterable[State] | None = None,
        processId: str | None = None,
        server: str | None = None,
        realm: str | None = None,
        offset: int = 0,
        limit: int | None = None,
    ) -> Deferred[list[Job]]:
        """See L{IJobStore}."""

        def find() -> list[Job]:
            wanted = set(State if states is None else states)
            found = [
                job
                for job in sorted(self.jobs.values(), key=lambda j: -j.created)
                if job.state in wanted
                and processId in (None, job.processId)
                and server in (None, job.server)
                and realm in (None, job.realm)
            ]
            return found[offset:][:limit]

        return self._do("find", find)

    def remove(self, jobId: str) -> Deferred[None]:
        """See L{IJobStore}."""

        def remove() -> None:
            self.jobs.pop(jobId, None)

        return self._do("remove", remove)


# HTTP


class Exchange:
    """
    One request over a connection of its own, without a socket.

    @ivar closed: whether the server has closed the connection.
    @ivar finished: Deferred of the response when all of it was sent; fails if
        that is a document of WPS and not valid.
    """

    def __init__(
        self,
        resource: IResource | Factory,
        path: str,
        method: str = "GET",
        body: bytes = b"",
        reactor: Any = None,
        peer: str = "127.0.0.1",
        **headers: str,
    ) -> None:
        """
        @param peer: the address that it comes from.
        """
        self.finished: Deferred[http.client.HTTPResponse] = Deferred()
        self.closed = False
        self._method = method
        if not isinstance(resource, Factory):
            resource = Site(resource, reactor=reactor or FakeReactor())
        self._transport = FakeTransport(self._closed)
        self._transport.peerAddr = IPv4Address("TCP", peer, 9)
        address = IPv4Address("TCP", "127.0.0.1", 9)
        self._protocol = cast(Any, resource.buildProtocol(address))
        self._protocol.makeConnection(self._transport)
        fields = {"Host": "example.org", "Connection": "close", **headers}
        if body:
            fields["Content-Length"] = str(len(body))
        lines = [f"{method} {path} HTTP/1.1"]
        lines += [f"{name.replace('_', '-')}: {fields[name]}" for name in fields]
        self._protocol.dataReceived("\r\n".join([*lines, "", ""]).encode() + body)

    def _closed(self) -> None:
        self.closed = True
        if not self.sent:
            return
        try:
            self._check(self._response())
        except AssertionError:
            self.finished.errback(Failure())
        else:
            self.finished.callback(self._response())

    @staticmethod
    def _check(response: http.client.HTTPResponse) -> None:
        headers = {name.lower(): value for name, value in response.getheaders()}
        # What was broken off on purpose is no document.
        with contextlib.suppress(http.client.IncompleteRead):
            schemas.check(headers, response.read())

    def _response(self) -> http.client.HTTPResponse:
        received = io.BytesIO(self._transport.value())
        received.makefile = lambda mode: received  # type: ignore[attr-defined]
        response = http.client.HTTPResponse(received, method=self._method)  # type: ignore[arg-type]
        response.begin()
        return response

    @property
    def sent(self) -> bytes:
        """What was sent so far."""
        return self._transport.value()

    def disconnect(self) -> None:
        """The client goes away."""
        if self._transport.producer is not None:
            self._transport.producer.stopProducing()
        self._protocol.connectionLost(Failure(ConnectionDone()))


def refusal(case: SynchronousTestCase, d: Deferred[Any]) -> OWSError:
    """The error that a Deferred has failed with."""
    error = case.failureResultOf(d, OWSError).value
    assert isinstance(error, OWSError)
    return error
