"""Look at, cancel and retry jobs.

Rule of the file: a terminal job never changes; a retry is a new job that names the old one.
"""

from __future__ import annotations

from orchestrator.domain.job_states import OWNED, JobState
from orchestrator.domain.jobs import Accepted, Job, JobFilter, NewJob, Trigger
from orchestrator.domain.paging import Page, PageRequest
from orchestrator.domain.retry import after_cancel
from orchestrator.domain.urgency import rank_of
from orchestrator.use_cases.forecast_jobs import forecast_jobs
from orchestrator.use_cases.ports import UnitOfWork
from orchestrator.use_cases.requests import accept_job
from shared.errors import SkyharborError
from shared.model.backup import JobKind
from shared.model.ids import new_id


def get_job(uow: UnitOfWork, *, ref: str) -> Job:
    """Return a job by id or a unique beginning of one, with what can be said of its start.

    ``not-found``; ``conflict`` when several begin so.
    """
    return forecast_jobs(uow, [uow.jobs.get(ref)])[0]


def list_jobs(
    uow: UnitOfWork,
    *,
    request: PageRequest,
    state: JobState | None = None,
    item: str | None = None,
    kind: JobKind | None = None,
) -> Page[Job]:
    """Return jobs, newest first, with what can be said of their start; ``not-found`` for an unknown item."""
    item_id = uow.items.get(item, removed=True).id if item is not None else None
    page = uow.jobs.page(request, JobFilter(state=state, item_id=item_id, kind=kind))
    return Page(items=forecast_jobs(uow, page.items), next=page.next)


def cancel_job(uow: UnitOfWork, *, actor: str, ref: str) -> Job:
    """Stop a job: a waiting one at once, a running one at its worker's next renewal (or when its worker is found dead).

    Idempotent: a cancelled job is answered as it is. ``conflict`` once it has ended otherwise, and while it is
    committing. A job that waits after an attempt of it was committing is asked, not ended: its point may exist, so
    the next worker looks for it first, reports it if it is there, and stops otherwise.
    """
    job = uow.jobs.lock(ref)
    if job.state is JobState.CANCELLED:
        return job
    if job.terminal:
        raise SkyharborError("conflict", f"the job is {job.state} already", state=str(job.state))
    if job.state is JobState.COMMITTING:
        raise SkyharborError("conflict", "the job is sealing its point; it is too late to cancel", state=str(job.state))
    if job.state in OWNED or job.committing_at is not None:
        if job.cancel_requested_at is not None:
            return job
        uow.jobs.ask_cancel(job)
    else:
        uow.jobs.end_attempt(job, after_cancel(job))
    uow.wake()
    uow.audit.append(actor=actor, action="job.cancel", target=job.id, detail={"state": str(job.state)})
    uow.commit()
    return uow.jobs.get(job.id)


def retry_job(uow: UnitOfWork, *, actor: str, ref: str, key: str | None = None) -> Accepted:
    """Make a new job that asks for the same.

    ``conflict`` while the old one has not ended, and for a point that is on its way out.
    ``not-found`` for a removed item.
    """
    old = uow.jobs.get(ref)
    if not old.terminal:
        raise SkyharborError(
            "conflict", f"the job is {old.state}: only an ended job can be retried", state=str(old.state)
        )
    if old.kind is JobKind.BACKUP:
        uow.items.get(old.item_id)
    job = NewJob(
        id=new_id(),
        kind=old.kind,
        trigger=Trigger.DEMAND,
        item_id=old.item_id,
        machine_id=old.machine_id,
        vault_id=old.vault_id,
        point_id=new_id() if old.kind is JobKind.BACKUP else old.point_id,
        rank=rank_of(old.kind, Trigger.DEMAND),
        requested_by=actor,
        estimate=old.estimate,
        mib_per_second=old.mib_per_second,
        requested_type=old.requested_type,
        retry_of=old.id,
        target=old.target,
        paths=old.paths,
        conflict=old.conflict,
        full=old.full,
        hurried=old.hurried,
        options=old.options,
    )
    return accept_job(uow, actor=actor, job=job, key=key, request={"retry": old.id}, action="job.retry")
