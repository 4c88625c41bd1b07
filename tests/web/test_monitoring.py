"""Tests of L{qgswps.web.monitoring}."""

from __future__ import annotations

import json
from http.client import HTTPResponse
from typing import Any

import attrs
from twisted.internet.defer import Deferred, fail
from twisted.trial.unittest import SynchronousTestCase
from twisted.web.resource import Resource

from qgswps.errors import busy
from qgswps.jobs.durable import DurableStore
from qgswps.jobs.queue import JobQueue, Limits
from qgswps.jobs.spool import Spool
from qgswps.metrics import Metrics
from qgswps.web.monitoring import Monitoring
from qgswps.web.site import makeSite
from tests.fakes import (
    PROCESS,
    Exchange,
    FakeExecutor,
    FakeReactor,
    FakeReferences,
    MemoryStore,
    makeTask,
)
from tests.test_metrics import samples


@attrs.define
class Pool:
    """What there is to know of a pool."""

    capacity: int = 1
    generation: int = 1
    qgisVersion: str | None = "3.22"
    trouble: str | None = None


class MonitoringTestCase(SynchronousTestCase):
    """A queue and a store with somebody who watches them."""

    def setUp(self) -> None:
        self.reactor = FakeReactor()
        self.reactor.advance(1000)
        self.inner = MemoryStore()
        self.store = DurableStore(self.reactor, self.inner)
        self.executor = FakeExecutor(1)
        self.pool = Pool()
        self.metrics = Metrics("1")
        self.queue = JobQueue(
            self.reactor,
            self.store,
            self.executor,
            Spool(self.mktemp()),
            FakeReferences(),
            "here",
            Limits(waiting=5),
            observer=self.metrics,
        )
        self.monitoring = self.make(self.metrics)
        self.root = Resource()
        self.monitoring.attach(self.root)

    def make(self, metrics: Metrics | None) -> Monitoring:
        """Something that watches."""
        pool: Any = self.pool
        return Monitoring(self.reactor, self.queue, pool, self.store, 5, metrics)

    def recover(self) -> None:
        """From now on jobs are taken."""
        self.successResultOf(Deferred.fromCoroutine(self.queue.recover()))

    def submit(self, realm: str | None = None) -> None:
        """A job comes."""
        self.successResultOf(self.queue.submit(makeTask(), PROCESS, realm))

    def ask(self, path: str, method: str = "GET") -> HTTPResponse:
        """What is answered."""
        site = makeSite(self.reactor, self.root, 1000)
        response = self.successResultOf(Exchange(site, path, method).finished)
        assert isinstance(response, HTTPResponse)
        return response


class HealthTests(MonitoringTestCase):
    """C{/healthz} and C{/readyz}"""

    def checks(self, status: int) -> dict[str, str]:
        """The parts of an answer of C{/readyz}."""
        response = self.ask("/readyz")
        self.assertEqual(response.status, status)
        self.assertEqual(response.headers["Cache-Control"], "no-store")
        answer = json.loads(response.read())
        self.assertEqual(answer["ready"], status == 200)
        checks: dict[str, str] = answer["checks"]
        self.assertEqual(set(checks), {"queue", "store", "qgis"})
        return checks

    def test_alive(self) -> None:
        """A server is alive whatever else is."""
        self.pool.trouble = "no"
        response = self.ask("/healthz")
        self.assertEqual((response.status, response.read()), (200, b"ok\n"))
        self.assertEqual(self.ask("/healthz", "HEAD").status, 200)
        self.assertEqual(self.ask("/healthz", "POST").status, 405)

    def test_ready(self) -> None:
        """It is ready when jobs are taken and can run."""
        self.recover()
        self.assertEqual(set(self.checks(200).values()), {"ok"})

    def test_starting(self) -> None:
        """Before the store was read, no jobs are taken."""
        self.pool.trouble = "QGIS is starting"
        checks = self.checks(503)
        self.assertEqual(checks["queue"], "the server is starting")
        self.assertEqual(checks["qgis"], "QGIS is starting")
        self.assertEqual(checks["store"], "ok")

    def test_full(self) -> None:
        """A full queue is what queues are for."""
        self.recover()
        for _ in range(6):
            self.submit()
        self.assertEqual(set(self.checks(200).values()), {"ok"})

    def test_stopping(self) -> None:
        """A server that is stopping takes no more."""
        self.recover()
        self.successResultOf(Deferred.fromCoroutine(self.queue.stop()))
        self.assertEqual(self.checks(503)["queue"], "the server is stopping")


class StoreTests(MonitoringTestCase):
    """A store that comes and goes."""

    def setUp(self) -> None:
        super().setUp()
        self.recover()
        self.asked = 0
        self.isAway = False
        get = self.inner.get

        def ask(jobId: str) -> Any:
            self.asked += 1
            if self.isAway:
                return fail(busy("Redis is away"))
            return get(jobId)

        self.patch(self.inner, "get", ask)

    def test_asked(self) -> None:
        """It is asked when somebody wants to know, and until it fails."""
        self.assertEqual(self.ask("/readyz").status, 200)
        self.assertEqual(self.asked, 1)
        self.isAway = True
        for _ in range(2):
            response = self.ask("/readyz")
            self.assertEqual(response.status, 503)
            store = json.loads(response.read())["checks"]["store"]
            self.assertIn("Redis is away", store)
        self.assertEqual(self.asked, 2, "not once more, for its time-out")
        found = samples(self.ask("/metrics").read())
        self.assertEqual(found["qgswps_store_up", ()], 0)
        self.assertIn("Redis is away", self.monitoring.status())
        self.isAway = False
        self.reactor.advance(10)
        self.assertEqual(self.ask("/readyz").status, 200)


class FiguresTests(MonitoringTestCase):
    """C{/metrics} and the status line."""

    def setUp(self) -> None:
        super().setUp()
        self.recover()

    def test_figures(self) -> None:
        """What happens is in the document, and no realm is."""
        for _ in range(3):
            self.submit("our secret")
        self.executor.executions[0].observer.started(7)
        response = self.ask("/metrics")
        self.assertTrue(response.headers["Content-Type"].startswith("text/plain;"))
        document = response.read()
        found = samples(document)
        self.assertEqual(found["qgswps_jobs_accepted_total", ("test:process",)], 3)
        self.assertEqual(found["qgswps_jobs", ("test:process", "accepted")], 2)
        self.assertEqual(found["qgswps_jobs", ("test:process", "started")], 1)
        self.assertEqual(found["qgswps_queue_length", ()], 2)
        self.assertEqual(found["qgswps_slots_taken", ()], 1)
        self.assertEqual(found["qgswps_store_up", ()], 1)
        self.assertNotIn(b"secret", document)

    def test_off(self) -> None:
        """There may be none, or elsewhere."""
        for metrics, shown in ((None, True), (self.metrics, False)):
            self.root = Resource()
            self.make(metrics).attach(self.root, shown)
            self.assertEqual(self.ask("/metrics").status, 404)
            self.assertEqual(self.ask("/readyz").status, 200)

    def test_status(self) -> None:
        """A line for the service manager."""
        for _ in range(3):
            self.submit()
        self.assertEqual(
            self.monitoring.status(),
            "1 of 1 slots taken; 2 of 5 jobs waiting; QGIS 3.22, generation 1",
        )
        self.pool.trouble, self.pool.generation = "QGIS is starting", 0
        self.assertEqual(
            self.monitoring.status(),
            "1 of 1 slots taken; 2 of 5 jobs waiting; QGIS is starting",
        )
