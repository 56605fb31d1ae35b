"""backup, restore, verify, break-glass: the main things a person asks for."""

from __future__ import annotations

import os
import re
from enum import StrEnum
from typing import Annotated, Any

import typer

from orchestrator.cli import formats
from orchestrator.cli.commands.points import (
    ItemOption,
    PassphraseFile,
    PointId,
    check_point,
    find_point,
    listing_of,
)
from orchestrator.cli.jobs import start
from orchestrator.cli.session import Session
from shared.errors import SkyharborError

Wait = Annotated[bool, typer.Option("--wait", help="Wait for the end and exit as the job ends.")]
Key = Annotated[
    str | None, typer.Option("--idempotency-key", metavar="KEY", help="The same key asks for the same job only once.")
]


class BackupKind(StrEnum):
    """The choices of --type."""

    FULL = "full"
    DIFFERENTIAL = "differential"
    INCREMENTAL = "incremental"


class Conflict(StrEnum):
    """The choices of --conflict."""

    SKIP = "skip"
    OVERWRITE = "overwrite"
    RENAME = "rename"


OnlyPaths = Annotated[
    list[str] | None, typer.Argument(metavar="PATH", help="Only these paths, as they were on the machine.")
]
Target = Annotated[
    str, typer.Option("--to", metavar="DIR", help="The folder to restore into; of a share also a URL like the share's.")
]
OnConflict = Annotated[Conflict, typer.Option(help="What to do with what is there already.")]
DiskFormat = Annotated[
    str | None, typer.Option("--format", metavar="FORMAT", help="Of a machine's disks: raw (the default) or qcow2.")
]
Until = Annotated[
    str | None,
    typer.Option(metavar="TIME", help="Of a database: the moment to come back to, a restore point's name, latest."),
]
Tablespaces = Annotated[
    list[str] | None,
    typer.Option(metavar="OLD=NEW", help="Of a PostgreSQL cluster: where a tablespace goes; may be repeated."),
]
Owner = Annotated[
    str | None, typer.Option(metavar="USER", help="Of a PostgreSQL cluster: whom its files are to belong to.")
]
OtherCredentials = Annotated[
    str | None, typer.Option(metavar="FILE", help="Of a share: a file on the worker's machine, for another server.")
]
OnlyPlan = Annotated[bool, typer.Option("--plan", help="Only say what would be restored; write nothing.")]


def register(app: typer.Typer) -> None:
    """Add the commands to the program."""
    app.command("backup")(backup)
    app.command("restore")(restore)
    app.command("verify")(verify)
    app.command(
        "break-glass",
        add_help_option=False,
        context_settings={"allow_extra_args": True, "ignore_unknown_options": True},
    )(break_glass)


def backup(
    ctx: typer.Context,
    item: Annotated[str, typer.Argument(metavar="ITEM", help="The item's name or id.")],
    kind: Annotated[
        BackupKind, typer.Option("--type", help="How much of the source is read; every point restores alone.")
    ] = BackupKind.INCREMENTAL,
    wait: Wait = False,
    idempotency_key: Key = None,
) -> None:
    """Back an item up now."""
    request = {"kind": "backup", "item": item, "type": kind.value}
    start(Session.of(ctx), request, wait=wait, key=idempotency_key)


def restore(
    ctx: typer.Context,
    point: PointId,
    path: OnlyPaths = None,
    *,
    to: Target,
    item: ItemOption = None,
    conflict: OnConflict = Conflict.SKIP,
    disk_format: DiskFormat = None,
    until: Until = None,
    tablespace: Tablespaces = None,
    owner: Owner = None,
    credentials_file: OtherCredentials = None,
    wait: Wait = False,
    plan: OnlyPlan = False,
    passphrase_file: PassphraseFile = None,
    idempotency_key: Key = None,
) -> None:
    """Restore a recovery point, or some paths of it, into a folder. Every path keeps its place below the folder."""
    session = Session.of(ctx)
    if not to or "\0" in to:  # an empty one would be the folder we stand in
        raise SkyharborError("bad-request", f"--to {to!r} is no folder", hint="Name the folder to restore into.")
    paths = [_from_root(given) for given in path or ()]
    options = _given(
        format=disk_format,
        until=None if until is None else _moment(until),
        owner=owner,
        tablespaces="\n".join(tablespace) if tablespace else None,
        credentials_file=os.path.abspath(credentials_file) if credentials_file else None,
    )
    _fit_together(plan=plan, options=options, passphrase_file=passphrase_file)
    if plan:
        _plan(session, point, item, paths, to=to, conflict=conflict, passphrase_file=passphrase_file)
        return
    check_point(point, item)
    request = {
        "kind": "restore",
        "point": point,
        "item": item,
        "target": to if "://" in to else os.path.abspath(to),
        "paths": paths,
        "conflict": conflict.value,
        "options": options,
    }
    start(session, request, wait=wait, key=idempotency_key)


