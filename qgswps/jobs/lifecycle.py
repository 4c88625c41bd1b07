"""
The states of a job and the moves between them: one table, one function.

Records change state by compare-and-set in the store, so a late report can
never revive a job that has ended.
"""

from __future__ import annotations

from typing import Any

import attrs

from qgswps.model import Job, State

MOVES: dict[State, frozenset[State]] = {
    State.ACCEPTED: frozenset({State.STARTED, State.DISMISSED, State.FAILED}),
    State.STARTED: frozenset({State.SUCCEEDED, State.FAILED, State.DISMISSED}),
    State.SUCCEEDED: frozenset(),
    State.FAILED: frozenset(),
    State.DISMISSED: frozenset(),
}


class IllegalMove(Exception):
    """A job can't go from the one state to the other."""


def advance(job: Job, state: State, now: float, **changes: Any) -> Job:
    """
    The job in another state.

    @param now: seconds since the epoch; when it started, or finished.
    @param changes: further attributes of the new record.
    @raise IllegalMove: the table does not have that move.
    """
    if state not in MOVES[job.state]:
        raise IllegalMove(f"job {job.id}: {job.state.value} to {state.value}")
    if state is State.STARTED:
        changes["started"] = now
    if state.terminal:
        changes["finished"] = now
    if state is State.SUCCEEDED:
        changes["percent"] = 100.0
    return attrs.evolve(job, state=state, **changes)
