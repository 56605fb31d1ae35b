"""Look at the tower itself.

Rule of the file: reading only.
"""

from __future__ import annotations

from orchestrator.domain.system import Numbers, SystemStatus
from orchestrator.use_cases.ports import UnitOfWork


def system_status(uow: UnitOfWork) -> SystemStatus:
    """Return workers, queue and slots as they are now, without machines of which none are in use."""
    return SystemStatus(
        schema=uow.schema(), workers=uow.workers.all(), queue=uow.count_by_state(), slots=uow.slots.noteworthy()
    )


def is_ready(uow: UnitOfWork, *, schema_head: str) -> bool:
    """Tell whether the database answers and has the schema this program needs.

    ``server-unreachable`` when it does not.
    """
    return uow.schema() == schema_head


def metrics_numbers(uow: UnitOfWork) -> Numbers:
    """Return what /metrics shows."""
    return uow.numbers()
