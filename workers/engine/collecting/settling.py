"""Settles points whose jobs had leave to seal and ended without one: a worker may still hold the manifest.

What happens when it dies: what the tower was told stays decided, and what is left is named to the next run.

Rule of the file: the tower decides whether there is such a point, and only then a fence is put. A fence stands on names
that are dead for good and is never taken away, so it does not matter who puts it, or how late.
"""

from __future__ import annotations

from collections.abc import Iterator

from shared.contracts.collect import PointIds
from shared.errors import SkyharborError
from shared.model.backup import Notice
from shared.vault.fences import put_fence
from shared.vault.layout import PointName, fence_name, point_name
from shared.vault.manifest import read_pack_list
from shared.vault.pack_presence import absent_packs
from workers.engine.collecting.abreast import abreast
from workers.engine.collecting.round import Round


def settle(this: Round) -> None:
    """Find or fence every point that the tower names. Safe at any time; a sweep needs it after it has asked.

    A whole point behind a fence is found too: anybody who can put objects could put the fence, and get it given up.
    """
    this.enter("settling")
    for page in _unsettled(this):
        _look(this, [ids for ids in page if not ids.fence])
    for page in _unsettled(this):
        _fence(this, [ids for ids in page if ids.fence])


def name_of(ids: PointIds) -> PointName:
    """Return the point as the vault knows it."""
    return PointName(ids.machine, ids.item, ids.point)


def bury(this: Round, point: PointName) -> None:
    """Make sure that there is no point of this name and never will be one: its fence, then the manifest."""
    put_fence(this.vault.store, point, this.vault.clock)
    this.vault.store.delete(point_name(point))


def is_dead(this: Round, point: PointName) -> bool:
    """Ask the tower about a manifest behind a fence. False, and that is said, when it has not given the name up.

    Anybody who can put objects can put a fence: that alone must not get a point deleted.
    """
    try:
        this.desk.settled(fenced=[point.point_id])
    except SkyharborError as error:
        if error.code != "conflict":
            raise
        message = (
            f"{fence_name(point)} hides a point that was not given up; somebody else has put it: delete it by hand"
        )
        this.notices.add(Notice("", "fence-foreign", message))
        return False
    return True


def _unsettled(this: Round) -> Iterator[tuple[PointIds, ...]]:
    after, more = "", True
    while more:
        page = this.desk.unsettled(after)
        if page.points:
            after = page.points[-1].point
            yield page.points
        more = page.more and bool(page.points)


def _look(this: Round, points: list[PointIds]) -> None:
    """Look for manifests and tell the tower, whose first answer is final."""
    seen: dict[bool | None, list[str]] = {True: [], False: [], None: []}
    for ids, there in abreast(points, lambda ids: _is_there(this, name_of(ids)), check=this.control.check):
        seen[there].append(ids.point)
    if not seen[True] and not seen[False]:
        return
    try:
        this.desk.settled(found=seen[True], missing=seen[False])
    except SkyharborError as error:
        if error.code != "conflict":
            raise
        # Decided otherwise before, one of them at least: what holds is asked for next, the others by the next run.


def _is_there(this: Round, point: PointName) -> bool | None:
    """Tell whether the point is sealed; None, said to people, when that cannot be known.

    Behind a fence there may be a good point, if somebody else has put the fence, or one whose packs are gone, if the
    tower has forgotten that it was fenced: its packs tell.
    """
    if this.vault.store.size(point_name(point)) is None:
        return False
    if this.vault.store.size(fence_name(point)) is None:
        return True
    keys = this.fleet.keys(point.machine_id) if this.fleet.knows(point.machine_id) else None
    try:
        needed = None if keys is None else read_pack_list(this.vault, point, keys)
    except SkyharborError as error:
        if error.code not in ("object-damaged", "object-missing"):
            raise
        needed = None
    if needed is None:
        message = f"{point_name(point)} is behind a fence and cannot be read: garbage waits until one of both is gone"
        this.notices.add(Notice("", "fence-foreign", message))
        return None
    return not absent_packs(this.vault, {pack.name: pack.size for pack in needed})


def _fence(this: Round, points: list[PointIds]) -> None:
    for _ in abreast(points, lambda ids: bury(this, name_of(ids)), check=this.control.check):
        pass
    if points:
        this.desk.settled(fenced=[ids.point for ids in points])
        this.stats.points_fenced += len(points)
