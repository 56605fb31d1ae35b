"""machine add, list, show, unlock: whose data it is, and who may read it."""

from __future__ import annotations

from typing import Annotated, Any

import typer

from orchestrator.cli import formats
from orchestrator.cli.client import Tower, at
from orchestrator.cli.machine_keys import KeptKey, Passphrase, known_passphrase, obtain_passphrase
from orchestrator.cli.output import Output
from orchestrator.cli.session import Session
from shared.errors import SkyharborError

Name = Annotated[str, typer.Argument(metavar="NAME", help="The machine's name or id.")]
PassphraseFile = Annotated[str | None, typer.Option(metavar="FILE", help="File that holds the passphrase.")]
KeyFile = Annotated[
    str | None, typer.Option(metavar="FILE", help="Write the worker's key here, for a worker elsewhere.")
]


def commands() -> typer.Typer:
    """Return the ``machine`` group."""
    group = typer.Typer(help="Machines: whose data it is, and who may read it.")
    group.command("add")(add)
    group.command("list")(list_machines)
    group.command("show")(show)
    group.command("unlock")(unlock)
    return group


def add(
    ctx: typer.Context,
    name: Annotated[str, typer.Argument(metavar="NAME", help="A name for the machine.")],
    passphrase_file: PassphraseFile = None,
    generate_passphrase: Annotated[
        bool, typer.Option("--generate-passphrase", help="Make a passphrase; it is shown once.")
    ] = False,
    key_file: KeyFile = None,
    tenant: Annotated[
        str | None, typer.Option(help="Whose machine it is; the share of the slots goes by tenants.")
    ] = None,
    location: Annotated[
        str | None, typer.Option(help="Where it stands: slots and bandwidth may be limited there.")
    ] = None,
) -> None:
    """Add a machine: make its data key, wrap it with the passphrase, keep it for the worker of this home."""
    from shared.crypto.domain_keys import new_dek
    from shared.crypto.slots import seal_slot
    from shared.model.ids import new_id

    session = Session.of(ctx)
    tower = session.tower()
    kept = KeptKey(session, key_file=key_file)
    passphrase = obtain_passphrase(file=passphrase_file, generate=generate_passphrase)
    machine_id, dek = new_id(), new_dek()
    body = {
        "name": name,
        "id": machine_id,
        "key_slots": [seal_slot(dek, passphrase.text, machine_id=machine_id)],
        **{key: value for key, value in (("tenant", tenant), ("location", location)) if value is not None},
    }
    path = kept.put(
        machine_id, dek
    )  # before the tower knows the machine: a machine without a key could not be backed up
    try:
        machine = _create(tower, body)
    except SkyharborError as error:
        _give_up(session.out, kept, machine_id, passphrase, error)
        raise
    _show_added(session.out, machine, passphrase, path)


def list_machines(ctx: typer.Context) -> None:
    """List the machines."""
    session = Session.of(ctx)
    machines = list(session.tower().items("/machines"))
    if session.out.json:
        session.out.document({"items": machines})
        return
    session.out.table(
        ("name", "id", "tenant", "location", "items", "created"),
        (
            (
                machine["name"],
                machine["id"],
                machine["tenant"],
                machine["location"] or "-",
                formats.count(machine.get("items")),
                formats.moment(machine["created_at"]),
            )
            for machine in machines
        ),
        empty="no machines yet: skyharbor machine add NAME --generate-passphrase",
    )


def show(ctx: typer.Context, name: Name) -> None:
    """Show one machine and its key slots; a slot opens nothing without the passphrase."""
    session = Session.of(ctx)
    machine = session.tower().get(at("machines", name))
    if session.out.json:
        session.out.document(machine)
        return
    slots = machine.get("key_slots") or []
    session.out.fields(
        [
            ("machine", machine["name"]),
            ("id", machine["id"]),
            ("items", formats.count(machine.get("items"))),
            ("created", formats.moment(machine.get("created_at"))),
            ("key slots", ", ".join(f"{slot.get('kind')} {slot.get('slot_id')}" for slot in slots)),
        ]
    )


def unlock(ctx: typer.Context, name: Name, passphrase_file: PassphraseFile = None, key_file: KeyFile = None) -> None:
    """Give the worker of this home the key of a machine, by its passphrase."""
    from shared.crypto.slots import open_slots

    session = Session.of(ctx)
    kept = KeptKey(session, key_file=key_file)
    machine = session.tower().get(at("machines", name))
    dek = open_slots(machine["key_slots"], known_passphrase(passphrase_file), machine_id=machine["id"])
    path = kept.put(machine["id"], dek)
    if session.out.json:
        session.out.document({"id": machine["id"], "name": machine["name"], "key_file": path})
    else:
        session.out.text(f"machine {machine['name']} unlocked: {path}")


def _create(tower: Tower, body: dict[str, Any]) -> dict[str, Any]:
    """Send the machine; a reply that got lost is looked up by the id that we made."""
    try:
        return tower.post("/machines", body)
    except SkyharborError as error:
        if error.code != "server-unreachable":
            raise
        try:
            return tower.get(at("machines", body["id"]))
        except SkyharborError:
            raise error from None


def _give_up(out: Output, kept: KeptKey, machine_id: str, passphrase: Passphrase, error: SkyharborError) -> None:
    """Take the key back after a refusal; keep it while nobody knows whether the tower has the machine."""
    if error.code != "server-unreachable":
        kept.forget(machine_id)
        return
    out.say(f"The tower did not answer; it may have machine {machine_id}. Its key is kept.")
    if passphrase.generated:
        _show_passphrase(out, passphrase.text)


def _show_added(out: Output, machine: dict[str, Any], passphrase: Passphrase, key_file: str) -> None:
    secret = {"passphrase": passphrase.text} if passphrase.generated else {}
    if out.json:
        out.document({**machine, "key_file": key_file, **secret})
        return
    out.text(f"machine {machine['name']} added: {machine['id']}")
    if passphrase.generated:
        _show_passphrase(out, passphrase.text)


def _show_passphrase(out: Output, passphrase: str) -> None:
    lines = (
        "Write this passphrase down. It is shown once and kept nowhere:",
        "without it and without this home nobody can restore.",
        "",
        f"    {passphrase}",
    )
    width = max(len(line) for line in lines)
    out.say("┌─" + "─" * width + "─┐")
    for line in lines:
        out.say(f"│ {line:<{width}} │")
    out.say("└─" + "─" * width + "─┘")
