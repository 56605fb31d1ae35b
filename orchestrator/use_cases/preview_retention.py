"""What a policy's retention would keep today, with the reason for every point.

Rule of the file: it plans and shows; nothing expires here.
"""

from __future__ import annotations

from datetime import datetime

from orchestrator.use_cases.plan_expiry import PlannedPoint, plan_expiry
from orchestrator.use_cases.ports import UnitOfWork


def preview_retention(uow: UnitOfWork, *, name: str, now: datetime) -> list[PlannedPoint]:
    """Return the verdicts by item, newest point first, as the expirer would come to them now; ``not-found``."""
    return plan_expiry(uow, policy=name, now=now)
