"""/jobs: ask for work, look at it, cancel it, try it again.

Rule of the file: a POST that makes a job answers 202 and the job; its Idempotency-Key again answers 200 and it again.
"""

from __future__ import annotations

from typing import Annotated, Any, Literal

import msgspec
from fastapi import APIRouter, Body, Header, Query, Response
from pydantic import BaseModel, Field

from orchestrator.api.auth import OPERATOR
from orchestrator.api.edge import Listing, Moment, Paging, Received, Ref, RefQuery, Text, Use, listing
from orchestrator.domain.job_states import JobState
from orchestrator.domain.jobs import Accepted, Job
from orchestrator.use_cases.jobs import cancel_job, get_job, list_jobs, retry_job
from orchestrator.use_cases.ports import UnitOfWork
from orchestrator.use_cases.request_backup import request_backup
from orchestrator.use_cases.request_restore import request_restore
from orchestrator.use_cases.request_verify import request_verify
from shared.model.backup import BackupStats, BackupType, CollectStats, ConflictRule, JobKind, RestoreStats, VerifyStats

routes = APIRouter(tags=["jobs"])

_STATS: dict[JobKind, type[msgspec.Struct]] = {
    JobKind.BACKUP: BackupStats,
    JobKind.RESTORE: RestoreStats,
    JobKind.VERIFY: VerifyStats,
    JobKind.COLLECT: CollectStats,
}

Key = Annotated[str | None, Header(alias="Idempotency-Key", min_length=1, max_length=255)]


class BackupRequest(Received):
    """Back an item up now."""

    kind: Literal["backup"]
    item: Text
    type: BackupType = BackupType.INCREMENTAL


class RestoreRequest(Received):
    """Bring a point back below ``target``; no paths means everything. ``latest`` needs the item.

    ``options`` are those of the point's workload: ``format`` of disks, ``until`` of databases.
    """

    kind: Literal["restore"]
    point: Text
    target: Text
    item: Text | None = None
    paths: Annotated[list[Text], Field(default_factory=list)]
    conflict: ConflictRule = ConflictRule.SKIP
    options: Annotated[dict[Text, Text], Field(default_factory=dict)]


class VerifyRequest(Received):
    """Prove a point; ``full`` reads every byte."""

    kind: Literal["verify"]
    point: Text
    item: Text | None = None
    full: bool = False


JobRequest = Annotated[BackupRequest | RestoreRequest | VerifyRequest, Body(discriminator="kind")]


class WarningOut(BaseModel):
    """One thing that could not be read or kept, that did not stop the job."""

    path: str
    code: str
    message: str


class ErrorOut(BaseModel):
    """Why the last attempt that has ended failed. ``attempt`` is its number: while another runs, not the job's."""

    attempt: int
    code: str
    title: str
    message: str
    hint: str


class JobOut(BaseModel):
    """A job. ``type`` is what was really done; ``seconds`` is from start to end; stats depend on the kind.

    One that collects is of a whole vault: its item is null.

    Of a waiting one, ``expected_start_at`` is a forecast; ``latest_start`` is when it has to start to keep the RPO.
    """

    id: str
    kind: JobKind
    type: BackupType | None
    item: str | None
    item_id: str | None
    vault: str
    vault_id: str
    state: JobState
    point: str | None
    attempt: int
    epoch: int
    created_at: Moment
    started_at: Moment | None
    finished_at: Moment | None
    seconds: float | None
    wait_reason: str | None
    queue_position: int | None
    expected_start_at: Moment | None
    latest_start: Moment | None
    start_by: Moment | None
    finish_by: Moment | None
    tenant: str
    cancel_requested_at: Moment | None
    progress: dict[str, Any] | None
    error: ErrorOut | None
    stats: dict[str, int] | None
    warnings: list[WarningOut]
    policy_version: str | None
    requested_by: str
    retry_of: str | None
    target: str | None
    paths: list[str]
    conflict: ConflictRule | None
    options: dict[str, str]
    full: bool | None


@routes.post("/jobs", status_code=202, responses={200: {"model": JobOut, "description": "The key's job of before"}})
def ask(application: Use, body: JobRequest, response: Response, key: Key = None) -> JobOut:
    """Ask for a backup, a restore or a verify."""
    with application.unit_of_work() as uow:
        return accepted_out(_request(uow, body, key), response)


