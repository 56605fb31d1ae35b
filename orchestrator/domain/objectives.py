"""What was promised of an item's points, what was kept, and whether it still can be.

Rule of the file: pure. An RPO is how old the newest point may be; nothing here decides what is backed up when.
"""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime, timedelta
from enum import StrEnum

from orchestrator.domain.urgency import latest_start

WINDOW = timedelta(days=30)
"""As far back as an achieved RPO looks."""


class Verdict(StrEnum):
    """How an item stands to its promise at one moment."""

    MET = "met"
    AT_RISK = "at_risk"  # the latest start that keeps the promise has passed
    MISSED = "missed"  # the newest point is older than promised
    UNPROMISED = "unpromised"  # it has points, nobody has promised anything
    NEVER = "never"  # it has no sealed point at all


@dataclass(frozen=True, slots=True, kw_only=True)
class Record:
    """What is known of one item. ``rpo`` and ``estimate`` (of its next backup) are in seconds.

    ``newest`` is when its newest sealed point came, ``longest_gap`` the most seconds between two points one after the
    other of which the later one came in the last 30 days; None without two such.
    """

    item_id: str
    name: str
    policy: str | None
    created_at: datetime
    paused_at: datetime | None
    rpo: int | None
    newest: datetime | None
    estimate: float
    longest_gap: float | None
    verified_at: datetime | None
    next_fire_at: datetime | None


@dataclass(frozen=True, slots=True, kw_only=True)
class Standing:
    """A record with what follows from it; ``achieved`` and ``overdue`` are in seconds.

    ``overdue`` is how long the promise has been broken, None while it is kept or when there is none.
    """

    record: Record
    verdict: Verdict
    achieved: float | None
    overdue: float | None


def judge(record: Record, *, now: datetime) -> Standing:
    """Return how an item stands."""
    return Standing(
        record=record,
        verdict=verdict(rpo=record.rpo, newest=record.newest, estimate=record.estimate, now=now),
        achieved=achieved(newest=record.newest, longest_gap=record.longest_gap, now=now),
        overdue=overdue(rpo=record.rpo, since=record.newest or record.created_at, now=now),
    )


def verdict(*, rpo: int | None, newest: datetime | None, estimate: float, now: datetime) -> Verdict:
    """Return the verdict. The store says the same in SQL, for pages of one verdict: a test holds both together."""
    if newest is None:
        return Verdict.NEVER
    if rpo is None:
        return Verdict.UNPROMISED
    promise = timedelta(seconds=rpo)
    if newest + promise < now:
        return Verdict.MISSED
    if latest_start(newest=newest, rpo=promise, estimate=estimate) < now:
        return Verdict.AT_RISK
    return Verdict.MET


def achieved(*, newest: datetime | None, longest_gap: float | None, now: datetime) -> float | None:
    """Return the seconds of data that would have been lost at the worst moment; None without any point."""
    if newest is None:
        return None
    return max(longest_gap or 0.0, (now - newest).total_seconds())


def overdue(*, rpo: int | None, since: datetime, now: datetime) -> float | None:
    """Return for how many seconds an item has been without a point that it was promised; None while all is well.

    ``since`` is when its newest point came, or the item itself.
    """
    if rpo is None:
        return None
    late = (now - since).total_seconds() - rpo
    return late if late > 0 else None
