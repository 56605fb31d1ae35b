"""How long a job will take and when a waiting one will start: from the item's own history, never from hope.

Rule of the file: pure. An estimate is the 80th percentile of the last ten runs, or what is usual for the kind of job.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from datetime import datetime, timedelta
from heapq import nsmallest

from shared.model.backup import JobKind

MOST_RUNS = 10
USUAL_SECONDS = {JobKind.BACKUP: 600.0, JobKind.RESTORE: 600.0, JobKind.VERIFY: 900.0, JobKind.COLLECT: 900.0}
USUAL_MIB_PER_SECOND = 10
"""What a job is taken to need of a line before it has ever run."""

MIB = 1 << 20
OVERDUE = timedelta(seconds=60)
"""A run that has taken longer than its estimate is expected to end within this, again and again."""


def expected_seconds(kind: JobKind, runs: Sequence[float]) -> float:
    """Return the expected duration; ``runs`` are the last ones in seconds, in any order."""
    return _percentile_80(runs) if runs else USUAL_SECONDS[kind]


def expected_mib_per_second(rates: Sequence[float]) -> int:
    """Return the expected need of bandwidth in whole MiB/s, at least 1; ``rates`` are those of the last runs."""
    return max(1, round(_percentile_80(rates))) if rates else USUAL_MIB_PER_SECOND


def with_run(runs: Sequence[float], newest: float) -> list[float]:
    """Return the runs to be remembered once there is another one."""
    return [*runs, newest][-MOST_RUNS:]


def frees_at(holders: Iterable[tuple[datetime, int]], *, wanted: int, now: datetime) -> datetime | None:
    """Return when holders will have given back ``wanted`` slots: each has a time at which it should end, and a number.

    Not before ``now``, however late they are. None when all of them together hold less.
    """
    for end, count in nsmallest(wanted, holders):  # each holds one at least
        wanted -= count
        if wanted <= 0:
            return max(end, now)
    return None


def _percentile_80(values: Sequence[float]) -> float:
    ordered = sorted(values)
    return float(ordered[min(len(ordered) - 1, (8 * len(ordered)) // 10)])
