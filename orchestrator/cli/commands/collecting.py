"""vault collect, vault stats: having a vault's garbage collected, and what there is of it."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Annotated, Any
from uuid import uuid4

import typer

from orchestrator.cli import formats
from orchestrator.cli.client import at
from orchestrator.cli.jobs import follow, tell
from orchestrator.cli.session import Session

Name = Annotated[str, typer.Argument(metavar="NAME", help="The vault's name or id.")]


def register(group: typer.Typer) -> None:
    """Add the commands to the ``vault`` group."""
    group.command("collect")(collect)
    group.command("stats")(stats)


def collect(
    ctx: typer.Context,
    name: Name,
    now: Annotated[
        bool,
        typer.Option("--now", help="Delete at once what nothing needs any more, without the day of grace."),
    ] = False,
    wait: Annotated[bool, typer.Option("--wait", help="Wait for the end and exit as the job ends.")] = False,
    idempotency_key: Annotated[
        str | None,
        typer.Option("--idempotency-key", metavar="KEY", help="The same key asks for the same job only once."),
    ] = None,
) -> None:
    """Delete expired points and packs that nothing needs. Backups and restores go on meanwhile.

    Vaults in which there is something to do are collected once a day without being asked.
    """
    session = Session.of(ctx)
    key = idempotency_key or str(uuid4())
    job = session.tower().post(at("vaults", name, "collect"), {"now": now}, idempotency_key=key)
    if wait:
        follow(session, job)
    if session.out.json:
        session.out.document(job)
    else:
        tell(session.out, job)


def stats(ctx: typer.Context, name: Name) -> None:
    """Show what a vault holds and what of it is on its way out."""
    session = Session.of(ctx)
    tower = session.tower()
    vault, garbage = tower.get(at("vaults", name)), tower.get(at("vaults", name, "garbage"))
    if session.out.json:
        session.out.document({"vault": vault, "garbage": garbage})
        return
    session.out.fields(
        [
            ("vault", vault["name"]),
            ("points", formats.count(vault.get("points"))),
            ("stored", formats.size(vault.get("bytes_stored"))),
            *lines(garbage),
        ]
    )


def lines(garbage: Mapping[str, Any]) -> list[tuple[str, str]]:
    """Return the fields that tell of what is on its way out."""
    condemned = f"{formats.count(garbage['condemned_packs'])} packs"
    if garbage["condemned_packs"]:
        condemned += f" ({formats.size(garbage['condemned_bytes'])}"
        condemned += ", waiting for backups that began before)" if garbage["waits_for_writers"] else ")"
    told = [("expiring", f"{formats.count(garbage['expiring_points'])} points"), ("condemned", condemned)]
    if garbage["unsettled"]:
        told.append(("unsettled", f"{formats.count(garbage['unsettled'])} backups may have sealed a point"))
    last = garbage["last_collection"]
    when = "never" if last is None else f"{formats.moment(last['finished_at'] or last['created_at'])}, {last['state']}"
    return [*told, ("collected", when)]
