"""item add files, list, show, pause, resume, remove: what is protected."""

from __future__ import annotations

import os
from collections.abc import Iterator, Mapping
from typing import Annotated, Any

import typer

from orchestrator.cli import formats
from orchestrator.cli.client import at
from orchestrator.cli.session import Session
from shared.errors import SkyharborError

Name = Annotated[str, typer.Argument(metavar="NAME", help="The item's name or id.")]


def commands() -> typer.Typer:
    """Return the ``item`` group."""
    group = typer.Typer(help="Items: what is protected.")
    adding = typer.Typer(help="Protect something new.")
    adding.command("files")(add_files)
    group.add_typer(adding, name="add")
    group.command("list")(list_items)
    group.command("show")(show)
    group.command("pause")(pause)
    group.command("resume")(resume)
    group.command("remove")(remove)
    return group


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
        str | None, typer.Option(help="The policy that schedules it; without one it is backed up on demand.")
    ] = None,
) -> None:
    """Protect files and folders of a machine. Nothing is backed up yet.

    What is left out by these options is counted, and is no warning. They do not apply to the paths that are given.
    """
    session = Session.of(ctx)
    paths = [_absolute(given) for given in (*path, *(more or ()))]
    larger_than = None if exclude_larger_than is None else formats.bytes_of(exclude_larger_than)
    rules = {
        "caches": exclude_caches,
        "if_present": exclude_if_present or [],
        "nodump": exclude_nodump,
        "larger_than": larger_than,
        "one_file_system": one_file_system,
    }
    body = {
        "name": name,
        "workload": "files",
        "machine": machine,
        "vault": vault,
        "source": {"paths": paths, "excludes": exclude or [], "rules": rules},
        "policy": policy,
    }
    item = session.tower().post("/items", body)
    _warn_of_missing(session, paths)
    if session.out.json:
        session.out.document(item)
    else:
        session.out.text(
            f"item {item['name']} is protected; back it up now with: skyharbor backup {item['name']} --wait"
        )


def list_items(ctx: typer.Context) -> None:
    """List the items with their newest recovery point and next fire."""
    session = Session.of(ctx)
    items = list(session.tower().items("/items"))
    if session.out.json:
        session.out.document({"items": items})
        return
    session.out.table(
        ("name", "workload", "machine", "vault", "policy", "last point", "next"),
        (
            (
                item["name"],
                item["workload"],
                item["machine"]["name"],
                item["vault"]["name"],
                item.get("policy") or "-",
                formats.moment((item.get("last_point") or {}).get("sealed_at")),
                "paused" if item.get("paused_at") else formats.moment(item.get("next_fire_at")),
            )
            for item in items
        ),
        empty="no items yet: skyharbor item add files NAME --machine M --vault V --path P",
    )


def show(ctx: typer.Context, name: Name) -> None:
    """Show one item."""
    session = Session.of(ctx)
    item = session.tower().get(at("items", name))
    if session.out.json:
        session.out.document(item)
        return
    last = item.get("last_point") or {}
    session.out.fields(
        [
            ("item", item["name"]),
            ("id", item["id"]),
            ("workload", item["workload"]),
            ("machine", item["machine"]["name"]),
            ("vault", item["vault"]["name"]),
            ("policy", item.get("policy") or "-"),
            *(("path", path) for path in item["source"]["paths"]),
            *(("exclude", glob) for glob in item["source"].get("excludes") or []),
            *(("leaves out", said) for said in _said(item["source"].get("rules") or {})),
            ("last point", f"{last['id']} ({last['type']}, {formats.moment(last['sealed_at'])})" if last else "-"),
            ("next fire", "paused" if item.get("paused_at") else formats.moment(item.get("next_fire_at"))),
            ("created", formats.moment(item["created_at"])),
        ]
    )


def pause(ctx: typer.Context, name: Name) -> None:
    """Stop scheduling the item; what runs is finished."""
    _change(ctx, name, "pause", "is paused")


def resume(ctx: typer.Context, name: Name) -> None:
    """Schedule the item again."""
    _change(ctx, name, "resume", "is scheduled again")


def remove(ctx: typer.Context, name: Name) -> None:
    """Stop protecting the item. Its recovery points stay."""
    session = Session.of(ctx)
    removed = session.tower().delete(at("items", name))
    if session.out.json:
        session.out.document(removed or {"removed": name})
    else:
        session.out.text(f"item {name} is no longer protected; its recovery points stay")


def _change(ctx: typer.Context, name: str, verb: str, said: str) -> None:
    session = Session.of(ctx)
    item: dict[str, Any] = session.tower().post(at("items", name, verb))
    if session.out.json:
        session.out.document(item)
    else:
        session.out.text(f"item {item['name']} {said}")


def _said(rules: Mapping[str, Any]) -> Iterator[str]:
    """Say what the rules of an item leave out."""
    if rules.get("caches"):
        yield "caches: what is beside a CACHEDIR.TAG"
    for name in rules.get("if_present") or []:
        yield f"what is beside {name}"
    if rules.get("nodump"):
        yield "what has the nodump attribute"
    if rules.get("larger_than") is not None:
        limit = rules["larger_than"]
        yield f"files larger than {formats.size(limit)} ({formats.count(limit)} bytes)"
    if rules.get("one_file_system"):
        yield "other file systems"


def _warn_of_missing(session: Session, paths: list[str]) -> None:
    """Say which paths are not there, where we can know: when this home's stack, and so its worker, is on this machine.

    It is no refusal: what is to be protected may be mounted later.
    """
    for path in paths if session.is_local() else ():
        if not os.path.lexists(path):
            session.out.say(f"warning: {path}: there is no such file or folder now; backups fail until there is")


def _absolute(path: str) -> str:
    """Return the path from the root without a trailing slash; relative ones count from here."""
    if not path or "\0" in path:
        raise SkyharborError("bad-request", f"--path {path!r} is no path")
    absolute = os.path.abspath(path)
    return "/" + absolute.lstrip("/")  # POSIX keeps two leading slashes; a vault does not
