"""item list, show, set, pause, resume, remove: what is protected."""

from __future__ import annotations

import shlex
from collections.abc import Iterator, Mapping, Sequence
from typing import Annotated, Any

import typer

from orchestrator.cli import formats
from orchestrator.cli.client import at
from orchestrator.cli.commands.points import moments, removed_items
from orchestrator.cli.commands.protecting.group import protecting
from orchestrator.cli.commands.protecting.places import absolute, warn_of
from orchestrator.cli.commands.protecting.request import Tags, retention_of, rpo_of
from orchestrator.cli.session import Session
from shared.contracts.sources import slot_of
from shared.errors import SkyharborError

Name = Annotated[str, typer.Argument(metavar="NAME", help="The item's name or id.")]
OtherPolicy = Annotated[str | None, typer.Option(help="The policy that schedules it; '' for none of its own.")]
NoTags = Annotated[bool, typer.Option("--no-tags", help="Take all tags away.")]
OtherRpo = Annotated[
    str | None, typer.Option(metavar="TIME", help="How old its newest point may be; '' for what the policy says.")
]
OtherKeep = Annotated[str | None, typer.Option(metavar="RULE", help="Its own retention; '' for what the policy says.")]
OtherPaths = Annotated[
    list[str] | None, typer.Option(metavar="PATH", help="Protect these instead of the present paths.")
]
OtherExcludes = Annotated[
    list[str] | None, typer.Option(metavar="GLOB", help="Leave out these instead of the present patterns.")
]
NoExcludes = Annotated[bool, typer.Option("--no-excludes", help="Leave out no patterns any more.")]
Fields = Annotated[
    list[str] | None,
    typer.Option(metavar="FIELD=VALUE", help="Anything else of what 'item show' says of its source, such as dsn=."),
]


def commands() -> typer.Typer:
    """Return the ``item`` group."""
    group = typer.Typer(help="Items: what is protected.")
    group.add_typer(protecting(), name="add")
    group.command("list")(list_items)
    group.command("show")(show)
    group.command("set")(set_item)
    group.command("pause")(pause)
    group.command("resume")(resume)
    group.command("remove")(remove)
    return group


