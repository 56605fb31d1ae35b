"""The ``item add`` group.

Rule of the file: the one list of workloads of the command line.
"""

from __future__ import annotations

import typer

from orchestrator.cli.commands.protecting.files import add_files
from orchestrator.cli.commands.protecting.mysql import add_mysql
from orchestrator.cli.commands.protecting.postgres import add_postgres
from orchestrator.cli.commands.protecting.shares import add_nfs, add_sftp, add_smb
from orchestrator.cli.commands.protecting.sqlite import add_sqlite
from orchestrator.cli.commands.protecting.system import add_system
from orchestrator.cli.commands.protecting.vm import add_vm


def protecting() -> typer.Typer:
    """Return the group."""
    group = typer.Typer(help="Protect something new.")
    group.command("files")(add_files)
    group.command("vm")(add_vm)
    group.command("postgres")(add_postgres)
    group.command("mysql")(add_mysql)
    group.command("sqlite")(add_sqlite)
    group.command("smb")(add_smb)
    group.command("sftp")(add_sftp)
    group.command("nfs")(add_nfs)
    group.command("system")(add_system)
    return group
