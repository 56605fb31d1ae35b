"""Write the fires to come into the ledger, and make jobs of those whose time has come.

Rule of the file: a fire and its job are one transaction, so a fire is filed once whatever is killed when.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from datetime import datetime, timedelta
from itertools import groupby

from orchestrator.domain.estimate import expected_mib_per_second, expected_seconds
from orchestrator.domain.job_states import FireState, JobState
from orchestrator.domain.jobs import Ending, Job, NewJob, Trigger
from orchestrator.domain.ledger import HORIZON, LATE, DueFire, ItemPlan, Settlement, plan_item, reads_most, settle_item
from orchestrator.domain.policy import OnMissed
from orchestrator.domain.system import Leadership
from orchestrator.domain.urgency import latest_start, rank_of
from orchestrator.use_cases.ports import UnitOfWork
from shared.model.backup import JobKind
from shared.model.ids import new_id

ITEMS_PER_STEP = 2000
FIRES_PER_STEP = 20_000


def plan_fires(uow: UnitOfWork, *, now: datetime, leadership: Leadership | None = None) -> int:
    """Plan up to 2,000 items two hours ahead; returns how many items were planned. Call again while it is not 0.

    An item is planned again once half the horizon is used up; one that lags far behind catches up in several calls.
    """
    if leadership is not None:
        uow.leaders.require(leadership)
    items = uow.ledger.to_plan(before=now + HORIZON / 2, limit=ITEMS_PER_STEP)
    plans: list[ItemPlan] = []
    fires = 0
    for item in items:
        plans.append(plan_item(item, until=now + HORIZON))
        fires += len(plans[-1].fires)
        if fires >= FIRES_PER_STEP:
            break  # a fleet that nobody has planned for long catches up in steps that end in time
    uow.ledger.plan(plans)
    uow.commit()
    return len(plans)


def file_fires(
    uow: UnitOfWork, *, now: datetime, leadership: Leadership | None = None, ids: Callable[[], str] = new_id
) -> int:
    """Settle the due fires of up to 2,000 items; returns how many fires were settled. Call again while it is not 0.

    A scheduled job that nobody has started does not stand in the way of a newer fire: the fire's job replaces it.
    ``ids`` makes the ids of jobs and points; later ones have to sort after earlier ones.
    """
    if leadership is not None:
        uow.leaders.require(leadership)
    due = uow.ledger.due(now=now, limit=ITEMS_PER_STEP)
    items = list(dict.fromkeys(fire.item_id for fire in due))
    waiting, active = uow.jobs.waiting_backups(items), uow.jobs.active_backups(items)
    settled: list[Settlement] = []
    filed: list[NewJob] = []
    superseded: dict[str, tuple[Job, str]] = {}
    for item_id, fires in groupby(due, key=lambda fire: fire.item_id):
        unstarted = [job for job in waiting.get(item_id, ()) if _is_unstarted(job)]
        busy = len(active.get(item_id, ())) > len(unstarted)
        for settlement in settle_item(list(fires), now=now, backup_active=busy):
            if settlement.state is FireState.FILED:
                replaced = [] if settlement.fire.spec.on_missed is OnMissed.RUN_ALL else unstarted
                job = _job_of(settlement.fire, instead_of=replaced, ids=ids, now=now)
                filed.append(job)
                superseded.update((old.id, (old, job.id)) for old in replaced)
                settlement = Settlement(settlement.fire, settlement.state, settlement.reason, job.id)
            settled.append(settlement)
    for old, _ in superseded.values():
        uow.jobs.end_attempt(old, Ending(state=JobState.EXPIRED, losses=old.losses, attempt=old.attempt))
    if filed:
        uow.jobs.add(filed)
    uow.ledger.settle(settled)
    for old, new in superseded.values():
        uow.audit.append(actor="tower", action="job.supersede", target=old.id, detail={"by": new})
    if settled:
        uow.wake()
    uow.commit()
    return len(settled)


def _is_unstarted(job: Job) -> bool:
    return job.trigger is Trigger.SCHEDULE and job.started_at is None


def _job_of(fire: DueFire, *, instead_of: Sequence[Job], ids: Callable[[], str], now: datetime) -> NewJob:
    """Return the fire's job.

    One that replaces others has waited since they have (an item that is due more often than the queue moves would never
    come first), and it reads as much as any of them would have. One that is filed late has its whole time to start.
    """
    spec = fire.spec
    counted_from = now if now - fire.due_at > LATE else fire.due_at
    types = [job.requested_type for job in instead_of if job.requested_type is not None]
    estimate = expected_seconds(JobKind.BACKUP, fire.runs)
    rpo = fire.rpo if fire.rpo is not None else spec.rpo
    return NewJob(
        id=ids(),
        kind=JobKind.BACKUP,
        trigger=Trigger.SCHEDULE,
        item_id=fire.item_id,
        machine_id=fire.machine_id,
        vault_id=fire.vault_id,
        point_id=ids(),
        rank=rank_of(JobKind.BACKUP, Trigger.SCHEDULE, priority=spec.priority),
        requested_by=f"policy:{spec.name}",
        requested_type=reads_most([fire.type, *types]),
        waiting_since=min((job.created_at for job in instead_of), default=None),
        latest_start=latest_start(newest=fire.newest, rpo=_seconds(rpo), estimate=estimate),
        start_by=_after(counted_from, spec.start_within),
        finish_by=_after(counted_from, spec.finish_within),
        estimate=estimate,
        mib_per_second=expected_mib_per_second(fire.rates),
        max_attempts=spec.retry.attempts,
        longest_pause=spec.retry.longest_pause,
        policy_version=fire.version_id,
    )


def _seconds(number: int | None) -> timedelta | None:
    return None if number is None else timedelta(seconds=number)


def _after(moment: datetime, seconds: int | None) -> datetime | None:
    return None if seconds is None else moment + timedelta(seconds=seconds)
