"""Counts what a backup put into its point.

Rule of the file: counting only; "files" are all entries but directories, as everywhere.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from enum import IntEnum

import msgspec
import numpy as np

from shared.vault.entry import Entry, EntryKind
from shared.vault.pages import Columns

_DIRECTORY = int(EntryKind.DIRECTORY)


class Change(IntEnum):
    """How a node compares with the reference."""

    UNCHANGED = 0
    CHANGED = 1
    NEW = 2


class Counts(msgspec.Struct, frozen=True, kw_only=True):
    """A tally's counts as a value, to be told and added up."""

    files: int
    directories: int
    bytes: int
    removed: int
    bytes_read: int
    excluded: int
    by_change: tuple[int, int, int]
    uids: frozenset[int]
    gids: frozenset[int]


class Tally:
    """The counts of one run; used by one thread."""

    __slots__ = ("_by_change", "bytes", "bytes_read", "directories", "excluded", "files", "gids", "removed", "uids")

    def __init__(self) -> None:
        self.files = 0
        self.directories = 0
        self.bytes = 0
        """Logical size; a file with several names counts once."""
        self.removed = 0
        self.bytes_read = 0
        """Read from the source."""
        self.excluded = 0
        """Left out by the item's rules."""
        self.uids: set[int] = set()
        self.gids: set[int] = set()
        self._by_change = [0, 0, 0]

    def counts(self) -> Counts:
        """Return all counts."""
        unchanged, changed, new = self._by_change
        return Counts(
            files=self.files,
            directories=self.directories,
            bytes=self.bytes,
            removed=self.removed,
            bytes_read=self.bytes_read,
            excluded=self.excluded,
            by_change=(unchanged, changed, new),
            uids=frozenset(self.uids),
            gids=frozenset(self.gids),
        )

    def add(self, counts: Counts) -> None:
        """Add what another one counted."""
        self.files += counts.files
        self.directories += counts.directories
        self.bytes += counts.bytes
        self.removed += counts.removed
        self.bytes_read += counts.bytes_read
        self.excluded += counts.excluded
        self._by_change = [mine + other for mine, other in zip(self._by_change, counts.by_change, strict=True)]
        self.uids |= counts.uids
        self.gids |= counts.gids

    def count(self, entries: Sequence[tuple[Entry, Change]]) -> None:
        """Count entries of the point."""
        self.uids.update([entry.uid for entry, _ in entries])
        self.gids.update([entry.gid for entry, _ in entries])
        files = [(entry, change) for entry, change in entries if entry.kind != _DIRECTORY]
        self.directories += len(entries) - len(files)
        self.files += len(files)
        self.bytes += sum([entry.size for entry, _ in files if not entry.link])
        for change, number in Counter([change for _, change in files]).items():
            self._by_change[change] += number

    def count_page(self, columns: Columns) -> None:
        """Count all entries of a page, none of them a further name of another one, as unchanged."""
        directories = columns.kinds.count(_DIRECTORY)
        self.directories += directories
        self.files += len(columns) - directories
        self._by_change[Change.UNCHANGED] += len(columns) - directories
        self.bytes += int(np.frombuffer(columns.sizes, "<i8").sum())
        self.uids.update(np.unique(np.frombuffer(columns.uids, "<u4")).tolist())
        self.gids.update(np.unique(np.frombuffer(columns.gids, "<u4")).tolist())

    def of(self, change: Change) -> int:
        """Return the number of files that compared so."""
        return self._by_change[change]
