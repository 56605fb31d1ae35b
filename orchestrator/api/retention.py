"""/retention: what the rules say of every point, and applying them by hand."""

from __future__ import annotations

from fastapi import APIRouter
from pydantic import BaseModel

from orchestrator.api.auth import OPERATOR
from orchestrator.api.edge import Moment, Received, RefQuery, Text, Use
from orchestrator.use_cases.plan_expiry import PlannedPoint, apply_retention, plan_expiry

routes = APIRouter(tags=["retention"])


class PlannedOut(BaseModel):
    """Whether retention keeps a point, every reason why, and when it should go (null where it cannot be said).

    ``held_back``: it would go with so many others of its item that only a person's word lets it go.
    """

    item: str
    point: str
    sealed_at: Moment
    keep: bool
    reasons: list[str]
    expires_on: Moment | None
    held_back: bool


class PlanOut(BaseModel):
    """The verdicts by item, newest point first."""

    items: list[PlannedOut]


class ApplyRequest(Received):
    """Which item, or all items of which policy."""

    item: Text | None = None
    policy: Text | None = None


class AppliedItemOut(BaseModel):
    """An item and the points of it that expire now."""

    item: str
    points: list[str]


class AppliedPlanOut(BaseModel):
    """What expires now, by item; items of which everything stays are not in it."""

    items: list[AppliedItemOut]


@routes.get("/retention")
def plan(application: Use, item: RefQuery = None, policy: RefQuery = None) -> PlanOut:
    """Show what retention says now of an item's points, or of those of all items of a policy. Changes nothing."""
    with application.unit_of_work() as uow:
        planned = plan_expiry(uow, now=application.clock.now(), item=item, policy=policy)
    return PlanOut(items=[planned_out(one) for one in planned])


@routes.post("/retention/apply")
def apply(application: Use, body: ApplyRequest) -> AppliedPlanOut:
    """Apply what the plan says now, also where so much would go that it waits for a person's word."""
    with application.unit_of_work() as uow:
        applied = apply_retention(uow, actor=OPERATOR, item=body.item, policy=body.policy)
    return AppliedPlanOut(items=[AppliedItemOut(item=one.item, points=list(one.points)) for one in applied])


def planned_out(one: PlannedPoint) -> PlannedOut:
    """Return a verdict as it goes out."""
    return PlannedOut(
        item=one.item,
        point=one.point,
        sealed_at=one.sealed_at,
        keep=one.keep,
        reasons=list(one.reasons),
        expires_on=one.expires_on,
        held_back=one.held_back,
    )
