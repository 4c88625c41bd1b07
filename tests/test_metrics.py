"""Tests of L{qgswps.metrics}."""

from __future__ import annotations

from collections import Counter as Tally
from collections.abc import Mapping

import attrs
from prometheus_client.parser import text_string_to_metric_families
from twisted.trial.unittest import SynchronousTestCase
from zope.interface.verify import verifyObject

from qgswps.interfaces import IJobObserver
from qgswps.metrics import Figures, Metrics
from qgswps.model import Job, State
from tests.fakes import makeJob


def samples(document: bytes) -> dict[tuple[str, tuple[str, ...]], float]:
    """The values by name and values of labels, as Prometheus reads them."""
    families = text_string_to_metric_families(document.decode())
    return {
        (sample.name, tuple(value for _, value in sorted(sample.labels.items()))): (
            sample.value
        )
        for family in families
        for sample in family.samples
    }


class MetricsTests(SynchronousTestCase):
    """L{Metrics}"""

    def setUp(self) -> None:
        self.metrics = Metrics("1.2")
        self.job = makeJob(processId="native:buffer", created=10.0, realm="secret")

    def found(
        self, figures: Figures | None = None
    ) -> Mapping[tuple[str, tuple[str, ...]], float]:
        """What is told."""
        return samples(self.metrics.render(figures or Figures()))

    def test_interface(self) -> None:
        """They may be told of jobs."""
        verifyObject(IJobObserver, self.metrics)

    def run_(self, state: State = State.SUCCEEDED, seconds: float = 3.0) -> Job:
        """A job that waits for 2 s and then runs."""
        self.metrics.changed(self.job, None)
        started = attrs.evolve(self.job, state=State.STARTED, started=12.0)
        self.metrics.changed(started, State.ACCEPTED)
        ended = attrs.evolve(started, state=state, finished=12.0 + seconds)
        self.metrics.changed(ended, State.STARTED)
        return ended

    def test_jobs(self) -> None:
        """Jobs are counted by process and end, with their times."""
        self.run_()
        self.run_(State.FAILED, 100)
        found = self.found()
        buffer = ("native:buffer",)
        self.assertEqual(found["qgswps_jobs_accepted_total", buffer], 2)
        for state in ("succeeded", "failed"):
            key = ("qgswps_jobs_finished_total", ("native:buffer", state))
            self.assertEqual(found[key], 1)
        self.assertEqual(found["qgswps_job_waiting_seconds_sum", ()], 4)
        self.assertEqual(found["qgswps_job_waiting_seconds_bucket", ("1.0",)], 0)
        self.assertEqual(found["qgswps_job_waiting_seconds_bucket", ("5.0",)], 2)
        self.assertEqual(found["qgswps_job_running_seconds_sum", buffer], 103)
        short = ("5.0", "native:buffer")
        self.assertEqual(found["qgswps_job_running_seconds_bucket", short], 1)

    def test_notStarted(self) -> None:
        """A job that never ran has no times."""
        self.metrics.changed(self.job, None)
        ended = attrs.evolve(self.job, state=State.DISMISSED, finished=11.0)
        self.metrics.changed(ended, State.ACCEPTED)
        found = self.found()
        key = ("qgswps_jobs_finished_total", ("native:buffer", "dismissed"))
        self.assertEqual(found[key], 1)
        self.assertEqual(found["qgswps_job_waiting_seconds_count", ()], 0)
        self.assertNotIn(
            ("qgswps_job_running_seconds_count", ("native:buffer",)), found
        )

    def test_memory(self) -> None:
        """The peaks of workers are told in bytes, and the largest by process."""
        for peak in (200 * 1024, 300 * 1024, 100 * 1024, None):
            self.metrics.exited(self.job, peak)
        found = self.found()
        self.assertEqual(found["qgswps_worker_peak_memory_bytes_sum", ()], 600 * 2**20)
        self.assertEqual(found["qgswps_worker_peak_memory_bytes_count", ()], 3)
        key = ("qgswps_worker_peak_memory_max_bytes", ("native:buffer",))
        self.assertEqual(found[key], 300 * 2**20)

    def test_forks(self) -> None:
        """So are the times of forks."""
        self.metrics.forked(0.004)
        found = self.found()
        self.assertEqual(found["qgswps_fork_seconds_bucket", ("0.005",)], 1)
        self.assertEqual(found["qgswps_fork_seconds_bucket", ("0.002",)], 0)

    def test_figures(self) -> None:
        """What is read off is as it is now."""
        now = Figures(
            jobs=Tally({("a", State.ACCEPTED): 3, ("a", State.STARTED): 1}),
            queue=3,
            queueLimit=100,
            slots=4,
            slotsTaken=1,
            generation=2,
            isReady=True,
            hasStore=True,
            unwritten=5,
        )
        found = self.found(now)
        for name, value in {
            "queue_length": 3,
            "queue_limit": 100,
            "slots": 4,
            "slots_taken": 1,
            "generation": 2,
            "fork_server_ready": 1,
            "store_up": 1,
            "store_unwritten_changes": 5,
        }.items():
            self.assertEqual(found[f"qgswps_{name}", ()], value, name)
        self.assertEqual(found["qgswps_jobs", ("a", "accepted")], 3)
        self.assertEqual(found["qgswps_jobs", ("a", "started")], 1)
        self.assertEqual(found["qgswps_build_info", ("1.2",)], 1)
        self.assertGreater(found["process_resident_memory_bytes", ()], 0)
        # What is no longer there is gone.
        self.assertNotIn(("qgswps_jobs", ("a", "accepted")), self.found())

    def test_secrets(self) -> None:
        """Nothing of a client is told."""
        self.run_()
        document = self.metrics.render(Figures())
        self.assertNotIn(b"secret", document)
        self.assertNotIn(self.job.id.encode() + b'"', document)

    def test_bounded(self) -> None:
        """However many jobs there are, the document grows with processes alone."""
        self.run_()
        lines = self.metrics.render(Figures()).count(b"\n")
        for _ in range(100):
            self.run_()
        self.assertEqual(self.metrics.render(Figures()).count(b"\n"), lines)
