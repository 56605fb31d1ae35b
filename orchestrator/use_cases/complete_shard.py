"""Take the outcome of a shard: its result waits in its row for the lead, who joins all of them.

Rule of the file: a shard never changes its job. What becomes of a job is decided by its lead, or by its loss.
"""

from __future__ import annotations

from orchestrator.domain.names import printable
from orchestrator.use_cases.ports import UnitOfWork
from shared.contracts.work import MOST_RESULT, Cancelled, Failed, Fence, Outcome, ShardDone
from shared.errors import SkyharborError


def complete_shard(uow: UnitOfWork, *, fence: Fence, outcome: Outcome) -> None:
    """Record an outcome. The same fence again (a lost reply) is answered as before and changes nothing.

    A shard that failed waits for its lead: fault may be the worker's alone (no key, no access), and if it is not, the
    lead fails by it too and says so. Errors: ``stale-claim``; ``bad-request`` for an outcome of a whole job.
    """
    try:
        detail = _end(uow, fence, outcome)
    except SkyharborError as error:
        if error.code == "stale-claim" and uow.units.was_completed(fence):
            return
        raise
    uow.units.remember_completed(fence)
    worker = detail.pop("worker")
    uow.audit.append(actor=f"worker:{worker}", action="shard.end", target=fence.job_id, detail=detail)
    uow.commit()


def _end(uow: UnitOfWork, fence: Fence, outcome: Outcome) -> dict[str, object]:
    detail: dict[str, object] = {"unit": fence.unit, "epoch": fence.epoch}
    match outcome:
        case ShardDone():
            if len(outcome.result) > MOST_RESULT:
                raise SkyharborError("bad-request", f"a result has {MOST_RESULT} bytes at most")
            return {**detail, "worker": uow.shards.finish(fence, outcome.result)}
        case Failed():
            worker = uow.shards.free(fence, error=(printable(outcome.code), printable(outcome.message)))
            return {**detail, "worker": worker, "error": printable(outcome.code)}
        case Cancelled():
            return {**detail, "worker": uow.shards.free(fence, error=None), "cancelled": True}
        case _:
            raise SkyharborError("bad-request", "a shard cannot end with this outcome")
