"""``item add files``."""

from __future__ import annotations

import shlex
from typing import Annotated, Any

import typer

from orchestrator.cli import formats
from orchestrator.cli.commands.protecting.places import absolute
from orchestrator.cli.commands.protecting.request import (
    Care,
    Excludes,
    ItemName,
    Keep,
    Policy,
    Rpo,
    Tags,
    Vault,
    protect,
)
from orchestrator.cli.session import Session
from orchestrator.domain.readings import duration
from shared.contracts.sources import SnapshotWay
from shared.errors import SkyharborError

ItsMachine = Annotated[str, typer.Option(help="The machine whose files they are.")]
Paths = Annotated[
    list[str], typer.Option("--path", metavar="PATH", help="A file or folder to protect; may be repeated.")
]
More = Annotated[list[str] | None, typer.Argument(metavar="MORE", help="Further paths.")]
Caches = Annotated[bool, typer.Option("--exclude-caches", help="Of folders with a CACHEDIR.TAG, keep the tag only.")]
IfPresent = Annotated[
    list[str] | None,
    typer.Option(metavar="NAME", help="Of folders that hold a file of this name, keep that only; may be repeated."),
]
NoDump = Annotated[bool, typer.Option("--exclude-nodump", help="Leave out what has the attribute of chattr +d.")]
LargerThan = Annotated[
    str | None, typer.Option(metavar="SIZE", help="Leave out files of more bytes than that, such as 500M or 2G.")
]
OneFileSystem = Annotated[
    bool, typer.Option("--one-file-system", help="Keep folders where other file systems are mounted, but empty.")
]
Before = Annotated[
    str, typer.Option(metavar="CMD", help="A command to run before, of those that the worker's machine allows.")
]
After = Annotated[str, typer.Option(metavar="CMD", help="One to run when everything has been read, and in any case.")]
HookTimeout = Annotated[str, typer.Option(metavar="TIME", help="How long either may take, such as 60s.")]
Freeze = Annotated[
    SnapshotWay,
    typer.Option(
        help="How the files are held still: in a snapshot of the btrfs subvolume or the LVM volume that they are on;"
        " auto: the best way that there is, or none."
    ),
]
Percent = Annotated[
    int,
    typer.Option(
        metavar="N",
        min=0,
        max=100,
        help="How much of an LVM volume may be overwritten while it is read, in percent of it. Usual is 20, and at most"
        " half of what its group has free.",
    ),
]
Journal = Annotated[bool, typer.Option("--journal", help="Note where anything changes, and look only there next time.")]


def add_files(
    ctx: typer.Context,
    name: ItemName,
    machine: ItsMachine,
    vault: Vault,
    path: Paths,
    more: More = None,
    exclude: Excludes = None,
    exclude_caches: Caches = False,
    exclude_if_present: IfPresent = None,
    exclude_nodump: NoDump = False,
    exclude_larger_than: LargerThan = None,
    one_file_system: OneFileSystem = False,
    before: Before = "",
    after: After = "",
    hook_timeout: HookTimeout = "60s",
    snapshot: Freeze = SnapshotWay.NONE,
    snapshot_percent: Percent = 0,
    journal: Journal = False,
    policy: Policy = None,
    tag: Tags = None,
    rpo: Rpo = None,
    keep: Keep = None,
) -> None:
    """Protect files and folders of a machine. Nothing is backed up yet.

    What is left out by these options is counted, and is no warning. They do not apply to the paths that are given.
    """
    session = Session.of(ctx)
    paths = [absolute(session, given) for given in (*path, *(more or ()))]
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


def _hooks(before: str, after: str, timeout: str) -> dict[str, Any]:
    """Read commands as a shell would take them apart; none is started to run them."""
    try:
        return {"before": shlex.split(before), "after": shlex.split(after), "timeout": duration("24h")(timeout)}
    except ValueError as error:
        raise SkyharborError("bad-request", f"--before, --after, --hook-timeout: {error}") from error
