"""/alarms: what the auditor has found wrong."""

from __future__ import annotations

from typing import Annotated

from fastapi import APIRouter, Query
from pydantic import BaseModel

from orchestrator.api.edge import Listing, Moment, Paging, Use, listing
from orchestrator.domain.alarms import Alarm, AlarmKind
from orchestrator.use_cases.alarms import list_alarms

routes = APIRouter(tags=["alarms"])


class AlarmOut(BaseModel):
    """One alarm, open while ``closed_at`` is null. ``target`` is an id, ``subject`` what people call it.

    ``told_at`` is when a message about it was last made; null when nobody is to be told, or has yet to be.
    """

    id: str
    kind: AlarmKind
    target: str
    subject: str
    message: str
    opened_at: Moment
    closed_at: Moment | None
    told_at: Moment | None


@routes.get("/alarms")
def list_all(
    application: Use,
    page: Paging,
    closed: Annotated[bool, Query(description="Those that are over too")] = False,
) -> Listing[AlarmOut]:
    """List alarms, newest first."""
    with application.unit_of_work() as uow:
        return listing(list_alarms(uow, request=page, closed=closed), _out)


def _out(alarm: Alarm) -> AlarmOut:
    return AlarmOut(
        id=alarm.id,
        kind=alarm.kind,
        target=alarm.target,
        subject=alarm.subject,
        message=alarm.message,
        opened_at=alarm.opened_at,
        closed_at=alarm.closed_at,
        told_at=alarm.told_at,
    )
