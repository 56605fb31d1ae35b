"""``item add files``."""

from __future__ import annotations

import shlex
from typing import Annotated, Any

import typer

from orchestrator.cli import formats
from orchestrator.cli.commands.protecting.places import absolute, warn_of_missing
from orchestrator.cli.commands.protecting.request import (
    Care,
    Keep,
    Rpo,
    Tags,
    protect,
)
from orchestrator.cli.session import Session
from orchestrator.domain.readings import duration
from shared.contracts.sources import SnapshotWay
from shared.errors import SkyharborError


def add_files(
    ctx: typer.Context,
    name: Annotated[str, typer.Argument(metavar="NAME", help="A name for the item.")],
    machine: Annotated[str, typer.Option(help="The machine whose files they are.")],
    vault: Annotated[str, typer.Option(help="The vault that will hold the recovery points.")],
    path: Annotated[list[str], typer.Option(metavar="PATH", help="A file or folder to protect; may be repeated.")],
    more: Annotated[list[str] | None, typer.Argument(metavar="MORE", help="Further paths.")] = None,
    exclude: Annotated[
        list[str] | None, typer.Option(metavar="GLOB", help="Leave out what matches; may be repeated.")
    ] = None,
    exclude_caches: Annotated[
        bool, typer.Option("--exclude-caches", help="Of folders with a CACHEDIR.TAG, keep the tag only.")
    ] = False,
    exclude_if_present: Annotated[
        list[str] | None,
        typer.Option(metavar="NAME", help="Of folders that hold a file of this name, keep that only; may be repeated."),
    ] = None,
    exclude_nodump: Annotated[
        bool, typer.Option("--exclude-nodump", help="Leave out what has the attribute of chattr +d.")
    ] = False,
    exclude_larger_than: Annotated[
        str | None, typer.Option(metavar="SIZE", help="Leave out files of more bytes than that, such as 500M or 2G.")
    ] = None,
    one_file_system: Annotated[
        bool, typer.Option("--one-file-system", help="Keep folders where other file systems are mounted, but empty.")
    ] = False,
    before: Annotated[
        str, typer.Option(metavar="CMD", help="A command to run before, of those that the worker's machine allows.")
    ] = "",
    after: Annotated[
        str, typer.Option(metavar="CMD", help="One to run when everything has been read, and in any case.")
    ] = "",
    hook_timeout: Annotated[str, typer.Option(metavar="TIME", help="How long either may take, such as 60s.")] = "60s",
    snapshot: Annotated[
        SnapshotWay,
        typer.Option(
            help="How the files are held still: in a snapshot of the btrfs subvolume or the LVM volume that they are"
            " on; auto: the best way that there is, or none."
        ),
    ] = SnapshotWay.NONE,
    snapshot_percent: Annotated[
        int,
        typer.Option(
            metavar="N",
            min=0,
            max=100,
            help="How much of an LVM volume may be overwritten while it is read, in percent of it. Usual is 20, and at"
            " most half of what its group has free.",
        ),
    ] = 0,
    journal: Annotated[
        bool, typer.Option("--journal", help="Note where anything changes, and look only there next time.")
    ] = False,
    policy: Annotated[
        str | None,
        typer.Option(help="The policy that schedules it. Without, one that selects its tags, or nothing but demand."),
    ] = None,
    tag: Tags = None,
    rpo: Rpo = None,
    keep: Keep = None,
) -> None:
    """Protect files and folders of a machine. Nothing is backed up yet.

    What is left out by these options is counted, and is no warning. They do not apply to the paths that are given.
    """
    session = Session.of(ctx)
    paths = [absolute(given) for given in (*path, *(more or ()))]
    larger_than = None if exclude_larger_than is None else formats.bytes_of(exclude_larger_than)
    rules = {
        "caches": exclude_caches,
        "if_present": exclude_if_present or [],
        "nodump": exclude_nodump,
        "larger_than": larger_than,
        "one_file_system": one_file_system,
    }
    protect(
        session,
        name=name,
        workload="files",
        machine=machine,
        vault=vault,
        source={
            "paths": paths,
            "excludes": exclude or [],
            "rules": rules,
            "hooks": _hooks(before, after, hook_timeout),
            "snapshot": snapshot.value,
            "snapshot_percent": snapshot_percent,
            "journal": journal,
        },
        care=Care(policy=policy, tags=tag, rpo=rpo, keep=keep),
    )
    warn_of_missing(session, paths)


def _hooks(before: str, after: str, timeout: str) -> dict[str, Any]:
    """Read commands as a shell would take them apart; none is started to run them."""
    try:
        return {"before": shlex.split(before), "after": shlex.split(after), "timeout": duration("24h")(timeout)}
    except ValueError as error:
        raise SkyharborError("bad-request", f"--before, --after, --hook-timeout: {error}") from error
