"""The ledger of fires: every nominal time of every schedule of every item is one row, whatever became of it.

Rule of the file: pure. A fire's key is (item, schedule number, zone, nominal local time): two planners can't make two
of one.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta
from functools import lru_cache

from orchestrator.domain.job_states import FireState
from orchestrator.domain.policy import OnMissed, PolicySpec, ScheduleSpec
from orchestrator.domain.schedule import Fire, fires_after, jitter_seconds
from shared.model.backup import BackupType

HORIZON = timedelta(hours=2)
"""How far ahead fires are planned: long enough to outlive a restart, short enough that edits seldom undo anything."""

LATE = timedelta(minutes=5)
"""A fire found this much after its time was missed."""

MOST_AT_ONCE = 500
"""Fires planned per item and step: a tower that slept for a year catches up in steps, not in one transaction."""


@dataclass(frozen=True, slots=True)
class ItemSchedule:
    """An item that needs planning: through when it is planned, and by which policy version."""

    item_id: str
    planned_through: datetime
    version_id: str
    spec: PolicySpec


@dataclass(frozen=True, slots=True)
class PlannedFire:
    """One fire to come. ``nominal`` is local wall time without zone.

    ``due_at`` is the instant plus the item's jitter.
    """

    schedule_no: int
    nominal: datetime
    instant: datetime
    due_at: datetime
    zone: str
    version_id: str


@dataclass(frozen=True, slots=True)
class ItemPlan:
    """What planning of an item has found: its fires to come, and how far planning has reached."""

    item_id: str
    fires: Sequence[PlannedFire]
    through: datetime


@dataclass(frozen=True, slots=True, kw_only=True)
class DueFire:
    """A planned fire whose time has come. ``planned_through``: how far planning of its item has reached.

    ``newest`` is when the item's newest point was made, or the item itself; ``rpo`` is in seconds; ``runs`` and
    ``rates`` are the durations (s) and the needs of bandwidth (MiB/s) of its last backups.
    """

    item_id: str
    schedule_no: int
    nominal: datetime
    zone: str
    due_at: datetime
    version_id: str
    spec: PolicySpec
    machine_id: str
    vault_id: str
    planned_through: datetime
    newest: datetime
    rpo: int | None = None
    runs: tuple[float, ...] = ()
    rates: tuple[float, ...] = ()

    @property
    def type(self) -> BackupType:
        """The type of backup that the fire's schedule makes."""
        return self.spec.schedules[self.schedule_no].type


@dataclass(frozen=True, slots=True)
class Settlement:
    """What a due fire becomes: the job when it is filed, and why when it is not."""

    fire: DueFire
    state: FireState
    reason: str | None = None
    job_id: str | None = None


def plan_item(item: ItemSchedule, *, until: datetime) -> ItemPlan:
    """Return the item's fires after ``planned_through`` up to ``until``, and how far planning has then reached.

    At most ``MOST_AT_ONCE`` of a schedule are returned; the reached instant then lies before ``until``, and the
    next call goes on there.
    """
    planned: list[PlannedFire] = []
    delay = timedelta(seconds=jitter_seconds(item.item_id, item.spec.jitter))
    reached = until
    for number, schedule in enumerate(item.spec.schedules):
        fires, through = _fires_between(schedule, item.planned_through, until)
        reached = min(reached, through)
        planned += [
            PlannedFire(number, fire.nominal, fire.instant, fire.instant + delay, schedule.zone, item.version_id)
            for fire in fires
        ]
    return ItemPlan(item.item_id, [fire for fire in planned if fire.instant <= reached], reached)


@lru_cache(maxsize=256)
def _fires_between(schedule: ScheduleSpec, after: datetime, until: datetime) -> tuple[tuple[Fire, ...], datetime]:
    """Return a schedule's fires after a time up to another, at most ``MOST_AT_ONCE``, and how far they reach.

    Items of one policy are planned together, from the same time to the same time: it is worked out once for them all.
    """
    found: list[Fire] = []
    for fire in fires_after(schedule, after):
        if fire.instant > until:
            break
        if len(found) == MOST_AT_ONCE:
            return tuple(found), fire.instant - timedelta(seconds=1)
        found.append(fire)
    return tuple(found), until


def settle_item(due: Sequence[DueFire], *, now: datetime, backup_active: bool) -> list[Settlement]:
    """Decide what becomes of one item's due fires (oldest first); a fire that is not in the answer stays planned.

    Of the fires in time only the newest is filed (of several at one time the one that reads most), the others would
    back up the same moment twice; none is filed beside a backup that is active. Fires found late follow ``on_missed``:
    ``run_all`` files each of them whatever is active, ``run_once`` the newest as if it were in time. Which one is the
    newest is known once planning has reached ``now``; until then a later fire than any of these is still to be planned.
    """
    caught_up = all(fire.planned_through >= now for fire in due)
    late = [fire for fire in due if now - fire.due_at > LATE]
    timely = [fire for fire in due if now - fire.due_at <= LATE] if caught_up else []
    newest = max(timely, key=_weight) if timely else None
    settled = [
        Settlement(fire, FireState.SKIPPED, "another fire of the item is due") for fire in timely if fire is not newest
    ]
    newest_late = max(late, key=_weight) if late and caught_up else None
    for fire in late:
        rule = fire.spec.on_missed
        if rule is OnMissed.RUN_ALL:
            settled.append(Settlement(fire, FireState.FILED))
        elif rule is OnMissed.RUN_ONCE and fire is newest_late and newest is None:
            newest = fire
        else:
            settled.append(Settlement(fire, FireState.MISSED, "nobody was there to file it in time"))
    if newest is not None and backup_active:
        settled.append(Settlement(newest, FireState.SKIPPED, "a backup of the item is still active"))
    elif newest is not None:
        settled.append(Settlement(newest, FireState.FILED))
    return settled


def reads_most(types: Iterable[BackupType]) -> BackupType:
    """Return the type of backup that makes the others needless."""
    return max(types, key=_READS.__getitem__)


_READS = {BackupType.INCREMENTAL: 0, BackupType.DIFFERENTIAL: 1, BackupType.FULL: 2}


def _weight(fire: DueFire) -> tuple[datetime, int]:
    return fire.due_at, _READS[fire.type]
