"""Admission: which waiting job may start, given the slots of the scarce things it touches.

Rule of the file: a job takes one slot on every scope it touches, all or none. A floor of slots is kept for restores:
a person who waits for data never waits behind a fleet that makes copies of it.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass

from orchestrator.domain.jobs import Trigger
from shared.model.backup import JobKind

ScopeKey = tuple[str, str]

GLOBAL: ScopeKey = ("global", "")

GLOBAL_CAPACITY = 16
"""Enough for a small site's workers; each running job costs the tower one lease row and one renewal per 15 s."""

GLOBAL_RESTORE_FLOOR = 2
"""Two restores can always start, however many backups run."""

MACHINE_CAPACITY = 2
"""A protected machine has other things to do: one backup and one restore or verify beside it."""

VAULT_CAPACITY = 8
"""Parallel streams that a disk array or a bucket takes before latency grows faster than throughput."""

VAULT_RESTORE_FLOOR = 1
"""One restore can always read from a vault that is being written by everybody."""


@dataclass(frozen=True, slots=True)
class Candidate:
    """A startable job."""

    job_id: str
    epoch: int
    kind: JobKind
    item_id: str
    machine_id: str
    vault_id: str


@dataclass(frozen=True, slots=True)
class Needs:
    """A job that is to be admitted, and the scopes it takes one slot of."""

    job_id: str
    epoch: int
    scopes: tuple[ScopeKey, ...]


_RANKS = {
    (JobKind.RESTORE, Trigger.DEMAND): 10,
    (JobKind.BACKUP, Trigger.DEMAND): 20,
    (JobKind.BACKUP, Trigger.SCHEDULE): 30,
    (JobKind.VERIFY, Trigger.DEMAND): 40,
}


def rank_of(kind: JobKind, trigger: Trigger, *, priority: int = 0) -> int:
    """Return the class rank, lower first: restore, backup on demand, scheduled backup, verify.

    ``priority`` (a policy's, -4 to 4) orders within the class and never across it.
    """
    return _RANKS.get((kind, trigger), 40) - priority


def scopes_of(candidate: Candidate) -> tuple[ScopeKey, ...]:
    """Return what the job needs one slot of, in locking order."""
    return (GLOBAL, ("machine", candidate.machine_id), ("vault", candidate.vault_id))


def room_for(kind: JobKind, *, capacity: int, in_use: int, floor: int) -> int:
    """Return how many more jobs of this kind a scope takes: the floor is for restores only."""
    return max(0, capacity - in_use - (0 if kind is JobKind.RESTORE else floor))


@dataclass(frozen=True, slots=True)
class Room:
    """What a scope has left: ``free`` for restores, ``common`` for everything else."""

    free: int
    common: int


def choose(candidates: Iterable[Candidate], room: Mapping[ScopeKey, Room]) -> list[Needs]:
    """Take candidates in their order as long as every scope they need has room.

    One backup per item at most. A candidate that does not fit is passed over; it holds nothing back. Scopes missing
    from
    ``room`` have none.
    """
    free = {scope: value.free for scope, value in room.items()}
    common = {scope: value.common for scope, value in room.items()}
    chosen: list[Needs] = []
    items: set[str] = set()
    for candidate in candidates:
        scopes = scopes_of(candidate)
        left = free if candidate.kind is JobKind.RESTORE else common
        if any(left.get(scope, 0) < 1 for scope in scopes):
            continue
        if candidate.kind is JobKind.BACKUP:
            if candidate.item_id in items:
                continue
            items.add(candidate.item_id)
        for scope in scopes:
            free[scope] -= 1
            common[scope] -= 1
        chosen.append(Needs(candidate.job_id, candidate.epoch, scopes))
    return chosen
