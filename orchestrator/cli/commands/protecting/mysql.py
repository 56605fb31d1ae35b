"""``item add mysql``."""

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


def add_mysql(
    ctx: typer.Context,
    name: ItemName,
    machine: Machine,
    vault: Vault,
    dsn: Annotated[
        str,
        typer.Option(
            metavar="URL",
            help="mysql://user@host:port or mysql://user@localhost?socket=/path, without a password.",
        ),
    ],
    credentials_file: CredentialsFile = "",
    dump: Annotated[
        bool, typer.Option("--dump", help="Dump databases as SQL instead; the only way for MySQL, and from afar.")
    ] = False,
    policy: Policy = None,
    tag: Tags = None,
    rpo: Rpo = None,
    keep: Keep = None,
) -> None:
    """Protect a MariaDB or MySQL server. Nothing is backed up yet.

    A MariaDB server is copied physically by a worker on its machine, and can be restored to any second where it writes
    a log of changes (log_bin).
    """
    session = Session.of(ctx)
    protect(
        session,
        name=name,
        workload="mysql",
        machine=machine,
        vault=vault,
        source={
            "dsn": dsn,
            "credentials_file": optional(session, credentials_file),
            "dump": dump,
        },
        care=Care(policy=policy, tags=tag, rpo=rpo, keep=keep),
    )
