"""Which packs the points of a vault need: by all manifests, read once each.

Rule of the file: it only grows. A manifest that is gone since still counts in this run, which costs garbage staying
until the next one; a manifest that cannot be read hides its machine.
"""

from __future__ import annotations

import hashlib
from collections.abc import Iterator

from shared.crypto.domain_keys import DomainKeys
from shared.errors import SkyharborError
from shared.vault import layout
from shared.vault.fences import fenced_points
from shared.vault.layout import PointName, point_name
from shared.vault.manifest import read_pack_list
from shared.vault.pack_set import PackSet
from shared.vault.point import PackRef
from workers.engine.collecting.abreast import abreast
from workers.engine.collecting.round import Round
from workers.engine.collecting.settling import is_dead

_Read = tuple[PackRef, ...] | SkyharborError


class Needs:
    """The needed packs of one collection. One thread; 8 bytes for each pack and about 100 for each point."""

    def __init__(self, this: Round) -> None:
        self.packs = PackSet()
        self._this = this
        self._read: set[bytes] = set()

    def refresh(self) -> None:
        """List all manifests, and read those that have not been read before.

        After every point was settled. A manifest behind a fence is deleted when the tower agrees that it is no point.
        """
        self._this.enter("reading manifests")
        for (point, _), outcome in abreast(self._unread(), self._ask, check=self._this.control.check):
            if isinstance(outcome, SkyharborError):
                # Also one that is gone since it was listed: the next run knows better.
                why = f"{point_name(point)} cannot be read ({outcome.detail})"
                self._this.fleet.skip(point.machine_id, "manifest-damaged", why)
            else:
                self.packs.add(pack.name for pack in outcome)

    def _unread(self) -> Iterator[tuple[PointName, DomainKeys]]:
        """Yield points not read before, with their keys; whose keys are not at hand are skipped."""
        this = self._this
        # Before the points: what this run has settled is fenced now.
        fenced = fenced_points(this.vault.store)
        for info in this.vault.store.list(layout.POINTS):
            point = layout.parse_point(info.name)
            digest = hashlib.blake2b(info.name.encode(), digest_size=16).digest()
            if point is None or digest in self._read:
                continue
            self._read.add(digest)
            if not this.fleet.knows(point.machine_id):
                this.fleet.skip(point.machine_id, "machine-unknown", "the tower does not know it")
                continue
            if point in fenced and is_dead(this, point):
                this.vault.store.delete(info.name)
                continue
            keys = this.fleet.keys(point.machine_id)
            if keys is not None:
                yield point, keys

    def _ask(self, asked: tuple[PointName, DomainKeys]) -> _Read:
        try:
            return read_pack_list(self._this.vault, *asked)
        except SkyharborError as error:
            if error.code not in ("object-damaged", "object-missing"):
                raise
            return error
