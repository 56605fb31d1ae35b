"""How urgent a job is: its class, how long it has waited, and when it would have to start to keep what was promised.

Rule of the file: pure. The order of a queue is (rank by now, latest start, id): none of it depends on the moment of
asking but the ageing, which moves a job one class up every two hours.
"""

from __future__ import annotations

from datetime import datetime, timedelta

from orchestrator.domain.jobs import Trigger
from shared.model.backup import JobKind

CLASS_STEP = 10
"""Ranks between two classes; priorities of policies order within one."""

AGEING = timedelta(hours=2)
"""After so long in the queue a job is as good as one of the next class."""

FIRST_RANK = CLASS_STEP + CLASS_STEP // 2
"""As far as ageing goes: restores and what was made to go first stay first."""

USUAL_RPO = timedelta(hours=24)
"""What an item is taken to have been promised when nobody said."""

_RANKS = {
    (JobKind.RESTORE, Trigger.DEMAND): 10,
    (JobKind.BACKUP, Trigger.DEMAND): 20,
    (JobKind.BACKUP, Trigger.SCHEDULE): 30,
    (JobKind.VERIFY, Trigger.DEMAND): 40,
    (JobKind.COLLECT, Trigger.DEMAND): 50,
    (JobKind.COLLECT, Trigger.SCHEDULE): 50,
}


def rank_of(kind: JobKind, trigger: Trigger, *, priority: int = 0) -> int:
    """Return the class rank, lower first: restore, backup on demand, scheduled backup, verify, collect.

    ``priority`` (a policy's, -4 to 4) orders within the class and never across it.
    """
    return _RANKS.get((kind, trigger), 40) - priority


def aged_rank(rank: int, waited: timedelta) -> int:
    """Return the rank of a job that has waited so long."""
    if rank <= FIRST_RANK:
        return rank
    return max(FIRST_RANK, rank - CLASS_STEP * max(0, waited // AGEING))


def latest_start(*, newest: datetime, rpo: timedelta | None, estimate: float) -> datetime:
    """Return when a backup has to start, at the latest, so that its item keeps its RPO.

    ``newest`` is when the item's newest point was made, or the item itself; ``estimate`` is in seconds. The slack of a
    job is this time less now, so the order by slack is the order by latest start.
    """
    return newest + (USUAL_RPO if rpo is None else rpo) - timedelta(seconds=estimate)
