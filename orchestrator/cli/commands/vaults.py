"""vault create, list, show, limit, verify, collect, stats: the places where recovery points are kept."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Annotated, Any
from uuid import uuid4

import typer

from orchestrator.cli import bandwidth, formats
from orchestrator.cli.client import Tower, at
from orchestrator.cli.commands import collecting
from orchestrator.cli.failures import job_exit_code
from orchestrator.cli.jobs import explain
from orchestrator.cli.option_order import CommandInOrder, in_order
from orchestrator.cli.progress import view_for_terminal
from orchestrator.cli.session import Session
from orchestrator.cli.waiting import Job, wait_for
from shared.errors import ExitCode, SkyharborError

Name = Annotated[str, typer.Argument(metavar="NAME", help="The vault's name or id.")]


def commands() -> typer.Typer:
    """Return the ``vault`` group."""
    group = typer.Typer(help="Vaults: where recovery points are kept.")
    group.command("create")(create)
    group.command("list")(list_vaults)
    group.command("show")(show)
    group.command("limit", cls=CommandInOrder)(limit)
    group.command("verify")(verify)
    collecting.register(group)
    return group


def create(
    ctx: typer.Context,
    name: Annotated[str, typer.Argument(metavar="NAME", help="A name for the vault.")],
    store: Annotated[
        str, typer.Option(metavar="URL", help="file:///folder or s3://bucket/prefix; empty or not there yet.")
    ],
) -> None:
    """Make a new, empty vault in a store, once the store has proved that it keeps its promises."""
    session = Session.of(ctx)
    vault = session.tower().post("/vaults", {"name": name, "url": store})
    if session.out.json:
        session.out.document(vault)
    else:
        session.out.text(f"vault {vault['name']} created in {vault['url']}")


def list_vaults(ctx: typer.Context) -> None:
    """List the vaults."""
    session = Session.of(ctx)
    vaults = list(session.tower().items("/vaults"))
    if session.out.json:
        session.out.document({"items": vaults})
        return
    session.out.table(
        ("name", "store", "points", "stored", "created"),
        (
            (
                vault["name"],
                vault["url"],
                formats.count(vault.get("points")),
                formats.size(vault.get("bytes_stored")),
                formats.moment(vault.get("created_at")),
            )
            for vault in vaults
        ),
        empty="no vaults yet: skyharbor vault create NAME --store file:///folder",
    )


def show(ctx: typer.Context, name: Name) -> None:
    """Show one vault."""
    session = Session.of(ctx)
    tower = session.tower()
    vault = tower.get(at("vaults", name))
    if session.out.json:
        session.out.document(vault)
        return
    garbage = tower.get(at("vaults", name, "garbage"))
    session.out.fields(
        [
            ("vault", vault["name"]),
            ("id", vault["id"]),
            ("store", vault["url"]),
            ("points", formats.count(vault.get("points"))),
            ("stored", formats.size(vault.get("bytes_stored"))),
            ("slots", formats.count(vault.get("capacity"))),
            *bandwidth.lines(vault.get("bandwidth")),
            *collecting.lines(garbage),
            ("created", formats.moment(vault.get("created_at"))),
        ]
    )


def limit(
    ctx: typer.Context,
    name: Name,
    upload: Annotated[
        list[str] | None, typer.Option(metavar="RATE", help="Towards the vault: 20MiB/s, 100Mbit/s; 0 is unlimited.")
    ] = None,
    download: Annotated[list[str] | None, typer.Option(metavar="RATE", help="From the vault.")] = None,
    window: Annotated[
        list[str] | None,
        typer.Option(
            metavar="HOURS",
            help="Hours with limits of their own, the --upload and --download behind it, such as"
            ' "mon-fri 08:00-18:00 Europe/Berlin" or "daily 22:00-06:00 UTC".'
            " May be repeated; the first open window decides.",
        ),
    ] = None,
    none: Annotated[bool, typer.Option("--none", help="Lift every limit.")] = False,
) -> None:
    """Say how fast each machine may use a vault. Replaces what was said before; running jobs follow within 15 s.

    What stands before the first --window holds outside of windows.
    """
    session = Session.of(ctx)
    given = list(in_order(ctx, {"upload": upload, "download": download, "window": window}))
    if bool(given) == none:
        raise SkyharborError("bad-request", "give limits, or --none to lift them", hint="See 'vault limit --help'.")
    changed = {"bandwidth": None if none else bandwidth.plan(given)}
    vault = session.tower().patch(at("vaults", name), changed)
    if session.out.json:
        session.out.document(vault)
    else:
        session.out.fields([("vault", vault["name"]), *bandwidth.lines(vault["bandwidth"])])


def verify(
    ctx: typer.Context,
    name: Name,
    full: Annotated[bool, typer.Option("--full", help="Read, decrypt and hash every byte.")] = False,
) -> None:
    """Verify the newest recovery point of every item in the vault, and wait for the verdicts."""
    session = Session.of(ctx)
    tower = session.tower()
    vault = tower.get(at("vaults", name))
    jobs = list(_verify_newest(tower, vault["id"], full=full))
    ended = [_wait(session, job) for job in jobs]
    if session.out.json:
        session.out.document({"vault": vault["name"], "items": ended})
    else:
        session.out.table(
            ("item", "point", "verdict", "files", "problems", "took"),
            (_verdict(job) for job in ended),
            empty="the vault holds no recovery point to verify",
        )
        for job in ended:
            explain(session.out, job, about=f"{job.get('item')}: ")
    codes = {job_exit_code(job) for job in ended} - {ExitCode.DONE}
    if codes:
        raise typer.Exit(ExitCode.WARNINGS if codes == {ExitCode.WARNINGS} else ExitCode.FAILED)


def _verify_newest(tower: Tower, vault_id: str, *, full: bool) -> Iterator[Job]:
    for item in tower.items("/items"):
        if item["vault"]["id"] != vault_id:
            continue
        # Not the item's last point, which is its newest sound one: a damaged one behind it would never be looked at.
        request = {"kind": "verify", "point": "latest", "item": item["id"], "full": full}
        try:
            yield tower.post("/jobs", request, idempotency_key=str(uuid4()))
        except SkyharborError as error:
            if error.code != "not-found":  # no point yet
                raise


def _wait(session: Session, job: Job) -> dict[str, Any]:
    view = view_for_terminal()
    try:
        return dict(wait_for(session.tower(), job, clock=session.clock, show=view.show))
    finally:
        view.close()


def _verdict(job: Job) -> tuple[str, ...]:
    stats = job.get("stats") or {}
    problems = stats.get("problems")
    verdict = job["state"] if job["state"] != "completed" else ("damaged" if problems else "sound")
    return (
        str(job.get("item") or "-"),
        str(job.get("point") or "-"),
        verdict,
        formats.count(stats.get("files_checked")),
        formats.count(problems),
        formats.seconds(job.get("seconds")),
    )
