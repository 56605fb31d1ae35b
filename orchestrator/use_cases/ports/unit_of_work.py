"""One transaction over everything the tower keeps.

Rule of the file: it gathers the ports; what they can do is said in their own files.
"""

from __future__ import annotations

from collections.abc import Mapping
from datetime import datetime
from types import TracebackType
from typing import Protocol, Self

from orchestrator.domain.system import Numbers
from orchestrator.use_cases.ports.catalog import Items, Machines, Points, Policies, Vaults
from orchestrator.use_cases.ports.collecting import Collecting, Retention
from orchestrator.use_cases.ports.oversight import Alarms, Messages, Objectives, Sights
from orchestrator.use_cases.ports.tower import Audit, IdempotencyKeys, Leaders, Workers
from orchestrator.use_cases.ports.work import Admission, Jobs, Ledger, Outbox, Shards, Slots, Tenants, Units


class UnitOfWork(Protocol):
    """One transaction. Entering begins it, ``commit`` ends it, leaving without a commit undoes everything."""

    machines: Machines
    vaults: Vaults
    items: Items
    policies: Policies
    ledger: Ledger
    jobs: Jobs
    units: Units
    shards: Shards
    admission: Admission
    slots: Slots
    tenants: Tenants
    outbox: Outbox
    points: Points
    retention: Retention
    collecting: Collecting
    audit: Audit
    keys: IdempotencyKeys
    workers: Workers
    leaders: Leaders
    objectives: Objectives
    sights: Sights
    alarms: Alarms
    messages: Messages

    def __enter__(self) -> Self: ...
    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None: ...

    def commit(self) -> None:
        """Make everything durable, then let loops that were woken in it hear it."""
        ...

    def relax(self) -> None:
        """Let the commit return before it is durable: a power cut may take it back, whole, with all that came later."""
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
