"""/at-risk: items that could not be restored as they should be."""

from __future__ import annotations

from fastapi import APIRouter
from pydantic import BaseModel

from orchestrator.api.edge import Listing, Moment, Paging, Use, listing
from orchestrator.domain.inventory import ItemAtRisk
from orchestrator.use_cases.items import list_at_risk

routes = APIRouter(tags=["compliance"])


class FailureOut(BaseModel):
    """Why the last backup failed: the registry's code, or the state in which its job ended."""

    code: str
    message: str


class AtRiskOut(BaseModel):
    """An item without a sound point, or whose last backup failed. ``job`` is that backup; null: there never was one."""

    id: str
    name: str
    workload: str
    last_point_at: Moment | None
    job: str | None
    ended_at: Moment | None
    failed: FailureOut | None


@routes.get("/at-risk")
def list_all(application: Use, page: Paging) -> Listing[AtRiskOut]:
    """List living items that have no sound point, or whose last backup failed, by name."""
    with application.unit_of_work() as uow:
        return listing(list_at_risk(uow, request=page), _out)


def _out(item: ItemAtRisk) -> AtRiskOut:
    failed = None if item.failed is None else FailureOut(code=item.failed[0], message=item.failed[1])
    return AtRiskOut(
        id=item.item_id,
        name=item.name,
        workload=item.workload,
        last_point_at=item.newest,
        job=item.job_id,
        ended_at=item.ended_at,
        failed=failed,
    )
