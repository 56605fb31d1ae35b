"""Write the fires to come into the ledger, and make jobs of those whose time has come.

Rule of the file: a fire and its job are one transaction, so a fire is filed once whatever is killed when.
"""

from __future__ import annotations

from collections.abc import Sequence
from datetime import datetime
from itertools import groupby

from orchestrator.domain.admission import rank_of
from orchestrator.domain.job_states import FireState, JobState
from orchestrator.domain.jobs import Ending, Job, NewJob, Trigger
from orchestrator.domain.ledger import HORIZON, DueFire, plan_item, reads_most, settle_item
from orchestrator.domain.policy import OnMissed
from orchestrator.domain.system import Leadership
from orchestrator.use_cases.ports import UnitOfWork
from shared.model.backup import JobKind
from shared.model.ids import new_id

ITEMS_PER_STEP = 500


def plan_fires(uow: UnitOfWork, *, now: datetime, leadership: Leadership | None = None) -> int:
    """Plan up to 500 items two hours ahead; returns how many items were planned. Call again while it is not 0.

    An item is planned again once half the horizon is used up; one that lags far behind catches up in several calls.
    """
    if leadership is not None:
        uow.leaders.require(leadership)
    items = uow.ledger.to_plan(before=now + HORIZON / 2, limit=ITEMS_PER_STEP)
    for item in items:
        fires, reached = plan_item(item, until=now + HORIZON)
        uow.ledger.plan(item.item_id, fires, through=reached)
    uow.commit()
    return len(items)


def file_fires(uow: UnitOfWork, *, now: datetime, leadership: Leadership | None = None) -> int:
    """Settle the due fires of up to 500 items; returns how many fires were settled. Call again while it is not 0.

    A scheduled job that nobody has started does not stand in the way of a newer fire: the fire's job replaces it.
    """
    if leadership is not None:
        uow.leaders.require(leadership)
    due = uow.ledger.due(now=now, limit=ITEMS_PER_STEP)
    settled, superseded = 0, dict[str, str]()
    for item_id, fires in groupby(due, key=lambda fire: fire.item_id):
        unstarted = [job for job in uow.jobs.lock_waiting_backups(item_id) if _is_unstarted(job)]
        active = uow.jobs.active_backup(item_id, besides=[job.id for job in unstarted]) is not None
        for settlement in settle_item(list(fires), now=now, backup_active=active):
            job_id = None
            if settlement.state is FireState.FILED:
                replaced = [] if settlement.fire.spec.on_missed is OnMissed.RUN_ALL else unstarted
                job_id = _file(uow, settlement.fire, instead_of=replaced)
                superseded.update((job.id, job_id) for job in replaced)
            uow.ledger.settle(settlement.fire, state=settlement.state, reason=settlement.reason, job_id=job_id)
            settled += 1
    for old, new in superseded.items():
        uow.audit.append(actor="tower", action="job.supersede", target=old, detail={"by": new})
    if settled:
        uow.wake()
    uow.commit()
    return settled


def _is_unstarted(job: Job) -> bool:
    return job.trigger is Trigger.SCHEDULE and job.started_at is None


def _file(uow: UnitOfWork, fire: DueFire, *, instead_of: Sequence[Job]) -> str:
    """Make the fire's job.

    One that replaces others keeps their place in the queue (an item that is due more often than the queue moves would
    never come first), and it reads as much as any of them would have.
    """
    types = [job.requested_type for job in instead_of if job.requested_type is not None]
    job = NewJob(
        id=new_id(),
        kind=JobKind.BACKUP,
        trigger=Trigger.SCHEDULE,
        item_id=fire.item_id,
        machine_id=fire.machine_id,
        vault_id=fire.vault_id,
        point_id=new_id(),
        rank=rank_of(JobKind.BACKUP, Trigger.SCHEDULE, priority=fire.spec.priority),
        requested_by=f"policy:{fire.spec.name}",
        requested_type=reads_most([fire.type, *types]),
        waiting_since=min((job.created_at for job in instead_of), default=None),
        policy_version=fire.version_id,
    )
    uow.jobs.add(job)
    for old in instead_of:
        uow.jobs.end_attempt(old, Ending(state=JobState.EXPIRED, losses=old.losses, attempt=old.attempt))
    return job.id
