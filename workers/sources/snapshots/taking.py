"""The snapshots of one backup: which subvolumes, what is seen through them, and what is not.

Rule of the file: each is told to the guard before it is made, and everything is read through them under its own name.
"""

from __future__ import annotations

import os
from collections.abc import Sequence
from contextlib import suppress

from shared.contracts.sources import SnapshotWay
from shared.errors import SkyharborError
from shared.model.backup import Notice
from workers.engine.ports import Guard
from workers.sources.journal.mount_table import Mount
from workers.sources.roots import real_place
from workers.sources.shown import Shown
from workers.sources.snapshots import btrfs


class Snapshots:
    """Used by one thread: ``take``, then ``release`` in any case."""

    def __init__(self, way: SnapshotWay, *, item_id: str, point_id: str, guard: Guard) -> None:
        self._way = way
        self._item_id, self._point_id = item_id, point_id
        self._guard = guard
        self._made: list[tuple[str, int]] = []
        self.shown: list[Shown] = []
        """What is read elsewhere than where it is."""
        self.devices: dict[int, int] = {}
        """By the device number of each snapshot, that of what it is of."""
        self.notices: list[Notice] = []

    def take(self, roots: Sequence[str], mounts: Sequence[Mount]) -> None:
        """Take a snapshot of every subvolume that one of the paths is in. Raises ``source-failed``.

        With ``auto`` paths elsewhere are read as they are, otherwise they are refused.
        """
        places = {root: real_place(root) for root in roots}
        tops = {root: btrfs.subvolume_of(places[root], mounts) for root in roots}
        for root, top in tops.items():
            if top is None and self._way is not SnapshotWay.AUTO:
                raise SkyharborError("source-failed", f"{root}: it is in no btrfs subvolume within reach")
        taken = {top: self._take(top) for top in sorted({top for top in tops.values() if top is not None})}
        for root, top in tops.items():
            if top is not None:
                self._show(root, places[root], top, taken[top], mounts)

    def release(self) -> None:
        """Delete them all; what cannot be deleted is left to the guard and to the next backup. Idempotent."""
        for place, number in reversed(self._made):
            with suppress(SkyharborError):
                btrfs.delete(place)
                self._guard.disarm(number)
        self._made = []

    def _take(self, top: str) -> str:
        btrfs.sweep(top, self._item_id)
        place = btrfs.place_of(top, self._item_id, self._point_id)
        number = self._guard.arm(btrfs.KIND, {"place": place})
        self._made.append((place, number))
        btrfs.take(top, place)
        self.devices[os.lstat(place).st_dev] = os.lstat(top).st_dev
        return place

    def _show(self, root: str, real: str, top: str, place: str, mounts: Sequence[Mount]) -> None:
        """Have a path read in a snapshot, but for what is below it and not in there."""
        self._add(root, place + real.removeprefix(top.rstrip("/")))
        folder = os.path.join(top, btrfs.FOLDER)
        live = {os.path.join(top, path) for path in btrfs.nested_in(top)}
        live |= {mount.path for mount in mounts if mount.path != top}
        for path in sorted({folder, *live}):
            if not path.startswith(real.rstrip("/") + "/") or path.startswith(folder + "/"):
                continue
            name = root.rstrip("/") + path.removeprefix(real.rstrip("/"))
            self._add(name, "" if path == folder else path)
            if path != folder:
                message = "it is a subvolume or file system of its own: it was read as it is, not as of the snapshot"
                self.notices.append(Notice(name, "not-in-snapshot", message))

    def _add(self, path: str, place: str) -> None:
        self.shown.append(Shown(path=os.fsencode(path), place=os.fsencode(place)))
