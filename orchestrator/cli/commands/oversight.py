"""compliance and alarm list: what was promised and kept, and what is wrong."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping
from enum import StrEnum
from typing import Annotated, Any

import typer

from orchestrator.cli import formats
from orchestrator.cli.session import Session
from shared.errors import ExitCode

_PAGE = 500


class VerdictChoice(StrEnum):
    """The choices of --verdict."""

    MET = "met"
    AT_RISK = "at_risk"
    MISSED = "missed"
    UNPROMISED = "unpromised"
    NEVER = "never"


def register(app: typer.Typer) -> None:
    """Add the command and the group to the program."""
    app.command("compliance")(compliance)
    group = typer.Typer(help="Alarms: what the auditor has found wrong.")
    group.callback()(lambda: None)  # a group of one command stays a group
    group.command("list")(list_alarms)
    app.add_typer(group, name="alarm")


def compliance(
    ctx: typer.Context,
    verdict: Annotated[VerdictChoice | None, typer.Option(help="Only items with this verdict.")] = None,
    check: Annotated[
        bool, typer.Option("--check", help="Exit with 1 when a listed item has no point as young as promised.")
    ] = False,
) -> None:
    """List what was promised of every item, what was kept, and when it is next backed up.

    achieved is the largest gap between two points of the last 30 days, or from the newest one to now. Verdicts: met;
    at_risk, when the latest start that keeps the promise has passed; missed; unpromised; never, without any point.
    """
    session = Session.of(ctx)
    broken: list[str] = []
    items = _noting(session.tower().items("/compliance", verdict=verdict, limit=_PAGE), broken)
    if session.out.json:
        session.out.streamed({}, "items", items)
    else:
        session.out.table(
            ("name", "verdict", "promised", "achieved", "newest point", "verified", "next"),
            (_row(item) for item in items),
            empty="no such items",
        )
    if check and broken:
        session.out.say(f"{len(broken):,} items have no point as young as promised")
        raise typer.Exit(ExitCode.FAILED)


def list_alarms(
    ctx: typer.Context,
    closed: Annotated[bool, typer.Option("--all", help="Those that are over too.")] = False,
) -> None:
    """List what is wrong, newest first."""
    session = Session.of(ctx)
    alarms = session.tower().items("/alarms", closed="true" if closed else None, limit=_PAGE)
    if session.out.json:
        session.out.streamed({}, "items", alarms)
        return
    session.out.table(
        ("kind", "of", "what", "opened", "closed"),
        (
            (
                alarm["kind"],
                alarm["subject"],
                alarm["message"],
                formats.moment(alarm["opened_at"]),
                formats.moment(alarm.get("closed_at")),
            )
            for alarm in alarms
        ),
        empty="no alarms",
    )


def _noting(items: Iterable[Mapping[str, Any]], broken: list[str]) -> Iterator[Mapping[str, Any]]:
    for item in items:
        if item.get("overdue") is not None:
            broken.append(item["name"])
        yield item


def _row(item: Mapping[str, Any]) -> tuple[str, ...]:
    return (
        item["name"],
        item["verdict"],
        formats.seconds(item.get("rpo")),
        formats.seconds(item.get("achieved")),
        formats.moment(item.get("last_success_at")),
        formats.moment(item.get("last_verified_at")),
        "paused" if item.get("paused_at") else formats.moment(item.get("next_fire_at")),
    )