def set_item(
    ctx: typer.Context,
    name: Name,
    policy: OtherPolicy = None,
    tag: Tags = None,
    no_tags: NoTags = False,
    rpo: OtherRpo = None,
    keep: OtherKeep = None,
    path: OtherPaths = None,
    exclude: OtherExcludes = None,
    no_excludes: NoExcludes = False,
    source: Fields = None,
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
        body["rpo"] = rpo_of(rpo) if rpo else None
    if keep is not None:
        body["retention"] = retention_of(keep) if keep else None
    if path is not None or exclude is not None or no_excludes or source is not None:
        item = session.tower().get(at("items", name))
        changes: dict[str, Any] = dict(_field(item, given) for given in source or ())
        if path is not None:
            changes["paths"] = [absolute(session, given) for given in path]
        if exclude is not None or no_excludes:
            changes["excludes"] = exclude or []
        body["source"] = _changed(item, changes)
    if not body:
        raise SkyharborError(
            "bad-request", "nothing is to be changed", hint="Say what: see 'skyharbor item set --help'."
        )
    item = session.tower().patch(at("items", name), body)
    if session.out.json:
        session.out.document(item)
    else:
        _show(session, item)
    if "source" in body:
        warn_of(session, body["source"]["workload"], body["source"])


def _field(item: Mapping[str, Any], given: str) -> tuple[str, Any]:
    """Read ``FIELD=VALUE``: a text, a number, or yes and no, by what the field is."""
    name, equals, value = given.partition("=")
    now = item["source"].get(name)
    if not equals or not isinstance(now, str | int):
        known = ", ".join(sorted(key for key, one in item["source"].items() if isinstance(one, str | int))) or "none"
        own = {"paths": "--path", "excludes": "--exclude"}.get(name)
        raise SkyharborError(
            "bad-request",
            f"--source {given!r}: write FIELD=VALUE; the fields are {known}",
            **({"hint": f"What is in {name} is changed with {own}."} if own and isinstance(now, list) else {}),
        )
    if isinstance(now, str):
        return name, value
    if not isinstance(now, bool):
        if not value.isdecimal():
            raise SkyharborError("bad-request", f"--source {given!r}: {name} is a whole number")
        return name, int(value)
    if value not in ("yes", "no"):
        raise SkyharborError("bad-request", f"--source {given!r}: {name} is yes or no")
    return name, value == "yes"


def _changed(item: Mapping[str, Any], changes: Mapping[str, Any]) -> dict[str, Any]:
    """Return the source of an item with what is to be different; only what its workload has can be."""
    foreign = sorted(changes.keys() - item["source"].keys())
    if foreign:
        raise SkyharborError(
            "bad-request", f"{item['name']} is of the workload {item['workload']}, which has no {', '.join(foreign)}"
        )
    return {"workload": item["workload"], **item["source"], **changes}


def list_items(
    ctx: typer.Context,
    removed: Annotated[
        bool, typer.Option("--removed", help="Those that were removed and whose recovery points are still there.")
    ] = False,
) -> None:
    """List the items with their newest recovery point and next fire."""
    session = Session.of(ctx)
    items = removed_items(session.tower(), None) if removed else list(session.tower().items("/items"))
    if session.out.json:
        session.out.document({"items": items})
        return
    if removed:
        _list_removed(session, items)
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


def _list_removed(session: Session, items: Sequence[Mapping[str, Any]]) -> None:
    session.out.table(
        ("id", "name", "workload", "machine", "vault", "removed", "last point"),
        (
            (
                item["id"],
                item["name"],
                item["workload"],
                item["machine"]["name"],
                item["vault"]["name"],
                formats.moment(item["removed_at"]),
                formats.moment((item.get("last_point") or {}).get("sealed_at")),
            )
            for item in items
        ),
        empty="no removed item has recovery points",
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
            *_source(item["source"]),
            ("last point", f"{last['id']} ({last['type']}, {formats.moment(last['sealed_at'])})" if last else "-"),
            *moments(last),
            ("next fire", "paused" if item.get("paused_at") else formats.moment(item.get("next_fire_at"))),
            ("created", formats.moment(item["created_at"])),
            *([("removed", formats.moment(item["removed_at"]))] if item.get("removed_at") else []),
        ]
    )


def _source(source: Mapping[str, Any]) -> Iterator[tuple[str, str]]:
    """Say what is protected: a line for each thing that was given, in the words of the options."""
    for name, value in source.items():
        if name == "rules":
            yield from (("leaves out", said) for said in _said(value))
        elif name == "hooks":
            yield from _hooks(value)
        elif isinstance(value, list):
            yield from ((name.removesuffix("s"), str(one)) for one in value)
        elif value not in ("", None, False, 0, "none"):
            yield name.replace("_", " "), "yes" if value is True else str(value)


def _hooks(hooks: Mapping[str, Any]) -> Iterator[tuple[str, str]]:
    commands = [(name, shlex.join(hooks[name])) for name in ("before", "after") if hooks[name]]
    yield from commands
    if commands:
        yield "hook timeout", f"{hooks['timeout']:g} s"


def pause(ctx: typer.Context, name: Name) -> None:
    """Stop scheduling the item; what runs is finished."""
    _change(ctx, name, "pause", "is paused")


def resume(ctx: typer.Context, name: Name) -> None:
    """Schedule the item again."""
    _change(ctx, name, "resume", "is scheduled again")


def remove(ctx: typer.Context, name: Name) -> None:
    """Stop protecting the item. Its recovery points stay, and so does the replication slot of a PostgreSQL server."""
    session = Session.of(ctx)
    item = session.tower().get(at("items", name))
    removed = session.tower().delete(at("items", name))
    if session.out.json:
        session.out.document(removed or {"removed": name})
    else:
        session.out.text(f"item {name} is no longer protected; its recovery points stay")
        session.out.text(f"they are listed by its id: skyharbor point list {item['id']}")
        if item["workload"] == "postgres":
            # Kept, it keeps the server's log as well, until the disk is full.
            slot = slot_of(item["id"])
            session.out.text(f"drop its slot at the server: SELECT pg_drop_replication_slot('{slot}');")


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
