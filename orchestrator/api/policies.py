"""/policies: when things are backed up and how long points stay."""

from __future__ import annotations

from datetime import datetime
from typing import Annotated, Any

import msgspec
from fastapi import APIRouter, Query
from pydantic import BaseModel, Field

from orchestrator.api.auth import OPERATOR
from orchestrator.api.edge import Listing, Moment, Paging, Received, Ref, Use
from orchestrator.api.retention import PlannedOut, planned_out
from orchestrator.domain.inventory import PolicyRecord, PolicyVersion
from orchestrator.domain.policy import PolicySpec
from orchestrator.use_cases.policies import (
    LONGEST_PREVIEW_DAYS,
    apply_policy,
    get_policy,
    list_policies,
    preview_policy,
)
from orchestrator.use_cases.preview_retention import preview_retention
from shared.model.backup import BackupType

routes = APIRouter(tags=["policies"])


class PolicyText(Received):
    """A policy as YAML."""

    yaml: Annotated[str, Field(max_length=1 << 20)]


class VersionOut(BaseModel):
    """One immutable version; ``n`` counts from 1."""

    n: int
    id: str
    created_at: Moment


class AppliedOut(BaseModel):
    """The version that is current now; ``created`` is false when it was so before."""

    name: str
    version: VersionOut
    created: bool


class PolicyOut(BaseModel):
    """A policy's newest version: its meaning, its text, and who follows it."""

    name: str
    version: VersionOut
    spec: dict[str, Any]
    yaml: str
    items: list[str]


class FireOut(BaseModel):
    """A fire to come: ``at`` with the item's jitter, ``local`` the nominal wall time in ``zone``."""

    item: str | None
    at: Moment
    local: datetime
    zone: str
    type: BackupType
    note: str | None


class PreviewOut(BaseModel):
    """The fires of the next days, by time, and what retention would keep of the points there are."""

    name: str
    days: int
    fires: list[FireOut]
    retention: list[PlannedOut]


@routes.post("/policies")
def apply(application: Use, body: PolicyText) -> AppliedOut:
    """Apply a policy. An identical text makes no new version. 422 ``policy-invalid`` names lines in ``errors``."""
    with application.unit_of_work() as uow:
        applied = apply_policy(uow, actor=OPERATOR, document=body.yaml)
    return AppliedOut(name=applied.name, version=_version(applied.version), created=applied.created)


@routes.get("/policies")
def list_all(application: Use, page: Paging) -> Listing[PolicyOut]:
    """List policies by name."""
    with application.unit_of_work() as uow:
        found = list_policies(uow, request=page)
        specs = uow.policies.specs([record.version.id for record in found.items])
    return Listing(items=[_out(record, specs[record.version.id]) for record in found.items], next=found.next)


@routes.get("/policies/{ref}")
def show(application: Use, ref: Ref) -> PolicyOut:
    """Show one policy."""
    with application.unit_of_work() as uow:
        return _out(*get_policy(uow, name=ref))


@routes.get("/policies/{ref}/preview")
def preview(application: Use, ref: Ref, days: Annotated[int, Query(ge=1, le=LONGEST_PREVIEW_DAYS)] = 7) -> PreviewOut:
    """Show the next fires, and what retention would keep today. Changes nothing."""
    now = application.clock.now()
    with application.unit_of_work() as uow:
        fires = preview_policy(uow, name=ref, days=days, now=now)
        points = preview_retention(uow, name=ref, now=now)
    return PreviewOut(
        name=ref,
        days=days,
        fires=[
            FireOut(
                item=fire.item, at=fire.at, local=fire.local, zone=fire.zone, type=BackupType(fire.type), note=fire.note
            )
            for fire in fires
        ],
        retention=[planned_out(point) for point in points],
    )


def _version(version: PolicyVersion) -> VersionOut:
    return VersionOut(n=version.n, id=version.id, created_at=version.created_at)


def _out(record: PolicyRecord, spec: PolicySpec) -> PolicyOut:
    return PolicyOut(
        name=record.name,
        version=_version(record.version),
        spec=msgspec.to_builtins(spec),
        yaml=record.version.text,
        items=list(record.items),
    )
