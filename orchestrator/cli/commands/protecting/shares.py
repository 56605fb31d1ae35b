"""``item add smb``, ``item add sftp`` and ``item add nfs``."""

from __future__ import annotations

from enum import StrEnum
from typing import Annotated

import typer

from orchestrator.cli.commands.protecting.places import optional
from orchestrator.cli.commands.protecting.request import (
    Care,
    CredentialsFile,
    Excludes,
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

LoginFile = Annotated[
    str,
    typer.Option(
        metavar="FILE",
        help="A file on the worker's machine, mode 0600, with password=, or key= (a private key) and passphrase=.",
    ),
]
KnownHosts = Annotated[
    str, typer.Option(metavar="FILE", help="The server's key; without, ~/.ssh/known_hosts of the worker's user.")
]


class PreviousVersions(StrEnum):
    """Which state of a share is read."""

    AUTO = "auto"
    NEWEST = "newest"
    NONE = "none"


def add_smb(
    ctx: typer.Context,
    name: ItemName,
    machine: Machine,
    vault: Vault,
    url: Annotated[str, typer.Option(metavar="URL", help="smb://host[:port]/share[/folder]")],
    credentials_file: CredentialsFile = "",
    exclude: Excludes = None,
    previous_versions: Annotated[
        PreviousVersions,
        typer.Option(help="Read a consistent previous version: a fresh one if any, always the newest, or never."),
    ] = PreviousVersions.AUTO,
    policy: Policy = None,
    tag: Tags = None,
    rpo: Rpo = None,
    keep: Keep = None,
) -> None:
    """Protect a share of a file server over SMB, with its permissions. Nothing is backed up yet."""
    session = Session.of(ctx)
    protect(
        session,
        name=name,
        workload="smb",
        machine=machine,
        vault=vault,
        source={
            "url": url,
            "credentials_file": optional(session, credentials_file),
            "excludes": exclude or [],
            "previous_versions": previous_versions.value,
        },
        care=Care(policy=policy, tags=tag, rpo=rpo, keep=keep),
    )


def add_sftp(
    ctx: typer.Context,
    name: ItemName,
    machine: Machine,
    vault: Vault,
    url: Annotated[str, typer.Option(metavar="URL", help="sftp://user@host[:port]/folder")],
    credentials_file: LoginFile = "",
    known_hosts: KnownHosts = "",
    exclude: Excludes = None,
    policy: Policy = None,
    tag: Tags = None,
    rpo: Rpo = None,
    keep: Keep = None,
) -> None:
    """Protect a folder of an SSH server. Nothing is backed up yet."""
    session = Session.of(ctx)
    protect(
        session,
        name=name,
        workload="sftp",
        machine=machine,
        vault=vault,
        source={
            "url": url,
            "credentials_file": optional(session, credentials_file),
            "known_hosts": optional(session, known_hosts),
            "excludes": exclude or [],
        },
        care=Care(policy=policy, tags=tag, rpo=rpo, keep=keep),
    )


def add_nfs(
    ctx: typer.Context,
    name: ItemName,
    machine: Machine,
    vault: Vault,
    url: Annotated[
        str, typer.Option(metavar="URL", help="nfs://host[:port]/export[/folder], with ?version=4 for NFS 4.")
    ],
    uid: Annotated[int, typer.Option(help="As whom the server is asked: root sees all where exports let it.")] = 0,
    gid: Annotated[int, typer.Option(help="The group that goes with --uid.")] = 0,
    exclude: Excludes = None,
    policy: Policy = None,
    tag: Tags = None,
    rpo: Rpo = None,
    keep: Keep = None,
) -> None:
    """Protect a folder of an NFS server, without mounting it. Nothing is backed up yet."""
    protect(
        Session.of(ctx),
        name=name,
        workload="nfs",
        machine=machine,
        vault=vault,
        source={"url": url, "uid": uid, "gid": gid, "excludes": exclude or []},
        care=Care(policy=policy, tags=tag, rpo=rpo, keep=keep),
    )
