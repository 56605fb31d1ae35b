"""Show what retention says of every point now: whether it is kept, why, and when it should go.

Rule of the file: reads only; ``expire`` applies.
"""

from __future__ import annotations

import heapq
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime
from itertools import islice
from zoneinfo import ZoneInfo

from orchestrator.domain.collecting import Ruled
from orchestrator.domain.expiry_forecast import MOST_FIRES, expected_expiry
from orchestrator.domain.inventory import Item, RecoveryPoint
from orchestrator.domain.job_states import PointState
from orchestrator.domain.retention import is_too_much, plan_retention
from orchestrator.domain.schedule import fires_after
from orchestrator.use_cases.expire import expire_item
from orchestrator.use_cases.policies import get_policy
from orchestrator.use_cases.ports import UnitOfWork
from shared.errors import SkyharborError


@dataclass(frozen=True, slots=True, kw_only=True)
class PlannedPoint:
    """A point and what retention says of it. ``expires_on`` is None where it cannot be said.

    ``held_back``: it would go with so many others of its item at once that a person has to apply it.
    """

    item: str
    point: str
    sealed_at: datetime
    keep: bool
    reasons: tuple[str, ...]
    expires_on: datetime | None
    held_back: bool


@dataclass(frozen=True, slots=True)
class AppliedItem:
    """An item and the points of it that expire now."""

    item: str
    points: tuple[str, ...]


def plan_expiry(
    uow: UnitOfWork, *, now: datetime, item: str | None = None, policy: str | None = None
) -> list[PlannedPoint]:
    """Return the verdicts for an item, or for all that follow a policy, by item, newest point first.

    Errors: ``not-found``; ``bad-request`` unless it is one of the two.
    """
    return [planned for one in _items(uow, item, policy) for planned in _plan(uow, one, now)]


def apply_retention(
    uow: UnitOfWork, *, actor: str, item: str | None = None, policy: str | None = None
) -> list[AppliedItem]:
    """Apply what the plan says now, also what the brake held back: one transaction for each item."""
    applied = []
    for one in _items(uow, item, policy):
        points = expire_item(uow, item_id=one.id, actor=actor, by_hand=True).expired
        if points:
            applied.append(AppliedItem(one.name, points))
    return applied


def explain_point(uow: UnitOfWork, point: RecoveryPoint, *, now: datetime) -> PlannedPoint | None:
    """Return what retention says of one point; None when it is on its way out already."""
    if point.state not in (PointState.SEALED, PointState.DAMAGED):
        return None
    planned = _plan(uow, uow.items.get(point.item.id, removed=True), now)
    return next((one for one in planned if one.point == point.id), None)


def _items(uow: UnitOfWork, item: str | None, policy: str | None) -> Sequence[Item]:
    if (item is None) == (policy is None):
        raise SkyharborError("bad-request", "give an item or a policy")
    if item is not None:
        return [uow.items.get(item, removed=True)]
    record, _ = get_policy(uow, name=policy or "")
    return [uow.items.get(name) for name in record.items]


def _plan(uow: UnitOfWork, item: Item, now: datetime) -> list[PlannedPoint]:
    ruled = uow.retention.rule(item.id)
    points = uow.retention.points([item.id]).get(item.id, ())
    zone = ZoneInfo(ruled.zone)
    plan = plan_retention(points, ruled.rule, now=now, zone=zone, removed=ruled.removed)
    expected: dict[str, datetime] = {}
    if points and not ruled.removed:
        expected = expected_expiry(points, ruled.rule, fires=_fires(uow, item, ruled, now), now=now, zone=zone)
    sealed = {point.id: point.sealed_at for point in points}
    too_much = is_too_much(plan)
    return [
        PlannedPoint(
            item=item.name,
            point=verdict.id,
            sealed_at=sealed[verdict.id],
            keep=verdict.keep,
            reasons=verdict.reasons,
            expires_on=max(now, expected[verdict.id]) if verdict.id in expected else None,
            held_back=too_much and not verdict.keep,
        )
        for verdict in plan
    ]


def _fires(uow: UnitOfWork, item: Item, ruled: Ruled, now: datetime) -> list[datetime]:
    """Return when backups of the item are scheduled; none while it is paused."""
    if item.policy is None or item.paused_at is not None or ruled.removed:
        return []
    _, spec = get_policy(uow, name=item.policy)
    coming = heapq.merge(*((fire.instant for fire in fires_after(schedule, now)) for schedule in spec.schedules))
    return list(islice(coming, MOST_FIRES))
