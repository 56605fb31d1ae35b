"""/jobs/{id}/events: a job's changes as server-sent events.

Rule of the file: the database is asked, not told: a watcher never slows a worker, and a lost stream costs a reconnect.
"""

from __future__ import annotations

from collections.abc import AsyncIterator

import anyio
from fastapi import APIRouter
from fastapi.concurrency import run_in_threadpool
from fastapi.responses import StreamingResponse

from orchestrator.api.edge import Ref, Use
from orchestrator.api.jobs import job_out
from orchestrator.domain.jobs import Job
from orchestrator.use_cases.application import Application
from orchestrator.use_cases.jobs import get_job
from shared.errors import SkyharborError

routes = APIRouter(tags=["jobs"])

_FIRST_LOOK, _LOOK_EVERY = 0.02, 0.2
"""Seconds: a person sees no difference to at once, and a hundred watchers are 500 cheap reads. A stream begins with
quicker looks, each a quarter later than the one before: most scripts wait for jobs of less than a second."""

_COMMENT_EVERY = 10.0
"""Seconds: keeps proxies from cutting a quiet stream, and tells the client that the server lives."""


@routes.get(
    "/jobs/{ref}/events",
    response_class=StreamingResponse,
    responses={
        200: {
            "description": "`event: job` at every change, until the job has ended",
            "content": {"text/event-stream": {}},
        }
    },
)
def follow(application: Use, ref: Ref) -> StreamingResponse:
    """Stream the job at every change of its state, progress or wait reason; ends after the terminal one."""
    job = _look(application, ref)
    headers = {"Cache-Control": "no-store", "X-Accel-Buffering": "no"}
    return StreamingResponse(_frames(application, job), media_type="text/event-stream", headers=headers)


def _look(application: Application, ref: str) -> Job:
    with application.unit_of_work() as uow:
        return get_job(uow, ref=ref)


async def _frames(application: Application, job: Job) -> AsyncIterator[str]:
    """Yield frames. A database that goes away ends the stream: the client comes back and asks again."""
    clock = application.clock
    shown, spoke_at, pause = "", clock.monotonic(), _FIRST_LOOK
    while True:
        document = job_out(job).model_dump_json()
        if document != shown:
            yield f"event: job\ndata: {document}\n\n"
            shown, spoke_at = document, clock.monotonic()
        elif clock.monotonic() - spoke_at >= _COMMENT_EVERY:
            yield ": still here\n\n"
            spoke_at = clock.monotonic()
        if job.terminal:
            return
        await anyio.sleep(pause)
        pause = min(_LOOK_EVERY, 1.25 * pause)
        try:
            job = await run_in_threadpool(_look, application, job.id)
        except SkyharborError:
            return
