"""job list, show, watch, cancel, retry: what is in flight, what waits and why."""

from __future__ import annotations

from collections.abc import Iterator
from itertools import islice
from typing import Annotated
from uuid import uuid4

import typer

from orchestrator.cli import formats
from orchestrator.cli.client import at
from orchestrator.cli.jobs import follow, tell, where
from orchestrator.cli.progress import situation
from orchestrator.cli.session import Session
from orchestrator.cli.waiting import Job, is_terminal

JobId = Annotated[
    str, typer.Argument(metavar="JOB", help="The job's id, or its unique beginning of 8 or more characters.")
]


def commands() -> typer.Typer:
    """Return the ``job`` group."""
    group = typer.Typer(help="Jobs: what is in flight, what waits and why.")
    group.command("list")(list_jobs)
    group.command("show")(show)
    group.command("watch")(watch)
    group.command("cancel")(cancel)
    group.command("retry")(retry)
    return group


def list_jobs(
    ctx: typer.Context,
    state: Annotated[str | None, typer.Option(help="Only jobs in this state.")] = None,
    item: Annotated[str | None, typer.Option(help="Only jobs of this item.")] = None,
    kind: Annotated[str | None, typer.Option(help="Only backup, restore, verify or collect.")] = None,
    limit: Annotated[int, typer.Option(min=1, help="At most so many, newest first.")] = 50,
) -> None:
    """List jobs, newest first."""
    session = Session.of(ctx)
    found = session.tower().items("/jobs", state=state, item=item, kind=kind, limit=min(limit, 200))
    jobs = list(islice(found, limit))
    if session.out.json:
        session.out.document({"items": jobs})
        return
    session.out.table(
        ("id", "kind", "item", "state", "now", "created", "took"),
        (
            (
                job["id"],
                " ".join(str(part) for part in (job["kind"], job.get("type")) if part),
                str(job.get("item") or job.get("vault") or "-"),
                job["state"],
                "" if is_terminal(job) else situation(job),
                formats.moment(job["created_at"]),
                formats.seconds(job.get("seconds")),
            )
            for job in jobs
        ),
        empty="no jobs",
    )


def show(ctx: typer.Context, job: JobId) -> None:
    """Show one job."""
    session = Session.of(ctx)
    document = session.tower().get(at("jobs", job))
    if session.out.json:
        session.out.document(document)
        return
    tell(session.out, document, _what_went_wrong(document))


def _what_went_wrong(job: Job) -> Iterator[tuple[str, str]]:
    """Return the error with the attempt that it is of, what to do about it, and the warnings."""
    error = job.get("error")
    if error:
        of_attempt = "" if is_terminal(job) else f"(of attempt {error['attempt']}) "
        yield "error", f"{of_attempt}{error['title']}: {error['message']} ({error['code']})"
        if error["hint"]:
            yield "hint", str(error["hint"])
    for warning in job.get("warnings") or []:
        yield "warning", f"{where(warning)}{warning['message']} ({warning['code']})"


def watch(ctx: typer.Context, job: JobId) -> None:
    """Follow a job to its end and exit as it ends. With --json one document per change."""
    session = Session.of(ctx)
    follow(session, session.tower().get(at("jobs", job)), stream=True)


def cancel(
    ctx: typer.Context,
    job: JobId,
    wait: Annotated[bool, typer.Option("--wait", help="Wait until the worker has let go.")] = False,
) -> None:
    """Cancel a job: a waiting one at once, a running one when its worker hears of it."""
    session = Session.of(ctx)
    document = session.tower().post(at("jobs", job, "cancel"))
    if wait and not is_terminal(document):
        from orchestrator.cli.waiting import wait_for

        document = dict(wait_for(session.tower(), document, clock=session.clock, show=lambda _: None))
    if session.out.json:
        session.out.document(document)
    else:
        done = is_terminal(document)
        session.out.text(f"job {document['id']} " + (f"is {document['state']}" if done else "is asked to stop"))


def retry(
    ctx: typer.Context,
    job: JobId,
    wait: Annotated[bool, typer.Option("--wait", help="Wait for the new job to end.")] = False,
) -> None:
    """Start an ended job again, as a new job."""
    session = Session.of(ctx)
    document = session.tower().post(at("jobs", job, "retry"), idempotency_key=str(uuid4()))
    if wait:
        follow(session, document)
    if session.out.json:
        session.out.document(document)
    else:
        tell(session.out, document)
