"""Take a unit back from a worker that stops: the job goes to the next one, and no attempt is burnt.

Rule of the file: the current fence only; repeated after a lost reply it is ``stale-claim``, which the worker may
ignore.
"""

from __future__ import annotations

from orchestrator.domain.retry import after_release
from orchestrator.use_cases.ports import UnitOfWork
from shared.contracts.work import Release


def release(uow: UnitOfWork, *, message: Release) -> None:
    """Give the unit back. ``stale-claim`` when the fence is not current."""
    job = uow.units.lock_owned(message.fence)
    uow.jobs.end_attempt(job, after_release(job))
    uow.audit.append(actor=f"worker:{job.worker}", action="job.release", target=job.id, detail={"attempt": job.attempt})
    uow.commit()
