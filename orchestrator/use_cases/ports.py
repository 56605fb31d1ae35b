"""The ports: what the use cases need of a database, a broker and a vault.

Rule of the file: Protocols only, owned by their callers here. Nothing of SQL, Celery or HTTP shows. ``ref`` is a
name or an id;
``get`` raises ``not-found``; every ``page`` is ordered by name unless it says otherwise. Ids of jobs and points may
be cut
to a unique beginning of at least 8 characters.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from datetime import datetime
from types import TracebackType
from typing import Protocol, Self

from orchestrator.domain.admission import Candidate, Needs, Room, ScopeKey
from orchestrator.domain.inventory import (
    AuditEntry,
    Item,
    Machine,
    NewPoint,
    PolicyRecord,
    PolicyVersion,
    RecoveryPoint,
    Source,
    StoredVault,
    Vault,
)
from orchestrator.domain.job_states import PointState
from orchestrator.domain.jobs import Ending, Job, JobFilter, NewJob
from orchestrator.domain.ledger import DueFire, ItemSchedule, PlannedFire
from orchestrator.domain.paging import Page, PageRequest
from orchestrator.domain.policy import PolicySpec
from orchestrator.domain.system import Leadership, Numbers, SlotScope, Worker
from orchestrator.domain.work import Beat, RenewedUnit
from shared.contracts.work import Doorbell, Fence, Hello
from shared.model.backup import BackupType


class VaultPort(Protocol):
    """Makes and reads vaults on storage.

    Errors: ``store-*``, ``vault-exists``, ``vault-not-empty``, ``vault-missing``.
    """

    def create(self, url: str, *, name: str) -> StoredVault:
        """Open the store, probe it, write the vault's header. Refuses a place that is not empty."""
        ...

    def describe(self, url: str) -> StoredVault:
        """Read the header of an existing vault."""
        ...


class Bell(Protocol):
    """Wakes workers. Losing or repeating a ring is harmless."""

    def ring(self, doorbell: Doorbell) -> None:
        """Hand one doorbell to the broker; returns once it is there. Raises ``server-unreachable`` within 10 s."""
        ...


class Wakeups(Protocol):
    """Hears that something was committed that the loops care about. A hint only: polling is the guarantee."""

    def wait(self, timeout: float) -> bool:
        """Block up to ``timeout`` seconds; True when something was heard. Reconnects by itself, never raises."""
        ...

    def close(self) -> None:
        """Let go of the connection. Idempotent; a waiting thread returns."""
        ...


class Machines(Protocol):
    """The machines."""

    def add(self, *, machine_id: str, name: str, key_slots: Sequence[Mapping[str, str | int]]) -> None:
        """Keep a machine and its slot scope. ``already-exists`` for a taken name or id."""
        ...

    def get(self, ref: str) -> Machine:
        """Return a machine."""
        ...

    def page(self, request: PageRequest) -> Page[Machine]:
        """Return machines."""
        ...


class Vaults(Protocol):
    """The vaults."""

    def add(self, vault: StoredVault) -> None:
        """Keep a vault and its slot scope. ``already-exists`` for a taken name or id."""
        ...

    def has_name(self, name: str) -> bool:
        """Tell whether a vault has this name."""
        ...

    def get(self, ref: str) -> Vault:
        """Return a vault."""
        ...

    def page(self, request: PageRequest) -> Page[Vault]:
        """Return vaults."""
        ...


class Items(Protocol):
    """The protected items. Removed ones are out of sight but for their points."""

    def add(
        self,
        *,
        item_id: str,
        name: str,
        workload: str,
        machine_id: str,
        vault_id: str,
        policy: str | None,
        source: Source,
    ) -> None:
        """Keep an item; planning begins now. ``already-exists`` for a name that a living item has."""
        ...

    def get(self, ref: str, *, removed: bool = False) -> Item:
        """Return a living item, or with ``removed`` also one that was removed (the living one wins by name)."""
        ...

    def page(self, request: PageRequest) -> Page[Item]:
        """Return living items."""
        ...

    def pause(self, item_id: str) -> None:
        """Set ``paused_at`` (kept when set) and take the planned fires to come off the ledger."""
        ...

    def resume(self, item_id: str) -> None:
        """Clear ``paused_at``; planning goes on from now, what was passed over is not caught up."""
        ...

    def remove(self, item_id: str) -> None:
        """Set ``removed_at`` and take the planned fires off the ledger. ``conflict`` while a job of it is active."""
        ...


class Policies(Protocol):
    """Policies and their immutable versions."""

    def newest(self, name: str, *, lock: bool = False) -> PolicyRecord | None:
        """Return the policy; with ``lock`` nobody else makes a version of this name until the commit."""
        ...

    def add_version(self, name: str, *, text: str, spec: PolicySpec) -> PolicyVersion:
        """Make the next version and take fires of older versions that are still to come off the ledger."""
        ...

    def page(self, request: PageRequest) -> Page[PolicyRecord]:
        """Return policies with their newest versions."""
        ...

    def specs(self, version_ids: Sequence[str]) -> Mapping[str, PolicySpec]:
        """Return the specs of these versions."""
        ...

    def waiting_versions(self) -> Sequence[str]:
        """Return the ids of the policy versions that scheduled, waiting jobs were made by."""
        ...


