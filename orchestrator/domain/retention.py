"""Retention: which points a rule keeps, with the reason for every one. Applying it is somebody else's duty.

Rule of the file: plan only, pure. A plan never drops an item's last sealed point, nor one that a person holds, that a
job works on, or that is damaged and nobody has looked at.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from datetime import datetime
from zoneinfo import ZoneInfo

from orchestrator.domain.policy import RetentionSpec

MOST_AT_ONCE = 10
"""So many of an item's points may go at once, whatever share of them that is."""

LARGEST_SHARE = 4
"""More than the fourth part of an item's points at once is a mistake in a policy more often than a wish."""


@dataclass(frozen=True, slots=True)
class Kept:
    """A point as retention sees it.

    ``held``: a person holds it, until ``held_until`` if there is such a time. ``looked_at``: a person has looked at the
    damaged point. ``last``: the item's last sealed point, in the order in which the catalog learned of them.
    """

    id: str
    sealed_at: datetime
    held_until: datetime | None = None
    held: bool = False
    damaged: bool = False
    looked_at: bool = False
    in_use: bool = False
    last: bool = False


@dataclass(frozen=True, slots=True)
class Verdict:
    """Whether a point is kept, and every reason why."""

    id: str
    keep: bool
    reasons: tuple[str, ...]


BUCKETS: tuple[tuple[str, Callable[[datetime], str]], ...] = (
    ("hourly", lambda local: f"{local:%Y-%m-%d %H}h{local:%z}"),
    ("daily", lambda local: f"{local:%Y-%m-%d}"),
    ("weekly", lambda local: "{}-W{:02}".format(*local.isocalendar()[:2])),
    ("monthly", lambda local: f"{local:%Y-%m}"),
    ("yearly", lambda local: f"{local:%Y}"),
)
"""The periods of a rule, and which one of its kind a local time is in."""


def plan_retention(
    points: Iterable[Kept], rule: RetentionSpec, *, now: datetime, zone: ZoneInfo, removed: bool = False
) -> list[Verdict]:
    """Return a verdict for every point, newest first.

    Of every hour, day, ISO week, month and year (local to ``zone``) the newest sound point stands for it, and so many
    newest such periods that have a point are kept. A rule of zeros keeps everything, and so does an item that was
    ``removed``: nobody wrote that its points shall go.
    """
    newest_first = sorted(points, key=lambda point: (point.sealed_at, point.id), reverse=True)
    if removed or rule == RetentionSpec():
        why = "the item was removed: its points stay" if removed else "no retention is set"
        return [Verdict(point.id, True, (why,)) for point in newest_first]
    sound = [point for point in newest_first if not point.damaged]
    if not sound:
        return [Verdict(point.id, True, ("the item has no sound point",)) for point in newest_first]
    by_rule = _kept_by_rule(sound, rule, zone)
    return [_verdict(point, by_rule.get(point.id, ()), now) for point in newest_first]


def is_too_much(verdicts: Sequence[Verdict]) -> bool:
    """Tell whether a plan drops so much of an item that a person has to say so first."""
    going = sum(not verdict.keep for verdict in verdicts)
    return going > MOST_AT_ONCE and going * LARGEST_SHARE > len(verdicts)


def is_held(point: Kept, now: datetime) -> bool:
    """Tell whether a person holds the point."""
    return point.held_until > now if point.held_until is not None else point.held


def _verdict(point: Kept, by_rule: Sequence[str], now: datetime) -> Verdict:
    reasons = [*by_rule]
    if point.last and not reasons:
        reasons.append("the item's last sealed point")
    if is_held(point, now):
        reasons.append("held" if point.held_until is None else f"held until {point.held_until:%Y-%m-%d %H:%M}Z")
    if point.in_use:
        reasons.append("a job works on it")
    if point.damaged and not point.looked_at:
        reasons.append("damaged: kept until somebody has looked")
    if reasons:
        return Verdict(point.id, True, tuple(reasons))
    return Verdict(point.id, False, ("damaged, and somebody has looked" if point.damaged else "no rule keeps it",))


def _kept_by_rule(newest_first: Sequence[Kept], rule: RetentionSpec, zone: ZoneInfo) -> dict[str, list[str]]:
    reasons: dict[str, list[str]] = {point.id: [] for point in newest_first}
    for number, point in enumerate(newest_first[: rule.last], start=1):
        reasons[point.id].append(f"last {number} of {rule.last}")
    for name, bucket in BUCKETS:
        _keep_periods(newest_first, getattr(rule, name), name, bucket, zone, reasons)
    if not reasons[newest_first[0].id]:
        reasons[newest_first[0].id].append("the item's newest sealed point")
    return reasons


def _keep_periods(
    newest_first: Sequence[Kept],
    most: int,
    name: str,
    bucket: Callable[[datetime], str],
    zone: ZoneInfo,
    reasons: dict[str, list[str]],
) -> None:
    if most == 0:
        return
    seen: set[str] = set()
    for point in newest_first:
        period = bucket(point.sealed_at.astimezone(zone))
        if period in seen:
            continue
        if len(seen) == most:
            return
        seen.add(period)
        reasons[point.id].append(f"{name} {len(seen)} of {most} ({period})")
