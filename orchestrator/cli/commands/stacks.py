"""up, down and status: the processes of a tower on one machine."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Annotated, Any

import typer

from orchestrator.cli import formats
from orchestrator.cli.output import Output
from orchestrator.cli.ports import DEFAULT_PORT, MOST_WORKERS, UpOptions
from orchestrator.cli.session import Session
from shared.errors import ExitCode, SkyharborError

_LAST_PORT = 65535


def register(app: typer.Typer) -> None:
    """Add the commands to the program."""
    app.command("up")(up)
    app.command("down")(down)
    app.command("status")(status)


def up(
    ctx: typer.Context,
    detach: Annotated[bool, typer.Option("--detach", "-d", help="Return when it is ready, leave it running.")] = False,
    port: Annotated[
        int, typer.Option(min=0, max=_LAST_PORT, help="Port of the API; 0 takes a free one.")
    ] = DEFAULT_PORT,
    workers: Annotated[
        int | None, typer.Option(min=1, max=MOST_WORKERS, help="Jobs that run at once on this machine.")
    ] = None,
    flower: Annotated[
        bool, typer.Option("--flower", help="Start Flower beside it, read-only, on the next port.")
    ] = False,
) -> None:
    """Start the embedded stack under --home: PostgreSQL, broker, API, loops, auditor and a worker."""
    session = Session.of(ctx)
    if flower and port == _LAST_PORT:
        raise SkyharborError("bad-request", f"--flower takes the port after --port, and there is none after {port}")
    options = UpOptions(port=port, workers=workers, flower=flower, detach=detach)
    session.stack.up(session.home, options, announce=lambda document: _announce(session.out, document, detach=detach))


def down(ctx: typer.Context) -> None:
    """Stop the embedded stack; running jobs are handed back and go on after the next 'up'."""
    session = Session.of(ctx)
    stopped = session.stack.down(session.home)
    if session.out.json:
        session.out.document({"stopped": stopped, "home": session.home})
    else:
        session.out.text("stopped" if stopped else f"nothing runs under {session.home}")


def status(ctx: typer.Context) -> None:
    """Show what runs: processes, address, versions, logs. Exit code 6 when nothing does."""
    session = Session.of(ctx)
    if not session.is_local():
        _show_system(session)
        return
    document = session.stack.status(session.home)
    if session.out.json:
        session.out.document(document)
    else:
        _tell(session.out, document)
    _warn(session.out, document)
    if not document.get("running"):
        raise typer.Exit(ExitCode.UNREACHABLE)
    if not document.get("healthy"):
        raise typer.Exit(ExitCode.FAILED)


def _life(process: Mapping[str, Any]) -> str:
    if not process.get("alive"):
        return "no"
    return f"hangs: {', '.join(process['hangs'])}" if process.get("hangs") else "yes"


def _announce(out: Output, document: Mapping[str, object], *, detach: bool) -> None:
    _warn(out, document)
    if out.json:
        out.document(document)
        return
    again = " (was already running)" if document.get("already_running") else ""
    out.fields(
        [
            ("state", f"up{again}"),
            ("url", str(document.get("url"))),
            ("home", str(document.get("home"))),
            ("logs", str(document.get("logs"))),
        ]
    )
    if not detach and not document.get("already_running"):
        out.say("Ctrl-C stops it.")


def _warn(out: Output, document: Mapping[str, Any]) -> None:
    for warning in document.get("warnings") or ():
        out.say(f"warning: {warning}")


def _tell(out: Output, document: Mapping[str, Any]) -> None:
    running, healthy = document.get("running"), document.get("healthy")
    out.fields(
        [
            ("state", "healthy" if healthy else ("running, but not healthy" if running else "not running")),
            ("url", str(document.get("url") or "-")),
            ("home", str(document.get("home"))),
            ("since", formats.moment(document.get("started_at"))),
            ("logs", str(document.get("logs") or "-")),
            *((str(name), str(version)) for name, version in (document.get("versions") or {}).items()),
        ]
    )
    processes = document.get("processes") or []
    if processes:
        out.table(
            ("process", "pid", "alive", "since", "restarts", "memory"),
            (
                (
                    str(process.get("name")),
                    str(process.get("pid") or "-"),
                    _life(process),
                    formats.moment(process.get("since")),
                    formats.count(process.get("restarts")),
                    formats.size(process.get("rss")),
                )
                for process in processes
            ),
        )


def _show_system(session: Session) -> None:
    system = session.tower().get("/system")
    document = {"running": True, "healthy": True, "url": session.tower().url, **system}
    if session.out.json:
        session.out.document(document)
        return
    session.out.fields(
        [
            ("url", session.tower().url),
            ("version", str(system.get("version"))),
            ("since", formats.moment(system.get("started_at"))),
            *((f"jobs {state}", formats.count(number)) for state, number in (system.get("queue") or {}).items()),
        ]
    )
    session.out.table(
        ("worker", "last seen", "runs", "of", "version"),
        (
            (
                str(worker.get("name")),
                formats.moment(worker.get("last_seen_at")),
                formats.count(worker.get("running")),
                formats.count(worker.get("concurrency")),
                str(worker.get("version")),
            )
            for worker in system.get("workers") or []
        ),
        empty="no worker has said hello",
    )
