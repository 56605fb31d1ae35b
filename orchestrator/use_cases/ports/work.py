"""From a fire of the ledger to a leased unit: what plans, queues, admits, rings for and owns jobs.

Rule of the file: the work. Time is the database's. The id of a job may be cut to a unique beginning of at least 8
characters.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from datetime import datetime
from typing import Protocol

from orchestrator.domain.admission import Candidate, Holder, Needs
from orchestrator.domain.inventory import AuditLine, Tenant
from orchestrator.domain.jobs import Ending, Job, JobFilter, NewJob
from orchestrator.domain.ledger import DueFire, ItemPlan, ItemSchedule, Settlement
from orchestrator.domain.paging import Page, PageRequest
from orchestrator.domain.slots import Room, Scope, ScopeKey
from orchestrator.domain.system import SlotScope
from orchestrator.domain.work import Beat, Claimed, LostShard, RenewedUnit, ShardCounts, TakenShard
from shared.contracts.work import Attempt, Doorbell, Fence
from shared.model.backup import BackupType


class Ledger(Protocol):
    """The fires: one row per item, schedule, zone and nominal local time."""

    def to_plan(self, *, before: datetime, limit: int) -> Sequence[ItemSchedule]:
        """Return living, unpaused items with a policy that are planned through less than ``before``.

        Locked, the rest skipped.
        """
        ...

    def plan(self, plans: Sequence[ItemPlan]) -> int:
        """Insert what is new, remember how far planning of each item went; returns how many fires were new."""
        ...

    def due(self, *, now: datetime, limit: int) -> Sequence[DueFire]:
        """Return planned fires due by ``now`` of up to ``limit`` living, unpaused items, oldest first; locked.

        Whole items only.
        """
        ...

    def settle(self, settlements: Sequence[Settlement]) -> None:
        """Move planned fires to ``filed``, ``missed`` or ``skipped``, in one statement."""
        ...


class Jobs(Protocol):
    """The jobs. Every change is one guarded statement; zero rows raise ``stale-claim``."""

    def add(self, jobs: Sequence[NewJob]) -> None:
        """Keep jobs and their units 0, in one statement. ``conflict`` for a second open one that collects a vault."""
        ...

    def get(self, ref: str) -> Job:
        """Return a job."""
        ...

    def lock(self, ref: str) -> Job:
        """Return a job that nobody else changes until the commit."""
        ...

    def page(self, request: PageRequest, job_filter: JobFilter) -> Page[Job]:
        """Newest first."""
        ...

    def end_attempt(
        self, job: Job, ending: Ending, *, completed: Fence | None = None, told: AuditLine | None = None
    ) -> None:
        """Apply an ending to a locked job: epoch + 1, lease gone, slots given back, loops woken.

        ``completed`` is the fence of the worker that reported it, kept for ``Units.was_completed``. ``told``
        goes to the audit log in the same statement.
        """
        ...

    def ask_cancel(self, job: Job) -> None:
        """Set ``cancel_requested_at`` of a locked job that has not ended; kept when set, and a back-off is over."""
        ...

    def tally(self) -> None:
        """Count the jobs that ended more than an hour ago, so that ``count_by_state`` has few to count. Idempotent."""
        ...

    def waiting_backups(self, item_ids: Sequence[str]) -> Mapping[str, Sequence[Job]]:
        """Return the backups of these items that were not admitted, by item, locked, in the order of the queue."""
        ...

    def active_backups(self, item_ids: Sequence[str]) -> Mapping[str, Sequence[str]]:
        """Return the ids of the backups of these items that are not terminal, by item."""
        ...


class Units(Protocol):
    """Claims and leases, by the database's clock."""

    def claim(self, doorbell: Doorbell | None, *, worker: str, session: str, claim_id: str) -> Claimed:
        """Take the doorbell's job, or with none the longest admitted one, and tell the audit log.

        Nothing for a session that is not its worker's present one; until the commit no other takes the name. A backup's
        unit keeps the generation of its vault, as does a shard's: its writer is registered by it.
        """
        ...

    def note_backup(self, fence: Fence, *, type: BackupType, reference: str | None) -> None:
        """Remember what a backup will really do, and what it compares with."""
        ...

    def renew(self, beats: Sequence[Beat]) -> Sequence[RenewedUnit]:
        """Renew the leases whose fence is current; the others are missing from the answer."""
        ...

    def owned(self, fence: Fence) -> Job:
        """Return the fenced job as it is; nothing is locked. ``stale-claim`` when the fence is not the current one."""
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

    def claim(
        self,
        doorbell: Doorbell | None,
        *,
        worker: str,
        session: str,
        claim_id: str,
        besides: Sequence[Attempt] = (),
    ) -> TakenShard | None:
        """Take the doorbell's shard, or any; none that failed in other hands, and none of the attempts ``besides``."""
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
    """The dispatcher's critical section, and what can be seen of the queue."""

    def enter(self) -> bool:
        """Try to be the only admitting transaction until the commit; False when another is."""
        ...

    def count_returns(self) -> int:
        """Count the slots that ended attempts gave back; returns how many scopes have more room now."""
        ...

    def promote_due(self, *, limit: int, retries: int, tripped: Sequence[str]) -> int:
        """Move due jobs to available, at most so many retries, and none of those with these error codes.

        Jobs that lost their worker, and those that were asked to cancel, are no retries.
        """
        ...

    def recent_ends(self, *, seconds: float) -> Mapping[str, int]:
        """Return how many attempts have ended within so many seconds, by error code; good ones under an empty code.

        While none has failed the good ones need not be counted.
        """
        ...

    def retries_running(self) -> int:
        """Return how many jobs have a second attempt, or a later one, running or ready to run."""
        ...

    def slots_in_all(self) -> int:
        """Return the capacity of the whole installation."""
        ...

    def age(self, *, limit: int) -> int:
        """Move jobs that have waited for two hours more up a class."""
        ...

    def overdue_starts(self, *, limit: int) -> Sequence[str]:
        """Return the ids of jobs that were never tried and whose time to start is over, locked."""
        ...

    def stop_overdue(self, *, limit: int) -> Sequence[str]:
        """Ask running jobs whose time to finish is over to stop, and return their ids. Jobs that seal go on."""
        ...

    def room(self, candidates: Sequence[Candidate]) -> Mapping[ScopeKey, Room]:
        """Return what is left on every scope that these candidates touch, locked; a paused scope has nothing."""
        ...

    def look(self, candidates: Sequence[Candidate]) -> Mapping[ScopeKey, Room]:
        """Return the same as ``room`` and lock nothing."""
        ...

    def holders(self, candidates: Sequence[Candidate]) -> Mapping[ScopeKey, Sequence[Holder]]:
        """Return who holds slots of the scopes that these candidates touch."""
        ...

    def tenants(self) -> tuple[Mapping[str, int], Mapping[str, int]]:
        """Return the weights of the tenants, and how many admitted jobs each has."""
        ...

    def candidates(
        self, *, closed_policies: Sequence[str], besides: Sequence[ScopeKey] = (), limit: int
    ) -> Sequence[Candidate]:
        """Return startable jobs, the first ``limit`` of each tenant, locked.

        Those blocked by a scope, a window or another backup are left out in SQL; so are those that touch ``besides``.
        """
        ...

    def heads(self, *, closed_policies: Sequence[str], limit: int) -> Sequence[Candidate]:
        """Return the first jobs that at most slots keep from starting, in order, whatever is full."""
        ...

    def admit(self, needs: Sequence[Needs]) -> None:
        """Take the slots, set ``admitted_at``, epoch + 1, write the doorbells.

        The CHECK aborts everything on overcommitment.
        """
        ...

    def explain_waits(self, *, dark: Sequence[str], shut: Sequence[str], tripped: Sequence[str]) -> int:
        """Set the wait reason of every waiting job; returns how many changed. Call it in a transaction of its own.

        Policies that are ``dark`` have a blackout, those that are ``shut`` a closed window.
        """
        ...

    def queue(self, *, limit: int) -> Sequence[Candidate]:
        """Return the beginning of the queue, in order, whatever keeps the jobs in it."""
        ...

    def positions(self, job_ids: Sequence[str]) -> Mapping[str, int]:
        """Return where jobs are in the queue, counted from 1; those that do not wait for their turn are missing."""
        ...


class Slots(Protocol):
    """The slot scopes."""

    def page(self, request: PageRequest) -> Page[SlotScope]:
        """Return scopes, by scope and key."""
        ...

    def noteworthy(self) -> Sequence[SlotScope]:
        """Return every scope that is in use or paused, and all that are not of a machine, by scope and key."""
        ...

    def get(self, scope: Scope, key: str) -> SlotScope | None:
        """Return a scope by its key, or by the name of its machine or vault."""
        ...

    def set(self, scope: Scope, key: str, *, capacity: int, floor: int) -> None:
        """Make a scope, or change how much there is of it; nothing is taken from running jobs."""
        ...

    def pause(self, scope: Scope, key: str, *, paused: bool) -> None:
        """Give no new slots of a scope, or give them again."""
        ...

    def remove(self, scope: Scope, key: str) -> None:
        """Remove a scope. ``conflict`` while jobs hold slots of it."""
        ...


class Tenants(Protocol):
    """Whose the machines are."""

    def all(self) -> Sequence[Tenant]:
        """Return every tenant, by name."""
        ...

    def set(self, name: str, *, weight: int) -> None:
        """Make a tenant, or change its weight."""
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
