"""``item add sqlite``."""

from __future__ import annotations

from typing import Annotated

import typer

from orchestrator.cli.commands.protecting.places import absolute
from orchestrator.cli.commands.protecting.request import (
    Care,
    ItemName,
    Keep,
    Machine,
    Policy,
    Rpo,
    Tags,
    Vault,
    protect,
)
from orchestrator.cli.session import Session


def add_sqlite(
    ctx: typer.Context,
    name: ItemName,
    machine: Machine,
    vault: Vault,
    path: Annotated[list[str], typer.Option(metavar="PATH", help="A SQLite database; may be repeated.")],
    policy: Policy = None,
    tag: Tags = None,
    rpo: Rpo = None,
    keep: Keep = None,
) -> None:
    """Protect SQLite databases, each as of one commit, whatever is written meanwhile. Nothing is backed up yet."""
    session = Session.of(ctx)
    paths = [absolute(session, given) for given in path]
    protect(
        session,
        name=name,
        workload="sqlite",
        machine=machine,
        vault=vault,
        source={"paths": paths},
        care=Care(policy=policy, tags=tag, rpo=rpo, keep=keep),
    )
