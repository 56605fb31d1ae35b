"""``item add files``."""

from __future__ import annotations

from typing import Annotated

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
        source={"paths": paths, "excludes": exclude or [], "rules": rules},
        care=Care(policy=policy, tags=tag, rpo=rpo, keep=keep),
    )
    warn_of_missing(session, paths)
