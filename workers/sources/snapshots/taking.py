"""The snapshots of one backup: of which subvolumes and volumes, what is seen through them, and what is not.

Rule of the file: it decides, and makes nothing itself; everything that is read in a snapshot keeps its own name.
"""

from __future__ import annotations

import os
from collections.abc import Mapping, Sequence

from shared.contracts.sources import SnapshotWay
from shared.errors import SkyharborError
from shared.model.backup import Notice
from workers.engine.ports import SessionOrder
from workers.sources.journal.mount_table import Mount, home_of, layout_of
from workers.sources.mounts import PSEUDO
from workers.sources.roots import real_place
from workers.sources.shown import Shown
from workers.sources.snapshots import btrfs
from workers.sources.snapshots.held_subvolumes import HeldSubvolumes
from workers.sources.snapshots.held_volumes import HeldVolumes, lock_in
from workers.sources.snapshots.mounting import OPTIONS
from workers.sources.snapshots.volumes import is_volume

_AS_IT_IS = "it was read as it is, not as of the snapshot"


class Snapshots:
    """Used by one thread: ``take``, ``confirm``, then ``release`` in any case. ``percent`` is as in ``lvm.create``."""

    def __init__(self, way: SnapshotWay, order: SessionOrder, *, percent: int = 0) -> None:
        self._way = way
        self._subvolumes = HeldSubvolumes(item_id=order.item_id, point_id=order.point_id, guard=order.guard)
        self._volumes = HeldVolumes(
            item_id=order.item_id, guard=order.guard, lock=lock_in(order.folder), percent=percent
        )
        self._why: dict[int, str] = {}
        self.shown: list[Shown] = []
        """What is read elsewhere than where it is."""
        self.holds_all = False
        """Whether every path is read in a snapshot."""
        self.notices: list[Notice] = []

    @property
    def devices(self) -> dict[int, int]:
        """By the device number of each snapshot, that of what it is of."""
        return {**self._subvolumes.devices, **self._volumes.devices}

    def take(self, roots: Sequence[str], mounts: Sequence[Mount], *, below: bool = True) -> None:
        """Take a snapshot of everything that one of the paths is on. Raises ``source-failed``.

        With ``auto`` paths elsewhere are read as they are, otherwise they are refused. ``below``: of volumes that are
        mounted below the paths as well, as far as there can be one.
        """
        reals = {root: real_place(root) for root in roots}
        tops = {root: self._top_of(real, mounts) for root, real in reals.items()}
        homes = {root: home_of(reals[root], mounts) for root, top in tops.items() if top is None}
        if homes and self._way is SnapshotWay.BTRFS:
            raise SkyharborError(
                "source-failed",
                f"{next(iter(homes))}: it is in no btrfs subvolume within reach",
                hint="Check that its file system is mounted; --snapshot auto reads what is elsewhere as it is.",
            )
        reached = layout_of(list(reals.values()), mounts).mounts
        if self._way is not SnapshotWay.BTRFS:
            self._take_volumes(homes, reached if below else ())
        for one in sorted({top for top in tops.values() if top is not None}):
            self._subvolumes.take(one)
        for root, real in reals.items():
            top, home = tops[root], homes.get(root)
            place = self._in_volume(home, real) if home is not None else ""
            if top is not None:
                place = self._subvolumes.taken[top] + real.removeprefix(top.rstrip("/"))
            said = self._show(root, real, place, reached)
            said += self._show_subvolumes(root, real, top) if top is not None else []
            self.notices += said if below else []
        self.notices.sort(key=lambda one: one.path)
        self.holds_all = {os.fsencode(root) for root in roots} <= {one.path for one in self.shown}
        self._say_moments()

    def confirm(self) -> None:
        """Raise ``source-failed`` unless everything that was read in snapshots is of their moment."""
        self._volumes.confirm()

    def release(self) -> None:
        """Delete them all; what cannot be deleted is left to the guard and to the next backup. Idempotent."""
        self._volumes.release()
        self._subvolumes.release()

    def _top_of(self, real: str, mounts: Sequence[Mount]) -> str | None:
        return None if self._way is SnapshotWay.LVM else btrfs.subvolume_of(real, mounts)

    def _take_volumes(self, homes: Mapping[str, Mount | None], reached: Sequence[Mount]) -> None:
        """Take snapshots of the volumes that paths are on, and of those below; with ``lvm`` the former have to be."""
        at = {home.device: root for root, home in homes.items() if home is not None}
        must = self._way is SnapshotWay.LVM
        kinds = {home.device: home.kind for home in homes.values() if home and (must or is_volume(home.device))}
        kinds.update({one.device: one.kind for one in reached if one.kind in OPTIONS and is_volume(one.device)})

        def trouble(device: int, error: SkyharborError) -> None:
            if must and device in at:
                raise SkyharborError(error.code, f"{at[device]}: {error.detail}", **error.fields) from error
            self._why[device] = error.detail

        self._volumes.sweep()
        self._volumes.take(kinds, trouble)

    def _show(self, root: str, real: str, place: str, reached: Sequence[Mount]) -> list[Notice]:
        """Have a path read where it is to be, and what is mounted below it; ``place`` is empty for where it is.

        Returns what has to be said of what is below.
        """
        said = []
        if place:
            self._add(root, place)
        elif (home := home_of(real, reached)) is not None and home.device in self._why:
            self.notices.append(Notice(root, "not-in-snapshot", f"{_AS_IT_IS}: {self._why[home.device]}"))
        for path, mount in {one.path: one for one in reached if _is_below(one.path, real)}.items():
            name = root.rstrip("/") + path.removeprefix(real.rstrip("/"))
            inner = self._in_volume(mount, path)
            if inner or place:
                self._add(name, inner or path)
            if place and not inner and mount.kind.encode() not in PSEUDO:
                why = self._why.get(mount.device, f"a file system of its own ({mount.kind})")
                said.append(Notice(name, "not-in-snapshot", f"{_AS_IT_IS}: {why}"))
        return said

    def _show_subvolumes(self, root: str, real: str, top: str) -> list[Notice]:
        """Likewise: a snapshot of a subvolume has empty folders where others begin, and the folder of the snapshots."""
        said = []
        folder = os.path.join(top, btrfs.FOLDER)
        nested = [os.path.join(top, path) for path in btrfs.nested_in(top)]
        for path in [folder, *nested]:
            if _is_below(path, real) and not _is_below(path, folder):
                name = root.rstrip("/") + path.removeprefix(real.rstrip("/"))
                self._add(name, "" if path == folder else path)
                if path != folder:
                    said.append(Notice(name, "not-in-snapshot", f"{_AS_IT_IS}: a subvolume of its own"))
        return said

    def _in_volume(self, mount: Mount, path: str) -> str:
        """Return where a path on a mounted volume is in the snapshot of that; empty when there is none."""
        taken = self._volumes.taken.get(mount.device)
        if taken is None:
            return ""
        # What is mounted may be but a folder of the file system.
        return taken + mount.root.rstrip("/") + path.removeprefix(mount.path.rstrip("/"))

    def _say_moments(self) -> None:
        count = len(self._volumes.taken) + len(self._subvolumes.taken)
        if count > 1:
            message = f"it was read from {count} snapshots, taken one after the other: each is of a moment of its own"
            self.notices.append(Notice("", "not-one-moment", message))

    def _add(self, path: str, place: str) -> None:
        self.shown.append(Shown(path=os.fsencode(path), place=os.fsencode(place)))


def _is_below(path: str, other: str) -> bool:
    return path != other and path.startswith(other.rstrip("/") + "/")
