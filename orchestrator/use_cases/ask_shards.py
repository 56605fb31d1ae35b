"""A lead asks what became of its shards.

Rule of the file: reading only; the join is a row count.
"""

from __future__ import annotations

from orchestrator.use_cases.ports import UnitOfWork
from shared.contracts.work import MOST_RESULT, AskShards, ShardResult, Shards
from shared.errors import SkyharborError


def ask_shards(uow: UnitOfWork, *, message: AskShards) -> Shards:
    """Return where the lead's shards are, with results that it does not hold yet: 16 MiB at most in one answer.

    ``stale-claim`` when the fence is not current or not a lead's.
    """
    if message.fence.unit != 0:
        raise SkyharborError("stale-claim", "only unit 0 of a job has shards")
    uow.units.lock_owned(message.fence)
    counts = uow.shards.counts(message.fence)
    results = uow.shards.results(message.fence, besides=message.have, most_bytes=MOST_RESULT)
    return Shards(
        total=counts.total,
        done=counts.done,
        free=counts.free,
        lost=counts.lost,
        results=tuple(ShardResult(unit=unit, result=result) for unit, result in results),
    )
