"""What the simulated tower keeps: items, jobs, slot scopes, as mutable rows with the names of the database's columns.

Rule of the file: rows and how one is shown to the domain; when they change is ``world``'s.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from datetime import datetime, timedelta
from typing import TYPE_CHECKING

from orchestrator.domain.admission import Candidate, Holder
from orchestrator.domain.job_states import JobState
from orchestrator.domain.jobs import Job, JobError, Trigger
from orchestrator.domain.ledger import PlannedFire
from orchestrator.domain.policy import PolicySpec
from orchestrator.domain.slots import Places, ScopeKey
from orchestrator.simulation.sorted_rows import Key
from shared.model.backup import BackupType, JobKind

if TYPE_CHECKING:
    from orchestrator.simulation.waiting import Group


@dataclass(slots=True, eq=False)
class PolicyRow:
    """A policy with its only version."""

    name: str
    version_id: str
    spec: PolicySpec


@dataclass(slots=True, eq=False, kw_only=True)
class ItemRow:
    """A protected item. ``busy`` counts its backups that hold slots; ``open_jobs`` are its jobs that have not ended."""

    id: str
    machine_id: str
    vault_id: str
    tenant: str
    location: str
    hypervisor: str
    policy: PolicyRow | None
    created_at: datetime
    planned_through: datetime
    group: str = ""
    rpo: int | None = None
    newest_point_at: datetime | None = None
    runs: tuple[float, ...] = ()
    rates: tuple[float, ...] = ()
    busy: int = 0
    places: Places | None = None
    open_jobs: list[JobRow] = field(default_factory=list)
    fires: list[PlannedFire] = field(default_factory=list)


@dataclass(slots=True, eq=False)
class ScopeRow:
    """A scarce thing. ``holders`` are by job id. ``used``, ``full`` and ``since`` measure it: see ``measure``."""

    key: ScopeKey
    capacity: int
    floor: int = 0
    in_use: int = 0
    paused: bool = False
    holders: dict[str, Holder] = field(default_factory=dict)
    watched: bool = True
    since: datetime | None = None
    used: float = 0.0
    full: float = 0.0
    peak: int = 0

    def closed_to(self, kind: JobKind, count: int = 1) -> bool:
        """Tell whether no job of a kind that needs so many slots of it gets them now. Nobody needs more than all."""
        kept = 0 if kind is JobKind.RESTORE else self.floor
        return self.paused or self.in_use + min(count, max(1, self.capacity)) > self.capacity - kept

    def measure(self, now: datetime) -> None:
        """Add the time since the last call to the slot-seconds ``used`` and the seconds ``full`` (for backups)."""
        if self.since is not None:
            seconds = (now - self.since).total_seconds()
            self.used += seconds * self.in_use
            if self.in_use >= self.capacity - self.floor:
                self.full += seconds
        self.since = now


@dataclass(frozen=True, slots=True)
class Wish:
    """What somebody asked for beside the policies: under which name, when (seconds after the start), how many MiB."""

    name: str
    wanted_at: float
    mib: float


@dataclass(slots=True, eq=False, kw_only=True)
class JobRow:
    """A job that has not ended, with the columns that admission, the planner and the rescuer look at.

    ``queued_as`` is the key under which it stands in the queue and ``queued_in`` the group, None while it is in none.
    ``wish`` is what a restore or a verify is for.
    """

    id: str
    kind: JobKind
    trigger: Trigger
    state: JobState
    item: ItemRow
    places: Places
    point_id: str
    rank: int
    aged_rank: int
    created_at: datetime
    due_at: datetime
    latest_start: datetime
    estimate: float
    max_attempts: int
    longest_pause: float
    requested_by: str
    requested_type: BackupType | None = None
    type: BackupType | None = None
    ages_at: datetime | None = None
    start_by: datetime | None = None
    finish_by: datetime | None = None
    policy_version: str | None = None
    attempt: int = 0
    losses: int = 0
    epoch: int = 0
    admitted_at: datetime | None = None
    started_at: datetime | None = None
    attempt_started_at: datetime | None = None
    finished_at: datetime | None = None
    cancel_requested_at: datetime | None = None
    cancel_reason: str | None = None
    backoff_seconds: float = 0.0
    wait_reason: str | None = None
    worker: str | None = None
    error: JobError | None = None
    queued_as: Key | None = None
    queued_in: Group | None = None
    wish: Wish | None = None
    holds: tuple[tuple[ScopeKey, int], ...] = ()
    _candidate: Candidate | None = None

    @property
    def active(self) -> bool:
        """Whether it holds slots."""
        return self.state in (JobState.RUNNING, JobState.COMMITTING) or (
            self.state is JobState.AVAILABLE and self.admitted_at is not None
        )

    @property
    def retried(self) -> bool:
        """Whether a second attempt, or a later one, is running or ready to run."""
        return (
            self.error is not None
            and self.error.code != "worker-lost"
            and self.state in (JobState.AVAILABLE, JobState.RUNNING, JobState.COMMITTING)
        )

    def candidate(self) -> Candidate:
        """Return it as admission sees it."""
        known = self._candidate
        if known is None or known.rank != self.aged_rank or known.epoch != self.epoch:
            known = self._candidate = Candidate(
                job_id=self.id,
                epoch=self.epoch,
                item_id=self.item.id,
                places=self.places,
                rank=self.aged_rank,
                latest_start=self.latest_start,
                estimate=self.estimate,
            )
        return known

    def ends_at(self) -> datetime:
        """Return when it should give its slots back."""
        begun = [moment for moment in (self.attempt_started_at, self.admitted_at) if moment is not None]
        return max(begun) + timedelta(seconds=self.estimate)

    def as_job(self) -> Job:
        """Return it as the domain's rules see it."""
        return Job(
            id=self.id,
            kind=self.kind,
            state=self.state,
            trigger=self.trigger,
            item_id=self.item.id,
            item=self.item.id,
            machine_id=self.item.machine_id,
            vault_id=self.item.vault_id,
            point_id=self.point_id,
            requested_type=self.requested_type,
            type=self.type,
            attempt=self.attempt,
            max_attempts=self.max_attempts,
            losses=self.losses,
            epoch=self.epoch,
            created_at=self.created_at,
            due_at=self.due_at,
            admitted_at=self.admitted_at,
            started_at=self.started_at,
            attempt_started_at=self.attempt_started_at,
            finished_at=self.finished_at,
            cancel_requested_at=self.cancel_requested_at,
            cancel_reason=self.cancel_reason,
            start_by=self.start_by,
            finish_by=self.finish_by,
            tenant=self.places.tenant,
            estimate=self.estimate,
            mib_per_second=self.places.mib_per_second,
            latest_start=self.latest_start,
            longest_pause=self.longest_pause,
            backoff_seconds=self.backoff_seconds,
            wait_reason=self.wait_reason,
            worker=self.worker,
            error=self.error,
            policy_version=self.policy_version,
            requested_by=self.requested_by,
        )
