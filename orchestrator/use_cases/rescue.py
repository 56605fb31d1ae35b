"""Take jobs from workers whose lease is over.

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
    """What a rescue did: how many jobs it ended.

    ``held_back`` expired leases it left alone because too many ended at once.
    """

    jobs: int
    held_back: int = 0


def rescue(
    uow: UnitOfWork, *, storm_age: float, chance: Callable[[], float], leadership: Leadership | None = None
) -> Rescued:
    """End the attempts of lost workers, up to 100 in one call.

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
    for job, ending in endings:
        detail = {"worker": job.worker, "attempt": job.attempt, "state": str(ending.state), "losses": ending.losses}
        uow.audit.append(actor="tower", action="job.rescue", target=job.id, detail=detail)
    uow.commit()
    return Rescued(len(lost))
