"""The last question before a point is sealed: is the unit still this worker's?

Rule of the file: a yes and a cancel exclude each other. From a yes on the point may exist, so the job is only ended by
an attempt that looked for it.
"""

from __future__ import annotations

from orchestrator.use_cases.ports import UnitOfWork
from shared.contracts.work import Commit
from shared.errors import SkyharborError


def commit(uow: UnitOfWork, *, message: Commit) -> None:
    """Move the job to committing and renew the lease. Idempotent.

    ``stale-claim`` when the fence is not current; ``cancelled`` (same status) when a person has asked to stop: the
    worker seals nothing and reports ``Cancelled``.
    """
    if message.fence.unit != 0:
        raise SkyharborError("stale-claim", "only the lead of a job seals its point")
    job = uow.units.lock_owned(message.fence)
    if job.cancel_requested_at is not None:
        raise SkyharborError("cancelled", "the job was cancelled before its point was sealed")
    uow.units.enter_commit(message.fence)
    uow.commit()
