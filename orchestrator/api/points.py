"""/points: what can be restored. The catalog knows points, not what is in them."""

from __future__ import annotations

from fastapi import APIRouter
from pydantic import AwareDatetime, BaseModel

from orchestrator.api.auth import OPERATOR
from orchestrator.api.edge import Listing, Moment, NamedOut, Paging, Received, Ref, RefQuery, Use, listing, named
from orchestrator.api.machines import KeySlot
from orchestrator.api.retention import PlannedOut, planned_out
from orchestrator.domain.inventory import RecoveryPoint
from orchestrator.domain.job_states import PointState
from orchestrator.use_cases.hold_point import hold_point, release_point
from orchestrator.use_cases.plan_expiry import explain_point
from orchestrator.use_cases.points import find_point, list_points
from shared.model.backup import BackupType

routes = APIRouter(tags=["points"])


class PointMachine(NamedOut):
    """The machine with the key slots that it has now."""

    key_slots: list[KeySlot]


class PointVault(NamedOut):
    """The vault and where it is."""

    url: str


class PointOut(BaseModel):
    """A recovery point of the catalog; ``warnings`` counts what its backup could not read or keep.

    A hold without an end has ``held_at`` and no ``held_until``. An expiring point comes back when it is held, until it
    is ``doomed_at``; ``expiry_reason`` says why it goes. A point that can bring back any moment of a stretch of time
    says from when until when.
    """

    id: str
    item: NamedOut
    machine: PointMachine
    vault: PointVault
    type: BackupType
    reference: str | None
    state: PointState
    sealed_at: Moment
    files: int
    bytes: int
    bytes_transferred: int
    manifest: str
    manifest_sha256: str
    job_id: str
    verified_at: Moment | None
    verified_how: str | None
    held_at: Moment | None
    held_until: Moment | None
    expiring_at: Moment | None
    expiry_reason: str | None
    doomed_at: Moment | None
    expired_at: Moment | None
    warnings: int
    moments_from: Moment | None
    moments_until: Moment | None


class PointShown(PointOut):
    """One point, with what retention says of it now: null when it is on its way out already."""

    retention: PlannedOut | None


class HoldRequest(Received):
    """Until when; without a time, until it is released."""

    until: AwareDatetime | None = None


@routes.get("/points")
def list_all(application: Use, page: Paging, item: RefQuery = None) -> Listing[PointOut]:
    """List points, newest first; also those of items that were removed."""
    with application.unit_of_work() as uow:
        return listing(list_points(uow, request=page, item=item), _out)


@routes.get("/points/{ref}")
def show(application: Use, ref: Ref, item: RefQuery = None) -> PointShown:
    """Show one point: by id, by a unique beginning of it, or ``latest`` of an item; and why it is kept."""
    with application.unit_of_work() as uow:
        point = find_point(uow, point=ref, item=item)
        planned = explain_point(uow, point, now=application.clock.now())
    retention = None if planned is None else planned_out(planned)
    return PointShown(**dict(_out(point)), retention=retention)


@routes.post("/points/{ref}/hold")
def hold(application: Use, ref: Ref, body: HoldRequest | None = None, item: RefQuery = None) -> PointOut:
    """Hold a point: no rule lets it go. One that is expiring comes back; 409 once it is doomed."""
    until = None if body is None else body.until
    with application.unit_of_work() as uow:
        return _out(hold_point(uow, actor=OPERATOR, point=ref, item=item, until=until))


@routes.post("/points/{ref}/release")
def release(application: Use, ref: Ref, item: RefQuery = None) -> PointOut:
    """End a hold; of a damaged point it says that somebody has looked at it. Idempotent."""
    with application.unit_of_work() as uow:
        return _out(release_point(uow, actor=OPERATOR, point=ref, item=item))


def _out(point: RecoveryPoint) -> PointOut:
    slots = [dict(slot) for slot in point.machine_key_slots]
    return PointOut(
        id=point.id,
        item=named(point.item),
        machine=PointMachine(id=point.machine.id, name=point.machine.name, key_slots=slots),
        vault=PointVault(id=point.vault.id, name=point.vault.name, url=point.vault_url),
        type=point.type,
        reference=point.reference,
        state=point.state,
        sealed_at=point.sealed_at,
        files=point.files,
        bytes=point.bytes,
        bytes_transferred=point.bytes_transferred,
        manifest=point.manifest,
        manifest_sha256=point.manifest_sha256,
        job_id=point.job_id,
        verified_at=point.verified_at,
        verified_how=point.verified_how,
        held_at=point.held_at,
        held_until=point.held_until,
        expiring_at=point.expiring_at,
        expiry_reason=point.expiry_reason,
        doomed_at=point.doomed_at,
        expired_at=point.expired_at,
        warnings=point.warnings,
        moments_from=point.moments_from,
        moments_until=point.moments_until,
    )
