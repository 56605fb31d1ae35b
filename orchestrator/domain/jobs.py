"""A job as the control plane sees it.

Rule of the file: values only. One type serves readers and deciders, so nobody decides on a field that cannot be shown.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from datetime import datetime
from enum import StrEnum

from orchestrator.domain.job_states import OWNED, TERMINAL, JobState
from shared.errors import REGISTRY
from shared.model.backup import BackupType, ConflictRule, JobKind

MOST_ATTEMPTS = 3
"""How often a job is tried, unless its policy says otherwise."""

LONGEST_PAUSE = 600.0
"""Seconds between two attempts at most, unless its policy says otherwise."""


class Trigger(StrEnum):
    """Who wanted the job."""

    DEMAND = "demand"  # a person or a script, through the API
    SCHEDULE = "schedule"  # a fire of a policy


class WaitReason(StrEnum):
    """Why a waiting job waits."""

    NOT_DUE = "not_due"
    WINDOW = "window"
    BLACKOUT = "blackout"
    PAUSED = "paused"
    SLOT_GLOBAL = "slot:global"
    SLOT_MACHINE = "slot:machine"
    SLOT_CLASS = "slot:class"
    SLOT_TENANT = "slot:tenant"
    SLOT_LOCATION = "slot:location"
    SLOT_HYPERVISOR = "slot:hypervisor"
    SLOT_VAULT = "slot:vault"
    SLOT_BANDWIDTH = "slot:bandwidth"
    WORKER = "worker"
    ADMISSION = "admission"
    DEPENDENCY = "dependency"
    BACKOFF = "backoff"
    BREAKER = "breaker"


@dataclass(frozen=True, slots=True)
class JobError:
    """Why the last attempt, or the job, failed. ``code`` is of the error registry.

    ``advice`` is what its worker knew to do about it; empty when that is no more than the registry says.
    """

    code: str
    message: str
    advice: str = ""

    @property
    def title(self) -> str:
        """The registry's title."""
        return REGISTRY[self.code].title

    @property
    def hint(self) -> str:
        """The next step: the worker's, else the registry's; empty when the message says it."""
        return self.advice or REGISTRY[self.code].hint


@dataclass(frozen=True, slots=True, kw_only=True)
class Job:
    """One job, whole.

    A job that collects is of a whole vault: ``item_id``, ``item``, ``machine_id`` and ``point_id`` are empty texts.
    ``hurried`` is such a job that does not wait for the grace. ``reference`` is what a backup was told to compare with.
    ``type`` is what is or was really done; ``requested_type`` what was asked. ``point_id`` is fixed at birth: for a
    backup the id its point will have, otherwise the point worked on. ``progress`` has the keys of
    ``shared.contracts.work.Progress``; ``stats`` those of the kind's stats; ``warnings`` are path, code, message.
    ``estimate`` and ``longest_pause`` are in seconds; ``queue_position`` and ``expected_start_at`` are a forecast that
    is only there when somebody asked for it.
    """

    id: str
    kind: JobKind
    state: JobState
    trigger: Trigger
    item_id: str
    item: str
    machine_id: str
    vault_id: str
    vault: str = ""
    point_id: str
    requested_type: BackupType | None = None
    type: BackupType | None = None
    attempt: int = 0
    max_attempts: int = 3
    losses: int = 0
    epoch: int = 0
    created_at: datetime
    due_at: datetime
    admitted_at: datetime | None = None
    started_at: datetime | None = None
    attempt_started_at: datetime | None = None
    committing_at: datetime | None = None
    finished_at: datetime | None = None
    cancel_requested_at: datetime | None = None
    cancel_reason: str | None = None
    start_by: datetime | None = None
    finish_by: datetime | None = None
    tenant: str = ""
    estimate: float = 0.0
    mib_per_second: int = 1
    latest_start: datetime | None = None
    longest_pause: float = LONGEST_PAUSE
    backoff_seconds: float = 0.0
    wait_reason: str | None = None
    queue_position: int | None = None
    expected_start_at: datetime | None = None
    worker: str | None = None
    progress: Mapping[str, int | str] | None = None
    error: JobError | None = None
    stats: Mapping[str, int] | None = None
    warnings: Sequence[Mapping[str, str]] = ()
    policy_version: str | None = None
    requested_by: str = ""
    retry_of: str | None = None
    target: str | None = None
    paths: tuple[str, ...] = ()
    conflict: ConflictRule | None = None
    full: bool | None = None
    reference: str | None = None
    hurried: bool = False
    options: Mapping[str, str] = field(default_factory=dict)

    @property
    def failed_attempt(self) -> int:
        """The number of the attempt that the error is of: one that runs now has not failed yet."""
        return self.attempt - 1 if self.state in OWNED else self.attempt

    @property
    def terminal(self) -> bool:
        """Whether nothing will change any more."""
        return self.state in TERMINAL

    @property
    def point(self) -> str | None:
        """The point to show: a backup's point exists only once the job is completed."""
        if self.kind is JobKind.BACKUP and self.state is not JobState.COMPLETED:
            return None
        return self.point_id or None

    @property
    def seconds(self) -> float | None:
        """From the first attempt's start to the end; None until both are known."""
        if self.started_at is None or self.finished_at is None:
            return None
        return (self.finished_at - self.started_at).total_seconds()


@dataclass(frozen=True, slots=True, kw_only=True)
class NewJob:
    """What it takes to make a job. ``due_at`` None means now, by the database's clock.

    ``waiting_since``: a job that replaces one in the queue has waited since then. ``latest_start`` None is now:
    somebody waits for it. A job of a whole vault has empty texts for item, machine and point. ``estimate`` is in
    seconds; ``mib_per_second`` is what it will take of its location's line.
    """

    id: str
    kind: JobKind
    trigger: Trigger
    item_id: str
    machine_id: str
    vault_id: str
    point_id: str
    rank: int
    requested_by: str
    requested_type: BackupType | None = None
    due_at: datetime | None = None
    waiting_since: datetime | None = None
    latest_start: datetime | None = None
    start_by: datetime | None = None
    finish_by: datetime | None = None
    estimate: float
    mib_per_second: int = 1
    max_attempts: int = MOST_ATTEMPTS
    longest_pause: float = LONGEST_PAUSE
    policy_version: str | None = None
    retry_of: str | None = None
    target: str | None = None
    paths: tuple[str, ...] = ()
    conflict: ConflictRule | None = None
    full: bool | None = None
    hurried: bool = False
    options: Mapping[str, str] = field(default_factory=dict)


@dataclass(frozen=True, slots=True, kw_only=True)
class Ending:
    """How an attempt ends: the one value that every end (result, failure, rescue, release, cancel) is reduced to.

    ``due_in`` is in seconds and only meant for ``retryable`` and ``available``. None leaves a field as it is.
    """

    state: JobState
    due_in: float = 0.0
    backoff_seconds: float = 0.0
    losses: int
    attempt: int
    error: JobError | None = None
    stats: Mapping[str, int] | None = None
    warnings: Sequence[Mapping[str, str]] | None = None
    type: BackupType | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class JobFilter:
    """Which jobs to list; None means any."""

    state: JobState | None = None
    item_id: str | None = None
    kind: JobKind | None = None


@dataclass(frozen=True, slots=True)
class Accepted:
    """The answer to a request for a job. ``replayed``: the Idempotency-Key had made this very job before."""

    job: Job
    replayed: bool
