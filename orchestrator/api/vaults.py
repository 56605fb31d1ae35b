"""/vaults: where recovery points are kept."""

from __future__ import annotations

from fastapi import APIRouter
from pydantic import BaseModel

from orchestrator.api.auth import OPERATOR
from orchestrator.api.edge import Listing, Moment, Paging, Received, Ref, Text, Use, listing
from orchestrator.domain.inventory import Vault
from orchestrator.use_cases.vaults import create_vault, get_vault, list_vaults

routes = APIRouter(tags=["vaults"])


class NewVault(Received):
    """A vault to make at an empty place."""

    name: Text
    url: Text


class VaultOut(BaseModel):
    """A vault; ``capacity`` is how many jobs may use it at once, ``bytes_stored`` what its points added to it."""

    id: str
    name: str
    url: str
    created_at: Moment
    capacity: int
    points: int
    bytes_stored: int


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


def _out(vault: Vault) -> VaultOut:
    return VaultOut(
        id=vault.id,
        name=vault.name,
        url=vault.url,
        created_at=vault.created_at,
        capacity=vault.capacity,
        points=vault.points,
        bytes_stored=vault.bytes_stored,
    )