def _moment(until: str) -> str:
    """Return what a database is to come back to: a time, local unless it has a zone, or the words that were given."""
    return formats.instant(until) if re.match(r"\d{4}-\d\d", until) else until


def _fit_together(*, plan: bool, options: dict[str, str], passphrase_file: str | None) -> None:
    """Refuse what would be passed over: somebody relies on it."""
    if plan and options:
        raise SkyharborError(
            "bad-request",
            f"--plan tells of files and folders, and cannot say what {', '.join(sorted(options))} would do",
            hint="Leave --plan away: what a point cannot bring back is refused before anything is written.",
        )
    if passphrase_file is not None and not plan:
        raise SkyharborError(
            "bad-request",
            "--passphrase-file goes with --plan: a restore is the worker's, with the key in its keyring",
            hint="To prove a passphrase, restore with 'skyharbor break-glass restore'.",
        )


def verify(
    ctx: typer.Context,
    point: PointId,
    item: ItemOption = None,
    full: Annotated[bool, typer.Option("--full", help="Read, decrypt and hash every byte.")] = False,
    wait: Annotated[bool, typer.Option("--wait/--no-wait", help="Wait for the verdict.")] = True,
    idempotency_key: Key = None,
) -> None:
    """Prove that a recovery point can be restored."""
    check_point(point, item)
    request = {"kind": "verify", "point": point, "item": item, "full": full}
    start(Session.of(ctx), request, wait=wait, key=idempotency_key)


def break_glass(ctx: typer.Context) -> None:
    """Restore with the vault and the passphrase alone: list, ls, restore; needs no tower."""
    from orchestrator.cli.break_glass import exec_break_glass

    exec_break_glass(ctx.args, as_json=Session.of(ctx).out.json)


def _given(**options: str | None) -> dict[str, str]:
    return {name: value for name, value in options.items() if value is not None}


def _from_root(path: str) -> str:
    """Return a path of the machine as the vault knows it; where we stand here says nothing about there."""
    if not path.startswith("/"):
        raise SkyharborError(
            "bad-request",
            f"{path!r} is not absolute",
            hint="Paths are those of the machine: write them from the root, /etc/hosts.",
        )
    return "/" + os.path.normpath(path).lstrip("/")


def _plan(
    session: Session,
    point: str,
    item: str | None,
    paths: list[str],
    *,
    to: str,
    conflict: Conflict,
    passphrase_file: str | None,
) -> None:
    """Read the names of what would be restored and sum them up. Nothing is written and no job is made."""
    document = find_point(session.tower(), point, item)
    files = directories = size = 0
    wanted: list[str | None] = [*paths] if paths else [None]
    for path in wanted:
        listing = listing_of(session, document, path=path, passphrase_file=passphrase_file)
        for entry in session.lister.entries(listing):
            if entry.get("type") == "directory":
                directories += 1
            else:
                files += 1
                size += _bytes(entry.get("size"))
    plan: dict[str, Any] = {
        "point": document["id"],
        "item": document["item"]["name"],
        "sealed_at": document["sealed_at"],
        "target": os.path.abspath(to),
        "paths": paths,
        "conflict": conflict.value,
        "files": files,
        "directories": directories,
        "bytes": size,
    }
    if session.out.json:
        session.out.document({"plan": plan})
        return
    session.out.text(
        f"would restore {formats.count(files)} files in {formats.count(directories)} folders, {formats.size(size)}, of "
        f"{plan['item']} as of {formats.moment(plan['sealed_at'])} to {plan['target']}; what exists: {conflict.value}"
    )


def _bytes(value: object) -> int:
    return value if isinstance(value, int) else 0
