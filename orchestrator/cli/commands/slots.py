"""slot list, set, pause, resume, remove and tenant list, set: what is scarce, and whose share is how large."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Annotated, Any

import typer

from orchestrator.cli import formats
from orchestrator.cli.client import at
from orchestrator.cli.session import Session

Scope = Annotated[
    str,
    typer.Argument(
        metavar="SCOPE",
        help="global, or KIND/NAME: class/backup, tenant/acme, location/berlin, hypervisor/h1, machine/web1,"
        " vault/cellar, bandwidth/berlin (in MiB/s).",
    ),
]

_DRAIN_POLL_SECONDS = 1.0


def slot_commands() -> typer.Typer:
    """Return the ``slot`` group."""
    group = typer.Typer(help="Slots: how many jobs may run at once, and under what.")
    group.command("list")(list_slots)
    group.command("set")(set_slots)
    group.command("pause")(pause)
    group.command("resume")(resume)
    group.command("remove")(remove)
    return group


def tenant_commands() -> typer.Typer:
    """Return the ``tenant`` group."""
    group = typer.Typer(help="Tenants: whose machines they are, and their shares of the slots.")
    group.command("list")(list_tenants)
    group.command("set")(set_tenant)
    return group


def list_slots(ctx: typer.Context) -> None:
    """List everything that limits how many jobs run at once."""
    session = Session.of(ctx)
    scopes = list(session.tower().items("/slots"))
    if session.out.json:
        session.out.document({"items": scopes})
        return
    session.out.table(
        ("scope", "capacity", "in use", "for restores only", ""),
        (
            (
                _called(scope),
                formats.count(scope["capacity"]),
                formats.count(scope["in_use"]),
                formats.count(scope["floor"]),
                "paused" if scope["paused"] else "",
            )
            for scope in scopes
        ),
        empty="nothing limits jobs",
    )


def set_slots(
    ctx: typer.Context,
    scope: Scope,
    capacity: Annotated[int, typer.Argument(min=0, metavar="N", help="How many jobs at once; MiB/s of a line.")],
    floor: Annotated[
        int | None, typer.Option(min=0, metavar="N", help="How many of them only restores may use; unchanged without.")
    ] = None,
) -> None:
    """Set how many jobs may run at once under something. Running ones go on."""
    session = Session.of(ctx)
    _tell(session, session.tower().put(_at(scope), {"capacity": capacity, "floor": floor}))


def pause(
    ctx: typer.Context,
    scope: Scope,
    drain: Annotated[bool, typer.Option("--drain", help="Wait until nothing runs under it any more.")] = False,
) -> None:
    """Have nothing new start under something; what runs is finished."""
    session = Session.of(ctx)
    document = session.tower().post(f"{_at(scope)}/pause")
    while drain and document["in_use"]:
        session.clock.sleep(_DRAIN_POLL_SECONDS)
        document = session.tower().get(_at(scope))
    _tell(session, document)


def resume(ctx: typer.Context, scope: Scope) -> None:
    """Have jobs start again under something."""
    session = Session.of(ctx)
    _tell(session, session.tower().post(f"{_at(scope)}/resume"))


def remove(ctx: typer.Context, scope: Scope) -> None:
    """Lift a limit. Those of the whole installation, of machines and of vaults can only be changed."""
    session = Session.of(ctx)
    removed = session.tower().delete(_at(scope))
    if session.out.json:
        session.out.document(removed or {"removed": scope})
    else:
        session.out.text(f"{scope} is no longer limited")


def list_tenants(ctx: typer.Context) -> None:
    """List the tenants."""
    session = Session.of(ctx)
    document = session.tower().get("/tenants")
    if session.out.json:
        session.out.document(document)
        return
    session.out.table(
        ("name", "weight", "machines"),
        (
            (tenant["name"], formats.count(tenant["weight"]), formats.count(tenant["machines"]))
            for tenant in document["items"]
        ),
        empty="no tenants",
    )


def set_tenant(
    ctx: typer.Context,
    name: Annotated[str, typer.Argument(metavar="NAME", help="The tenant's name.")],
    weight: Annotated[int, typer.Option(min=1, max=1000, help="Its share beside the others' weights.")],
) -> None:
    """Make a tenant, or change its share of the slots."""
    session = Session.of(ctx)
    tenant = session.tower().put(at("tenants", name), {"weight": weight})
    if session.out.json:
        session.out.document(tenant)
    else:
        session.out.text(f"tenant {tenant['name']} has the weight {tenant['weight']}")


def _tell(session: Session, scope: Mapping[str, Any]) -> None:
    if session.out.json:
        session.out.document(dict(scope))
        return
    paused = ", and is paused" if scope["paused"] else ""
    slots = "1 slot" if scope["capacity"] == 1 else f"{scope['capacity']} slots"
    session.out.text(f"{_called(scope)} has {slots}, {scope['in_use']} in use{paused}")


def _called(scope: Mapping[str, Any]) -> str:
    return f"{scope['scope']}/{scope['name']}" if scope["key"] else str(scope["scope"])


def _at(scope: str) -> str:
    return at("slots", *scope.split("/"))
