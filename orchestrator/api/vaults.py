"""/vaults: where recovery points are kept."""

from __future__ import annotations

from fastapi import APIRouter
from pydantic import BaseModel

from orchestrator.api.auth import OPERATOR
from orchestrator.api.bandwidth import PlanIn, PlanOut, plan_out
from orchestrator.api.edge import Listing, Moment, Paging, Received, Ref, Text, Use, listing
from orchestrator.domain.inventory import Vault
from orchestrator.use_cases.limit_vault import limit_vault
from orchestrator.use_cases.vaults import create_vault, get_vault, list_vaults
from shared.model.bandwidth import UNLIMITED

routes = APIRouter(tags=["vaults"])


class NewVault(Received):
    """A vault to make at an empty place."""

    name: Text
    url: Text


class ChangedVault(Received):
    """What to change of a vault: ``bandwidth`` is replaced as a whole, null lifts every limit."""

    bandwidth: PlanIn | None


class VaultOut(BaseModel):
    """A vault; ``capacity`` is how many jobs may use it at once, ``bytes_stored`` what it holds.

    ``bandwidth`` is how fast each machine may use it, null for as fast as it can.
    """

    id: str
    name: str
    url: str
    created_at: Moment
    capacity: int
    points: int
    bytes_stored: int
    bandwidth: PlanOut | None


@routes.post("/vaults", status_code=201)
def create(application: Use, body: NewVault) -> VaultOut:
    """Make a vault: probe the store, write the vault's header, keep it under its name."""
    with application.unit_of_work() as uow:
        return _out(create_vault(uow, vaults=application.vaults, actor=OPERATOR, name=body.name, url=body.url))


@routes.get("/vaults")
def list_all(application: Use, page: Paging) -> Listing[VaultOut]:
    """List vaults by name."""
    with application.unit_of_work() as uow:
        return listing(list_vaults(uow, request=page), _out)


@routes.get("/vaults/{ref}")
def show(application: Use, ref: Ref) -> VaultOut:
    """Show one vault."""
    with application.unit_of_work() as uow:
        return _out(get_vault(uow, ref=ref))


@routes.patch("/vaults/{ref}")
def change(application: Use, ref: Ref, body: ChangedVault) -> VaultOut:
    """Change how fast machines may use the vault; running jobs hear of it within 15 seconds."""
    plan = UNLIMITED if body.bandwidth is None else body.bandwidth.plan()
    with application.unit_of_work() as uow:
        return _out(limit_vault(uow, actor=OPERATOR, ref=ref, plan=plan))


def _out(vault: Vault) -> VaultOut:
    return VaultOut(
        id=vault.id,
        name=vault.name,
        url=vault.url,
        created_at=vault.created_at,
        capacity=vault.capacity,
        points=vault.points,
        bytes_stored=vault.bytes_stored,
        bandwidth=plan_out(vault.bandwidth),
    )
