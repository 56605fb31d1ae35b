"""What the auditor looks at, and what it finds wrong in it.

Rule of the file: pure, and told by nobody: it takes what the database says, never what the tower believes of itself.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta

from orchestrator.domain.alarms import AlarmKind, Finding
from orchestrator.domain.sizes import PointSize, strangeness

MENDING = frozenset({AlarmKind.NO_LEADER, AlarmKind.NO_WORKER, AlarmKind.PLANNER_BEHIND})
"""What is there for a moment whenever everything was asleep or away, and is mended by those who come back."""

TOWER = "tower"
FLEET = "fleet"


@dataclass(frozen=True, slots=True, kw_only=True)
class Patience:
    """How long something may be wrong before it is a finding: what is mended by itself in that time is no alarm.

    ``absence`` is for a leader or a worker that is not there; a worker that was silent for ``silence`` is not there.
    """

    absence: timedelta = timedelta(seconds=60)
    silence: timedelta = timedelta(seconds=60)
    planner: timedelta = timedelta(minutes=15)
    job: timedelta = timedelta(hours=24)


@dataclass(frozen=True, slots=True, kw_only=True)
class OverdueItem:
    """An item whose newest point is older than its RPO (seconds); without a point, the item itself is."""

    item_id: str
    name: str
    created_at: datetime
    paused_at: datetime | None
    newest: datetime | None
    rpo: int


@dataclass(frozen=True, slots=True)
class PlannerLag:
    """What the planner should have done: fires that are due and not settled, items that are not planned up to now."""

    fires: int
    items: int


@dataclass(frozen=True, slots=True)
class EndlessJob:
    """A scheduled job that was filed long ago and has not ended."""

    job_id: str
    item: str
    state: str
    created_at: datetime


@dataclass(frozen=True, slots=True)
class PointHistory:
    """An item's newest sealed point, and up to ten before it."""

    item_id: str
    name: str
    newest: PointSize
    earlier: tuple[PointSize, ...]


@dataclass(frozen=True, slots=True)
class DamagedPoint:
    """A point that a verify has found damaged."""

    point_id: str
    item: str


@dataclass(frozen=True, slots=True)
class HeldBack:
    """An item of which so many points would go at once that nobody lets them go unasked."""

    item_id: str
    name: str
    points: int


@dataclass(frozen=True, slots=True)
class FailedCollect:
    """A vault whose last collection failed for good, and why."""

    vault_id: str
    name: str
    job_id: str
    message: str


@dataclass(frozen=True, slots=True, kw_only=True)
class Observations:
    """What one round has seen.

    ``waiting`` counts jobs that have been ready for longer than the patience for an absence. ``led_until`` is when the
    leader's lease ends or ended, None when nobody has ever led; ``watched_since`` is when this auditor began to look,
    or to look again after it was away itself.
    """

    overdue: Sequence[OverdueItem]
    lag: PlannerLag
    endless: Sequence[EndlessJob]
    histories: Sequence[PointHistory]
    damaged: Sequence[DamagedPoint]
    held_back: Sequence[HeldBack] = ()
    failed_collects: Sequence[FailedCollect] = ()
    waiting: int
    workers: int
    led_until: datetime | None
    watched_since: datetime


def findings(seen: Observations, *, patience: Patience, now: datetime) -> list[Finding]:
    """Return everything that is wrong, what concerns all first."""
    return [
        *_nobody_leads(seen, patience, now),
        *_planner_behind(seen.lag, patience),
        *_no_worker(seen),
        *_damaged(seen.damaged),
        *_not_collected(seen.failed_collects),
        *_missed(seen.overdue, now),
        *_held_back(seen.held_back),
        *_strange(seen.histories),
        *_endless(seen.endless, now),
    ]


def held(seen: Observations, *, patience: Patience, now: datetime) -> frozenset[AlarmKind]:
    """Return the kinds that are no alarm yet, because the auditor has not looked for long enough."""
    return MENDING if now - seen.watched_since <= patience.absence else frozenset()


