"""Look at and change what is scarce: capacities, pauses, the shares of tenants.

Rule of the file: nothing here stops a running job. A drain is a pause and patience.
"""

from __future__ import annotations

from collections.abc import Sequence

from orchestrator.domain.inventory import Tenant
from orchestrator.domain.names import check_name
from orchestrator.domain.paging import Page, PageRequest
from orchestrator.domain.slots import MOST_CAPACITY, OWNED, Scope, parse_scope
from orchestrator.domain.system import SlotScope
from orchestrator.use_cases.ports import UnitOfWork
from shared.errors import SkyharborError

MOST_WEIGHT = 1000


def list_slots(uow: UnitOfWork, *, request: PageRequest) -> Page[SlotScope]:
    """Return scopes, by kind and key."""
    return uow.slots.page(request)


def get_slots(uow: UnitOfWork, *, ref: str) -> SlotScope:
    """Return a scope by what people call it, such as ``vault/cellar``; ``bad-request``, ``not-found``."""
    scope, key = parse_scope(ref)
    found = uow.slots.get(scope, key)
    if found is None:
        raise SkyharborError("not-found", f"nothing limits {ref}", hint=f"Set a limit: skyharbor slot set {ref} N")
    return found


def set_slots(uow: UnitOfWork, *, actor: str, ref: str, capacity: int, floor: int | None = None) -> SlotScope:
    """Set how many slots there are of something, and how many of them only restores may use.

    Without a ``floor`` it stays, but leaves a slot for others. Running jobs keep theirs when there are to be fewer.
    ``bad-request``; ``not-found`` for an unknown machine or vault.
    """
    scope, key = parse_scope(ref)
    found = uow.slots.get(scope, key)
    if found is None and scope in OWNED:
        raise SkyharborError(
            "not-found", f"there is no {scope} {key!r}", hint="Those that have a limit: skyharbor slot list"
        )
    if found is None and scope is not Scope.CLASS:
        check_name(key, noun=str(scope))
    least = floor if floor is not None else min(found.floor, max(0, capacity - 1)) if found is not None else 0
    if not 0 <= capacity <= MOST_CAPACITY:
        raise SkyharborError("bad-request", f"a capacity is 0 to {MOST_CAPACITY}", field="capacity")
    if not 0 <= least <= capacity:
        raise SkyharborError("bad-request", "the floor for restores is 0 up to the capacity", field="floor")
    uow.slots.set(scope, key if found is None else found.key, capacity=capacity, floor=least)
    detail = {"scope": ref, "capacity": capacity, "floor": least}
    uow.wake()
    uow.audit.append(actor=actor, action="slot.set", target=ref, detail=detail)
    uow.commit()
    return get_slots(uow, ref=ref)


def pause_slots(uow: UnitOfWork, *, actor: str, ref: str, paused: bool) -> SlotScope:
    """Have nothing new start that touches a scope, or have it start again. What runs goes on. Idempotent."""
    found = get_slots(uow, ref=ref)
    if found.paused != paused:
        uow.slots.pause(Scope(found.scope), found.key, paused=paused)
        uow.wake()
        uow.audit.append(actor=actor, action="slot.pause" if paused else "slot.resume", target=ref, detail={})
        uow.commit()
    return get_slots(uow, ref=ref)


def remove_slots(uow: UnitOfWork, *, actor: str, ref: str) -> None:
    """Lift a limit that an operator has set. ``conflict`` while jobs hold slots of it, and for what always has one."""
    found = get_slots(uow, ref=ref)
    if found.scope in OWNED:
        raise SkyharborError("conflict", f"{ref} always has a limit: set another one")
    uow.slots.remove(Scope(found.scope), found.key)
    uow.wake()
    uow.audit.append(actor=actor, action="slot.remove", target=ref, detail={})
    uow.commit()


def list_tenants(uow: UnitOfWork) -> Sequence[Tenant]:
    """Return every tenant, by name."""
    return uow.tenants.all()


def set_tenant(uow: UnitOfWork, *, actor: str, name: str, weight: int) -> Tenant:
    """Make a tenant or change its share of the slots."""
    check_name(name, noun="tenant")
    if not 1 <= weight <= MOST_WEIGHT:
        raise SkyharborError("bad-request", f"a weight is 1 to {MOST_WEIGHT}", field="weight")
    uow.tenants.set(name, weight=weight)
    uow.wake()
    uow.audit.append(actor=actor, action="tenant.set", target=name, detail={"weight": weight})
    uow.commit()
    return next(tenant for tenant in uow.tenants.all() if tenant.name == name)
