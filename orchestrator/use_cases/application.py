"""What the outer layers get of the control plane: a way to open a transaction, a clock, and the vaults.

Rule of the file: the composition root fills it; nobody else builds one.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from datetime import datetime

from orchestrator.use_cases.ports import UnitOfWork, VaultPort
from shared.clock import Clock


@dataclass(frozen=True, slots=True, kw_only=True)
class Application:
    """Everything the API needs.

    Use: ``with application.unit_of_work() as uow: job = request_backup(uow, …)``. ``schema_head`` is the newest
    schema this
    program knows; the API is ready when the database's equals it.
    """

    unit_of_work: Callable[[], UnitOfWork]
    clock: Clock
    vaults: VaultPort
    schema_head: str
    version: str
    started_at: datetime
