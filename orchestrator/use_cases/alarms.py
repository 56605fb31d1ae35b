"""Look at the alarms.

Rule of the file: reading only; alarms open and close by the auditor's rounds alone.
"""

from __future__ import annotations

from orchestrator.domain.alarms import Alarm
from orchestrator.domain.paging import Page, PageRequest
from orchestrator.use_cases.ports import UnitOfWork


def list_alarms(uow: UnitOfWork, *, request: PageRequest, closed: bool = False) -> Page[Alarm]:
    """Return the open alarms, newest first; with ``closed`` those that were too."""
    return uow.alarms.page(request, closed=closed)
