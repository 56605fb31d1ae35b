"""What is taken from the reference as it is, because the source knows that it is unchanged.

Nodes with several names are the hard part: the scan tells of a node how many names it has, the reference does not. So
further names are always looked at again, and so is every node that the scan has met under another name.

Rule of the file: what is kept is decided by rows of the reference alone; in doubt a row is looked at.
"""

from __future__ import annotations

from collections.abc import Collection
from typing import Protocol, runtime_checkable

import numpy as np

from shared.vault.entry import EntryKind
from shared.vault.pages import Columns

_DIRECTORY = int(EntryKind.DIRECTORY)


class ScanAll(Exception):
    """What is unchanged cannot be kept after all, for the reason given: everything has to be scanned."""


@runtime_checkable
class Selective(Protocol):
    """A source that may know what is unchanged."""

    @property
    def selective(self) -> bool:
        """Whether its scan offers what is unchanged: then it is quick, and not worth sharing."""
        ...


class KeptTrees:
    """The directories that were kept with all that is below, and what of them is in doubt all the same."""

    def __init__(self) -> None:
        self._paths: set[bytes] = set()
        self._doubtful: frozenset[int] = frozenset()
        self._wanted: set[int] = set()

    def __bool__(self) -> bool:
        return bool(self._paths)

    def add(self, path: bytes, doubtful: frozenset[int]) -> None:
        """Keep one more; ``doubtful`` are the inode numbers that the source does not vouch for."""
        self._paths.add(path)
        if doubtful is not self._doubtful:
            self._doubtful = doubtful
            self._wanted.update(doubtful)

    def meet(self, inode: int) -> None:
        """Take note that the scan has met a node with several names."""
        self._wanted.add(inode)

    def doubts(self, inode: int) -> bool:
        """Tell whether the source does not vouch for a node."""
        return inode in self._doubtful

    def holds(self, path: bytes) -> bool:
        """Tell whether a path is in one of the trees."""
        at = len(path)
        while at > 0:
            if path[:at] in self._paths:
                return True
            at = path.rfind(b"/", 0, at)
        return False

    def doubtful_rows(self, columns: Columns, first: int, count: int) -> Collection[int]:
        """Return which of these rows of a page have to be looked at."""
        young = np.frombuffer(columns.ctimes, "<i8")[first : first + count] == 0
        rows = {first + int(row) for row in np.flatnonzero(young)}
        inodes = np.frombuffer(columns.inodes, "<u8")[first : first + count].tolist()
        if not self._wanted.isdisjoint(inodes):
            kinds = columns.kinds[first : first + count]
            rows.update(
                first + at
                for at, (inode, kind) in enumerate(zip(inodes, kinds, strict=True))
                if inode in self._wanted and kind != _DIRECTORY
            )
        rows.update(row for row, _ in columns.links if first <= row < first + count)
        return rows
