"""From a fire of the ledger to a leased unit: what plans, queues, admits, rings for and owns jobs.

Rule of the file: the work. Time is the database's. The id of a job may be cut to a unique beginning of at least 8
characters.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from datetime import datetime
from typing import Protocol

from orchestrator.domain.admission import Candidate, Needs, Room, ScopeKey
from orchestrator.domain.jobs import Ending, Job, JobFilter, NewJob
from orchestrator.domain.ledger import DueFire, ItemSchedule, PlannedFire
from orchestrator.domain.paging import Page, PageRequest
from orchestrator.domain.system import SlotScope
from orchestrator.domain.work import Beat, LostShard, RenewedUnit, ShardCounts, TakenShard
from shared.contracts.work import Doorbell, Fence
from shared.model.backup import BackupType


class Ledger(Protocol):
    """The fires: one row per item, schedule, zone and nominal local time."""

    def to_plan(self, *, before: datetime, limit: int) -> Sequence[ItemSchedule]:
        """Return living, unpaused items with a policy that are planned through less than ``before``.

        Locked, the rest skipped.
        """
        ...

    def plan(self, item_id: str, fires: Sequence[PlannedFire], *, through: datetime) -> int:
        """Insert what is new, remember how far planning went; returns how many were new."""
        ...

    def due(self, *, now: datetime, limit: int) -> Sequence[DueFire]:
        """Return planned fires due by ``now`` of up to ``limit`` living, unpaused items, oldest first; locked.

        Whole items only.
        """
        ...

    def settle(self, fire: DueFire, *, state: str, reason: str | None, job_id: str | None) -> None:
        """Move one planned fire to ``filed``, ``missed`` or ``skipped``."""
        ...


class Jobs(Protocol):
    """The jobs. Every change is one guarded statement; zero rows raise ``stale-claim``."""

    def add(self, job: NewJob) -> None:
        """Keep a job and its unit 0."""
        ...

    def get(self, ref: str) -> Job:
        """Return a job with its queue position."""
        ...

    def lock(self, ref: str) -> Job:
        """Return a job that nobody else changes until the commit."""
        ...

    def page(self, request: PageRequest, job_filter: JobFilter) -> Page[Job]:
        """Newest first."""
        ...

    def end_attempt(self, job: Job, ending: Ending) -> None:
        """Apply an ending to a locked job: epoch + 1, lease gone, slots given back, loops woken."""
        ...

    def ask_cancel(self, job: Job) -> None:
        """Set ``cancel_requested_at`` of a locked job that has not ended; kept when set, and a back-off is over."""
        ...

    def lock_waiting_backups(self, item_id: str) -> Sequence[Job]:
        """Return the item's waiting backups that were not admitted, locked, in the order of the queue."""
        ...

    def active_backup(self, item_id: str, *, besides: Sequence[str] = ()) -> str | None:
        """Return the id of a backup of the item that is not terminal, other than these; None when there is none."""
        ...


class Units(Protocol):
    """Claims and leases, by the database's clock."""

    def claim(self, doorbell: Doorbell | None, *, worker: str, session: str, claim_id: str) -> tuple[Fence, Job] | None:
        """Take the doorbell's unit, or with none the longest admitted one; None when there is nothing to take."""
        ...

    def note_type(self, fence: Fence, backup_type: BackupType) -> None:
        """Remember what a backup will really do."""
        ...

    def renew(self, beats: Sequence[Beat]) -> Sequence[RenewedUnit]:
        """Renew the leases whose fence is current; the others are missing from the answer."""
        ...

    def lock_owned(self, fence: Fence) -> Job:
        """Return the fenced job, locked. ``stale-claim`` when the fence is not the current one."""
        ...

    def enter_commit(self, fence: Fence) -> None:
        """Move running to committing, renew the lease. Idempotent. ``stale-claim`` when the fence is not current."""
        ...

    def was_completed(self, fence: Fence) -> bool:
        """Tell whether exactly this fence was the last one completed."""
        ...

    def remember_completed(self, fence: Fence) -> None:
        """Keep the fence for ``was_completed``."""
        ...

    def lease_count(self) -> int:
        """Return how many leases exist."""
        ...

    def expired_count(self, *, margin: float) -> int:
        """Return how many leases ended more than ``margin`` seconds ago."""
        ...

    def lock_expired(self, *, margin: float, limit: int) -> Sequence[Job]:
        """Return owned jobs whose lease ended more than ``margin`` seconds ago, locked.

        Those in other hands are skipped.
        """
        ...

    def lock_of_dead_sessions(self, worker: str, session: str) -> Sequence[Job]:
        """Return owned jobs leased by other sessions of this worker, locked."""
        ...


