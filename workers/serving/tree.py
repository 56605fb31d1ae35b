"""The tree of a point, looked at folder by folder: a node by its path, and what is directly in a folder.

Entries of a point are in one order, a folder before its content; so a folder's children are found by stepping over what
is below each of them, and pages in which there is nothing but that are not read at all.

Rule of the file: no more of the point is in memory than the shelf keeps; a page that is lost is told in its place.
"""

from __future__ import annotations

from bisect import bisect_left, bisect_right
from collections.abc import Iterator
from typing import NamedTuple

from shared.errors import SkyharborError
from shared.vault.entry import Entry, EntryKind, sort_key
from shared.vault.reader import PointReader
from workers.serving.page_shelf import PageShelf


class Child(NamedTuple):
    """A name in a folder. Without an entry it is a folder that the point has only as a part of paths."""

    name: bytes
    entry: Entry | None


class Tree:
    """Finds nodes of one point. Safe to share between threads."""

    def __init__(self, reader: PointReader) -> None:
        self._shelf = PageShelf(reader)
        self._starts = [sort_key(page.first) for page in reader.pages]

    def find(self, path: bytes) -> Entry | None:
        """Return the entry at a path (without its leading slash), None when there is none.

        Raises ``object-damaged`` or ``object-missing`` when the page that would have it cannot be read.
        """
        key = sort_key(path)
        number = bisect_right(self._starts, key) - 1
        if number < 0:
            return None
        page = self._shelf.get(number)
        row = bisect_left(page.keys, key)
        return page.entries[row] if row < len(page.keys) and page.keys[row] == key else None

    def is_above(self, path: bytes) -> bool:
        """Tell whether anything is below a path, whether or not the path itself has an entry. Raises like ``find``."""
        return not path or self._next_key(sort_key(path) + b"\0").startswith(sort_key(path) + b"\0")

    def with_content(self, entry: Entry) -> Entry:
        """Return the name of a node that carries its content: another one for a further name of a hard link.

        Raises like ``find``, and ``object-damaged`` when the point does not have that other name.
        """
        if not entry.link:
            return entry
        first = self.find(entry.link)
        if first is None or first.kind != entry.kind or first.link:
            raise SkyharborError("object-damaged", "the first name of a hard link is missing in the point")
        return first

    def children(self, folder: bytes) -> Iterator[Child | SkyharborError]:
        """Yield what is directly in a folder, in order, with an error in the place of every page that is lost.

        Such an error may stand for names of this folder, or only for what is deeper.
        """
        prefix = sort_key(folder) + b"\0" if folder else b""
        number, target = max(0, bisect_right(self._starts, prefix) - 1), prefix
        while number < len(self._starts) and (
            self._starts[number] <= target or self._starts[number].startswith(prefix)
        ):
            try:
                page = self._shelf.get(number)
            except SkyharborError as error:
                yield error
                number += 1
                continue
            row = bisect_left(page.keys, target)
            while row < len(page.keys):
                key = page.keys[row]
                if not key.startswith(prefix):
                    return
                name, deeper, _ = key[len(prefix) :].partition(b"\0")
                entry = page.entries[row]
                yield Child(name, None if deeper else entry)
                row += 1
                if deeper or entry.kind == EntryKind.DIRECTORY:
                    target = prefix + name + b"\1"  # what is below the name comes before this
                    row = bisect_left(page.keys, target, row)
            number = max(number + 1, bisect_right(self._starts, target) - 1)

    def _may_have(self, number: int, prefix: bytes, target: bytes) -> bool:
        """Tell whether there is such a page and it may have keys with the prefix, from the target on."""
        if number >= len(self._starts):
            return False
        start = self._starts[number]
        return start <= target or start.startswith(prefix)

    def _next_key(self, key: bytes) -> bytes:
        """Return the first key that is not before this one, an empty one behind the last."""
        number = max(0, bisect_right(self._starts, key) - 1)
        while number < len(self._starts):
            page = self._shelf.get(number)
            row = bisect_left(page.keys, key)
            if row < len(page.keys):
                return page.keys[row]
            number += 1
        return b""
