"""Tests of L{qgswps.ows.operations}."""

from __future__ import annotations

from twisted.trial.unittest import SynchronousTestCase

from qgswps.ows.operations import DescribeProcess


class DescribeProcessTests(SynchronousTestCase):
    """DescribeProcess as a value."""

    def test_all(self) -> None:
        """The word for every process counts in any letter case."""
        self.assertTrue(DescribeProcess(("ALL",)).all)
        self.assertTrue(DescribeProcess(("a", "all")).all)
        self.assertFalse(DescribeProcess(("a",)).all)
