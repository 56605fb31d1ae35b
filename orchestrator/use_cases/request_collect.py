"""Ask for a collection of a vault's garbage, and file those that are due.

Rule of the file: one open collection per vault, whoever asked for it.
"""

from __future__ import annotations

from orchestrator.domain.collecting import REST, REST_AFTER_FAILURE
from orchestrator.domain.estimate import expected_seconds
from orchestrator.domain.jobs import Accepted, NewJob, Trigger
from orchestrator.domain.system import Leadership
from orchestrator.domain.urgency import rank_of
from orchestrator.use_cases.ports import UnitOfWork
from orchestrator.use_cases.requests import accept_job
from shared.model.backup import JobKind
from shared.model.ids import new_id

VAULTS_PER_STEP = 100


def request_collect(
    uow: UnitOfWork, *, actor: str, vault: str, hurried: bool = False, key: str | None = None
) -> Accepted:
    """Accept a job that collects. ``hurried``: without the grace, and a second sweep after the mark.

    Errors: ``not-found``; ``conflict`` while another one has not ended; ``idempotency-mismatch``.
    """
    found = uow.vaults.get(vault)
    job = _job(found.id, Trigger.DEMAND, actor, hurried=hurried)
    request = {"kind": "collect", "vault": found.id, "now": hurried}
    return accept_job(uow, actor=actor, job=job, key=key, request=request, action="job.collect")


def file_collections(uow: UnitOfWork, *, leadership: Leadership | None = None) -> int:
    """Make jobs for vaults in which something waits to be collected and that have rested; returns how many."""
    if leadership is not None:
        uow.leaders.require(leadership)
    vaults = uow.collecting.due_vaults(rest=REST, rest_after_failure=REST_AFTER_FAILURE, limit=VAULTS_PER_STEP)
    jobs = [_job(vault, Trigger.SCHEDULE, "expirer", hurried=False) for vault in vaults]
    if not jobs:
        return 0
    uow.jobs.add(jobs)
    uow.wake()
    for job in jobs:
        uow.audit.append(actor="tower", action="job.collect", target=job.id, detail={"vault": job.vault_id})
    uow.commit()
    return len(jobs)


def _job(vault_id: str, trigger: Trigger, actor: str, *, hurried: bool) -> NewJob:
    return NewJob(
        id=new_id(),
        kind=JobKind.COLLECT,
        trigger=trigger,
        item_id="",
        machine_id="",
        vault_id=vault_id,
        point_id="",
        rank=rank_of(JobKind.COLLECT, trigger),
        requested_by=actor,
        estimate=expected_seconds(JobKind.COLLECT, ()),
        hurried=hurried,
    )