@routes.get("/jobs")
def list_all(
    application: Use,
    page: Paging,
    state: Annotated[JobState | None, Query()] = None,
    item: RefQuery = None,
    kind: Annotated[JobKind | None, Query()] = None,
) -> Listing[JobOut]:
    """List jobs, newest first."""
    with application.unit_of_work() as uow:
        return listing(list_jobs(uow, request=page, state=state, item=item, kind=kind), job_out)


@routes.get("/jobs/{ref}")
def show(application: Use, ref: Ref) -> JobOut:
    """Show one job."""
    with application.unit_of_work() as uow:
        return job_out(get_job(uow, ref=ref))


@routes.post("/jobs/{ref}/cancel")
def cancel(application: Use, ref: Ref) -> JobOut:
    """Cancel a job: a waiting one at once, a running one when its worker hears of it. Idempotent."""
    with application.unit_of_work() as uow:
        return job_out(cancel_job(uow, actor=OPERATOR, ref=ref))


@routes.post(
    "/jobs/{ref}/retry", status_code=202, responses={200: {"model": JobOut, "description": "The key's job of before"}}
)
def retry(application: Use, ref: Ref, response: Response, key: Key = None) -> JobOut:
    """Ask for the same again, as a new job; only of a job that has ended."""
    with application.unit_of_work() as uow:
        return accepted_out(retry_job(uow, actor=OPERATOR, ref=ref, key=key), response)


def job_out(job: Job) -> JobOut:
    """Return a job as it goes out."""
    return JobOut(
        id=job.id,
        kind=job.kind,
        type=job.type or job.requested_type,
        item=job.item or None,
        item_id=job.item_id or None,
        vault=job.vault,
        vault_id=job.vault_id,
        state=job.state,
        point=job.point,
        attempt=job.attempt,
        epoch=job.epoch,
        created_at=job.created_at,
        started_at=job.started_at,
        finished_at=job.finished_at,
        seconds=job.seconds,
        wait_reason=job.wait_reason,
        queue_position=job.queue_position,
        expected_start_at=job.expected_start_at,
        latest_start=None if job.terminal else job.latest_start,
        start_by=job.start_by,
        finish_by=job.finish_by,
        tenant=job.tenant,
        cancel_requested_at=job.cancel_requested_at,
        progress=dict(job.progress) if job.progress is not None else None,
        error=_error(job),
        stats=_stats(job),
        warnings=[WarningOut(**warning) for warning in job.warnings],
        policy_version=job.policy_version,
        requested_by=job.requested_by,
        retry_of=job.retry_of,
        target=job.target,
        paths=list(job.paths),
        conflict=job.conflict,
        options=dict(job.options),
        full=job.full,
    )


def _error(job: Job) -> ErrorOut | None:
    error = job.error
    if error is None:
        return None
    return ErrorOut(
        attempt=job.failed_attempt, code=error.code, title=error.title, message=error.message, hint=error.hint
    )


def _stats(job: Job) -> dict[str, int] | None:
    """Return the counts of the job's kind, all of them and in their order: JSON in the database keeps neither."""
    if job.stats is None:
        return None
    return {name: job.stats.get(name, 0) for name in _STATS[job.kind].__struct_fields__}


def _request(uow: UnitOfWork, body: BackupRequest | RestoreRequest | VerifyRequest, key: str | None) -> Accepted:
    if isinstance(body, BackupRequest):
        return request_backup(uow, actor=OPERATOR, item=body.item, type=body.type, key=key)
    if isinstance(body, VerifyRequest):
        return request_verify(uow, actor=OPERATOR, point=body.point, item=body.item, full=body.full, key=key)
    return request_restore(
        uow,
        actor=OPERATOR,
        point=body.point,
        target=body.target,
        item=body.item,
        paths=body.paths,
        conflict=body.conflict,
        options=body.options,
        key=key,
    )


def accepted_out(accepted: Accepted, response: Response) -> JobOut:
    """Return a job that was asked for as it goes out, with the headers that tell of it."""
    if accepted.replayed:
        response.status_code = 200
        response.headers["Idempotency-Replayed"] = "true"
    response.headers["Location"] = f"/api/v1/jobs/{accepted.job.id}"
    return job_out(accepted.job)
