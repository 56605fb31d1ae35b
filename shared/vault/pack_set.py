"""A set of packs that may have ten million members: eight bytes each.

Rule of the file: a pack is known by the first eight bytes of its SHA-256. Once in 2**64 it is taken for another one, so
this is only for questions to which a wrong yes is harmless: is a pack needed, condemned, or not to be relied on.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence

import numpy as np

from shared.vault.chunk_table import U64, Bool

_FRESH = 1_000_000


class PackSet:
    """Packs by their object names. One thread adds at a time."""

    def __init__(self, names: Iterable[str] = ()) -> None:
        self._sorted: U64 = np.empty(0, dtype=np.uint64)
        self._fresh: list[U64] = []
        self._fresh_size = 0
        self.add(names)

    def add(self, names: Iterable[str]) -> None:
        """Add packs."""
        numbers = np.fromiter(map(_number, names), dtype=np.uint64)
        self._fresh.append(numbers)
        self._fresh_size += len(numbers)
        # As much again as there is: the total work stays near linear, and the room below three times the result.
        if self._fresh_size > max(_FRESH, len(self._sorted)):
            self._settle()

    def merge(self, other: PackSet) -> None:
        """Add all packs of another set."""
        other._settle()
        self._fresh.append(other._sorted)
        self._fresh_size += len(other._sorted)

    def holds(self, names: Sequence[str]) -> Bool:
        """Return for every pack whether it is in the set. One call for many is far cheaper."""
        self._settle()
        wanted = np.fromiter(map(_number, names), dtype=np.uint64, count=len(names))
        if not len(self._sorted):
            return np.zeros(len(names), dtype=bool)
        at = np.minimum(self._sorted.searchsorted(wanted), len(self._sorted) - 1)
        found: Bool = self._sorted[at] == wanted
        return found

    def __contains__(self, name: object) -> bool:
        return isinstance(name, str) and bool(self.holds([name])[0])

    def __len__(self) -> int:
        self._settle()
        return len(self._sorted)

    def _settle(self) -> None:
        if self._fresh_size:
            self._sorted = np.unique(np.concatenate([self._sorted, *self._fresh]))
        self._fresh, self._fresh_size = [], 0


def _number(name: str) -> int:
    # The last part of a pack's name is 64 hex digits.
    return int(name[-64:-48], 16)
