"""Add, look at and list machines.

Rule of the file: the tower keeps wrapped keys only; it checks their shape and never their content.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence

from orchestrator.domain.inventory import DEFAULT_TENANT, Machine
from orchestrator.domain.names import check_id, check_name, check_text
from orchestrator.domain.paging import Page, PageRequest
from orchestrator.use_cases.ports import UnitOfWork
from shared.errors import SkyharborError

MOST_KEY_SLOTS = 16


def add_machine(
    uow: UnitOfWork,
    *,
    actor: str,
    name: str,
    machine_id: str,
    key_slots: Sequence[Mapping[str, str | int]],
    tenant: str = DEFAULT_TENANT,
    location: str = "",
) -> Machine:
    """Keep a machine with an id its owner made. ``already-exists`` for a taken name or id; ``bad-request``.

    A tenant that nobody has named before is made, with a weight of 1; ``location`` may be empty.
    """
    check_name(name, noun="machine")
    check_name(tenant, noun="tenant")
    if location:
        check_name(location, noun="location")
    check_id(machine_id, noun="machine")
    if not 1 <= len(key_slots) <= MOST_KEY_SLOTS:
        raise SkyharborError("bad-request", f"a machine has 1 to {MOST_KEY_SLOTS} key slots", field="key_slots")
    for slot in key_slots:
        _check_slot(slot)
    uow.machines.add(machine_id=machine_id, name=name, key_slots=key_slots, tenant=tenant, location=location)
    uow.audit.append(
        actor=actor,
        action="machine.add",
        target=machine_id,
        detail={"name": name, "tenant": tenant, "location": location},
    )
    uow.commit()
    return get_machine(uow, ref=machine_id)


def get_machine(uow: UnitOfWork, *, ref: str) -> Machine:
    """Return a machine by name or id; ``not-found``."""
    return uow.machines.get(ref)


def list_machines(uow: UnitOfWork, *, request: PageRequest) -> Page[Machine]:
    """Return machines by name."""
    return uow.machines.page(request)


def _check_slot(slot: Mapping[str, str | int]) -> None:
    if len(slot) > 32:
        raise SkyharborError("bad-request", "a key slot has at most 32 fields", field="key_slots")
    for key, value in slot.items():
        check_text(key, field="key_slots", longest=64)
        if isinstance(value, str):
            check_text(value, field="key_slots")
        elif isinstance(value, bool) or not isinstance(value, int):
            raise SkyharborError("bad-request", "a key slot's fields are texts and whole numbers", field="key_slots")
