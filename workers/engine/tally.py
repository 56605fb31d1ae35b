"""Counts what a backup put into its point.

Rule of the file: counting only; "files" are all entries but directories, as everywhere.
"""

from __future__ import annotations

from enum import IntEnum

from shared.vault.entry import Entry, EntryKind

_DIRECTORY = int(EntryKind.DIRECTORY)


class Change(IntEnum):
    """How a node compares with the reference."""

    UNCHANGED = 0
    CHANGED = 1
    NEW = 2


class Tally:
    """The counts of one run; used by one thread."""

    __slots__ = ("_by_change", "bytes", "directories", "files", "removed")

    def __init__(self) -> None:
        self.files = 0
        self.directories = 0
        self.bytes = 0
        """Logical size; a file with several names counts once."""
        self.removed = 0
        self._by_change = [0, 0, 0]

    def count(self, entry: Entry, change: Change) -> None:
        """Count an entry of the point."""
        if entry.kind == _DIRECTORY:
            self.directories += 1
            return
        self.files += 1
        self._by_change[change] += 1
        if not entry.link:
            self.bytes += entry.size

    def of(self, change: Change) -> int:
        """Return the number of files that compared so."""
        return self._by_change[change]
