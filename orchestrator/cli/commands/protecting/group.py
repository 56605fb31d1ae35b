"""The ``item add`` group.

Rule of the file: the one list of workloads of the command line.
"""

from __future__ import annotations

import typer

from orchestrator.cli.commands.protecting.files import add_files


def protecting() -> typer.Typer:
    """Return the group."""
    group = typer.Typer(help="Protect something new.")
    group.command("files")(add_files)
    return group
