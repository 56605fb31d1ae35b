"""What a policy's retention would keep today, with the reason for every point.

Rule of the file: it plans and shows; nothing expires here.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from datetime import datetime

from orchestrator.domain.inventory import RecoveryPoint
from orchestrator.domain.job_states import PointState
from orchestrator.domain.paging import MAX_LIMIT, PageRequest
from orchestrator.domain.retention import Kept, plan_retention
from orchestrator.use_cases.policies import get_policy
from orchestrator.use_cases.ports import UnitOfWork


@dataclass(frozen=True, slots=True)
class PreviewPoint:
    """A point of one of the policy's items, and whether the rule keeps it: every reason, or why none does."""

    item: str
    point: str
    sealed_at: datetime
    keep: bool
    reasons: tuple[str, ...]


def preview_retention(uow: UnitOfWork, *, name: str, now: datetime) -> list[PreviewPoint]:
    """Return the verdicts by item, newest point first. Reads only; ``not-found``.

    Damaged points are kept until somebody has looked, whatever the rule says.
    """
    record, spec = get_policy(uow, name=name)
    shown: list[PreviewPoint] = []
    for item in record.items:
        found = uow.items.get(item)
        points = {point.id: point for point in _points(uow, found.id)}
        rule = spec.retention if found.retention is None else found.retention
        seen = [Kept(point.id, point.sealed_at, point.held_until) for point in points.values()]
        for verdict in plan_retention(seen, rule, now=now, zone=spec.zone):
            point = points[verdict.id]
            damaged = ("damaged: kept until somebody has looked",) if point.state is PointState.DAMAGED else ()
            reasons = (verdict.reasons if verdict.keep else ()) + damaged or verdict.reasons
            shown.append(PreviewPoint(item, point.id, point.sealed_at, verdict.keep or bool(damaged), reasons))
    return shown


def _points(uow: UnitOfWork, item_id: str) -> Iterator[RecoveryPoint]:
    cursor: str | None = None
    while True:
        page = uow.points.page(PageRequest(limit=MAX_LIMIT, cursor=cursor), item_id=item_id)
        yield from (point for point in page.items if point.state in (PointState.SEALED, PointState.DAMAGED))
        if page.next is None:
            return
        cursor = page.next
