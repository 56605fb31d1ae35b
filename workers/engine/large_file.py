"""A very large file, read in ranges by several readers at once and put together again.

The ranges are read at different times by different hands, so the file is taken only if it looked the same to all of
them, before and after, as it did to the scan. Otherwise it is read once more in one go.

Rule of the file: values and their order; who reads and who waits is the flow's.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from concurrent.futures import Future

from shared.vault.entry import Entry
from workers.engine.ports import ReadRange, Source
from workers.engine.reading import RANGE, holes_between
from workers.engine.reference import same


class LargeFile:
    """One file under way. Used by one thread."""

    def __init__(self, entry: Entry) -> None:
        self.entry = entry
        self.parts: list[Future[ReadRange]] = []
        self.bytes_read = 0

    def ranges(self, source: Source) -> Iterator[int]:
        """Yield where ranges begin, in order, without those that are nothing but hole: they cost nothing.

        Raises ``Unreadable`` when the file cannot be opened.
        """
        opened = source.open(self.entry)
        try:
            at = opened.next_data(0)
            while at is not None:
                begin = at - at % RANGE
                yield begin
                at = opened.next_data(begin + RANGE)
        finally:
            opened.close()

    def add(self, part: Future[ReadRange]) -> None:
        """Take the reading of the next range."""
        self.parts.append(part)

    def put_together(self, parts: Sequence[ReadRange]) -> Entry | None:
        """Return the file's entry, or None when it was not the same file, unchanged, in every range."""
        data: list[tuple[int, int]] = []
        for part in parts:
            data += part.data
            self.bytes_read += sum(length for _, length in part.data)
        if not parts or any(part.ended or not same(part.entry, self.entry) for part in parts):
            return None
        entry = parts[0].entry
        entry.chunks = b"".join([part.ids for part in parts])
        entry.holes = holes_between(_joined(data), entry.size)
        if any(part.young for part in parts):
            entry.ctime_ns = 0  # not to be trusted: the next run reads it again
        return entry


def _joined(data: Sequence[tuple[int, int]]) -> list[tuple[int, int]]:
    """Join ranges that touch, as those of neighbouring parts do."""
    joined: list[tuple[int, int]] = []
    for offset, length in data:
        if joined and sum(joined[-1]) == offset:
            joined[-1] = (joined[-1][0], joined[-1][1] + length)
        else:
            joined.append((offset, length))
    return joined
