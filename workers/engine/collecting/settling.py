"""Settles points whose jobs had leave to seal and ended without one: a worker may still hold the manifest.

What happens when it dies: a fence without a settled point is looked at again by the next run; until then a manifest
that came behind it is not seen.

Rule of the file: a fence is taken away only by the owner, and only from a point that is whole. A collector that was
frozen must not open what another one has relied on to stay closed.
"""

from __future__ import annotations

from enum import Enum

from shared.contracts.collect import PointIds
from shared.errors import SkyharborError
from shared.model.backup import Notice
from shared.vault.fences import lift_fence, put_fence
from shared.vault.layout import PointName, point_name
from shared.vault.manifest import read_pack_list
from shared.vault.pack_presence import absent_packs
from shared.vault.pack_set import PackSet
from workers.engine.collecting.round import Round


class _Fate(Enum):
    FENCED = 0
    FOUND = 1
    UNKNOWN = 2


def settle(this: Round, doomed: PackSet) -> None:
    """Fence or find every point that the tower names. ``doomed`` are packs whose deletion has been allowed.

    After the answer about ripe packs, and before manifests are listed: jobs that end later were older writers then.
    """
    this.enter("settling")
    after, more = "", True
    while more:
        page = this.desk.unsettled(after)
        fates = [(ids, _settle_one(this, _name(ids), doomed)) for ids in page.points]
        fenced = [ids.point for ids, fate in fates if fate is _Fate.FENCED]
        found = [ids.point for ids, fate in fates if fate is _Fate.FOUND]
        if fenced or found:
            this.desk.settled(fenced=fenced, found=found)
            this.stats.points_fenced += len(fenced)
        after = page.points[-1].point if page.points else after
        more = page.more and bool(page.points)


def is_dead(this: Round, point: PointName) -> bool:
    """Ask the tower about a manifest behind a fence: False, and the fence is gone, when it knows of a point there.

    That happens after a collector was frozen right before it put the fence.
    """
    try:
        this.desk.settled(fenced=[point.point_id])
    except SkyharborError as error:
        if error.code != "conflict":
            raise
        lift_fence(this.vault.store, point)
        return False
    return True


def _settle_one(this: Round, point: PointName, doomed: PackSet) -> _Fate:
    this.control.check()
    store, manifest = this.vault.store, point_name(point)
    there = store.size(manifest) is not None
    if there and not this.vault.is_fenced(point):
        return _Fate.FOUND
    if not there:
        put_fence(store, point, this.vault.clock)
        if store.size(manifest) is None:
            return _Fate.FENCED
    # It came between the two looks, or behind the fence of a run that has not told the tower.
    fate = _look_into(this, point, doomed)
    if fate is _Fate.FOUND:
        this.desk.settled()
        lift_fence(store, point)
    return fate


def _look_into(this: Round, point: PointName, doomed: PackSet) -> _Fate:
    """Return whether a manifest behind a fence stands for a whole point."""
    keys = this.fleet.keys(point.machine_id)
    if keys is None:
        message = f"{point_name(point)} may be a whole point that came late; its key is needed to tell"
        this.notices.add(Notice("", "key-missing", message))
        return _Fate.UNKNOWN
    try:
        packs = read_pack_list(this.vault, point, keys)
    except SkyharborError as error:
        if error.code not in ("object-damaged", "object-missing"):
            raise
        return _Fate.FENCED
    if any(pack.name in doomed for pack in packs) or absent_packs(this.vault, {one.name: one.size for one in packs}):
        return _Fate.FENCED
    return _Fate.FOUND


def _name(ids: PointIds) -> PointName:
    return PointName(ids.machine, ids.item, ids.point)
