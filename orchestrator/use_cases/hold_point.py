"""Hold a point, so that no rule lets it go, and let go of it again.

Rule of the file: a hold saves what is expiring until the moment it is doomed; then its manifest may be gone.
"""

from __future__ import annotations

from datetime import datetime

from orchestrator.domain.inventory import RecoveryPoint
from orchestrator.domain.job_states import PointState
from orchestrator.use_cases.points import find_point
from orchestrator.use_cases.ports import UnitOfWork
from shared.errors import SkyharborError


def hold_point(
    uow: UnitOfWork, *, actor: str, point: str, item: str | None = None, until: datetime | None = None
) -> RecoveryPoint:
    """Hold a point until then, or until it is released. Holding it again changes the time.

    Errors: ``not-found``; ``bad-request`` for a time that is over; ``conflict`` once the point is doomed.
    """
    if until is not None and until <= uow.now():
        raise SkyharborError("bad-request", "that time is over", field="until")
    found = uow.points.lock(find_point(uow, point=point, item=item).id)
    if found.doomed_at is not None:
        said = "expired" if found.state is PointState.EXPIRED else "doomed"
        raise SkyharborError("conflict", f"recovery point {found.id} is {said}: nothing brings it back", state=said)
    uow.points.hold(found.id, until=until)
    detail = {
        "item": found.item.id,
        "until": None if until is None else until.isoformat(),
        "was": str(found.state),
    }
    uow.audit.append(actor=actor, action="point.hold", target=found.id, detail=detail)
    uow.commit()
    return uow.points.get(found.id)


def release_point(uow: UnitOfWork, *, actor: str, point: str, item: str | None = None) -> RecoveryPoint:
    """End a hold; of a damaged point it says that somebody has looked at it, so that it may go. Idempotent.

    Errors: ``not-found``; ``conflict`` for a point that is on its way out.
    """
    found = uow.points.lock(find_point(uow, point=point, item=item).id)
    if found.state not in (PointState.SEALED, PointState.DAMAGED):
        raise SkyharborError("conflict", f"recovery point {found.id} is {found.state}", state=str(found.state))
    if found.held_at is not None or found.state is PointState.DAMAGED:
        uow.points.release(found.id)
        detail = {"item": found.item.id, "was": str(found.state)}
        uow.audit.append(actor=actor, action="point.release", target=found.id, detail=detail)
        uow.commit()
    return uow.points.get(found.id)
