"""retention plan, apply: what the rules say of every recovery point, and applying them by hand."""

from __future__ import annotations

import sys
from collections.abc import Collection, Mapping
from typing import Annotated, Any

import typer

from orchestrator.cli import formats
from orchestrator.cli.output import Output
from orchestrator.cli.session import Session
from shared.errors import SkyharborError

ItemName = Annotated[str | None, typer.Option("--item", metavar="NAME", help="The points of this item.")]
PolicyName = Annotated[
    str | None, typer.Option("--policy", metavar="NAME", help="The points of all items that follow this policy.")
]


def commands() -> typer.Typer:
    """Return the ``retention`` group."""
    group = typer.Typer(help="Retention: which recovery points stay, why, and how long.")
    group.command("plan")(plan)
    group.command("apply")(apply)
    return group


def plan(ctx: typer.Context, item: ItemName = None, policy: PolicyName = None) -> None:
    """Show for every point whether it stays, every reason why, and when it should go. Changes nothing."""
    session = Session.of(ctx)
    document = _plan(session, item, policy)
    if session.out.json:
        session.out.document(document)
        return
    _table(session.out, document["items"])


def apply(
    ctx: typer.Context,
    item: ItemName = None,
    policy: PolicyName = None,
    yes: Annotated[bool, typer.Option("--yes", help="Do not ask; needed where nobody can be asked.")] = False,
) -> None:
    """Let go now of what no rule keeps, also of so much at once that it waits for a person.

    What expires can be brought back with 'point hold' until the next collection of its vault has doomed it.
    """
    session = Session.of(ctx)
    going = [line for line in _plan(session, item, policy)["items"] if not line["keep"]]
    if going and not yes:
        _ask(session, going)
    asked = {"item": item, "policy": policy}
    done = session.tower().post("/retention/apply", {name: value for name, value in asked.items() if value is not None})
    if session.out.json:
        session.out.document(done)
        return
    for one in done["items"]:
        session.out.text(f"{one['item']}: points that expire: {formats.count(len(one['points']))}")
    missed = {line["point"] for line in going} - {point for one in done["items"] for point in one["points"]}
    if missed:
        _tell_of_missed(session, missed, item, policy)
    elif not done["items"]:
        session.out.text("every point is kept")


def _tell_of_missed(session: Session, missed: Collection[str], item: str | None, policy: str | None) -> None:
    """Say what became of points that would have gone and have not by this word: the tower applies the rules, too."""
    kept = {line["point"] for line in _plan(session, item, policy)["items"] if line["keep"]} & set(missed)
    if len(kept) < len(missed):
        gone = formats.count(len(missed) - len(kept))
        session.out.text(f"points that were expiring already, for the tower applies retention by itself: {gone}")
    if kept:
        session.out.text(f"points that are kept after all: {formats.count(len(kept))}; see 'skyharbor retention plan'")


def _plan(session: Session, item: str | None, policy: str | None) -> dict[str, Any]:
    if (item is None) == (policy is None):
        raise SkyharborError("bad-request", "give --item NAME or --policy NAME")
    return session.tower().get("/retention", item=item, policy=policy)


def _ask(session: Session, going: list[Mapping[str, Any]]) -> None:
    if not sys.stdin.isatty() or session.out.json:
        raise SkyharborError(
            "bad-request",
            f"points that would expire: {len(going)}, and nobody can be asked",
            hint="Look with 'skyharbor retention plan', then say --yes.",
        )
    _table(session.out, going)
    if not typer.confirm(f"Points that would expire: {len(going)}. Let them?", err=True):
        raise typer.Abort


def _table(out: Output, lines: list[Mapping[str, Any]]) -> None:
    out.table(
        ("item", "point", "sealed", "is", "because", "expires on"),
        (
            (
                str(line["item"]),
                str(line["point"]),
                formats.moment(line["sealed_at"]),
                "kept" if line["keep"] else "held back" if line["held_back"] else "to expire",
                "; ".join(line["reasons"]),
                formats.moment(line["expires_on"]),
            )
            for line in lines
        ),
        empty="no recovery points",
    )
