"""Take jobs and shards from workers whose lease is over.

Rule of the file: leases only, by the database's clock; age alone never. A wrong rescue is harmless: the fence moves on.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

from orchestrator.domain.retry import after_loss
from orchestrator.domain.storm import may_rescue
from orchestrator.domain.system import Leadership
from orchestrator.domain.work import RESCUE_MARGIN_SECONDS
from orchestrator.use_cases.ports import UnitOfWork

BATCH = 100


@dataclass(frozen=True, slots=True)
class Rescued:
    """What a rescue did: how many jobs' attempts it ended, and how many shards it freed.

    ``held_back`` expired leases it left alone because too many ended at once.
    """

    jobs: int
    held_back: int = 0
    shards: int = 0


def rescue(
    uow: UnitOfWork, *, storm_age: float, chance: Callable[[], float], leadership: Leadership | None = None
) -> Rescued:
    """End the attempts of lost workers and free their shards, up to 100 of each in one call.

    The loss of a shard is the shard's: its job goes on. Shards of an attempt that ends are gone with it.

    ``storm_age`` is how long leases have been ending in masses.
    """
    if leadership is not None:
        uow.leaders.require(leadership)
    expired, leases = uow.units.expired_count(margin=RESCUE_MARGIN_SECONDS), uow.units.lease_count()
    if expired == 0:
        return Rescued(0)
    if not may_rescue(expired=expired, leases=leases, storm_age=storm_age):
        return Rescued(0, held_back=expired)
    lost = uow.units.lock_expired(margin=RESCUE_MARGIN_SECONDS, limit=BATCH)
    endings = [(job, after_loss(job, chance=chance())) for job in lost]
    for job, ending in endings:
        uow.jobs.end_attempt(job, ending)
    shards = uow.shards.free_expired(margin=RESCUE_MARGIN_SECONDS, limit=BATCH)
    for job, ending in endings:
        detail = {"worker": job.worker, "attempt": job.attempt, "state": str(ending.state), "losses": ending.losses}
        uow.audit.append(actor="tower", action="job.rescue", target=job.id, detail=detail)
    for shard in shards:
        detail = {"unit": shard.unit, "worker": shard.worker, "losses": shard.losses}
        uow.audit.append(actor="tower", action="shard.rescue", target=shard.job_id, detail=detail)
    uow.commit()
    return Rescued(len(lost), shards=len(shards))
