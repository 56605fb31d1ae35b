"""The reference point beside the scan: both are sorted, so one pass finds what is the same, new and gone.

Whole pages are offered first: where the scan met exactly a page's paths, columns are compared and no entry is made.
Otherwise the page is taken apart; runs of its rows are still compared as columns, and what is left between them is
found one by one.

Rule of the file: a reference can only save work. When it cannot be read any further, everything from there on is
treated as new, and that is said once.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import NamedTuple

from shared.errors import SkyharborError
from shared.vault.entry import Entry, EntryKind, sort_key
from shared.vault.pages import Columns
from shared.vault.point import PageRef

_DIRECTORY = int(EntryKind.DIRECTORY)
_UNUSABLE = frozenset({"object-missing", "object-damaged"})


class Run(NamedTuple):
    """Consecutive rows of a page, the first of them being ``first``, and their entries."""

    columns: Columns
    first: int
    entries: list[Entry]


class Reference:
    """A cursor over the pages and entries of the point to compare with."""

    def __init__(self, pages: Iterator[tuple[PageRef, Columns]]) -> None:
        self._pages = pages
        self._columns: Columns | None = None  # the page that was taken apart, its entries, and the next row
        self._entries: list[Entry] = []
        self._row = 0
        self.page: tuple[PageRef, Columns] | None = None
        """The next page as long as it is whole; None inside of a page and at the end."""
        self.problem: SkyharborError | None = None
        self.removed = 0
        """Nodes other than directories that the cursor has passed and the source no longer has."""
        self._turn()

    @property
    def ended(self) -> bool:
        """Whether nothing is left: whatever else the scan meets is new."""
        return self.page is None and self._columns is None

    def pass_page(self) -> None:
        """Go on behind the whole page."""
        self._turn()

    def agrees(self, paths: Sequence[bytes]) -> int:
        """Return how many of these paths, from the first on, are the next rows of the page; it is taken apart."""
        if self._head() is None or self._columns is None:
            return 0
        row = self._row
        there = self._columns.paths[row : row + len(paths)]
        if there == paths:
            return len(paths)
        return next((at for at, (one, other) in enumerate(zip(there, paths, strict=False)) if one != other), len(there))

    def has_links(self, count: int) -> bool:
        """Tell whether some of so many of the next rows, of which ``agrees`` has told, are further names of a node."""
        links = self._columns.links if self._columns is not None else ()
        return any(self._row <= row < self._row + count for row, _ in links)

    def take(self, count: int) -> Run:
        """Return so many of the next rows, of which ``agrees`` has told, and go on behind them. ValueError without."""
        if self._columns is None:
            raise ValueError("no page is taken apart")
        run = Run(self._columns, self._row, self._entries[self._row : self._row + count])
        self._advance(count)
        return run

    def peek(self, path: bytes) -> Entry | None:
        """Return the reference's entry for ``path``, if any, and stay before it. Paths must come in order."""
        head = self._skip_to(sort_key(path))
        return head if head is not None and head.path == path else None

    def page_below(self, path: bytes) -> tuple[PageRef, Columns] | None:
        """Return the next page, if it is whole and all of it is below ``path``."""
        prefix = path + b"/"
        if self.page is None:
            return None
        paths = self.page[1].paths
        return self.page if paths[0].startswith(prefix) and paths[-1].startswith(prefix) else None

    def rows_below(self, path: bytes) -> tuple[Columns, int, int] | None:
        """Return the page that is taken apart, the next row, and how many rows from there are at or below ``path``."""
        if self._head() is None or self._columns is None:
            return None
        prefix, paths, row = path + b"/", self._columns.paths, self._row
        end = row
        while end < len(paths) and (paths[end] == path or paths[end].startswith(prefix)):
            end += 1
        return (self._columns, row, end - row) if end > row else None

    def drop(self) -> None:
        """Go on behind the next row, which the source no longer has."""
        if (head := self._head()) is not None:
            self._pass(head)

    def find(self, path: bytes) -> Entry | None:
        """Return the reference's entry for ``path``, if any. Paths must come in order; every entry is given once."""
        head = self._head()
        if head is None:
            return None
        if head.path != path:
            head = self._skip_to(sort_key(path))
            if head is None or head.path != path:
                return None
        self._advance(1)
        return head

    def finish(self) -> None:
        """Count what is left as removed."""
        while (head := self._head()) is not None:
            self._pass(head)

    def _head(self) -> Entry | None:
        if self._columns is None:
            if self.page is None:
                return None
            self._columns, self._row = self.page[1], 0
            self._entries = self._columns.entries()
            self.page = None
        return self._entries[self._row]

    def _skip_to(self, key: bytes) -> Entry | None:
        while (head := self._head()) is not None and sort_key(head.path) < key:
            self._pass(head)
        return head

    def _pass(self, entry: Entry) -> None:
        if entry.kind != _DIRECTORY:
            self.removed += 1
        self._advance(1)

    def _advance(self, count: int) -> None:
        self._row += count
        if self._row >= len(self._entries):
            self._turn()

    def _turn(self) -> None:
        """Turn to the next page."""
        self.page, self._columns, self._entries = None, None, []
        try:
            self.page = next(self._pages, None)
        except SkyharborError as error:
            if error.code not in _UNUSABLE:
                raise  # a store that cannot be reached is no reason to read everything
            self.problem = error


def same(found: Entry, then: Entry) -> bool:
    """Tell whether a node is unchanged as far as its columns say (see ``seen.Looks``)."""
    return (
        found.ctime_ns == then.ctime_ns
        and found.mtime_ns == then.mtime_ns
        and found.size == then.size
        and found.inode == then.inode
        and found.kind == then.kind
    )


def equal(now: Entry, then: Entry) -> bool:
    """Tell whether a node that was read turned out to be what the reference has: only its change time moved."""
    return (
        now.chunks == then.chunks
        and now.mtime_ns == then.mtime_ns
        and now.size == then.size
        and now.kind == then.kind
        and (now.mode, now.uid, now.gid, now.rdev, now.flags) == (then.mode, then.uid, then.gid, then.rdev, then.flags)
        and (now.target, now.link, now.xattrs, now.holes) == (then.target, then.link, then.xattrs, then.holes)
    )
