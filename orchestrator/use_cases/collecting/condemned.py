"""Tell a writer, or the collector, which packs are condemned.

Rule of the file: reading only. A writer asks after its claim has registered it, so no pack that it has to forget is
missing; what is condemned while it reads waits for it.
"""

from __future__ import annotations

from orchestrator.use_cases.collecting.fenced import grace_of
from orchestrator.use_cases.ports import UnitOfWork
from shared.contracts.collect import MOST_LISTED, AskCondemned, CondemnedPack, CondemnedPacks
from shared.errors import SkyharborError
from shared.model.backup import JobKind


def condemned(uow: UnitOfWork, *, message: AskCondemned) -> CondemnedPacks:
    """Return a page of condemned packs, by name. ``stale-claim``; ``bad-request`` for a restore or a verify."""
    job = uow.units.owned(message.fence)
    if job.kind not in (JobKind.BACKUP, JobKind.COLLECT):
        raise SkyharborError("bad-request", f"a {job.kind} job relies on what its point needs")
    packs = uow.collecting.condemned(
        job.vault_id,
        through=uow.collecting.ripe_through(job.vault_id),
        grace=grace_of(job),
        after=message.after,
        limit=MOST_LISTED + 1,
    )
    listed = tuple(CondemnedPack(pack.name, pack.size, pack.ripe, pack.doomed) for pack in packs[:MOST_LISTED])
    return CondemnedPacks(packs=listed, more=len(packs) > MOST_LISTED)