class Ledger(Protocol):
    """The fires: one row per item, schedule and nominal local time."""

    def to_plan(self, *, before: datetime, limit: int) -> Sequence[ItemSchedule]:
        """Return living, unpaused items with a policy that are planned through less than ``before``.

        Locked, the rest skipped.
        """
        ...

    def plan(self, item_id: str, fires: Sequence[PlannedFire], *, through: datetime) -> int:
        """Insert what is new, remember how far planning went; returns how many were new."""
        ...

    def due(self, *, now: datetime, limit: int) -> Sequence[DueFire]:
        """Return planned fires due by ``now`` of up to ``limit`` items, whole items only, oldest first; locked."""
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
        """Set ``cancel_requested_at`` of a locked, running job; kept when set."""
        ...

    def has_active_backup(self, item_id: str) -> bool:
        """Tell whether a backup of the item is not terminal."""
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

    def candidates(self, *, closed_versions: Sequence[str], limit: int) -> Sequence[Candidate]:
        """Return startable jobs in order, locked.

        Those blocked by a scope, a window or another backup are left out in SQL.
        """
        ...

    def admit(self, needs: Sequence[Needs]) -> None:
        """Take the slots, set ``admitted_at``, epoch + 1, write the doorbells.

        The CHECK aborts everything on overcommitment.
        """
        ...

    def explain_waits(self, *, closed_versions: Sequence[str]) -> int:
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


class Points(Protocol):
    """The catalog of recovery points."""

    def add(self, point: NewPoint) -> None:
        """Keep a new point. ``conflict`` when its job has one already."""
        ...

    def get(self, ref: str) -> RecoveryPoint:
        """Return a point."""
        ...

    def last(self, item_id: str, *, full_only: bool = False) -> RecoveryPoint | None:
        """Return the item's newest sealed point."""
        ...

    def page(self, request: PageRequest, *, item_id: str | None) -> Page[RecoveryPoint]:
        """Newest first."""
        ...

    def verified(self, point_id: str, *, how: str) -> None:
        """Set ``verified_at`` and ``verified_how``; a full proof makes a damaged point sealed again."""
        ...

    def set_state(self, point_id: str, state: PointState) -> None:
        """Set the state of a point that is not expired."""
        ...


class Audit(Protocol):
    """The audit log. Appending is serialised until the commit, so it comes last in a transaction."""

    def append(self, *, actor: str, action: str, target: str, detail: Mapping[str, object]) -> None:
        """Append one line."""
        ...

    def after(self, seq: int, *, limit: int) -> Sequence[AuditEntry]:
        """Return entries with a greater number, in order."""
        ...


class IdempotencyKeys(Protocol):
    """Which request an Idempotency-Key has made."""

    def take(self, key: str, *, request_hash: str, job_id: str) -> tuple[str, str]:
        """Keep (request hash, job id) for a new key; return what the key stands for now.

        Ours, or that of an earlier request.
        """
        ...

    def sweep(self, *, days: int) -> int:
        """Delete keys older than so many days; returns how many."""
        ...


class Workers(Protocol):
    """The worker processes."""

    def introduce(self, hello: Hello) -> None:
        """Keep the process; from now on other sessions of the same name are over."""
        ...

    def seen(self, worker: str, session: str) -> bool:
        """Note a sign of life; False when a newer session has taken the name. An unknown worker is noted."""
        ...

    def all(self) -> Sequence[Worker]:
        """Return every worker ever seen, by name."""
        ...


class Leaders(Protocol):
    """Who leads the tower."""

    def acquire(self, holder: str, *, ttl: float) -> Leadership | None:
        """Begin a new term when nobody leads."""
        ...

    def renew(self, leadership: Leadership, *, ttl: float) -> bool:
        """Prolong the term; False when it is over."""
        ...

    def resign(self, leadership: Leadership) -> None:
        """End the term now. Idempotent."""
        ...

    def require(self, leadership: Leadership) -> None:
        """Raise ``conflict`` unless this term is the current one."""
        ...


class UnitOfWork(Protocol):
    """One transaction. Entering begins it, ``commit`` ends it, leaving without a commit undoes everything."""

    machines: Machines
    vaults: Vaults
    items: Items
    policies: Policies
    ledger: Ledger
    jobs: Jobs
    units: Units
    admission: Admission
    slots: Slots
    outbox: Outbox
    points: Points
    audit: Audit
    keys: IdempotencyKeys
    workers: Workers
    leaders: Leaders

    def __enter__(self) -> Self: ...
    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None: ...

    def commit(self) -> None:
        """Make everything durable, then let loops that were woken in it hear it."""
        ...

    def now(self) -> datetime:
        """Return the database's time, UTC."""
        ...

    def wake(self) -> None:
        """Have the loops hear, at the commit, that there is something to do."""
        ...

    def schema(self) -> str:
        """Return the schema version of the database. Raises ``server-unreachable`` when it cannot be asked."""
        ...

    def numbers(self) -> Numbers:
        """Return what /metrics shows."""
        ...

    def count_by_state(self) -> Mapping[str, int]:
        """Return the number of jobs in every state; states without jobs are 0."""
        ...