def _nobody_leads(seen: Observations, patience: Patience, now: datetime) -> Iterable[Finding]:
    since = seen.watched_since if seen.led_until is None else seen.led_until
    if now - since > patience.absence:
        yield Finding(
            AlarmKind.NO_LEADER, TOWER, TOWER, f"nobody has led the tower for {span(now - since)}: nothing is started"
        )


def _planner_behind(lag: PlannerLag, patience: Patience) -> Iterable[Finding]:
    if lag.fires or lag.items:
        late = span(patience.planner)
        yield Finding(
            AlarmKind.PLANNER_BEHIND,
            TOWER,
            TOWER,
            f"the planner does not keep up: {lag.fires:,} times to back up passed more than {late} ago with nothing"
            f" done about them, {lag.items:,} items are not planned any more",
        )


def _no_worker(seen: Observations) -> Iterable[Finding]:
    if seen.waiting and not seen.workers:
        yield Finding(AlarmKind.NO_WORKER, FLEET, FLEET, f"{seen.waiting:,} jobs wait and no worker is alive")


def _damaged(points: Iterable[DamagedPoint]) -> Iterable[Finding]:
    for point in points:
        yield Finding(
            AlarmKind.POINT_DAMAGED, point.point_id, point.item, f"recovery point {point.point_id} is damaged"
        )


def _not_collected(vaults: Iterable[FailedCollect]) -> Iterable[Finding]:
    for vault in vaults:
        yield Finding(
            AlarmKind.COLLECT_FAILED,
            vault.vault_id,
            vault.name,
            f"the garbage of the vault was not collected: {vault.message} (job {vault.job_id})",
        )


def _held_back(items: Iterable[HeldBack]) -> Iterable[Finding]:
    for item in items:
        yield Finding(
            AlarmKind.RETENTION_HELD,
            item.item_id,
            item.name,
            f"retention would let {item.points:,} points go at once, and waits for a person: look with 'skyharbor"
            f" retention plan --item {item.name}', then 'skyharbor retention apply --item {item.name}'",
        )


def _missed(items: Iterable[OverdueItem], now: datetime) -> Iterable[Finding]:
    for item in items:
        promised = span(timedelta(seconds=item.rpo))
        paused = "; it is paused" if item.paused_at is not None else ""
        if item.newest is None:
            words = f"there is no recovery point {span(now - item.created_at)} after it was added"
        else:
            words = f"the newest recovery point is {span(now - item.newest)} old"
        yield Finding(AlarmKind.RPO_MISSED, item.item_id, item.name, f"{words}, promised are {promised}{paused}")


def _strange(histories: Iterable[PointHistory]) -> Iterable[Finding]:
    for history in histories:
        words = strangeness(history.newest, history.earlier)
        if words is not None:
            yield Finding(
                AlarmKind.SIZE_CHANGED, history.item_id, history.name, f"the newest recovery point is unusual: {words}"
            )


def _endless(jobs: Iterable[EndlessJob], now: datetime) -> Iterable[Finding]:
    for job in jobs:
        yield Finding(
            AlarmKind.JOB_ENDLESS,
            job.job_id,
            job.item,
            f"job {job.job_id} was filed {span(now - job.created_at)} ago and is still {job.state}",
        )


def span(length: timedelta) -> str:
    """Return a length of time as people say it: ``40 s``, ``12 min``, ``26 h 05 min``, ``4 d 2 h``."""
    seconds = max(0, int(length.total_seconds()))
    if seconds < 120:
        return f"{seconds} s"
    minutes, hours = seconds // 60, seconds // 3600
    if minutes < 60:
        return f"{minutes} min"
    if hours < 72:
        return f"{hours} h {minutes % 60:02d} min" if minutes % 60 else f"{hours} h"
    return f"{hours // 24} d {hours % 24} h" if hours % 24 else f"{hours // 24} d"
