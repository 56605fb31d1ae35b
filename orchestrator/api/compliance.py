"""/compliance: what was promised of every item, and what was kept."""

from __future__ import annotations

from typing import Annotated

from fastapi import APIRouter, Query
from pydantic import BaseModel

from orchestrator.api.edge import Listing, Moment, Paging, Use, listing
from orchestrator.domain.objectives import Standing, Verdict
from orchestrator.use_cases.compliance import list_compliance

routes = APIRouter(tags=["compliance"])


class StandingOut(BaseModel):
    """How an item stands to its promise. ``rpo``, ``achieved`` and ``overdue`` are in seconds.

    ``rpo`` is what was promised; ``achieved`` the largest gap between two points of the last 30 days, or from the
    newest to now; ``overdue`` is for how long the promise has been broken. Each may be null.
    """

    id: str
    name: str
    policy: str | None
    paused_at: Moment | None
    verdict: Verdict
    rpo: int | None
    achieved: float | None
    overdue: float | None
    last_success_at: Moment | None
    last_verified_at: Moment | None
    next_fire_at: Moment | None


@routes.get("/compliance")
def list_all(
    application: Use,
    page: Paging,
    verdict: Annotated[Verdict | None, Query(description="Only items with this verdict")] = None,
) -> Listing[StandingOut]:
    """List how the items stand to their promises, by name."""
    with application.unit_of_work() as uow:
        return listing(list_compliance(uow, request=page, verdict=verdict), _out)


def _out(standing: Standing) -> StandingOut:
    record = standing.record
    return StandingOut(
        id=record.item_id,
        name=record.name,
        policy=record.policy,
        paused_at=record.paused_at,
        verdict=standing.verdict,
        rpo=record.rpo,
        achieved=standing.achieved,
        overdue=standing.overdue,
        last_success_at=record.newest,
        last_verified_at=record.verified_at,
        next_fire_at=record.next_fire_at,
    )
