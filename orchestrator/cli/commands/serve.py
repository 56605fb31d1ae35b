"""serve: one process of a tower in the foreground, against servers that someone else runs.

Rule of the file: the command becomes the process, by exec, so that signals and the exit code are the process's own;
what it is told, it is told by the environment.
"""

from __future__ import annotations

import os
import sys
from collections.abc import Callable
from typing import Annotated, NoReturn

import typer

from orchestrator.cli.commands.lending import ServeGroup, serve_point
from orchestrator.cli.session import Session
from orchestrator.cli.settings import program_environment
from shared.errors import ExitCode, SkyharborError
from shared.pulse import broken_promises

_LOOPBACK = "127.0.0.1"
_HELP = """Run one process of a tower in the foreground, against servers that someone else runs; or serve a point.

Settings come from the environment (docs/guides/deploying.md); a secret NAME may be given as NAME_FILE. Everything that
is written lies under --home. Logs go to stderr, one JSON object a line; SIGTERM ends a process in good order."""

_ROLES = {
    "migrate": "Bring the schema of SKYHARBOR_DATABASE_URL up to date, and end.",
    "loops": "Run the tower's loops on SKYHARBOR_DATABASE_URL and SKYHARBOR_BROKER_URL.",
    "auditor": "Look after the promises on SKYHARBOR_DATABASE_URL, and alarm SKYHARBOR_ALARM_URLS.",
}
"""Roles of ``orchestrator.bootstrap.run_role`` that take no arguments, and what is said of them."""


def commands() -> typer.Typer:
    """Return the ``serve`` group."""
    group = typer.Typer(cls=ServeGroup, help=_HELP)
    group.command("api")(api)
    for name, told in _ROLES.items():
        group.command(name, help=told)(_role(name))
    group.command("worker")(worker)
    group.command("flower")(flower)
    group.command("health")(health)
    group.command("point")(serve_point)
    return group


def api(
    ctx: typer.Context,
    migrate: Annotated[bool, typer.Option("--migrate", help="Bring the schema up to date first.")] = False,
) -> None:
    """Run the API on SKYHARBOR_DATABASE_URL, at SKYHARBOR_BIND (127.0.0.1:8470)."""
    _become(ctx, "orchestrator", "api", *(["--migrate"] if migrate else []))


def worker(ctx: typer.Context) -> None:
    """Run a Celery worker on SKYHARBOR_BROKER_URL, for the tower of SKYHARBOR_TOWER_URL."""
    _become(ctx, "workers")


def flower(
    address: Annotated[str, typer.Option(help="Where it listens. It asks nobody for a password.")] = _LOOPBACK,
    port: Annotated[int, typer.Option(min=1, max=65535)] = 5555,
) -> None:
    """Run Flower on SKYHARBOR_BROKER_URL: it shows the workers, and can order nothing."""
    environment = program_environment()
    broker = environment.pop("SKYHARBOR_BROKER_URL", "")
    if not broker:
        raise SkyharborError(
            "bad-request",
            "SKYHARBOR_BROKER_URL is not set",
            hint="Set it in the environment; see 'skyharbor serve --help'.",
        )
    # By the environment, for arguments are for everybody to read.
    environment["CELERY_BROKER_URL"] = broker
    arguments = ["celery", "flower", f"--address={address}", f"--port={port}", "--read_only=True"]
    _exec(environment, *arguments)


def health(
    ctx: typer.Context,
    file: Annotated[str, typer.Option(envvar="SKYHARBOR_READY_FILE", help="Where the process says that it goes on.")],
) -> None:
    """Say whether the loops, the auditor or the worker of SKYHARBOR_READY_FILE goes on; exit code 1 when not.

    Not ready yet, frozen, or with a loop whose step has taken more than SKYHARBOR_HANG_SECONDS (60).
    """
    out = Session.of(ctx).out
    late = broken_promises(file)
    if out.json:
        out.document({"ready": late is not None, "hangs": sorted(late or ()), "healthy": late is not None and not late})
    elif late is None:
        out.say("not ready")
    else:
        out.text(f"hangs: {', '.join(sorted(late))}" if late else "healthy")
    if late is None or late:
        raise typer.Exit(ExitCode.FAILED)


def _role(name: str) -> Callable[[typer.Context], None]:
    def run(ctx: typer.Context) -> None:
        _become(ctx, "orchestrator", name)

    return run


def _become(ctx: typer.Context, module: str, *arguments: str) -> NoReturn:
    _exec(program_environment(SKYHARBOR_HOME=Session.of(ctx).home), module, *arguments)


def _exec(environment: dict[str, str], module: str, *arguments: str) -> NoReturn:
    sys.stdout.flush()
    sys.stderr.flush()
    command = [sys.executable, "-P", "-m", module, *arguments]
    os.execve(command[0], command, environment)  # noqa: S606 - our own program
