"""Tests of L{qgswps.jobs.expiry}."""

from __future__ import annotations

from twisted.internet.task import Clock
from twisted.trial.unittest import SynchronousTestCase

from qgswps.jobs.expiry import Expiry


class ExpiryTests(SynchronousTestCase):
    """L{Expiry}"""

    def setUp(self) -> None:
        self.clock = Clock()
        self.clock.advance(1000)
        self.expired: list[str] = []
        self.expiry = Expiry(self.clock, self.expired.append)

    def test_order(self) -> None:
        """Jobs expire at their time, whatever the order in which they came."""
        for jobId, when in [("b", 1020), ("a", 1010), ("c", 1020.5), ("past", 900)]:
            self.expiry.add(jobId, when)
            self.assertEqual(len(self.clock.getDelayedCalls()), 1, "one timer for all")
        for seconds, expired in [
            (0, ["past"]),
            (9.9, []),
            (0.1, ["a"]),
            (10.2, ["b"]),
            (0.3, ["c"]),
        ]:
            self.clock.advance(seconds)
            self.assertEqual(self.expired, expired)
            self.expired.clear()
        self.assertEqual(self.clock.getDelayedCalls(), [])

    def test_clockIsSet(self) -> None:
        """A wall clock that jumps forward is noticed within a minute."""
        self.expiry.add("a", 1000 + 86400)
        self.clock.rightNow += 90000
        [call] = self.clock.getDelayedCalls()
        self.assertEqual(call.getTime(), 1060)
        self.clock.advance(0)
        self.assertEqual(self.expired, ["a"])

    def test_sleeps(self) -> None:
        """A job that is far off is waited for in steps."""
        self.expiry.add("a", 1000 + 150)
        for seconds, expired in [(60, []), (60, []), (29, []), (1, ["a"])]:
            self.clock.advance(seconds)
            self.assertEqual(self.expired, expired)

    def test_addWhenOneExpires(self) -> None:
        """What is called may add further jobs."""

        def expire(jobId: str) -> None:
            self.expired.append(jobId)
            self.expiry.add("next", 1015)

        self.expiry = Expiry(self.clock, expire)
        self.expiry.add("a", 1010)
        self.clock.advance(10)
        self.assertEqual(self.expired, ["a"])
        self.assertEqual([c.getTime() for c in self.clock.getDelayedCalls()], [1015])

    def test_stop(self) -> None:
        """Nothing expires after the end, and no timer is left."""
        self.expiry.add("a", 1010)
        for _ in range(2):
            self.expiry.stop()
            self.assertEqual(self.clock.getDelayedCalls(), [])
        self.expiry.add("b", 1020)
        self.clock.advance(60)
        self.assertEqual(self.expired, ["b"])
