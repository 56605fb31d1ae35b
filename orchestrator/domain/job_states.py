"""The life of a job: one transition table, from which the SQL CHECK, the SQL trigger and the tests are derived.

Rule of the file: a state is exclusive. Everything that may be true beside it (admitted, cancel requested, was
committing
once) is a fact: a nullable timestamp on the row.
"""

from __future__ import annotations

from dataclasses import dataclass
from enum import StrEnum


class JobState(StrEnum):
    """Where a job is."""

    SCHEDULED = "scheduled"
    AVAILABLE = "available"
    RUNNING = "running"
    COMMITTING = "committing"
    RETRYABLE = "retryable"
    COMPLETED = "completed"
    CANCELLED = "cancelled"
    DISCARDED = "discarded"
    EXPIRED = "expired"


@dataclass(frozen=True, slots=True)
class StateRow:
    """One line of the table: what the state means, who moves the job on, and whereto."""

    means: str
    moved_by: str
    to: frozenset[JobState]


_S = JobState


def _to(*states: JobState) -> frozenset[JobState]:
    return frozenset(states)


TRANSITIONS: dict[JobState, StateRow] = {
    _S.SCHEDULED: StateRow(
        "accepted, its time has not come", "dispatcher, when due; a person", _to(_S.AVAILABLE, _S.CANCELLED, _S.EXPIRED)
    ),
    _S.AVAILABLE: StateRow(
        "due; once the fact admitted_at is set it holds its slots and its doorbell is rung",
        "a worker by claiming; a person; the planner, when a newer fire takes its place",
        _to(_S.RUNNING, _S.CANCELLED, _S.EXPIRED),
    ),
    _S.RUNNING: StateRow(
        "a worker holds the lease",
        "that worker; the rescuer once its lease is over",
        _to(_S.COMMITTING, _S.COMPLETED, _S.RETRYABLE, _S.AVAILABLE, _S.DISCARDED, _S.CANCELLED),
    ),
    _S.COMMITTING: StateRow(
        "the lease holder may be sealing the point",
        "that worker; the rescuer once its lease is over",
        _to(_S.COMPLETED, _S.RETRYABLE, _S.AVAILABLE, _S.DISCARDED, _S.CANCELLED),
    ),
    _S.RETRYABLE: StateRow(
        "an attempt ended without its result; waits for its back-off",
        "dispatcher, when due; a person",
        _to(_S.AVAILABLE, _S.CANCELLED, _S.EXPIRED),
    ),
    _S.COMPLETED: StateRow("done; may carry warnings", "nobody", _to()),
    _S.CANCELLED: StateRow("stopped because a person asked", "nobody", _to()),
    _S.DISCARDED: StateRow("failed for good; the error says why", "nobody", _to()),
    _S.EXPIRED: StateRow("its time passed before it could start", "nobody", _to()),
}

TERMINAL: frozenset[JobState] = frozenset(state for state, row in TRANSITIONS.items() if not row.to)
"""States nothing leaves."""

WAITING: frozenset[JobState] = frozenset({_S.SCHEDULED, _S.AVAILABLE, _S.RETRYABLE})
"""States in which no worker owns the job; each has a wait reason."""

OWNED: frozenset[JobState] = frozenset({_S.RUNNING, _S.COMMITTING})
"""States in which exactly one lease exists."""


def may_move(before: JobState, after: JobState) -> bool:
    """Tell whether the table allows a job to go from one state to another (never to itself)."""
    return after in TRANSITIONS[before].to


class PointState(StrEnum):
    """Where a recovery point is. A point is in the catalog from its sealing on."""

    SEALED = "sealed"
    EXPIRING = "expiring"
    EXPIRED = "expired"
    DAMAGED = "damaged"


@dataclass(frozen=True, slots=True)
class PointRow:
    """One line of the table of points: what the state means, who moves the point on, and whereto."""

    means: str
    moved_by: str
    to: frozenset[PointState]


_P = PointState

POINT_TRANSITIONS: dict[PointState, PointRow] = {
    _P.SEALED: PointRow(
        "can be restored; its manifest is in the vault",
        "a verify that finds damage; retention",
        frozenset({_P.DAMAGED, _P.EXPIRING}),
    ),
    _P.DAMAGED: PointRow(
        "a verify could not prove it; kept until a person has looked (the fact looked_at)",
        "a full verify that finds it whole; retention, once somebody has looked",
        frozenset({_P.SEALED, _P.EXPIRING}),
    ),
    _P.EXPIRING: PointRow(
        "no rule keeps it; no backup compares with it, no new restore reads it. Once the fact doomed_at is set its"
        " manifest may be gone and nothing brings it back",
        "a person who holds it; a verify under way that finds damage; the collector, once it is doomed",
        frozenset({_P.SEALED, _P.DAMAGED, _P.EXPIRED}),
    ),
    _P.EXPIRED: PointRow("its manifest is gone; the row stays", "nobody", frozenset()),
}


class FireState(StrEnum):
    """What became of one nominal time of a schedule."""

    PLANNED = "planned"  # its time has not come
    FILED = "filed"  # a job was made of it
    MISSED = "missed"  # nobody was there in time; recorded, not run
    SKIPPED = "skipped"  # a reason of the item's own, such as a backup still active
