"""
How the server is, for those who watch it.

    /healthz     it is alive
    /readyz      it can take and run jobs; if not, why
    /metrics     figures, in Prometheus' form

None of them has anything of a client in it. The first two don't ask who wants to
know.
"""

from __future__ import annotations

from collections import Counter as Tally
from typing import Any

from twisted.web.http import Request
from twisted.web.resource import Resource

from qgswps.errors import OWSError
from qgswps.interfaces import IJobStore
from qgswps.jobs.durable import DurableStore
from qgswps.jobs.queue import JobQueue
from qgswps.metrics import CONTENT_TYPE, Figures, Metrics
from qgswps.pool.pool import ProcessPool
from qgswps.threads import inThread
from qgswps.web.deferral import Deferral, Handler, Response, jsonResponse

#: No proxy may answer in our place.
_FRESH = {"Cache-Control": "no-store"}


class Monitoring:
    """The three resources."""

    def __init__(
        self,
        reactor: Any,
        queue: JobQueue,
        pool: ProcessPool,
        store: DurableStore,
        queueLimit: int,
        metrics: Metrics | None,
    ) -> None:
        """
        @param metrics: None for none.
        """
        self._reactor = reactor
        self._queue = queue
        self._pool = pool
        self._store = store
        self._queueLimit = queueLimit
        self._metrics = metrics

    def attach(self, parent: Resource, metrics: bool = True) -> None:
        """
        Put the resources into another one.

        @param metrics: whether C{/metrics} is among them.
        """
        handlers: dict[bytes, Handler] = {
            b"healthz": self.health,
            b"readyz": self.readiness,
        }
        if metrics and self._metrics is not None:
            handlers[b"metrics"] = self.figures
        for name, handler in handlers.items():
            # Those who look whether the server is well have no password.
            isOpen = name != b"metrics"
            parent.putChild(name, Deferral({b"GET": handler}, isOpen=isOpen))

    async def health(self, request: Request) -> Response:
        """Who gets this knows all that it says."""
        return Response(b"ok\n", headers=_FRESH)

    async def readiness(self, request: Request) -> Response:
        """Whether jobs are taken and can run, and what is in the way."""
        trouble = {
            "queue": self._queue.refusal,
            "store": await _troubleOf(self._store),
            "qgis": self._pool.trouble,
        }
        isReady = not any(trouble.values())
        answer = jsonResponse(
            {
                "ready": isReady,
                "checks": {name: why or "ok" for name, why in trouble.items()},
            },
            200 if isReady else 503,
        )
        return Response(answer.body, answer.contentType, answer.status, headers=_FRESH)

    async def figures(self, request: Request) -> Response:
        """All figures, those that can be read off as they are now."""
        assert self._metrics is not None
        figures = Figures(
            jobs=Tally((job.processId, job.state) for job in self._queue.unfinished()),
            queue=self._queue.waiting,
            queueLimit=self._queueLimit,
            slots=self._pool.capacity,
            slotsTaken=self._queue.running,
            generation=self._pool.generation,
            isReady=self._pool.trouble is None,
            hasStore=self._store.trouble is None,
            unwritten=self._store.pending,
        )
        document = await inThread(self._reactor, self._metrics.render, figures)
        return Response(document, CONTENT_TYPE, headers=_FRESH)

    def status(self) -> str:
        """A line on how the server is, for a service manager."""
        parts = [
            f"{self._queue.running} of {self._pool.capacity} slots taken",
            f"{self._queue.waiting} of {self._queueLimit} jobs waiting",
        ]
        if self._pool.generation:
            parts.append(
                f"QGIS {self._pool.qgisVersion}, generation {self._pool.generation}"
            )
        trouble = (self._pool.trouble, self._store.trouble, self._queue.refusal)
        parts += dict.fromkeys(each for each in trouble if each)
        return "; ".join(parts)


async def _troubleOf(store: DurableStore) -> str | None:
    """What is wrong with a store, if it had to answer now."""
    if store.trouble is not None:
        return store.trouble  # to ask again would take its time-out again
    asked: IJobStore = store
    try:
        await asked.get("")
    except OWSError as error:
        return str(error)
    return None
