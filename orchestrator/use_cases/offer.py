"""A lead shares its backup: the parts that it cut off become units, and doorbells ring for them.

Rule of the file: units and doorbells in one transaction, fenced by the lead. The job keeps the slots that it has: they
limit how many jobs load a machine or a vault, and this is still one.
"""

from __future__ import annotations

from orchestrator.domain.job_states import JobState
from orchestrator.use_cases.ports import UnitOfWork
from shared.contracts.work import MOST_PAYLOAD, MOST_SHARDS, Offer
from shared.errors import SkyharborError
from shared.model.backup import JobKind


def offer(uow: UnitOfWork, *, message: Offer) -> None:
    """Keep the shards. Idempotent within an attempt.

    ``stale-claim`` when the fence is not current, ``bad-request`` for what is no offer of a backup's lead,
    ``conflict`` once the job is committing.
    """
    if not 0 < len(message.shards) <= MOST_SHARDS or any(len(one) > MOST_PAYLOAD for one in message.shards):
        raise SkyharborError("bad-request", f"1 to {MOST_SHARDS} shards of at most {MOST_PAYLOAD} bytes each")
    if message.fence.unit != 0:
        raise SkyharborError("bad-request", "only unit 0 of a job has shards")
    job = uow.units.lock_owned(message.fence)
    if job.kind is not JobKind.BACKUP:
        raise SkyharborError("bad-request", f"a {job.kind} is not done in shards")
    if job.state is not JobState.RUNNING:
        raise SkyharborError("conflict", f"the job is {job.state}", state=str(job.state))
    if uow.shards.add(message.fence, message.shards):
        detail = {"shards": len(message.shards), "epoch": message.fence.epoch}
        uow.audit.append(actor=f"worker:{job.worker}", action="job.offer", target=job.id, detail=detail)
    uow.commit()
