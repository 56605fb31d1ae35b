"""Where nodes are read, when that is not where they are: in a snapshot, under the path that they have in the point.

Rule of the file: text of paths; nothing is looked at.
"""

from __future__ import annotations

from collections.abc import Sequence

import msgspec


class Shown(msgspec.Struct, frozen=True, array_like=True):
    """What is at and below ``path`` is read at ``place``, or not at all if that is empty. The longest path counts."""

    path: bytes
    place: bytes


class Places:
    """Finds where a node is read, by its path in the point."""

    def __init__(self, shown: Sequence[Shown] = ()) -> None:
        kept = [one for one in shown if one.place]
        self._shown = [
            (one.path.rstrip(b"/")[1:], one.place.rstrip(b"/"))
            for one in sorted(kept, key=lambda one: len(one.path), reverse=True)
        ]
        self.none = not shown
        self.borders = frozenset(path for path, _ in self._shown)
        """Paths (of the point) at which another place begins: the folder above does not lead there."""
        self.hidden = frozenset(one.path[1:] for one in shown if not one.place)
        """Paths that are not met at all."""

    def of(self, path: bytes) -> bytes:
        """Return the absolute path of a node's place; ``path`` is the point's, without its leading slash."""
        for top, place in self._shown:
            if path == top or not top or path.startswith(top + b"/"):
                return place + b"/" + path[len(top) + 1 if top else 0 :] if path != top else place
        return b"/" + path
