"""Write the fires to come into the ledger, and make jobs of those whose time has come.

Rule of the file: a fire and its job are one transaction, so a fire is filed once whatever is killed when.
"""

from __future__ import annotations

from datetime import datetime
from itertools import groupby

from orchestrator.domain.admission import rank_of
from orchestrator.domain.job_states import FireState
from orchestrator.domain.jobs import NewJob, Trigger
from orchestrator.domain.ledger import HORIZON, DueFire, plan_item, settle_item
from orchestrator.domain.system import Leadership
from orchestrator.use_cases.ports import UnitOfWork
from shared.model.backup import JobKind
from shared.model.ids import new_id

ITEMS_PER_STEP = 500


def plan_fires(uow: UnitOfWork, *, now: datetime, leadership: Leadership | None = None) -> int:
    """Plan up to 500 items two hours ahead; returns how many items were planned. Call again while it is 500.

    An item is planned again once half the horizon is used up.
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
    """Settle the due fires of up to 500 items; returns how many fires were settled. Call again while it is not 0."""
    if leadership is not None:
        uow.leaders.require(leadership)
    due = uow.ledger.due(now=now, limit=ITEMS_PER_STEP)
    for item_id, fires in groupby(due, key=lambda fire: fire.item_id):
        active = uow.jobs.has_active_backup(item_id)
        for settlement in settle_item(list(fires), now=now, backup_active=active):
            job_id = None
            if settlement.state is FireState.FILED:
                job_id = _file(uow, settlement.fire)
            uow.ledger.settle(settlement.fire, state=settlement.state, reason=settlement.reason, job_id=job_id)
    if due:
        uow.wake()
    uow.commit()
    return len(due)


def _file(uow: UnitOfWork, fire: DueFire) -> str:
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
        requested_type=fire.type,
        policy_version=fire.version_id,
    )
    uow.jobs.add(job)
    return job.id
