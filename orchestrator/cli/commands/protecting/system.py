"""``item add system``."""

from __future__ import annotations

import typer

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


def add_system(
    ctx: typer.Context,
    name: ItemName,
    machine: Machine,
    vault: Vault,
    policy: Policy = None,
    tag: Tags = None,
    rpo: Rpo = None,
    keep: Keep = None,
) -> None:
    """Protect what the worker's machine is: packages, /etc, /boot, layout of disks; with a plan for bare metal."""
    protect(
        Session.of(ctx),
        name=name,
        workload="system",
        machine=machine,
        vault=vault,
        source={},
        care=Care(policy=policy, tags=tag, rpo=rpo, keep=keep),
    )
