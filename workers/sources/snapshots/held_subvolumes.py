"""The snapshots of btrfs subvolumes that one backup holds.

Rule of the file: each is told to the guard before it is made.
"""

from __future__ import annotations

import os
from contextlib import suppress

from shared.errors import SkyharborError
from workers.engine.ports import Guard
from workers.sources.snapshots import btrfs


class HeldSubvolumes:
    """Used by one thread: ``take``, then ``release`` in any case."""

    def __init__(self, *, item_id: str, point_id: str, guard: Guard) -> None:
        self._item_id, self._point_id = item_id, point_id
        self._guard = guard
        self._made: list[tuple[str, int]] = []
        self.taken: dict[str, str] = {}
        """By the tops of subvolumes, where their snapshots are."""
        self.devices: dict[int, int] = {}
        """By the device number of each snapshot, that of what it is of."""

    def take(self, top: str) -> None:
        """Take a snapshot of the subvolume with this top. Raises ``source-failed``."""
        btrfs.sweep(top, self._item_id)
        place = btrfs.place_of(top, self._item_id, self._point_id)
        number = self._guard.arm(btrfs.KIND, {"place": place})
        self._made.append((place, number))
        btrfs.take(top, place)
        self.devices[os.lstat(place).st_dev] = os.lstat(top).st_dev
        self.taken[top] = place

    def release(self) -> None:
        """Delete them all; what cannot be deleted is left to the guard and to the next backup. Idempotent."""
        for place, number in reversed(self._made):
            with suppress(SkyharborError):
                btrfs.delete(place)
                self._guard.disarm(number)
        self._made = []
