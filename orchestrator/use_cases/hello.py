"""A worker process introduces itself; what its earlier self left behind is given up at once.

Rule of the file: the worker's lock file proves that no other process of that name lives, so no lease has to run out.
"""

from __future__ import annotations

from orchestrator.domain.names import check_text
from orchestrator.domain.retry import after_loss
from orchestrator.domain.work import (
    LEASE_SECONDS,
    POLL_EVERY_SECONDS,
    RENEW_EVERY_SECONDS,
    STOP_AFTER_SECONDS,
)
from orchestrator.use_cases.ports import UnitOfWork
from shared.contracts.work import Hello, Welcome


def hello(uow: UnitOfWork, *, message: Hello, chance: float) -> Welcome:
    """Keep the process and end the attempts of earlier sessions. ``chance`` (0 to 1) spreads their back-off.

    Repeating it with the same session releases nothing more.
    """
    for field in ("worker", "session", "version"):
        check_text(getattr(message, field), field=field, longest=200)
    uow.workers.introduce(message)
    orphans = uow.units.lock_of_dead_sessions(message.worker, message.session)
    endings = [(job, after_loss(job, chance=chance)) for job in orphans]
    for job, ending in endings:
        uow.jobs.end_attempt(job, ending)
    shards = uow.shards.free_of_dead_sessions(message.worker, message.session)
    for job, ending in endings:
        detail = {"worker": message.worker, "attempt": job.attempt, "state": str(ending.state), "losses": ending.losses}
        uow.audit.append(actor="tower", action="job.orphaned", target=job.id, detail=detail)
    for shard in shards:
        detail = {"unit": shard.unit, "worker": shard.worker, "losses": shard.losses}
        uow.audit.append(actor="tower", action="shard.orphaned", target=shard.job_id, detail=detail)
    uow.commit()
    return Welcome(
        lease=LEASE_SECONDS,
        renew_every=RENEW_EVERY_SECONDS,
        stop_after=STOP_AFTER_SECONDS,
        poll_every=POLL_EVERY_SECONDS,
        released=len(orphans) + len(shards),
    )
