"""
What a monitoring system wants to know of the server, in Prometheus' form.

Events are counted when they happen, for some microseconds a job; what can be
read off is read off when somebody asks (L{Figures}).  No label has a value
that clients make up: the processes are the published ones, and no realm, job
or address is told.
"""

from __future__ import annotations

from collections import Counter as Tally
from threading import Lock

import attrs
from prometheus_client import (
    CollectorRegistry,
    Counter,
    Gauge,
    Histogram,
    Info,
    ProcessCollector,
    generate_latest,
)
from prometheus_client.exposition import CONTENT_TYPE_LATEST
from zope.interface import implementer

from qgswps.interfaces import IJobObserver
from qgswps.model import Job, State

CONTENT_TYPE: str = CONTENT_TYPE_LATEST

_FORKS = (0.002, 0.005, 0.01, 0.02, 0.05, 0.1, 0.2, 0.5, 1, 5)
_WAITS = (0.01, 0.05, 0.1, 0.5, 1, 5, 10, 30, 60, 300, 900, 3600)
_RUNS = (0.05, 0.1, 0.25, 0.5, 1, 5, 10, 30, 60, 300, 900, 3600)
_MIB = 2**20
_PEAKS = tuple(size * _MIB for size in (128, 192, 256, 384, 512, 1024, 2048, 4096))


@attrs.frozen
class Figures:
    """
    What is read off the server.

    @ivar jobs: how many there are by process and state; of the two states that
        are not the end.
    @ivar queue: how many jobs wait for a slot, and C{queueLimit} how many may.
    @ivar slots: how many jobs can run, and C{slotsTaken} how many slots are
        taken.
    @ivar generation: counts the fork servers that took over.
    @ivar isReady: a fork server is ready, and C{hasStore}: the store is there.
    @ivar unwritten: how many changes of jobs the store has not got yet.
    """

    jobs: Tally[tuple[str, State]] = attrs.field(factory=Tally)
    queue: int = 0
    queueLimit: int = 0
    slots: int = 0
    slotsTaken: int = 0
    generation: int = 0
    isReady: bool = False
    hasStore: bool = False
    unwritten: int = 0


@implementer(IJobObserver)
class Metrics:
    """Keeps the figures of one server."""

    def __init__(self, version: str) -> None:
        """
        @param version: of qgswps.
        """
        registry = self._registry = CollectorRegistry()
        # Who has asked may go away, and another one come, while a thread is
        # still at it.
        self._rendering = Lock()
        # Of the server's own process: memory, CPU, descriptors, start.
        ProcessCollector(registry=registry)

        def gauge(name: str, text: str, labels: tuple[str, ...] = ()) -> Gauge:
            return Gauge(f"qgswps_{name}", text, labels, registry=registry)

        def histogram(
            name: str,
            text: str,
            buckets: tuple[float, ...],
            labels: tuple[str, ...] = (),
        ) -> Histogram:
            return Histogram(
                f"qgswps_{name}", text, labels, registry=registry, buckets=buckets
            )

        def counter(name: str, text: str) -> Counter:
            return Counter(f"qgswps_{name}", text, ("process",), registry=registry)

        Info("qgswps_build", "The version.", registry=registry).info(
            {"version": version}
        )
        self._accepted = counter("jobs_accepted", "Jobs taken.")
        self._finished = Counter(
            "qgswps_jobs_finished",
            "Jobs ended, by the state they ended in.",
            ("process", "state"),
            registry=registry,
        )
        self._waits = histogram(
            "job_waiting_seconds", "From a job's arrival to its start.", _WAITS
        )
        self._runs = histogram(
            "job_running_seconds", "From a job's start to its end.", _RUNS, ("process",)
        )
        self._peaks = histogram(
            "worker_peak_memory_bytes",
            "The largest resident size of a worker that ran a job.",
            _PEAKS,
        )
        # A histogram for each would make the document three times as long.
        self._largest = gauge(
            "worker_peak_memory_max_bytes",
            "The largest of all workers that ran jobs of a process.",
            ("process",),
        )
        self._largestSoFar: dict[str, int] = {}
        self._forks = histogram("fork_seconds", "The time of a fork.", _FORKS)
        self._jobs = gauge(
            "jobs", "Jobs that wait or run, by state.", ("process", "state")
        )
        self._queue = gauge("queue_length", "Jobs that wait for a slot.")
        self._queueLimit = gauge("queue_limit", "Jobs that may wait for a slot.")
        self._slots = gauge("slots", "Jobs that can run side by side.")
        self._slotsTaken = gauge("slots_taken", "Slots that are taken.")
        self._generation = gauge(
            "generation", "Fork servers that took over: one, and one a reload."
        )
        self._isReady = gauge("fork_server_ready", "1 if a fork server is ready.")
        self._hasStore = gauge("store_up", "1 if the job store can be reached.")
        self._unwritten = gauge(
            "store_unwritten_changes", "Changes of jobs that wait for the store."
        )

    # Events

    def changed(self, job: Job, before: State | None) -> None:
        """See L{IJobObserver}."""
        if before is None:
            self._accepted.labels(job.processId).inc()
        elif job.state is State.STARTED:
            assert job.started is not None
            self._waits.observe(job.started - job.created)
        else:
            self._finished.labels(job.processId, job.state.value).inc()
            if job.started is not None and job.finished is not None:
                self._runs.labels(job.processId).observe(job.finished - job.started)

    def exited(self, job: Job, peakMemory: int | None) -> None:
        """See L{IJobObserver}."""
        if peakMemory is None:
            return
        size = peakMemory * 1024
        self._peaks.observe(size)
        if size > self._largestSoFar.get(job.processId, 0):
            self._largestSoFar[job.processId] = size
            self._largest.labels(job.processId).set(size)

    def forked(self, seconds: float) -> None:
        """A worker was forked."""
        self._forks.observe(seconds)

    # The document

    def render(self, figures: Figures) -> bytes:
        """
        All that is known, in the text format of Prometheus, version 0.0.4.
        May be called in a thread.
        """
        with self._rendering:
            self._take(figures)
            document: bytes = generate_latest(self._registry)
        return document

    def _take(self, figures: Figures) -> None:
        self._jobs.clear()
        for (processId, state), number in figures.jobs.items():
            self._jobs.labels(processId, state.value).set(number)
        self._queue.set(figures.queue)
        self._queueLimit.set(figures.queueLimit)
        self._slots.set(figures.slots)
        self._slotsTaken.set(figures.slotsTaken)
        self._generation.set(figures.generation)
        self._isReady.set(figures.isReady)
        self._hasStore.set(figures.hasStore)
        self._unwritten.set(figures.unwritten)
