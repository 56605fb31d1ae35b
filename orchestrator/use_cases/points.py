"""Look at recovery points.

Rule of the file: the catalog only; what is inside a point only its key holder can see.
"""

from __future__ import annotations

from orchestrator.domain.inventory import RecoveryPoint
from orchestrator.domain.paging import Page, PageRequest
from orchestrator.use_cases.ports import UnitOfWork
from shared.errors import SkyharborError


def find_point(uow: UnitOfWork, *, point: str, item: str | None = None) -> RecoveryPoint:
    """Return a point by id, a unique beginning of one, or ``latest`` of an item.

    The latest is the newest one, also when it is damaged: an older one in its place would be an unsaid loss. With an
    item given, a point of another item is ``not-found``. Removed items still have their points.
    """
    if point == "latest" and item is None:
        raise SkyharborError("bad-request", "latest needs an item: which one's newest point is meant?", field="item")
    owner = uow.items.get(item, removed=True) if item is not None else None
    if point == "latest" and owner is not None:
        last = uow.points.newest(owner.id)
        if last is None:
            raise SkyharborError("not-found", f"{owner.name} has no recovery point yet")
        return last
    found = uow.points.get(point)
    if owner is not None and found.item.id != owner.id:
        raise SkyharborError("not-found", f"{owner.name} has no recovery point {point}")
    return found


def list_points(uow: UnitOfWork, *, request: PageRequest, item: str | None = None) -> Page[RecoveryPoint]:
    """Return points, newest first; ``not-found`` for an unknown item."""
    item_id = uow.items.get(item, removed=True).id if item is not None else None
    return uow.points.page(request, item_id=item_id)
