"""One transaction on PostgreSQL, as the use cases see it.

Rule of the file: the connection is taken at entering and given back at leaving; what was not committed is undone. A
database
that does not answer is ``server-unreachable``; a value it cannot keep is ``bad-request``; everything else is a defect.
"""

from __future__ import annotations

from collections.abc import Mapping
from datetime import UTC, datetime
from types import TracebackType
from typing import Self

from sqlalchemy import Connection, Engine
from sqlalchemy.exc import DataError, InterfaceError, OperationalError
from sqlalchemy.exc import TimeoutError as PoolTimeout

from orchestrator.domain.system import Numbers
from orchestrator.store.admission_rows import AdmissionRows
from orchestrator.store.alarm_rows import AlarmRows
from orchestrator.store.audit_rows import AuditRows
from orchestrator.store.base import inline
from orchestrator.store.collecting_rows import CollectingRows
from orchestrator.store.connections import begin_relaxed, wake
from orchestrator.store.item_rows import ItemRows
from orchestrator.store.job_rows import JobRows
from orchestrator.store.key_rows import KeyRows
from orchestrator.store.leader_rows import LeaderRows
from orchestrator.store.ledger_rows import LedgerRows
from orchestrator.store.machine_rows import MachineRows
from orchestrator.store.message_rows import MessageRows
from orchestrator.store.numbers import count_by_state, read_numbers
from orchestrator.store.objective_rows import ObjectiveRows
from orchestrator.store.outbox_rows import OutboxRows
from orchestrator.store.point_rows import PointRows
from orchestrator.store.policy_rows import PolicyRows
from orchestrator.store.retention_rows import RetentionRows
from orchestrator.store.shard_rows import ShardRows
from orchestrator.store.sight_rows import SightRows
from orchestrator.store.slot_rows import SlotRows, TenantRows
from orchestrator.store.unit_rows import UnitRows
from orchestrator.store.vault_rows import VaultRows
from orchestrator.store.worker_rows import WorkerRows
from orchestrator.use_cases import ports
from shared.errors import SkyharborError


class SqlUnitOfWork:
    """One transaction. After ``commit`` it may go on.

    What follows is a new transaction, undone unless committed too.
    """

    machines: ports.Machines
    vaults: ports.Vaults
    items: ports.Items
    policies: ports.Policies
    ledger: ports.Ledger
    jobs: ports.Jobs
    units: ports.Units
    shards: ports.Shards
    admission: ports.Admission
    slots: ports.Slots
    tenants: ports.Tenants
    outbox: ports.Outbox
    points: ports.Points
    retention: ports.Retention
    collecting: ports.Collecting
    audit: ports.Audit
    keys: ports.IdempotencyKeys
    workers: ports.Workers
    leaders: ports.Leaders
    objectives: ports.Objectives
    sights: ports.Sights
    alarms: ports.Alarms
    messages: ports.Messages

    def __init__(self, engine: Engine) -> None:
        self._engine = engine
        self._connection: Connection | None = None

    def __enter__(self) -> Self:
        try:
            db = self._connection = self._engine.connect()
        except (OperationalError, InterfaceError, PoolTimeout) as error:
            raise SkyharborError("server-unreachable", "the database does not answer") from error
        self.machines, self.vaults, self.items = MachineRows(db), VaultRows(db), ItemRows(db)
        self.policies, self.ledger = PolicyRows(db), LedgerRows(db)
        self.jobs, self.units, self.shards = JobRows(db), UnitRows(db), ShardRows(db)
        self.admission, self.slots, self.outbox = AdmissionRows(db), SlotRows(db), OutboxRows(db)
        self.tenants = TenantRows(db)
        self.points, self.audit, self.keys = PointRows(db), AuditRows(db), KeyRows(db)
        self.retention, self.collecting = RetentionRows(db), CollectingRows(db)
        self.workers, self.leaders = WorkerRows(db), LeaderRows(db)
        self.objectives, self.sights = ObjectiveRows(db), SightRows(db)
        self.alarms, self.messages = AlarmRows(db), MessageRows(db)
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        if self._connection is not None:
            self._connection.close()  # gives it back to the pool, which rolls back
            self._connection = None
        if isinstance(error, OperationalError | InterfaceError):
            raise SkyharborError("server-unreachable", "the database does not answer") from error
        if isinstance(error, DataError):
            raise SkyharborError("bad-request", "a value is out of what can be kept") from error

    @property
    def _db(self) -> Connection:
        if self._connection is None:
            raise RuntimeError("the unit of work is not open")
        return self._connection

    def commit(self) -> None:
        """Make everything durable."""
        self._db.commit()

    def relax(self) -> None:
        """Let the commit return before it is on the disk. It is atomic and in order all the same."""
        if self._db.in_transaction():
            self._db.execute(inline("SET LOCAL synchronous_commit = off"))
        else:
            begin_relaxed(self._db)

    def now(self) -> datetime:
        """Return the database's time."""
        moment: datetime = self._db.execute(inline("SELECT clock_timestamp()")).scalar_one()
        return moment.astimezone(UTC)

    def wake(self) -> None:
        """Notify the loops at the commit."""
        wake(self._db)

    def schema(self) -> str:
        """Return the schema version; an empty text when there is none."""
        found = self._db.execute(inline("SELECT to_regclass('alembic_version')")).scalar_one()
        if found is None:
            return ""
        return str(self._db.execute(inline("SELECT version_num FROM alembic_version")).scalar_one_or_none() or "")

    def numbers(self) -> Numbers:
        """Return what /metrics shows."""
        return read_numbers(self._db)

    def count_by_state(self) -> Mapping[str, int]:
        """Return the number of jobs in every state."""
        return count_by_state(self._db)
