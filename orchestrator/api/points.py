"""/points: what can be restored. The catalog knows points, not what is in them."""

from __future__ import annotations

from fastapi import APIRouter
from pydantic import BaseModel

from orchestrator.api.edge import Listing, Moment, NamedOut, Paging, Ref, RefQuery, Use, listing, named
from orchestrator.api.machines import KeySlot
from orchestrator.domain.inventory import RecoveryPoint
from orchestrator.domain.job_states import PointState
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
    """A recovery point of the catalog; ``warnings`` counts what its backup could not read or keep."""

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
    held_until: Moment | None
    warnings: int


@routes.get("/points")
def list_all(application: Use, page: Paging, item: RefQuery = None) -> Listing[PointOut]:
    """List points, newest first; also those of items that were removed."""
    with application.unit_of_work() as uow:
        return listing(list_points(uow, request=page, item=item), _out)


@routes.get("/points/{ref}")
def show(application: Use, ref: Ref, item: RefQuery = None) -> PointOut:
    """Show one point: by id, by a unique beginning of it, or ``latest`` of an item."""
    with application.unit_of_work() as uow:
        return _out(find_point(uow, point=ref, item=item))


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
        held_until=point.held_until,
        warnings=point.warnings,
    )
