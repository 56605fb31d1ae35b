"""policy apply, list, show, preview: when things are backed up and how long points stay."""

from __future__ import annotations

import sys
from collections.abc import Iterator
from typing import Annotated, Any

import typer

from orchestrator.cli import formats
from orchestrator.cli.client import at
from orchestrator.cli.session import Session
from shared.errors import SkyharborError


def commands() -> typer.Typer:
    """Return the ``policy`` group."""
    group = typer.Typer(help="Policies: when things are backed up and how long recovery points stay.")
    group.command("apply")(apply)
    group.command("list")(list_policies)
    group.command("show")(show)
    group.command("preview")(preview)
    return group


def apply(
    ctx: typer.Context, file: Annotated[str, typer.Argument(metavar="FILE", help="A YAML file; - reads stdin.")]
) -> None:
    """Apply a policy file. An identical one changes nothing; any other becomes the policy's next version."""
    session = Session.of(ctx)
    result = session.tower().post("/policies", {"yaml": _read(file)})
    if session.out.json:
        session.out.document(result)
        return
    version = result["version"]["n"]
    said = f"is now version {version}" if result["created"] else f"is unchanged, version {version}"
    session.out.text(f"policy {result['name']} {said}")


def list_policies(ctx: typer.Context) -> None:
    """List the policies."""
    session = Session.of(ctx)
    policies = list(session.tower().items("/policies"))
    if session.out.json:
        session.out.document({"items": policies})
        return
    session.out.table(
        ("name", "version", "items", "since"),
        (
            (
                policy["name"],
                str(policy["version"]["n"]),
                formats.count(len(policy.get("items") or [])),
                formats.moment(policy["version"]["created_at"]),
            )
            for policy in policies
        ),
        empty="no policies yet: skyharbor policy apply FILE.yaml",
    )


def show(ctx: typer.Context, name: Annotated[str, typer.Argument(metavar="NAME", help="The policy's name.")]) -> None:
    """Show the current version of a policy as it was applied."""
    session = Session.of(ctx)
    policy = session.tower().get(at("policies", name))
    if session.out.json:
        session.out.document(policy)
        return
    session.out.fields(
        [
            ("policy", policy["name"]),
            ("version", f"{policy['version']['n']} of {formats.moment(policy['version']['created_at'])}"),
            ("items", ", ".join(policy.get("items") or []) or "-"),
        ]
    )
    session.out.text()
    session.out.text(str(policy["yaml"]).rstrip("\n"))


def preview(
    ctx: typer.Context,
    name: Annotated[
        str | None, typer.Argument(metavar="NAME", help="The policy's name; all policies without one.")
    ] = None,
    days: Annotated[int, typer.Option(min=1, max=366, help="How far to look ahead.")] = 7,
) -> None:
    """Show the next fires in local time, and what retention would keep today, with every reason."""
    session = Session.of(ctx)
    previews = dict(_previews(session, name, days))
    if session.out.json:
        # One policy asked for is answered as the API answers it; all of them by name.
        session.out.document(previews[name] if name is not None else {"policies": previews})
        return
    session.out.table(
        ("policy", "item", "local time", "zone", "at", "note"),
        (
            (
                policy,
                fire["item"] or "-",
                str(fire["local"]),
                str(fire["zone"]),
                formats.moment(fire["at"]),
                str(fire.get("note") or ""),
            )
            for policy, document in previews.items()
            for fire in document["fires"]
        ),
        empty=f"nothing fires within {days} days",
    )
    kept = [(policy, line) for policy, document in previews.items() for line in document["retention"]]
    if kept:
        session.out.table(
            ("policy", "item", "point", "sealed", "would", "because"),
            (
                (
                    policy,
                    str(line["item"]),
                    str(line["point"]),
                    formats.moment(line["sealed_at"]),
                    "be kept" if line["keep"] else "wait for a person" if line["held_back"] else "expire",
                    "; ".join(line["reasons"]),
                )
                for policy, line in kept
            ),
        )


def _previews(session: Session, name: str | None, days: int) -> Iterator[tuple[str, dict[str, Any]]]:
    tower = session.tower()
    names = [name] if name is not None else [policy["name"] for policy in tower.items("/policies")]
    for each in names:
        yield each, tower.get(at("policies", each, "preview"), days=days)


def _read(file: str) -> str:
    try:
        if file == "-":
            return sys.stdin.read()
        with open(file, encoding="utf-8") as stream:
            return stream.read()
    except OSError as error:
        raise SkyharborError("bad-request", f"{file}: {error.strerror}") from error
    except UnicodeDecodeError as error:
        raise SkyharborError("bad-request", f"{file} is not UTF-8 text") from error
