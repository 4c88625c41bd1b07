"""
The seams of the server: interfaces that have, or are meant to have, more
than one implementation.

All methods are called in the reactor's thread; none blocks.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping

from twisted.internet.defer import Deferred
from zope.interface import Attribute, Interface

from qgswps.model import (
    Job,
    MapRequest,
    MapResponse,
    ProcessDescription,
    ProjectSummary,
    State,
    Task,
)


class IJobStore(Interface):
    """
    The records of jobs, kept beyond the life of the server.

    Each method returns a Deferred.  A store that can't be reached fails it
    with L{qgswps.errors.OWSError} C{ServerBusy}.
    """

    def open() -> Deferred[None]:
        """
        Make the store ready; called before all else, and again if the store
        could not be reached.  Fails with L{qgswps.errors.StoreError} if it
        can't be used at all.
        """

    def close() -> Deferred[None]:
        """Write what is pending and let go of the store."""

    def add(job: Job) -> Deferred[None]:
        """Keep a new L{Job<qgswps.model.Job>}."""

    def get(jobId: str) -> Deferred[Job | None]:
        """The job of that id, or None."""

    def replace(job: Job, expected: State) -> Deferred[bool]:
        """
        Compare and set: keep C{job} in place of the record of the same id if
        that is in the state C{expected}.

        @return: a Deferred of whether it was.
        """

    def progress(jobId: str, percent: float, message: str) -> Deferred[None]:
        """Note the progress of a job if it is in the state I{started}."""

    def find(
        states: Iterable[State] | None = None,
        processId: str | None = None,
        server: str | None = None,
        realm: str | None = None,
        offset: int = 0,
        limit: int | None = None,
    ) -> Deferred[list[Job]]:
        """
        Jobs, newest first.

        @param states: an iterable of states, or None for all; the further
            conditions likewise.
        @return: a Deferred of a list of jobs.
        """

    def remove(jobId: str) -> Deferred[None]:
        """Forget a job; no error if there is none."""


class IExecutionObserver(Interface):
    """Who is told of an execution, in this order, each any number of times
    but C{started}, which comes once."""

    def started(pid: int) -> None:
        """A worker with that process id has taken the job."""

    def progress(percent: float | None, message: str) -> None:
        """
        The algorithm reports.

        @param percent: 0 to 100, or None for no news.
        @param message: a text, perhaps empty.
        """


class IExecution(Interface):
    """One job in a worker, or on its way to one."""

    result = Attribute(
        """A Deferred of a L{Result<qgswps.model.Result>}, as soon as the
        worker has it; fails with L{WorkerLost} if the worker ends before."""
    )
    exited = Attribute(
        """A Deferred of an L{Exit}, when the worker's process is gone; fires
        after C{result} and never fails."""
    )

    def cancel() -> None:
        """Ask the run to end; after a grace time, kill its process group."""


class IExecutor(Interface):
    """Runs jobs, each in a process of its own."""

    capacity = Attribute("How many jobs run side by side, an int.")

    def execute(directory: str, observer: IExecutionObserver) -> IExecution:
        """
        Run the job of a directory.  Waits for a fork server if there is none.

        @param directory: absolute path of a job directory with its
            C{task.json}.
        @param observer: an L{IExecutionObserver}.
        @return: an L{IExecution}, at once.
        """

    def summarize(map: str, known: str = "") -> Deferred[ProjectSummary | None]:
        """
        Look into a project.

        @param map: absolute path or URI of the project.
        @param known: the C{modified} of a summary that the caller has already.
        @return: a Deferred of a L{ProjectSummary<qgswps.model.ProjectSummary>},
            or of None if the project is still as in the known one; fails with
            L{OWSError<qgswps.errors.OWSError>}.
        """


class IMapServer(Interface):
    """Answers requests for maps and features of projects by QGIS Server."""

    def serve(request: MapRequest) -> Deferred[MapResponse]:
        """
        Answer one request.

        @param request: a L{MapRequest<qgswps.model.MapRequest>}.
        @return: a Deferred of a L{MapResponse<qgswps.model.MapResponse>}; fails
            with L{OWSError<qgswps.errors.OWSError>}: no worker is free in
            time, it died or took too long.  Cancelling it gives up.
        """

    def prepare(request: MapRequest) -> Deferred[None]:
        """
        Make sure that the result project of C{request.directory} is there;
        some jobs leave it to be made when it is first wanted.
        """

    def release(directory: str) -> None:
        """End what serves the project of a job: its directory is to go."""


class IReferences(Interface):
    """Fetches the data of inputs that clients send by reference."""

    def check(task: Task) -> Deferred[None]:
        """
        See whether the references of a task can be fetched, as far as that
        can be told without the network.

        @return: a Deferred that fails with L{OWSError<qgswps.errors.OWSError>}
            C{InvalidParameterValue} that names each input that is refused.
        """

    def fetch(task: Task, directory: str) -> Deferred[Task]:
        """
        Fetch what a task refers to.

        @param directory: absolute path of the job's directory, which has no
            files of an earlier try but those that may be overwritten.
        @return: a Deferred of the L{Task<qgswps.model.Task>} with the C{file}
            of each reference; fails with L{OWSError<qgswps.errors.OWSError>}.
            Cancelling it ends all connections.
        """


class IJobQueue(Interface):
    """Takes requests, runs them in turn, and knows what became of them."""

    def submit(
        task: Task, description: ProcessDescription, realm: str | None = None
    ) -> Deferred[Job]:
        """
        Take a job.

        @param task: a L{Task<qgswps.model.Task>}.
        @param description: the L{ProcessDescription
            <qgswps.model.ProcessDescription>} of its process.
        @return: a Deferred of the accepted L{Job<qgswps.model.Job>}; fails
            with C{ServerBusy} when the queue is full.
        """

    def wait(jobId: str) -> Deferred[Job]:
        """
        Wait for the end of a job of this server.

        @return: a Deferred of the L{Job<qgswps.model.Job>} in its terminal
            state.  Cancelling it leaves the job alone.
        """

    def dismiss(jobId: str, message: str) -> Deferred[Job | None]:
        """
        End a job that is queued or running.

        @return: a Deferred of the job as it then is, or None if there is none.
        """

    def remove(jobId: str) -> Deferred[None]:
        """Forget a job that has ended, and remove its files."""

    def position(jobId: str) -> int | None:
        """
        The place of a job in this server's queue: 1 for the next to run; None
        if it does not wait here.
        """


class IJobObserver(Interface):
    """Who is told of all jobs of a server, whose time it must not take."""

    def changed(job: Job, before: State | None) -> None:
        """
        A job is in another state.

        @param job: its record, a L{Job<qgswps.model.Job>}.
        @param before: the state before; None if the job is new.
        """

    def exited(job: Job, peakMemory: int | None) -> None:
        """
        The process that ran a job is gone.

        @param peakMemory: its largest resident size in KiB; None if nobody
            can tell.
        """


class ICatalogue(Interface):
    """The processes that are published now."""

    generation = Attribute("An int that grows with each change.")
    qgisVersion = Attribute("The version of QGIS, or None before it is known.")

    def processes() -> Mapping[str, ProcessDescription]:
        """
        The published processes by identifier.

        @return: a mapping of L{ProcessDescription
            <qgswps.model.ProcessDescription>}s.
        @raise qgswps.errors.OWSError: C{ServerBusy}, nothing is known yet.
        """
