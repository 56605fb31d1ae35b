"""A very large file, read in ranges by several readers at once and put together again.

The ranges are read at different times by different hands, so the file is taken only if it looked the same to all of
them, before and after, as it did to the scan. Otherwise it is read once more in one go.

Of a file that is cut into blocks, and of which the source knows what can have changed, only that is read: the other
blocks are those of the reference.

Rule of the file: values and their order; who reads and who waits is the flow's.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from concurrent.futures import Future

from shared.vault.entry import Entry
from shared.vault.index import ChunkIndex
from workers.engine.block_cutting import BlockMap, Ranges, aligned, common
from workers.engine.ports import OpenedFile, ReadRange, Source
from workers.engine.reading import RANGE, holes_between
from workers.engine.reference import same


class LargeFile:
    """One file under way. Used by one thread. ``then`` is what the reference has of it and the vault holds."""

    def __init__(self, entry: Entry, *, then: Entry | None = None) -> None:
        self.entry = entry
        self.parts: list[Future[ReadRange]] = []
        self.bytes_read = 0
        self.only_changes = False
        """Whether the ranges are of what can have changed; known once they are asked for."""
        self._then = then
        self._blocks: BlockMap | None = None
        self.looked: Entry | None = None
        """The file as it was when it was opened to find out what there is to read."""

    def ranges(self, source: Source) -> Iterator[tuple[int, int]]:
        """Yield (offset, length) of ranges, in order, without those that have nothing to read: they cost nothing.

        Raises ``Unreadable`` when the file cannot be opened.
        """
        opened = source.open(self.entry)
        try:
            self.looked = opened.entry
            yield from windows(opened, 0, self.entry.size, self._changes(opened, source.block))
        finally:
            opened.close()

    def to_read(self, source: Source) -> Ranges:
        """Return the blocks that somebody has to read, instead of ``ranges``: others will do it.

        Holes may be among what can have changed. Raises ``Unreadable`` when the file cannot be opened.
        """
        opened, size = source.open(self.entry), self.entry.size
        try:
            self.looked = opened.entry
            changes = self._changes(opened, source.block)
            return aligned(opened.data(0, size), block=source.block, size=size) if changes is None else changes
        finally:
            opened.close()

    def add(self, part: Future[ReadRange]) -> None:
        """Take the reading of the next range."""
        self.parts.append(part)

    def put_together(self, parts: Sequence[ReadRange]) -> Entry | None:
        """Return the file's entry, or None when it was not the same file, unchanged, in every range."""
        self.bytes_read += sum(length for part in parts for _, length in part.data)
        if any(part.ended or not same(part.entry, self.entry) for part in parts):
            return None
        entry = self._read(parts) if self._blocks is None else self._laid_over(self._blocks, parts)
        if entry is not None and any(part.young for part in parts):
            entry.ctime_ns = 0  # not to be trusted: the next run reads it again
        return entry

    def _changes(self, opened: OpenedFile, block: int) -> Ranges | None:
        """Return what has to be read because it can have changed, None for everything there is."""
        if not block or self._then is None or self._then.size != self.entry.size:
            return None
        changes = opened.changes()
        blocks = None if changes is None else BlockMap.of(self._then, block=block)
        if changes is None or blocks is None:
            return None
        ranges = aligned(changes, block=block, size=self.entry.size)
        blocks.forget(ranges)
        self._blocks, self.only_changes = blocks, True
        return ranges

    def _read(self, parts: Sequence[ReadRange]) -> Entry | None:
        if not parts:
            return None
        entry = parts[0].entry
        entry.chunks = b"".join([part.ids for part in parts])
        entry.holes = holes_between(joined([one for part in parts for one in part.data]), entry.size)
        return entry

    def _laid_over(self, blocks: BlockMap, parts: Sequence[ReadRange]) -> Entry | None:
        entry = parts[0].entry if parts else self.looked
        if entry is None or not same(entry, self.entry):
            return None
        for part in parts:
            blocks.put(part.data, part.ids)
        entry.chunks, entry.holes = blocks.chunks, blocks.holes
        return entry


def reliable(then: Entry | None, *, same_blocks: bool, index: ChunkIndex) -> Entry | None:
    """Return what the reference has of a file, None when its blocks are no blocks of ours, or not there to rely on."""
    return then if then is not None and same_blocks and index.contains_all(then.chunks) else None


def windows(opened: OpenedFile, begin: int, end: int, changes: Ranges | None) -> Iterator[tuple[int, int]]:
    """Yield (offset, length) of ranges that hold data, or of which changes touch a part, between two offsets."""
    if changes is None:
        at = opened.next_data(begin)
        while at is not None and at < end:
            first = at - (at - begin) % RANGE
            yield first, min(RANGE, end - first)
            at = opened.next_data(first + RANGE)
        return
    behind = begin
    for offset, length in common(changes, [(begin, end - begin)]):
        for first in range(max(behind, offset - (offset - begin) % RANGE), offset + length, RANGE):
            yield first, min(RANGE, end - first)
            behind = first + RANGE


def joined(data: Sequence[tuple[int, int]]) -> list[tuple[int, int]]:
    """Join ranges that touch, as those of neighbouring parts do."""
    found: list[tuple[int, int]] = []
    for offset, length in data:
        if found and sum(found[-1]) == offset:
            found[-1] = (found[-1][0], found[-1][1] + length)
        else:
            found.append((offset, length))
    return found
