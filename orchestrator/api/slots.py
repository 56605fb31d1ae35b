"""/slots and /tenants: what is scarce, and whose share is how large."""

from __future__ import annotations

from typing import Annotated

from fastapi import APIRouter
from fastapi import Path as InPath
from pydantic import BaseModel, Field

from orchestrator.api.auth import OPERATOR
from orchestrator.api.edge import Listing, Paging, Received, Ref, Use, listing
from orchestrator.domain.inventory import Tenant
from orchestrator.domain.system import SlotScope
from orchestrator.use_cases.slots import (
    get_slots,
    list_slots,
    list_tenants,
    pause_slots,
    remove_slots,
    set_slots,
    set_tenant,
)

routes = APIRouter(tags=["slots"])

ScopeRef = Annotated[str, InPath(max_length=256, description="global, or KIND/NAME such as vault/cellar")]


class SlotsIn(Received):
    """How many slots there are, and how many of them only restores may use (unchanged when missing)."""

    capacity: Annotated[int, Field(ge=0)]
    floor: Annotated[int, Field(ge=0)] | None = None


class SlotScopeOut(BaseModel):
    """A scarce thing. ``in_use`` may be more than ``capacity`` for a while after that was lowered."""

    scope: str
    key: str
    name: str
    capacity: int
    floor: int
    in_use: int
    paused: bool


class TenantIn(Received):
    """A tenant's share of the slots beside the others' weights."""

    weight: Annotated[int, Field(ge=1, le=1000)]


class TenantOut(BaseModel):
    """Whose machines are."""

    name: str
    weight: int
    machines: int


class TenantList(BaseModel):
    """Every tenant."""

    items: list[TenantOut]


@routes.get("/slots")
def list_all(application: Use, page: Paging) -> Listing[SlotScopeOut]:
    """List what limits jobs, by kind and key."""
    with application.unit_of_work() as uow:
        return listing(list_slots(uow, request=page), _out)


@routes.get("/slots/{ref:path}")
def show(application: Use, ref: ScopeRef) -> SlotScopeOut:
    """Show one scope."""
    with application.unit_of_work() as uow:
        return _out(get_slots(uow, ref=ref))


@routes.put("/slots/{ref:path}")
def change(application: Use, ref: ScopeRef, body: SlotsIn) -> SlotScopeOut:
    """Set how many jobs may run at once under a scope. Running ones keep their slots."""
    with application.unit_of_work() as uow:
        return _out(set_slots(uow, actor=OPERATOR, ref=ref, capacity=body.capacity, floor=body.floor))


@routes.delete("/slots/{ref:path}", status_code=204)
def remove(application: Use, ref: ScopeRef) -> None:
    """Lift a limit; 409 while jobs hold slots of it."""
    with application.unit_of_work() as uow:
        remove_slots(uow, actor=OPERATOR, ref=ref)


@routes.post("/slots/{ref:path}/pause")
def pause(application: Use, ref: ScopeRef) -> SlotScopeOut:
    """Have nothing new start under a scope. Idempotent."""
    with application.unit_of_work() as uow:
        return _out(pause_slots(uow, actor=OPERATOR, ref=ref, paused=True))


@routes.post("/slots/{ref:path}/resume")
def resume(application: Use, ref: ScopeRef) -> SlotScopeOut:
    """Have jobs start again under a scope. Idempotent."""
    with application.unit_of_work() as uow:
        return _out(pause_slots(uow, actor=OPERATOR, ref=ref, paused=False))


@routes.get("/tenants")
def tenants(application: Use) -> TenantList:
    """List the tenants by name."""
    with application.unit_of_work() as uow:
        return TenantList(items=[_tenant(tenant) for tenant in list_tenants(uow)])


@routes.put("/tenants/{ref}")
def change_tenant(application: Use, ref: Ref, body: TenantIn) -> TenantOut:
    """Make a tenant, or change its weight."""
    with application.unit_of_work() as uow:
        return _tenant(set_tenant(uow, actor=OPERATOR, name=ref, weight=body.weight))


def _out(scope: SlotScope) -> SlotScopeOut:
    return SlotScopeOut(
        scope=scope.scope,
        key=scope.key,
        name=scope.name,
        capacity=scope.capacity,
        floor=scope.floor,
        in_use=scope.in_use,
        paused=scope.paused,
    )


def _tenant(tenant: Tenant) -> TenantOut:
    return TenantOut(name=tenant.name, weight=tenant.weight, machines=tenant.machines)
