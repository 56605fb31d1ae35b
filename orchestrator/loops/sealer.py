"""The sealer: chains the audit lines that were told since it last looked.

Rule of the file: any number may run, leading or not; they wait for each other in the database.
"""

from __future__ import annotations

from collections.abc import Callable

from orchestrator.use_cases.audit_log import SEALED_AT_ONCE, seal_audit
from orchestrator.use_cases.ports import UnitOfWork


class Sealer:
    """Chains one batch per step."""

    def __init__(self, unit_of_work: Callable[[], UnitOfWork]) -> None:
        self._unit_of_work = unit_of_work

    def step(self) -> bool:
        """Chain; True while there may be more."""
        with self._unit_of_work() as uow:
            return seal_audit(uow) == SEALED_AT_ONCE