class Shards(Protocol):
    """Units 1 and up: parts of a running attempt, fenced by its epoch. They are gone when the attempt is."""

    def add(self, lead: Fence, payloads: Sequence[bytes]) -> int:
        """Keep the shards of a locked attempt, with their doorbells; returns how many were new."""
        ...

    def claim(self, doorbell: Doorbell | None, *, worker: str, session: str, claim_id: str) -> TakenShard | None:
        """Take the doorbell's shard, or any; none that failed in other hands."""
        ...

    def claim_own(self, lead: Fence, *, worker: str, session: str, claim_id: str) -> TakenShard | None:
        """Take any free shard of the lead's attempt, also one that failed in other hands."""
        ...

    def counts(self, lead: Fence) -> ShardCounts:
        """Return where the shards of the attempt are."""
        ...

    def results(self, lead: Fence, *, besides: Sequence[int], most_bytes: int) -> Sequence[tuple[int, bytes]]:
        """Return results by unit, in order: as many as fit into so many bytes, at least one."""
        ...

    def finish(self, fence: Fence, result: bytes) -> str:
        """Keep the result, give up the lease and return the worker. ``stale-claim``."""
        ...

    def free(self, fence: Fence, *, error: tuple[str, str] | None) -> str:
        """Give up the lease and return the worker. ``stale-claim``.

        With an error (code, message) the shard waits for its lead, otherwise a doorbell is rung for it.
        """
        ...

    def free_expired(self, *, margin: float, limit: int) -> Sequence[LostShard]:
        """Free shards whose lease ended more than ``margin`` seconds ago; doorbells ring for those to be tried again.

        Those in other hands are skipped.
        """
        ...

    def free_of_dead_sessions(self, worker: str, session: str) -> Sequence[LostShard]:
        """Do the same with shards that other sessions of this worker held."""
        ...


class Admission(Protocol):
    """The dispatcher's critical section."""

    def enter(self) -> bool:
        """Try to be the only admitting transaction until the commit; False when another is."""
        ...

    def promote_due(self, *, limit: int) -> int:
        """Move due scheduled and retryable jobs to available."""
        ...

    def room(self, candidates: Sequence[Candidate]) -> Mapping[ScopeKey, Room]:
        """Return what is left on every scope that these candidates touch; a paused scope has nothing."""
        ...

    def candidates(self, *, closed_policies: Sequence[str], limit: int) -> Sequence[Candidate]:
        """Return startable jobs in order, locked.

        Those blocked by a scope, a window or another backup are left out in SQL.
        """
        ...

    def admit(self, needs: Sequence[Needs]) -> None:
        """Take the slots, set ``admitted_at``, epoch + 1, write the doorbells.

        The CHECK aborts everything on overcommitment.
        """
        ...

    def explain_waits(self, *, closed_policies: Sequence[str]) -> int:
        """Set the wait reason of every waiting job; returns how many changed. Call it in a transaction of its own."""
        ...


class Slots(Protocol):
    """The slot scopes."""

    def all(self) -> Sequence[SlotScope]:
        """Return every scope, by scope and key."""
        ...


class Outbox(Protocol):
    """Doorbells decided and not yet rung."""

    def take(self, *, limit: int) -> Sequence[tuple[int, Doorbell]]:
        """Reserve the oldest unpublished rows for 30 s. A relay that dies leaves them to the next one."""
        ...

    def published(self, ids: Sequence[int]) -> None:
        """Mark rows as rung."""
        ...

    def give_back(self, ids: Sequence[int]) -> None:
        """Undo the reservation of rows that could not be published."""
        ...

    def ring_again(self, *, after: float) -> int:
        """Write new doorbells for admitted jobs that nobody claimed for ``after`` seconds since the last ring."""
        ...

    def sweep(self, *, days: int) -> int:
        """Delete published rows older than so many days."""
        ...
