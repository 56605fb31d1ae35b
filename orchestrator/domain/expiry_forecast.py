"""When a point will go: retention played forward over the backups that are scheduled.

Rule of the file: pure, an estimate and no promise: it takes it that every scheduled backup makes a point at its time.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from datetime import datetime
from zoneinfo import ZoneInfo

from orchestrator.domain.policy import RetentionSpec
from orchestrator.domain.retention import BUCKETS, Kept, is_held

MOST_FIRES = 1000
"""As far as one looks ahead; what outlives that many backups is kept for very long."""


def expected_expiry(
    points: Iterable[Kept], rule: RetentionSpec, *, fires: Sequence[datetime], now: datetime, zone: ZoneInfo
) -> dict[str, datetime]:
    """Return when points will go, by id; those are missing of which it cannot be said.

    ``fires`` are the times of the backups to come, ascending. What is held without an end, damaged, or outlives the
    fires has no time; what no rule keeps any more goes ``now``.
    """
    sound = sorted((point for point in points if not point.damaged), key=lambda point: (point.sealed_at, point.id))
    times = [point.sealed_at for point in sound] + list(fires[:MOST_FIRES])
    kinds: list[tuple[int, list[str]]] = [(rule.last, [str(number) for number in range(len(times))])]
    for name, bucket in BUCKETS:
        kinds.append((getattr(rule, name), [bucket(moment.astimezone(zone)) for moment in times]))
    used = [(most, periods) for most, periods in kinds if most]
    expected: dict[str, datetime] = {}
    for place, point in enumerate(sound):
        ends = [_end(place, most, periods) for most, periods in used]
        known = [times[end] for end in ends if end is not None]
        if not used or len(known) < len(ends) or len(times) == place + 1:
            continue
        if is_held(point, now):
            if point.held_until is None:
                continue
            known.append(point.held_until)
        expected[point.id] = max([now, *known])
    return expected


def _end(place: int, most: int, periods: Sequence[str]) -> int | None:
    """Return which point ends it that the one at ``place`` stands for its period among the ``most`` newest ones."""
    seen: set[str] = set()
    for later in range(place + 1, len(periods)):
        if periods[later] == periods[place]:
            return later
        seen.add(periods[later])
        if len(seen) == most:
            return later
    return None
