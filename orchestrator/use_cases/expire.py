"""Apply retention: move points that no rule keeps to expiring, and remember what waits for a person's word.

Rule of the file: one item is one transaction. The plan is made anew under the lock of the item: nothing is applied that
was planned on something else.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from datetime import datetime
from zoneinfo import ZoneInfo

import msgspec

from orchestrator.domain.collecting import LOOK_EVERY, Ruled
from orchestrator.domain.inventory import AuditLine
from orchestrator.domain.retention import Verdict, is_too_much, plan_retention
from orchestrator.domain.system import Leadership
from orchestrator.use_cases.ports import UnitOfWork

ITEMS_PER_STEP = 200


@dataclass(frozen=True, slots=True)
class Looked:
    """What one look at many items did: how many items it looked at, points that expire, items held back."""

    items: int
    points: int = 0
    held_back: int = 0


@dataclass(frozen=True, slots=True)
class Applied:
    """What became of an item's plan: the points that expire now, and how many the brake holds back."""

    expired: tuple[str, ...]
    held_back: int = 0


def expire_due(open_uow: Callable[[], UnitOfWork], *, leadership: Leadership | None = None) -> Looked:
    """Look at up to 200 items whose time has come. Call again while it looks at any.

    Items of which everything stays, most of them, are looked at together; each of the others in its own transaction.
    """
    with open_uow() as uow:
        if leadership is not None:
            uow.leaders.require(leadership)
        due, now = uow.retention.due(limit=ITEMS_PER_STEP), uow.now()
        points = uow.retention.points([item.item_id for item in due])
        plans = {
            item.item_id: plan_retention(points.get(item.item_id, ()), item.rule, now=now, zone=ZoneInfo(item.zone))
            for item in due
        }
        going = [item_id for item_id, plan in plans.items() if any(not verdict.keep for verdict in plan)]
        uow.retention.looked(sorted(plans.keys() - set(going)), again_in=LOOK_EVERY)
        uow.commit()
    applied = [_apply(open_uow, item_id, leadership) for item_id in going]
    return Looked(
        items=len(due),
        points=sum(len(one.expired) for one in applied),
        held_back=sum(one.held_back > 0 for one in applied),
    )


def _apply(open_uow: Callable[[], UnitOfWork], item_id: str, leadership: Leadership | None) -> Applied:
    with open_uow() as uow:
        if leadership is not None:
            uow.leaders.require(leadership)
        return expire_item(uow, item_id=item_id, actor="tower")


def expire_item(uow: UnitOfWork, *, item_id: str, actor: str, by_hand: bool = False) -> Applied:
    """Apply the plan of an item as it is at this moment; repeated, it changes nothing.

    ``by_hand``: a person has seen the plan, so the brake does not hold.
    """
    item = uow.retention.rule(item_id, lock=True)
    now = uow.now()
    plan = _plan(uow, item, now)
    going = {verdict.id: "; ".join(verdict.reasons) for verdict in plan if not verdict.keep}
    if going and is_too_much(plan) and not by_hand:
        uow.retention.hold_back(item_id, len(going), again_in=LOOK_EVERY)
        if item.held_back is None:
            detail = {"points": len(going), "of": len(plan)}
            uow.audit.append(actor=actor, action="retention.hold-back", target=item_id, detail=detail)
        uow.commit()
        return Applied((), len(going))
    expired = uow.retention.expire(item_id, going) if going else ()
    uow.retention.looked([item_id], again_in=LOOK_EVERY)
    rule = {name: count for name, count in msgspec.to_builtins(item.rule).items() if count}
    uow.audit.append_all(
        [
            AuditLine(actor, "point.expire", point, {"item": item_id, "because": going[point], "rule": rule})
            for point in sorted(expired)
        ]
    )
    uow.commit()
    return Applied(tuple(sorted(expired)))


def _plan(uow: UnitOfWork, item: Ruled, now: datetime) -> list[Verdict]:
    points = uow.retention.points([item.item_id]).get(item.item_id, ())
    return plan_retention(points, item.rule, now=now, zone=ZoneInfo(item.zone), removed=item.removed)
