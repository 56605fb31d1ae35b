"""``item add vm``."""

from __future__ import annotations

from typing import Annotated

import typer

from orchestrator.cli.commands.protecting.places import absolute, optional
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


def add_vm(
    ctx: typer.Context,
    name: ItemName,
    machine: Machine,
    vault: Vault,
    disk: Annotated[
        list[str] | None,
        typer.Option(metavar="IMAGE", help="An image of a machine that is off; may be repeated."),
    ] = None,
    qmp: Annotated[str, typer.Option(metavar="SOCKET", help="The QMP socket of a QEMU that runs.")] = "",
    agent: Annotated[str, typer.Option(metavar="SOCKET", help="The socket of the guest's agent, beside --qmp.")] = "",
    libvirt: Annotated[str, typer.Option(metavar="URI", help="A libvirt connection, with --domain.")] = "",
    domain: Annotated[str, typer.Option(metavar="NAME", help="The libvirt domain.")] = "",
    no_freeze: Annotated[
        bool, typer.Option("--no-freeze", help="Do not ask the agent to bring file systems to rest.")
    ] = False,
    scratch: Annotated[
        str,
        typer.Option(
            metavar="DIR",
            help="Where what the guest overwrites during a backup is kept meanwhile. Without, beside its first image.",
        ),
    ] = "",
    policy: Policy = None,
    tag: Tags = None,
    rpo: Rpo = None,
    keep: Keep = None,
) -> None:
    """Protect a virtual machine: all its disks at one point in time. Nothing is backed up yet."""
    session = Session.of(ctx)
    disks = [absolute(session, path) for path in disk or ()]
    source = {
        "disks": disks,
        "qmp": optional(session, qmp),
        "agent": optional(session, agent),
        "libvirt": libvirt,
        "domain": domain,
        "freeze": not no_freeze,
        "scratch": optional(session, scratch),
    }
    protect(
        session,
        name=name,
        workload="vm",
        machine=machine,
        vault=vault,
        source=source,
        care=Care(policy=policy, tags=tag, rpo=rpo, keep=keep),
    )
