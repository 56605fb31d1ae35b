"""Find out about points that somebody may still be sealing although his job has ended.

Rule of the file: the first decision about a point is final, and only what was given up is ever fenced. Until such a
point is found or fenced its job counts as a writer, however long it is over.
"""

from __future__ import annotations

from orchestrator.domain.inventory import AuditLine
from orchestrator.use_cases.collecting.fenced import check_length, lock_collector
from orchestrator.use_cases.ports import UnitOfWork
from shared.contracts.collect import MOST_LISTED, AskUnsettled, PointIds, Settled, UnsettledPoints


def unsettled(uow: UnitOfWork, *, message: AskUnsettled) -> UnsettledPoints:
    """Return a page of unsettled points, by id; ``fence`` for those given up. ``stale-claim``."""
    job = lock_collector(uow, message.fence)
    found = uow.collecting.unsettled(job.vault_id, after=message.after, limit=MOST_LISTED + 1)
    points = tuple(PointIds(one.machine_id, one.item_id, one.point_id, one.fence) for one in found[:MOST_LISTED])
    return UnsettledPoints(points=points, more=len(found) > MOST_LISTED)


def settled(uow: UnitOfWork, *, message: Settled) -> None:
    """Note what was found out; what was decided so before, or needs no settling, is left as it is.

    A point that was found counts like any other: what it needs is kept. The catalog has no row of it. Errors:
    ``stale-claim``; ``conflict`` for what was decided otherwise, and for a fence on a name that is not dead. Nothing of
    the message is done then.
    """
    check_length(message.found, message.missing, message.fenced)
    job = lock_collector(uow, message.fence)
    told = (
        ("found", uow.collecting.settle(job.vault_id, message.found, found=True)),
        ("give-up", uow.collecting.settle(job.vault_id, message.missing, found=False)),
        ("fence", uow.collecting.fenced(job.vault_id, message.fenced)),
    )
    detail = {"vault": job.vault_id, "job": job.id}
    lines = [
        AuditLine(f"worker:{job.worker}", f"point.{how}", point, detail) for how, points in told for point in points
    ]
    uow.audit.append_all(lines)
    uow.commit()
