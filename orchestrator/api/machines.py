"""/machines: whose data it is. The tower sees wrapped keys only."""

from __future__ import annotations

from typing import Annotated

from fastapi import APIRouter
from pydantic import BaseModel, Field, StrictInt

from orchestrator.api.auth import OPERATOR
from orchestrator.api.edge import Listing, Moment, OptionalText, Paging, Received, Ref, Text, Use, listing
from orchestrator.domain.inventory import DEFAULT_TENANT, Machine
from orchestrator.use_cases.machines import add_machine, get_machine, list_machines

routes = APIRouter(tags=["machines"])

KeySlot = dict[str, StrictInt | str]
"""A wrapped data key with the parameters of its wrapping; opens nothing without the passphrase."""


class NewMachine(Received):
    """A machine with an id (UUID version 7) and key slots that its owner made."""

    name: Text
    id: Text
    key_slots: Annotated[list[KeySlot], Field(min_length=1)]
    tenant: Text = DEFAULT_TENANT
    location: OptionalText = ""


class MachineOut(BaseModel):
    """A machine and how many items it has."""

    id: str
    name: str
    key_slots: list[KeySlot]
    created_at: Moment
    items: int
    tenant: str
    location: str


@routes.post("/machines", status_code=201)
def add(application: Use, body: NewMachine) -> MachineOut:
    """Add a machine."""
    with application.unit_of_work() as uow:
        machine = add_machine(
            uow,
            actor=OPERATOR,
            name=body.name,
            machine_id=body.id,
            key_slots=body.key_slots,
            tenant=body.tenant,
            location=body.location,
        )
    return _out(machine)


@routes.get("/machines")
def list_all(application: Use, page: Paging) -> Listing[MachineOut]:
    """List machines by name."""
    with application.unit_of_work() as uow:
        return listing(list_machines(uow, request=page), _out)


@routes.get("/machines/{ref}")
def show(application: Use, ref: Ref) -> MachineOut:
    """Show one machine."""
    with application.unit_of_work() as uow:
        return _out(get_machine(uow, ref=ref))


def _out(machine: Machine) -> MachineOut:
    return MachineOut(
        id=machine.id,
        name=machine.name,
        key_slots=[dict(slot) for slot in machine.key_slots],
        created_at=machine.created_at,
        items=machine.items,
        tenant=machine.tenant,
        location=machine.location,
    )
