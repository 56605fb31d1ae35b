"""What every ``item add`` asks besides its source, and how the request is made.

Rule of the file: options are declared once here, so that they are called the same for every workload.
"""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Annotated, Any

import typer

from orchestrator.cli.commands.points import tell_of_namesakes
from orchestrator.cli.commands.protecting.places import warn_of
from orchestrator.cli.session import Session
from orchestrator.domain.readings import duration
from shared.errors import SkyharborError

ItemName = Annotated[str, typer.Argument(metavar="NAME", help="A name for the item.")]
Machine = Annotated[str, typer.Option(help="The machine that it belongs to: its key encrypts the points.")]
Vault = Annotated[str, typer.Option(help="The vault that will hold the recovery points.")]
Policy = Annotated[
    str | None,
    typer.Option(help="The policy that schedules it. Without, one that selects its tags, or nothing but demand."),
]
Tags = Annotated[list[str] | None, typer.Option(help="What policies select by; may be repeated.")]
Rpo = Annotated[
    str | None, typer.Option(metavar="TIME", help="How old its newest point may be, such as 26h; before the policy's.")
]
Keep = Annotated[
    str | None, typer.Option(metavar="RULE", help="What is kept, such as 'daily 7, monthly 12'; before the policy's.")
]
Excludes = Annotated[
    list[str] | None, typer.Option("--exclude", metavar="GLOB", help="Leave out what matches; may be repeated.")
]
CredentialsFile = Annotated[
    str,
    typer.Option(
        metavar="FILE",
        help="A file on the worker's machine with user= and password= lines, readable by the worker alone.",
    ),
]

_KEPT = ("last", "hourly", "daily", "weekly", "monthly", "yearly")


@dataclass(frozen=True, slots=True, kw_only=True)
class Care:
    """How the item is looked after, as it was given."""

    policy: str | None
    tags: Sequence[str] | None
    rpo: str | None
    keep: str | None


def protect(
    session: Session, *, name: str, workload: str, machine: str, vault: str, source: Mapping[str, Any], care: Care
) -> None:
    """Ask the tower to protect something, and say what to do next."""
    body = {
        "name": name,
        "workload": workload,
        "machine": machine,
        "vault": vault,
        "source": source,
        "policy": care.policy,
        "tags": list(care.tags or ()),
        "rpo": None if care.rpo is None else rpo_of(care.rpo),
        "retention": None if care.keep is None else retention_of(care.keep),
    }
    item = session.tower().post("/items", body)
    if session.out.json:
        session.out.document(item)
    else:
        session.out.text(
            f"item {item['name']} is protected; back it up now with: skyharbor backup {item['name']} --wait"
        )
        tell_of_namesakes(session, name)
    warn_of(session, workload, source)


def rpo_of(text: str) -> int:
    """Read how old the newest point may be; seconds."""
    try:
        return duration("999d")(text)
    except ValueError as error:
        raise SkyharborError("bad-request", f"--rpo: {error}") from error


def retention_of(text: str) -> dict[str, int]:
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
