"""Allow the deletion of points, and hear that their manifests are gone.

Rule of the file: every point is named in the audit log, twice: when its deletion was allowed, and when it was done.
"""

from __future__ import annotations

from collections.abc import Iterable

from orchestrator.domain.inventory import AuditLine
from orchestrator.domain.jobs import Job
from orchestrator.use_cases.collecting.fenced import check_length, lock_collector
from orchestrator.use_cases.ports import UnitOfWork
from shared.contracts.collect import AskDoomedPoints, DoomedPoints, Expired, PointIds

POINTS_AT_ONCE = 500
"""Points of one page: each is a line of the audit log, and everybody who appends waits for this transaction."""


def doom_points(uow: UnitOfWork, *, message: AskDoomedPoints) -> DoomedPoints:
    """Doom expiring points that may go and return a page of all that are doomed, by id. ``stale-claim``.

    A point may go once no writer is left that is older than its expiry, and no job that has not ended works on it. A
    page is never empty while there is another one.
    """
    job = lock_collector(uow, message.fence)
    through = uow.collecting.ripe_through(job.vault_id)
    after, new = message.after, list[str]()
    while True:
        doomed = uow.collecting.doom_points(job.vault_id, through=through, after=after, limit=POINTS_AT_ONCE)
        new += doomed.ids
        found = uow.collecting.doomed_points(job.vault_id, after=after, until=doomed.until, limit=POINTS_AT_ONCE + 1)
        if found or doomed.until is None:
            break
        after = doomed.until
    waiting = uow.collecting.waiting_points(job.vault_id)
    _note(uow, job, "point.doom", new)
    uow.commit()
    points = tuple(PointIds(one.machine_id, one.item_id, one.point_id, one.fence) for one in found[:POINTS_AT_ONCE])
    return DoomedPoints(points=points, more=doomed.until is not None or len(found) > POINTS_AT_ONCE, waiting=waiting)


def expired(uow: UnitOfWork, *, message: Expired) -> None:
    """Note that the manifests of doomed points are gone; others are left as they are. ``stale-claim``."""
    check_length(message.points)
    job = lock_collector(uow, message.fence)
    _note(uow, job, "point.delete", uow.collecting.expired(job.vault_id, message.points))
    uow.commit()


def _note(uow: UnitOfWork, job: Job, action: str, points: Iterable[str]) -> None:
    detail = {"vault": job.vault_id, "job": job.id}
    uow.audit.append_all([AuditLine(f"worker:{job.worker}", action, point, detail) for point in points])
