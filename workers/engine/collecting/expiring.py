"""Deletes the manifests of points that the tower has doomed.

What happens when it dies: points whose manifests are gone and that the tower was not told of are named again.

Rule of the file: manifests go before packs, so that a crash leaves garbage and never a point with holes.
"""

from __future__ import annotations

from collections.abc import Sequence

from shared.contracts.collect import PointIds
from shared.errors import SkyharborError
from shared.vault.layout import PointName, point_name
from shared.vault.manifest import read_pack_list
from shared.vault.pack_set import PackSet
from shared.vault.point import PackRef
from workers.engine.collecting.abreast import abreast
from workers.engine.collecting.round import Round
from workers.engine.collecting.settling import bury, name_of


def expire(this: Round) -> PackSet:
    """Delete all doomed manifests, and return the packs that they needed, as far as that can be known."""
    this.enter("expiring")
    freed, after, more = PackSet(), "", True
    while more:
        page = this.desk.doomed_points(after)
        for _, packs in abreast(page.points, lambda ids: _expire_one(this, ids), check=this.control.check):
            freed.add(pack.name for pack in packs)
        if page.points:
            this.desk.expired([ids.point for ids in page.points])
            this.stats.points_expired += len(page.points)
            after = page.points[-1].point
        more = page.more and bool(page.points)
    return freed


def _expire_one(this: Round, ids: PointIds) -> Sequence[PackRef]:
    point = name_of(ids)
    packs = _packs_of(this, point)
    if ids.fence:
        bury(this, point)  # an attempt that was taken for dead may find the name free otherwise
    else:
        this.vault.store.delete(point_name(point))
    return packs


def _packs_of(this: Round, point: PointName) -> Sequence[PackRef]:
    keys = this.fleet.keys(point.machine_id)
    if keys is None:
        return ()
    try:
        return read_pack_list(this.vault, point, keys)
    except SkyharborError as error:
        if error.code not in ("object-damaged", "object-missing"):
            raise
        return ()
