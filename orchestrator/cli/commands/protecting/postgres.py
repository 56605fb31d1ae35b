"""``item add postgres``."""

from __future__ import annotations

from typing import Annotated

import typer

from orchestrator.cli.commands.protecting.places import optional
from orchestrator.cli.commands.protecting.request import (
    Care,
    CredentialsFile,
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


def add_postgres(
    ctx: typer.Context,
    name: ItemName,
    machine: Machine,
    vault: Vault,
    dsn: Annotated[
        str, typer.Option(help="How a worker reaches the cluster: 'host=… port=… user=…' or a URL, without a password.")
    ],
    credentials_file: CredentialsFile = "",
    dump: Annotated[
        list[str] | None,
        typer.Option(metavar="DB", help="A database that is dumped as well, or '*' for all; may be repeated."),
    ] = None,
    dumps_only: Annotated[
        bool, typer.Option("--dumps-only", help="No physical backup: only dumps, without moments in between.")
    ] = False,
    policy: Policy = None,
    tag: Tags = None,
    rpo: Rpo = None,
    keep: Keep = None,
) -> None:
    """Protect a PostgreSQL cluster, 15 or later. Nothing is backed up yet.

    Any moment between its backups can be restored. The role needs REPLICATION, and pg_hba.conf has to let it in.
    """
    session = Session.of(ctx)
    source = {
        "dsn": dsn,
        "credentials_file": optional(session, credentials_file),
        "dumps": dump or [],
        "physical": not dumps_only,
    }
    protect(
        session,
        name=name,
        workload="postgres",
        machine=machine,
        vault=vault,
        source=source,
        care=Care(policy=policy, tags=tag, rpo=rpo, keep=keep),
    )
