"""Tests of L{qgswps.jobs.lifecycle}."""

from __future__ import annotations

from itertools import product

from twisted.trial.unittest import SynchronousTestCase

from qgswps.jobs.lifecycle import MOVES, IllegalMove, advance
from qgswps.model import State
from tests.fakes import makeJob

#: All that is allowed, written down a second time.
LEGAL = {
    ("accepted", "started"),
    ("accepted", "failed"),
    ("accepted", "dismissed"),
    ("started", "succeeded"),
    ("started", "failed"),
    ("started", "dismissed"),
}


class AdvanceTests(SynchronousTestCase):
    """L{advance}"""

    def test_everyPair(self) -> None:
        """Each pair of states is a move or is refused."""
        for before, after in product(State, State):
            job = makeJob(state=before)
            if (before.value, after.value) in LEGAL:
                self.assertIs(advance(job, after, 5.0).state, after)
            else:
                error = self.assertRaises(IllegalMove, advance, job, after, 5.0)
                self.assertIn(f"{before.value} to {after.value}", str(error))

    def test_terminal(self) -> None:
        """A state is terminal if, and only if, no move leads out of it."""
        for state in State:
            self.assertEqual(state.terminal, not MOVES[state])

    def test_times(self) -> None:
        """The move tells when a job started or finished, and nothing else."""
        for before, after, started, finished, percent in [
            (State.ACCEPTED, State.STARTED, 7.0, None, 30.0),
            (State.ACCEPTED, State.FAILED, None, 7.0, 30.0),
            (State.STARTED, State.SUCCEEDED, 3.0, 7.0, 100.0),
            (State.STARTED, State.DISMISSED, 3.0, 7.0, 30.0),
        ]:
            ran = 3.0 if before is State.STARTED else None
            job = advance(
                makeJob(state=before, started=ran, percent=30.0), after, 7.0, pid=9
            )
            self.assertEqual(
                (job.started, job.finished, job.percent, job.pid),
                (started, finished, percent, 9),
            )
