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
from workers.engine.block_cutting import BlockMap, Ranges, aligned
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
        self._looked: Entry | None = None

    def ranges(self, source: Source) -> Iterator[int]:
        """Yield where ranges begin, in order, without those that have nothing to read: they cost nothing.

        Raises ``Unreadable`` when the file cannot be opened.
        """
        opened = source.open(self.entry)
        try:
            self._looked = opened.entry
            changes = self._changes(opened, source.block)
            yield from _of_data(opened) if changes is None else _of_ranges(changes)
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
        entry.holes = holes_between(_joined([one for part in parts for one in part.data]), entry.size)
        return entry

    def _laid_over(self, blocks: BlockMap, parts: Sequence[ReadRange]) -> Entry | None:
        entry = parts[0].entry if parts else self._looked
        if entry is None or not same(entry, self.entry):
            return None
        for part in parts:
            blocks.put(part.data, part.ids)
        entry.chunks, entry.holes = blocks.chunks, blocks.holes
        return entry


def _of_data(opened: OpenedFile) -> Iterator[int]:
    """Yield the beginnings of ranges that hold data."""
    at = opened.next_data(0)
    while at is not None:
        begin = at - at % RANGE
        yield begin
        at = opened.next_data(begin + RANGE)


def _of_ranges(ranges: Ranges) -> Iterator[int]:
    """Yield the beginnings of ranges of which these touch a part."""
    behind = 0
    for offset, length in ranges:
        for begin in range(max(behind, offset - offset % RANGE), offset + length, RANGE):
            yield begin
            behind = begin + RANGE


def _joined(data: Sequence[tuple[int, int]]) -> list[tuple[int, int]]:
    """Join ranges that touch, as those of neighbouring parts do."""
    joined: list[tuple[int, int]] = []
    for offset, length in data:
        if joined and sum(joined[-1]) == offset:
            joined[-1] = (joined[-1][0], joined[-1][1] + length)
        else:
            joined.append((offset, length))
    return joined
