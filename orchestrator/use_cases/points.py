"""Look at recovery points.

Rule of the file: the catalog only; what is inside a point only its key holder can see.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import TypeVar

from orchestrator.domain.inventory import Item, RecoveryPoint
from orchestrator.domain.paging import Page, PageRequest
from orchestrator.use_cases.ports import UnitOfWork
from shared.errors import SkyharborError

Found = TypeVar("Found")


def find_point(uow: UnitOfWork, *, point: str, item: str | None = None) -> RecoveryPoint:
    """Return a point by id, a unique beginning of one, or ``latest`` of an item.

    The latest is the newest one, also when it is damaged: an older one in its place would be an unsaid loss. With an
    item given, a point of another item is ``not-found``. Removed items still have their points.
    """
    if point == "latest":
        return _latest(uow, item)
    owner = uow.items.get(item, removed=True) if item is not None else None
    found = _point(uow, point)
    if owner is not None and found.item.id != owner.id:
        raise SkyharborError(
            "not-found",
            f"{owner.name} has no recovery point {point}; it is of {found.item.name}",
            hint=f"Its own: skyharbor point list {owner.name}",
        )
    return found


def list_points(uow: UnitOfWork, *, request: PageRequest, item: str | None = None) -> Page[RecoveryPoint]:
    """Return points, newest first; ``not-found`` for an unknown item."""
    item_id = _item_of_points(uow, item).id if item is not None else None
    return uow.points.page(request, item_id=item_id)


def _latest(uow: UnitOfWork, item: str | None) -> RecoveryPoint:
    if item is None:
        raise SkyharborError("bad-request", "latest needs an item: which one's newest point is meant?", field="item")
    owner = uow.items.get(item, removed=True)
    last = uow.points.newest(owner.id)
    if last is not None:
        return last
    earlier = uow.items.page_of_removed(PageRequest(limit=1), name=owner.name).items
    hint = f"Make one: skyharbor backup {owner.name} --wait"
    if earlier and owner.removed_at is None:
        hint = f"A removed item of this name has some: skyharbor point list {owner.name} --removed"
    raise SkyharborError("not-found", f"{owner.name} has no recovery point", hint=hint)


def _point(uow: UnitOfWork, point: str) -> RecoveryPoint:
    """Return a point by id or a beginning; of the name of an item, which has many, it is said what to write."""
    try:
        return uow.points.get(point)
    except SkyharborError as error:
        item = _found(lambda: uow.items.get(point, removed=True)) if error.code == "not-found" else None
        if item is None:
            raise
        raise SkyharborError(
            "not-found",
            f"there is no recovery point {point!r}: that is an item",
            hint=f"Write 'latest --item {point}'; all of its points: skyharbor point list {point}",
        ) from None


def _item_of_points(uow: UnitOfWork, item: str) -> Item:
    """Return an item by name or id; of the id of a point, which is no list, it is said what to write."""
    try:
        return uow.items.get(item, removed=True)
    except SkyharborError:
        point = _found(lambda: uow.points.get(item))
        if point is None:
            raise
        raise SkyharborError(
            "not-found",
            f"there is no item {item!r}: that is a recovery point of {point.item.name}",
            hint=f"What it is: skyharbor point show {item}; what is in it: skyharbor point ls {item}",
        ) from None


def _found(look: Callable[[], Found]) -> Found | None:
    try:
        return look()
    except SkyharborError:
        return None
