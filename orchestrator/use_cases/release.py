"""Take a unit back from a worker that stops: the job goes to the next one, and no attempt is burnt.

Rule of the file: the current fence only; repeated after a lost reply it is ``stale-claim``, which the worker may
ignore.
"""

from __future__ import annotations

from orchestrator.domain.retry import after_release
from orchestrator.use_cases.ports import UnitOfWork
from shared.contracts.work import Release


def release(uow: UnitOfWork, *, message: Release) -> None:
    """Give the unit back. ``stale-claim`` when the fence is not current.

    A shard goes to the next worker and its job goes on; with a lead the attempt ends, and its shards with it.
    """
    detail: dict[str, object]
    if message.fence.unit > 0:
        worker = uow.shards.free(message.fence, error=None)
        detail = {"unit": message.fence.unit, "epoch": message.fence.epoch}
        uow.audit.append(actor=f"worker:{worker}", action="shard.release", target=message.fence.job_id, detail=detail)
        uow.commit()
        return
    job = uow.units.lock_owned(message.fence)
    ending = after_release(job)
    uow.jobs.end_attempt(job, ending)
    detail = {"attempt": job.attempt, "state": str(ending.state)}
    uow.audit.append(actor=f"worker:{job.worker}", action="job.release", target=job.id, detail=detail)
    uow.commit()
