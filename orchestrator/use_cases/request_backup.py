"""Ask for a backup of an item, now.

Rule of the file: a second request while a backup of the item is active is accepted and waits its turn.
"""

from __future__ import annotations

from orchestrator.domain.estimate import expected_mib_per_second, expected_seconds
from orchestrator.domain.jobs import Accepted, NewJob, Trigger
from orchestrator.domain.urgency import rank_of
from orchestrator.use_cases.ports import UnitOfWork
from orchestrator.use_cases.requests import accept_job
from shared.model.backup import BackupType, JobKind
from shared.model.ids import new_id


def request_backup(
    uow: UnitOfWork, *, actor: str, item: str, type: BackupType = BackupType.INCREMENTAL, key: str | None = None
) -> Accepted:
    """Accept a backup job. ``item`` is a name or id; errors ``not-found``, ``idempotency-mismatch``."""
    found = uow.items.get(item)
    job = NewJob(
        id=new_id(),
        kind=JobKind.BACKUP,
        trigger=Trigger.DEMAND,
        item_id=found.id,
        machine_id=found.machine.id,
        vault_id=found.vault.id,
        point_id=new_id(),
        rank=rank_of(JobKind.BACKUP, Trigger.DEMAND),
        requested_by=actor,
        requested_type=type,
        estimate=expected_seconds(JobKind.BACKUP, found.runs),
        mib_per_second=expected_mib_per_second(found.rates),
    )
    request = {"kind": "backup", "item": found.id, "type": str(type)}
    return accept_job(uow, actor=actor, job=job, key=key, request=request, action="job.backup")
