"""Allow the deletion of packs, and hear that they are gone.

Rule of the file: a pack is doomed only while no writer is left that is older than its condemnation. From then on
nothing brings it back, so a collector that wakes from the dead deletes only what was to be deleted anyway.
"""

from __future__ import annotations

from orchestrator.use_cases.collecting.fenced import check_length, grace_of, lock_collector
from orchestrator.use_cases.ports import UnitOfWork
from shared.contracts.collect import Deleted, Doom, Doomed


def doom(uow: UnitOfWork, *, message: Doom) -> Doomed:
    """Doom those of the packs that are ripe and return all of them that are doomed. ``stale-claim``."""
    check_length(message.packs)
    job = lock_collector(uow, message.fence)
    through = uow.collecting.ripe_through(job.vault_id)
    amount = uow.collecting.doom(
        job.vault_id, message.packs, claim_id=message.fence.claim_id, through=through, grace=grace_of(job)
    )
    doomed = uow.collecting.doomed(job.vault_id, message.packs)
    if amount.packs:
        detail = {"vault": job.vault_id, "packs": amount.packs, "bytes": amount.bytes, "without_grace": job.hurried}
        uow.audit.append(actor=f"worker:{job.worker}", action="packs.doom", target=job.id, detail=detail)
    uow.commit()
    return Doomed(packs=tuple(doomed))


def deleted(uow: UnitOfWork, *, message: Deleted) -> None:
    """Note that packs are gone; those that are not doomed stay as they are. ``stale-claim``.

    One that an earlier collector was allowed to delete stays on the list for good: that one may wake up and delete what
    somebody else has put under its name, so nobody may ever rely on it.
    """
    check_length(message.packs)
    job = lock_collector(uow, message.fence)
    amount = uow.collecting.forget(job.vault_id, message.packs, claim_id=message.fence.claim_id)
    if amount.packs:
        detail = {"vault": job.vault_id, "packs": amount.packs, "bytes": amount.bytes}
        uow.audit.append(actor=f"worker:{job.worker}", action="packs.delete", target=job.id, detail=detail)
    uow.commit()
