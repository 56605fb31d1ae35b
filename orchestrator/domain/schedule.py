"""Schedules: which moments a cron expression names in a time zone, across daylight saving.

Rule of the file: a fire is a *nominal local time*. In a fold (the clock goes back) a nominal time fires once, at
its first
occurrence; in a gap (the clock goes forward) everything the gap swallows fires once, at the first valid instant
after it.
"""

from __future__ import annotations

import hashlib
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from zoneinfo import ZoneInfo

from cronsim import CronSim, CronSimError

from orchestrator.domain.policy import ScheduleSpec

NICKNAMES = {
    "@hourly": "0 * * * *",
    "@daily": "0 0 * * *",
    "@midnight": "0 0 * * *",
    "@weekly": "0 0 * * 0",
    "@monthly": "0 0 1 * *",
    "@yearly": "0 0 1 1 *",
}


@dataclass(frozen=True, slots=True)
class Fire:
    """One nominal local time (naive), the instant (UTC) it stands for, and what daylight saving did to it."""

    nominal: datetime
    instant: datetime
    note: str | None = None


def check_cron(expression: str) -> str:
    """Return the five-field form of a cron expression or nickname.

    ``ValueError`` with a sentence when it is neither.
    """
    expanded = NICKNAMES.get(expression.strip().lower(), expression.strip())
    if expanded.startswith("@"):
        raise ValueError(f"{expression!r} is not known; use one of {', '.join(sorted(NICKNAMES))}, or five fields")
    if len(expanded.split()) != 5:
        raise ValueError("write five fields: minute hour day-of-month month day-of-week, such as 30 1 * * *")
    try:
        next(CronSim(expanded, datetime(2024, 1, 1)))  # noqa: DTZ001 - nominal times have no zone
    except CronSimError as error:
        raise ValueError(f"{error}: fields are minute hour day-of-month month day-of-week") from error
    except StopIteration as error:
        raise ValueError("this time never comes") from error
    return expanded


def fires_after(schedule: ScheduleSpec, after: datetime) -> Iterator[Fire]:
    """Yield the fires whose instant is later than ``after``, in order of their instants, without end.

    Deterministic in ``after``: whatever the starting point, the same nominal times stand for the same instants.
    """
    zone = ZoneInfo(schedule.zone)
    # A fold puts two hours of instants on one hour of wall time: start early enough to see both.
    start = after.astimezone(zone).replace(tzinfo=None) - timedelta(minutes=1)
    last = after
    for nominal in CronSim(schedule.cron, start):
        fire = resolve(nominal, zone)
        if fire.instant > last:
            last = fire.instant
            yield fire


def next_fire(schedules: Iterable[ScheduleSpec], *, item_id: str, jitter: int, now: datetime) -> datetime | None:
    """Return when the item is due next, its own delay included, or None when there is no schedule."""
    delay = timedelta(seconds=jitter_seconds(item_id, jitter))
    firsts = [next(fires_after(schedule, now - delay)).instant + delay for schedule in schedules]
    return min(firsts, default=None)


def resolve(nominal: datetime, zone: ZoneInfo) -> Fire:
    """Return the fire of a naive local time: the first occurrence in a fold, the first valid instant after a gap."""
    local = nominal.replace(tzinfo=zone, fold=0)
    if not _exists(local):
        while not _exists(local):
            local += timedelta(minutes=1)  # wall time; gaps are whole minutes
        return Fire(nominal, local.astimezone(UTC), "gap: the clock jumps over this time; fires right after the jump")
    if local.utcoffset() != local.replace(fold=1).utcoffset():
        return Fire(nominal, local.astimezone(UTC), "fold: this time comes twice; fires the first time only")
    return Fire(nominal, local.astimezone(UTC))


def jitter_seconds(item_id: str, longest: int) -> int:
    """Return the item's own delay, from 0 to ``longest`` seconds: always the same, spread evenly over a fleet."""
    if longest <= 0:
        return 0
    digest = hashlib.blake2b(item_id.encode(), digest_size=8, person=b"skyh-jitter").digest()
    return int.from_bytes(digest, "big") % (longest + 1)


def _exists(local: datetime) -> bool:
    back = local.astimezone(UTC).astimezone(local.tzinfo)
    return back.replace(tzinfo=None) == local.replace(tzinfo=None)
