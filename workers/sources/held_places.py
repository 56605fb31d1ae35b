"""Whether another worker sees the snapshots that a session has mounted.

A mount is seen in one mount namespace of one machine. Whoever is elsewhere finds an empty folder at the same path, and
that looks like files that were removed.

Rule of the file: looking only; in doubt they are not seen.
"""

from __future__ import annotations

import os
from collections.abc import Iterable

import msgspec

from workers.sources.shown import Shown
from workers.sources.this_boot import this_boot


class HeldPlaces(msgspec.Struct, frozen=True, array_like=True):
    """Places of one machine, while it runs: the path of each with its device and inode."""

    boot: str
    nodes: tuple[tuple[bytes, int, int], ...]

    def seen(self) -> bool:
        """Tell whether this process sees all of them."""
        return bool(self.boot) and self.boot == this_boot() and all(_look(node[0]) == node for node in self.nodes)


def held_places(shown: Iterable[Shown]) -> HeldPlaces | None:
    """Return the places where something is read instead of where it is; None when there are none."""
    nodes = tuple(_look(one.place) for one in shown if one.place)
    return HeldPlaces(this_boot(), nodes) if nodes else None


def _look(place: bytes) -> tuple[bytes, int, int]:
    try:
        info = os.stat(place)
    except OSError:
        return place, 0, 0
    return place, info.st_dev, info.st_ino
