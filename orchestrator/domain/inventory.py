"""What is protected and where it goes: machines, vaults, items, recovery points.

Rule of the file: values only.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime

from orchestrator.domain.job_states import PointState
from orchestrator.domain.policy import RetentionSpec
from shared.contracts.sources import SourceSpec, workload_of
from shared.model.backup import BackupType
from shared.model.bandwidth import UNLIMITED, BandwidthPlan

DEFAULT_TENANT = "default"
"""Whose machines are when nobody said."""


@dataclass(frozen=True, slots=True)
class Named:
    """An id with its name."""

    id: str
    name: str


@dataclass(frozen=True, slots=True, kw_only=True)
class Tenant:
    """Whose machines are. ``weight`` is its share of the slots beside the others' weights."""

    name: str
    weight: int
    machines: int = 0


@dataclass(frozen=True, slots=True, kw_only=True)
class Machine:
    """A protected machine: a key domain. ``key_slots`` are wrapped, so nothing here is secret.

    ``tenant`` is whose it is, ``location`` where it stands; empty for nowhere in particular.
    """

    id: str
    name: str
    key_slots: tuple[dict[str, str | int], ...]
    created_at: datetime
    items: int = 0
    tenant: str = DEFAULT_TENANT
    location: str = ""


@dataclass(frozen=True, slots=True, kw_only=True)
class Vault:
    """A vault as the catalog knows it. ``capacity`` is its slots.

    ``bytes_stored`` is what it holds: as the last collection found it, and as points have added to it since.
    ``bandwidth`` is how fast each machine may use it.
    """

    id: str
    name: str
    url: str
    created_at: datetime
    capacity: int
    points: int = 0
    bytes_stored: int = 0
    bandwidth: BandwidthPlan = UNLIMITED


@dataclass(frozen=True, slots=True, kw_only=True)
class LastPoint:
    """An item's newest sealed point, and between which times it can bring back any moment, if it can."""

    id: str
    sealed_at: datetime
    type: BackupType
    moments_from: datetime | None = None
    moments_until: datetime | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class Care:
    """How an item is looked after, beside its source.

    ``policy`` is the one it names; without one its ``tags`` may be what a policy selects. ``rpo`` (seconds) and
    ``retention`` go before the policy's. ``hypervisor`` is what it burdens beside its machine, empty for none.
    """

    policy: str | None = None
    tags: tuple[str, ...] = ()
    rpo: int | None = None
    retention: RetentionSpec | None = None
    hypervisor: str = ""


@dataclass(frozen=True, slots=True, kw_only=True)
class NewItem:
    """What it takes to make an item. ``care.policy`` is the one it follows; ``by_tags``: its tags chose it."""

    id: str
    name: str
    machine_id: str
    vault_id: str
    source: SourceSpec
    care: Care
    by_tags: bool = False


@dataclass(frozen=True, slots=True, kw_only=True)
class Item:
    """A protected item. ``removed_at`` set: no longer protected, its points are kept.

    ``by_tags``: its tags have chosen the policy. ``runs`` and ``rates`` are the durations (s) and needs of bandwidth
    (MiB/s) of its last backups.
    """

    id: str
    name: str
    machine: Named
    vault: Named
    policy: str | None
    source: SourceSpec
    created_at: datetime
    paused_at: datetime | None = None
    removed_at: datetime | None = None
    last_point: LastPoint | None = None
    next_fire_at: datetime | None = None
    by_tags: bool = False
    tags: tuple[str, ...] = ()
    rpo: int | None = None
    retention: RetentionSpec | None = None
    hypervisor: str = ""
    runs: tuple[float, ...] = ()
    rates: tuple[float, ...] = ()

    @property
    def workload(self) -> str:
        """What kind of thing it is."""
        return workload_of(self.source)


@dataclass(frozen=True, slots=True, kw_only=True)
class ItemAtRisk:
    """A living item that has no sound point, or whose last backup failed; it may be both.

    ``newest`` is when its newest sealed point was made. ``job_id`` is its last backup that has ended, None when there
    never was one; ``failed`` is why it failed, as (code, message), None when it was completed.
    """

    item_id: str
    name: str
    workload: str
    newest: datetime | None
    job_id: str | None
    ended_at: datetime | None
    failed: tuple[str, str] | None


@dataclass(frozen=True, slots=True, kw_only=True)
class RecoveryPoint:
    """A point of the catalog. ``machine_key_slots`` are those the machine has now.

    Any moment between ``moments_from`` and ``moments_until`` can be brought back, where the source allows that.

    A hold without an end has ``held_at`` and no ``held_until``; ``looked_at`` is when a person has looked at a damaged
    point. An expiring point may be held until it is ``doomed_at``; its manifest is gone once it is ``expired_at``.
    """

    id: str
    item: Named
    machine: Named
    machine_key_slots: tuple[dict[str, str | int], ...]
    vault: Named
    vault_url: str
    type: BackupType
    reference: str | None
    state: PointState
    sealed_at: datetime
    files: int
    bytes: int
    bytes_transferred: int
    bytes_stored: int
    manifest: str
    manifest_sha256: str
    job_id: str
    verified_at: datetime | None = None
    verified_how: str | None = None
    held_at: datetime | None = None
    held_until: datetime | None = None
    looked_at: datetime | None = None
    expiring_at: datetime | None = None
    expiry_reason: str | None = None
    doomed_at: datetime | None = None
    expired_at: datetime | None = None
    warnings: int = 0
    moments_from: datetime | None = None
    moments_until: datetime | None = None
    vault_bandwidth: BandwidthPlan = UNLIMITED


@dataclass(frozen=True, slots=True, kw_only=True)
class NewPoint:
    """What the catalog records in the transaction that completes a backup."""

    id: str
    job_id: str
    item_id: str
    machine_id: str
    vault_id: str
    type: BackupType
    reference: str | None
    sealed_at: datetime
    files: int
    bytes: int
    bytes_transferred: int
    bytes_stored: int
    manifest: str
    manifest_sha256: str
    warnings: int
    moments_from: datetime | None = None
    moments_until: datetime | None = None


@dataclass(frozen=True, slots=True)
class StoredVault:
    """What a vault's own header says."""

    id: str
    name: str
    url: str
    created_at: datetime


@dataclass(frozen=True, slots=True)
class AuditLine:
    """What is to be said in the audit log: who did what to which thing."""

    actor: str
    action: str
    target: str
    detail: Mapping[str, object]


@dataclass(frozen=True, slots=True, kw_only=True)
class AuditEntry:
    """One line of the audit log; ``hash`` covers the line and the hash before it."""

    seq: int
    at: datetime
    actor: str
    action: str
    target: str
    detail: Mapping[str, object]
    previous: str
    hash: str


@dataclass(frozen=True, slots=True)
class PolicyVersion:
    """One immutable version of a policy."""

    id: str
    n: int
    created_at: datetime
    text: str


@dataclass(frozen=True, slots=True, kw_only=True)
class PolicyRecord:
    """A policy with its newest version and the names of the items that follow it."""

    name: str
    version: PolicyVersion
    items: Sequence[str] = ()
