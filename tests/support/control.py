"""A control plane for tests: a real database with the schema, and builders for what lives in it."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from datetime import UTC, datetime
from typing import Any

from sqlalchemy import Engine, text

from orchestrator.domain.inventory import Care, Item, Machine, StoredVault, Vault
from orchestrator.domain.jobs import Job
from orchestrator.store.connections import open_engine
from orchestrator.store.schema import upgrade
from orchestrator.store.unit_of_work import SqlUnitOfWork
from orchestrator.use_cases.admit import admit
from orchestrator.use_cases.ask_shards import ask_shards
from orchestrator.use_cases.claim import claim
from orchestrator.use_cases.commit import commit
from orchestrator.use_cases.complete import complete
from orchestrator.use_cases.items import add_item
from orchestrator.use_cases.jobs import get_job
from orchestrator.use_cases.machines import add_machine
from orchestrator.use_cases.offer import offer
from orchestrator.use_cases.request_backup import request_backup
from orchestrator.use_cases.slots import set_slots
from orchestrator.use_cases.vaults import create_vault
from shared.contracts.sources import FilesSource
from shared.contracts.work import (
    AskShards,
    Attempt,
    BackupDone,
    BackupInstruction,
    Claim,
    Commit,
    Complete,
    Doorbell,
    Granted,
    Offer,
    Outcome,
    SealedPoint,
    Shards,
)
from shared.errors import SkyharborError
from shared.model.backup import BackupStats, BackupType, Notice
from shared.model.ids import new_id

SLOTS: tuple[dict[str, str | int], ...] = ({"slot_id": "a", "kind": "passphrase", "wrapped": "AAAA", "iterations": 3},)


@dataclass
class MemoryVaults:
    """A VaultPort that keeps headers in a dict; the same refusals as real storage."""

    headers: dict[str, StoredVault] = field(default_factory=dict)

    def create(self, url: str, *, name: str) -> StoredVault:
        """Make a header."""
        if url in self.headers:
            raise SkyharborError("vault-exists", url)
        self.headers[url] = StoredVault(new_id(), name, url, datetime.now(UTC))
        return self.headers[url]

    def describe(self, url: str) -> StoredVault:
        """Read a header."""
        if url not in self.headers:
            raise SkyharborError("vault-missing", url)
        return self.headers[url]


@dataclass
class RecordingBell:
    """A bell that remembers its rings, and is broken while ``broken``."""

    rings: list[Doorbell] = field(default_factory=list)
    broken: bool = False

    def ring(self, doorbell: Doorbell) -> None:
        """Remember, or fail like a dead broker."""
        if self.broken:
            raise SkyharborError("server-unreachable", "the broker does not answer")
        self.rings.append(doorbell)


class ControlPlane:
    """The store and the use cases over one database, with the shortcuts that tests need."""

    def __init__(self, url: str) -> None:
        upgrade(url)
        self.url = url
        self.engine: Engine = open_engine(url)
        self.vaults = MemoryVaults()

    def close(self) -> None:
        """Let go of the connections."""
        self.engine.dispose()

    def uow(self) -> SqlUnitOfWork:
        """Open a transaction (use as a context manager)."""
        return SqlUnitOfWork(self.engine)

    def machine(self, name: str = "m1", **where: str) -> Machine:
        """Add a machine; ``tenant`` and ``location`` may be given."""
        with self.uow() as uow:
            return add_machine(uow, actor="test", name=name, machine_id=new_id(), key_slots=SLOTS, **where)

    def vault(self, name: str = "v1") -> Vault:
        """Add a vault."""
        with self.uow() as uow:
            return create_vault(uow, vaults=self.vaults, actor="test", name=name, url=f"memory://{name}")

    def item(
        self, name: str = "i1", *, machine: str = "m1", vault: str = "v1", policy: str | None = None, **care: Any
    ) -> Item:
        """Add an item on a machine and a vault that exist."""
        with self.uow() as uow:
            return add_item(
                uow,
                actor="test",
                name=name,
                machine=machine,
                vault=vault,
                source=FilesSource(paths=("/etc",)),
                care=Care(policy=policy, **care),
            )

    def one_item(self, name: str = "i1") -> Item:
        """Add a machine m1, a vault v1 and an item on them."""
        self.machine()
        self.vault()
        return self.item(name)

    def backup(self, item: str = "i1", *, type: BackupType = BackupType.INCREMENTAL, key: str | None = None) -> Job:
        """Ask for a backup."""
        with self.uow() as uow:
            return request_backup(uow, actor="test", item=item, type=type, key=key).job

    def admit(self) -> int:
        """Run one admission."""
        with self.uow() as uow:
            return admit(uow)

    def claim(
        self,
        doorbell: Doorbell | None = None,
        *,
        worker: str = "w1",
        session: str = "s1",
        shards: bool = True,
        besides: tuple[Attempt, ...] = (),
    ) -> Granted | None:
        """Claim as a worker."""
        message = Claim(worker=worker, session=session, doorbell=doorbell, shards=shards, besides=besides)
        with self.uow() as uow:
            return claim(uow, message=message)

    def start(self, item: str = "i1", **options: BackupType) -> Granted:
        """Ask for a backup, admit it and claim it."""
        self.backup(item, **options)
        self.admit()
        granted = self.claim()
        assert granted is not None
        return granted

    def commit(self, granted: Granted) -> None:
        """Ask to seal."""
        with self.uow() as uow:
            commit(uow, message=Commit(fence=granted.fence))

    def complete(self, granted: Granted, outcome: Outcome | None = None) -> None:
        """Report an outcome; a finished backup when none is given."""
        with self.uow() as uow:
            complete(uow, message=Complete(fence=granted.fence, outcome=outcome or sealed(granted)), chance=0.5)

    def run(self, item: str = "i1", *, type: BackupType = BackupType.INCREMENTAL) -> Job:
        """Run a backup to its end."""
        granted = self.start(item, type=type)
        self.commit(granted)
        self.complete(granted)
        return self.job(granted.fence.job_id)

    def offer(self, lead: Granted, *payloads: bytes) -> None:
        """Offer shards."""
        with self.uow() as uow:
            offer(uow, message=Offer(fence=lead.fence, shards=payloads))

    def shards(self, lead: Granted, *, have: Sequence[int] = ()) -> Shards:
        """Ask for shards."""
        with self.uow() as uow:
            return ask_shards(uow, message=AskShards(fence=lead.fence, have=tuple(have)))

    def claim_own(self, lead: Granted, *, worker: str = "w1", session: str = "s1") -> Granted | None:
        """Claim a shard of one's own backup."""
        with self.uow() as uow:
            return claim(uow, message=Claim(worker=worker, session=session, lead=lead.fence))

    def job(self, job_id: str) -> Job:
        """Read a job as it is in the table."""
        with self.uow() as uow:
            return uow.jobs.get(job_id)

    def seen(self, job_id: str) -> Job:
        """Read a job as people see it, with its place in the queue and its expected start."""
        with self.uow() as uow:
            return get_job(uow, ref=job_id)

    def slots(self, ref: str, capacity: int, *, floor: int = 0) -> None:
        """Set how many slots there are of something, and how many of them are for restores only."""
        with self.uow() as uow:
            set_slots(uow, actor="test", ref=ref, capacity=capacity, floor=floor)

    def sql(self, statement: str, **parameters: object) -> Sequence[tuple[object, ...]]:
        """Run a statement of the test's own and commit."""
        with self.engine.begin() as connection:
            result = connection.execute(text(statement), parameters)
            return [tuple(row) for row in result] if result.returns_rows else []

    def expire_lease(self, job_id: str, seconds: float = 10.0, *, unit: int = 0) -> None:
        """Make a lease look as if it had ended so long ago."""
        self.sql(
            "UPDATE unit SET lease_expires_at = clock_timestamp() - make_interval(secs => :s)"
            " WHERE job_id = :id AND no = :unit AND claim_id IS NOT NULL",
            s=seconds,
            id=job_id,
            unit=unit,
        )

    def slots_in_use(self) -> dict[tuple[object, object], object]:
        """Return what every scope says is in use, without what was given back and is still to be counted."""
        rows = self.sql(
            "SELECT s.scope, s.key, s.in_use - coalesce((SELECT sum(r.n) FROM slot_return r"
            " WHERE r.scope = s.scope AND r.key = s.key), 0) FROM slot_scope s"
        )
        return {(scope, key): used for scope, key, used in rows}


def sealed(
    granted: Granted, *, warnings: tuple[Notice, ...] = (), moments: tuple[str, str] | None = None
) -> BackupDone:
    """Return the outcome of a backup that went well; ``moments`` are between which times it can bring back any."""
    instruction = granted.instruction
    assert isinstance(instruction, BackupInstruction)
    return BackupDone(
        stats=BackupStats(files=3, bytes_transferred=100, bytes_stored=90, warnings=len(warnings)),
        point=SealedPoint(
            point_id=instruction.point_id,
            manifest=f"points/{instruction.point_id}",
            manifest_sha256="0" * 64,
            type=instruction.type,
            reference=instruction.reference,
            sealed_at=datetime.now(UTC).isoformat(),
            files=3,
            bytes=1000,
            moments_from=moments[0] if moments else None,
            moments_until=moments[1] if moments else None,
        ),
        warnings=warnings,
    )
