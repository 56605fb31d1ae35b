"""Find out about points that somebody may still be sealing although his job has ended.

Rule of the file: until such a point is settled its job counts as a writer, however long it is over.
"""

from __future__ import annotations

from orchestrator.domain.inventory import AuditLine
from orchestrator.use_cases.collecting.fenced import check_length, lock_collector
from orchestrator.use_cases.ports import UnitOfWork
from shared.contracts.collect import MOST_LISTED, AskUnsettled, PointIds, Settled, UnsettledPoints


def unsettled(uow: UnitOfWork, *, message: AskUnsettled) -> UnsettledPoints:
    """Return a page of unsettled points, by id. ``stale-claim``."""
    job = lock_collector(uow, message.fence)
    found = uow.collecting.unsettled(job.vault_id, after=message.after, limit=MOST_LISTED + 1)
    points = tuple(PointIds(one.machine_id, one.item_id, one.point_id) for one in found[:MOST_LISTED])
    return UnsettledPoints(points=points, more=len(found) > MOST_LISTED)


def settled(uow: UnitOfWork, *, message: Settled) -> None:
    """Note what was found out; what is settled already, or needs no settling, is left as it is. ``stale-claim``.

    A point that was found counts like any other: what it needs is kept. The catalog has no row of it.
    """
    check_length(message.fenced, message.found)
    job = lock_collector(uow, message.fence)
    detail = {"vault": job.vault_id, "job": job.id}
    lines = [
        AuditLine(f"worker:{job.worker}", f"point.{how}", point, detail)
        for how, points in (("fenced", message.fenced), ("found", message.found))
        for point in uow.collecting.settle(job.vault_id, points, how=how)
    ]
    uow.audit.append_all(lines)
    uow.commit()
