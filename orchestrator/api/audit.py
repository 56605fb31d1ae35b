"""/audit: who did what, in an unbroken chain."""

from __future__ import annotations

from typing import Annotated, Any

from fastapi import APIRouter, Query
from pydantic import BaseModel

from orchestrator.api.edge import Moment, Use
from orchestrator.domain.inventory import AuditEntry
from orchestrator.use_cases.audit_log import MOST_LINES, count_unsealed, list_audit

routes = APIRouter(tags=["audit"])


class AuditLine(BaseModel):
    """One line; ``hash`` covers it and the hash of the line before."""

    seq: int
    at: Moment
    actor: str
    action: str
    target: str
    detail: dict[str, Any]
    hash: str


class AuditPage(BaseModel):
    """Lines in order; go on with the last ``seq`` as ``after``.

    ``unsealed`` lines were told while this page was read; they are in the chain within about a second, and until then
    no hash covers them.
    """

    items: list[AuditLine]
    unsealed: int


@routes.get("/audit")
def read(
    application: Use,
    after: Annotated[int, Query(ge=0, lt=1 << 62)] = 0,
    limit: Annotated[int, Query(ge=1, le=MOST_LINES)] = 100,
) -> AuditPage:
    """Read lines with a number greater than ``after``, oldest first."""
    with application.unit_of_work() as uow:
        items = [_out(entry) for entry in list_audit(uow, after=after, limit=limit)]
        return AuditPage(items=items, unsealed=count_unsealed(uow))


def _out(entry: AuditEntry) -> AuditLine:
    return AuditLine(
        seq=entry.seq,
        at=entry.at,
        actor=entry.actor,
        action=entry.action,
        target=entry.target,
        detail=dict(entry.detail),
        hash=entry.hash,
    )
