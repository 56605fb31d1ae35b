"""What every command that starts or follows a job does with it: show it, wait for it, turn it into an exit code."""

from __future__ import annotations

import uuid
from collections.abc import Iterable, Mapping
from typing import Any

import typer

from orchestrator.cli import formats
from orchestrator.cli.client import no_name
from orchestrator.cli.failures import job_exit_code
from orchestrator.cli.output import Output
from orchestrator.cli.progress import situation, view_for_terminal
from orchestrator.cli.session import Session
from orchestrator.cli.waiting import Job, wait_for
from shared.errors import ExitCode
from shared.model.terminal import printable

_SHOWN_WARNINGS = 20


def start(session: Session, request: Mapping[str, object], *, wait: bool, key: str | None = None) -> None:
    """Ask for a job and end the command: at once with the job as it was accepted, or when it has ended.

    Every invocation sends an Idempotency-Key, its own or the caller's, so a request that is repeated after a broken
    connection makes one job.
    """
    asked = {name: value for name, value in request.items() if value is not None}
    if "" in asked.values():
        raise no_name()
    job = session.tower().post("/jobs", asked, idempotency_key=key or str(uuid.uuid4()))
    if wait:
        follow(session, job)
    if session.out.json:
        session.out.document(job)
    else:
        tell(session.out, job)


def follow(session: Session, job: Job, *, stream: bool = False) -> None:
    """Wait for a job, show its end and exit with its code; with ``stream`` and --json, one document per change.

    Ctrl-C stops the waiting, not the job.
    """
    out, view, latest = session.out, view_for_terminal(), job

    def show(current: Job) -> None:
        nonlocal latest
        latest = current
        view.show(current)
        if stream and out.json:
            out.document(current)

    try:
        latest = wait_for(session.tower(), job, clock=session.clock, show=show)
    except KeyboardInterrupt:
        view.close()
        if out.json and not stream:
            out.document(latest)
        out.say(f"interrupted; the job goes on: skyharbor job watch {latest['id']}")
        raise typer.Exit(ExitCode.INTERRUPTED) from None
    finally:
        view.close()
    if not out.json:
        tell(out, latest)
    elif not stream:
        out.document(latest)
    raise typer.Exit(explain(out, latest))


def tell(out: Output, job: Job, more: Iterable[tuple[str, str]] = ()) -> None:
    """Show one job to a person, and at its end what else there is to say of it."""
    pairs = [
        ("job", str(job["id"])),
        ("kind", " ".join(str(part) for part in (job["kind"], job.get("type")) if part)),
        ("item", str(job.get("item") or "-")) if job["kind"] != "collect" else ("vault", str(job.get("vault"))),
        ("state", str(job["state"])),
    ]
    if job["state"] not in ("completed", "cancelled", "discarded", "expired"):
        pairs.append(("now", situation(job)))
    pairs += [
        ("point", str(job.get("point") or "-")),
        ("created", formats.moment(job.get("created_at"))),
        ("started", formats.moment(job.get("started_at"))),
        ("took", formats.seconds(job.get("seconds"))),
        ("attempt", str(job.get("attempt"))),
    ]
    if job.get("target"):
        pairs.append(("target", str(job["target"])))
    pairs += [(name.replace("_", " "), _stat(name, value)) for name, value in (job.get("stats") or {}).items()]
    out.fields([*pairs, *more])


def _stat(name: str, value: object) -> str:
    return formats.size(value) if name.startswith("bytes_") else formats.count(value)


def explain(out: Output, job: Mapping[str, Any], *, about: str = "") -> int:
    """Say on stderr why a finished job is not simply done, and return its exit code. ``about`` begins every line."""
    warnings = job.get("warnings") or []
    for warning in warnings[:_SHOWN_WARNINGS]:
        out.say(f"warning: {about}{where(warning)}{warning['message']} ({warning['code']})")
    counted = (job.get("stats") or {}).get("warnings") or len(warnings)
    if counted > min(len(warnings), _SHOWN_WARNINGS):
        out.say(f"warning: {about}{counted} in all; see 'skyharbor --json job show {job['id']}'")
    error = job.get("error")
    if error:
        out.say(f"error: {about}{error['title']}: {error['message']} ({error['code']})")
        if error["hint"]:
            out.say(f"hint: {error['hint']}")
    elif job["state"] != "completed":
        out.say(f"error: {about}the job ended {job['state']}")
    return job_exit_code(job)


def where(warning: Mapping[str, Any]) -> str:
    """Return the beginning of a warning's line: its path, when it is about one."""
    return f"{printable(warning['path'])}: " if warning["path"] else ""  # some speak of the whole vault
