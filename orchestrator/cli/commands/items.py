"""item add files, list, show, set, pause, resume, remove: what is protected."""

from __future__ import annotations

import os
import re
from collections.abc import Iterator, Mapping
from typing import Annotated, Any

import typer

from orchestrator.cli import formats
from orchestrator.cli.client import at
from orchestrator.cli.session import Session
from orchestrator.domain.readings import duration
from shared.errors import SkyharborError

Name = Annotated[str, typer.Argument(metavar="NAME", help="The item's name or id.")]
Tags = Annotated[list[str] | None, typer.Option(help="What policies select by; may be repeated.")]
Rpo = Annotated[
    str | None, typer.Option(metavar="TIME", help="How old its newest point may be, such as 26h; before the policy's.")
]
Keep = Annotated[
    str | None, typer.Option(metavar="RULE", help="What is kept, such as 'daily 7, monthly 12'; before the policy's.")
]
_KEPT = ("last", "hourly", "daily", "weekly", "monthly", "yearly")


def commands() -> typer.Typer:
    """Return the ``item`` group."""
    group = typer.Typer(help="Items: what is protected.")
    adding = typer.Typer(help="Protect something new.")
    adding.command("files")(add_files)
    group.add_typer(adding, name="add")
    group.command("list")(list_items)
    group.command("show")(show)
    group.command("set")(set_item)
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
        "tags": tag or [],
        "rpo": None if rpo is None else _rpo(rpo),
        "retention": None if keep is None else _retention(keep),
    }
    item = session.tower().post("/items", body)
    _warn_of_missing(session, paths)
    if session.out.json:
        session.out.document(item)
    else:
        session.out.text(
            f"item {item['name']} is protected; back it up now with: skyharbor backup {item['name']} --wait"
        )


def set_item(
    ctx: typer.Context,
    name: Name,
    policy: Annotated[str | None, typer.Option(help="The policy that schedules it; '' for none of its own.")] = None,
    tag: Tags = None,
    no_tags: Annotated[bool, typer.Option("--no-tags", help="Take all tags away.")] = False,
    rpo: Annotated[
        str | None, typer.Option(metavar="TIME", help="How old its newest point may be; '' for what the policy says.")
    ] = None,
    keep: Annotated[
        str | None, typer.Option(metavar="RULE", help="Its own retention; '' for what the policy says.")
    ] = None,
    path: Annotated[
        list[str] | None, typer.Option(metavar="PATH", help="Protect these instead of the present paths.")
    ] = None,
    exclude: Annotated[
        list[str] | None, typer.Option(metavar="GLOB", help="Leave out these instead of the present patterns.")
    ] = None,
    no_excludes: Annotated[bool, typer.Option("--no-excludes", help="Leave out no patterns any more.")] = False,
) -> None:
    """Change how an item is looked after, or what it protects. What is not given stays as it is.

    Backups that have begun go on as they were told. Points that exist keep what they hold.
    """
    session = Session.of(ctx)
    body: dict[str, Any] = {}
    if policy is not None:
        body["policy"] = policy or None
    if tag is not None or no_tags:
        body["tags"] = tag or []
    if rpo is not None:
        body["rpo"] = _rpo(rpo) if rpo else None
    if keep is not None:
        body["retention"] = _retention(keep) if keep else None
    if path is not None or exclude is not None or no_excludes:
        source = session.tower().get(at("items", name))["source"]
        if path is not None:
            source["paths"] = [_absolute(given) for given in path]
            _warn_of_missing(session, source["paths"])
        if exclude is not None or no_excludes:
            source["excludes"] = exclude or []
        body["source"] = source
    if not body:
        raise SkyharborError("bad-request", "nothing is to be changed: give an option, see --help")
    item = session.tower().patch(at("items", name), body)
    if session.out.json:
        session.out.document(item)
    else:
        _show(session, item)


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
    else:
        _show(session, item)


def _show(session: Session, item: Mapping[str, Any]) -> None:
    last = item.get("last_point") or {}
    chosen = " (by its tags)" if item.get("policy_by_tags") else ""
    keeps = [f"{name} {count}" for name, count in (item.get("retention") or {}).items() if count]
    session.out.fields(
        [
            ("item", item["name"]),
            ("id", item["id"]),
            ("workload", item["workload"]),
            ("machine", item["machine"]["name"]),
            ("vault", item["vault"]["name"]),
            ("policy", (item.get("policy") or "-") + chosen),
            *([("tags", ", ".join(item["tags"]))] if item.get("tags") else []),
            *([("rpo", formats.seconds(item["rpo"]))] if item.get("rpo") else []),
            *([("keeps", ", ".join(keeps) or "everything")] if item.get("retention") else []),
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


def _rpo(text: str) -> int:
    try:
        return duration("999d")(text)
    except ValueError as error:
        raise SkyharborError("bad-request", f"--rpo: {error}") from error


def _retention(text: str) -> dict[str, int]:
    """Read ``daily 7, monthly 12``; 0 keeps none on that account."""
    rule: dict[str, int] = {}
    for part in text.split(","):
        name, _, number = part.strip().partition(" ")
        if name not in _KEPT or not re.fullmatch(r"[0-9]{1,6}", number.strip()) or name in rule:
            raise SkyharborError(
                "bad-request", f"--keep: {part.strip()!r} is not understood: write 'daily 7, monthly 12'"
            )
        rule[name] = int(number)
    return rule


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
