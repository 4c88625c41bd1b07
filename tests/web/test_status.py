"""Tests of L{qgswps.web.status}."""

from __future__ import annotations

from twisted.trial.unittest import SynchronousTestCase

from qgswps.model import State
from qgswps.web.status import STATUS, record, time
from tests.fakes import makeJob


class StatusTests(SynchronousTestCase):
    """Records as JSON."""

    def test_states(self) -> None:
        """Each state has a name."""
        self.assertEqual(set(STATUS), set(State))
        self.assertEqual(len(set(STATUS.values())), len(State))

    def test_time(self) -> None:
        """Times are ISO 8601 in UTC."""
        for seconds, expected in [
            (None, None),
            (0, "1970-01-01T00:00:00.000Z"),
            (1700000000.1239, "2023-11-14T22:13:20.123Z"),
        ]:
            self.assertEqual(time(seconds), expected)

    def test_record(self) -> None:
        """A record tells all that a client may want to know."""
        job = makeJob(
            "j",
            state=State.FAILED,
            created=1.0,
            started=2.0,
            finished=3.0,
            expires=4.0,
            percent=99.9,
            message="no",
            map="m",
            timeout=5,
            expire=6,
            asynchronous=True,
            pid=7,
            signal="SIGKILL",
            peakMemory=8,
        )
        base = "http://a/"
        expected = {
            "uuid": "j",
            "identifier": "test:process",
            "version": "1.0",
            "conformance": "wps-1.0.0",
            "map": "m",
            "status": "ERROR_STATUS",
            "percent_done": 99,
            "message": "no",
            "timestamp": "1970-01-01T00:00:03.000Z",
            "time_start": "1970-01-01T00:00:01.000Z",
            "job_start": "1970-01-01T00:00:02.000Z",
            "time_end": "1970-01-01T00:00:03.000Z",
            "expire_at": "1970-01-01T00:00:04.000Z",
            "expiration": 6,
            "timeout": 5,
            "execute_async": True,
            "pinned": False,
            "realm": None,
            "pid": 7,
            "queue_position": 3,
            "exit_signal": "SIGKILL",
            "peak_memory": 8,
            "status_url": (
                "http://a/ows/?service=WPS&version=1.0.0&request=GetResults"
                "&executionId=j&uuid=j"
            ),
            "record_url": "http://a/status/j",
            "store_url": "http://a/jobs/j/files",
            "log_url": "http://a/jobs/j/log",
            "request": "http://a/status/j?key=request",
        }
        self.assertEqual(record(job, base, 3), expected)

    def test_timestamp(self) -> None:
        """The timestamp is that of the last move."""
        for started, expected in [
            (None, "1970-01-01T00:16:40.000Z"),
            (2000.0, "1970-01-01T00:33:20.000Z"),
        ]:
            told = record(makeJob(started=started), "")
            self.assertEqual(told["timestamp"], expected)
