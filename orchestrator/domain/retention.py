"""Retention: which points a rule keeps, with the reason for every one. Applying it is somebody else's duty.

Rule of the file: plan only, pure. A plan never drops an item's last sealed point, nor one that a person holds.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable
from dataclasses import dataclass
from datetime import datetime
from zoneinfo import ZoneInfo

from orchestrator.domain.policy import RetentionSpec


@dataclass(frozen=True, slots=True)
class Kept:
    """A point as retention sees it."""

    id: str
    sealed_at: datetime
    held_until: datetime | None = None


@dataclass(frozen=True, slots=True)
class Verdict:
    """Whether a point is kept, and every reason why."""

    id: str
    keep: bool
    reasons: tuple[str, ...]


_BUCKETS: tuple[tuple[str, Callable[[datetime], str]], ...] = (
    ("hourly", lambda local: f"{local:%Y-%m-%d %H}h{local:%z}"),
    ("daily", lambda local: f"{local:%Y-%m-%d}"),
    ("weekly", lambda local: "{}-W{:02}".format(*local.isocalendar()[:2])),
    ("monthly", lambda local: f"{local:%Y-%m}"),
    ("yearly", lambda local: f"{local:%Y}"),
)


def plan_retention(points: Iterable[Kept], rule: RetentionSpec, *, now: datetime, zone: ZoneInfo) -> list[Verdict]:
    """Return a verdict for every point, newest first.

    Of every hour, day, ISO week, month and year (local to ``zone``) the newest point stands for it, and so many newest
    such periods that have a point are kept. A rule of zeros keeps everything.
    """
    newest_first = sorted(points, key=lambda point: (point.sealed_at, point.id), reverse=True)
    reasons: dict[str, list[str]] = {point.id: [] for point in newest_first}
    if rule == RetentionSpec():
        return [Verdict(point.id, True, ("the policy has no retention",)) for point in newest_first]
    for number, point in enumerate(newest_first[: rule.last], start=1):
        reasons[point.id].append(f"last {number} of {rule.last}")
    for name, bucket in _BUCKETS:
        _keep_periods(newest_first, getattr(rule, name), name, bucket, zone, reasons)
    if newest_first and not reasons[newest_first[0].id]:
        reasons[newest_first[0].id].append("the item's only newest point")
    for point in newest_first:
        if point.held_until is not None and point.held_until > now:
            reasons[point.id].append(f"held until {point.held_until:%Y-%m-%d %H:%M}Z")
    return [
        Verdict(point.id, bool(reasons[point.id]), tuple(reasons[point.id]) or ("no rule keeps it",))
        for point in newest_first
    ]


def _keep_periods(
    newest_first: list[Kept],
    most: int,
    name: str,
    bucket: Callable[[datetime], str],
    zone: ZoneInfo,
    reasons: dict[str, list[str]],
) -> None:
    seen: set[str] = set()
    for point in newest_first:
        period = bucket(point.sealed_at.astimezone(zone))
        if period in seen:
            continue
        if len(seen) == most:
            return
        seen.add(period)
        reasons[point.id].append(f"{name} {len(seen)} of {most} ({period})")
