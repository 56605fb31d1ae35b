"""Where the bytes of a file are: between its holes, and in which of its chunks.

How long the chunks are is asked of the index, once. A file that was cut into blocks of one size says it by itself, and
a disk of a terabyte has a million of them; so these are guessed first, where the caller knows of such files.

Rule of the file: arithmetic on what the entry and the index say; nothing is read.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import NamedTuple, Protocol

import numpy as np
from numpy.typing import NDArray

from shared.errors import SkyharborError
from shared.vault.chunk_table import ID_SIZE, Location
from shared.vault.entry import Entry

_IDS_AT_ONCE = 1024 * ID_SIZE
_UNKNOWN = -1
_BLOCKS = tuple(1 << power for power in range(12, 27))  # 4 KiB to 64 MiB

Offsets = NDArray[np.int64]


class Places(Protocol):
    """Knows where chunks are, and so how long."""

    def find(self, ids: bytes) -> list[Location | None]:
        """Return the place of every id, None where there is none."""
        ...


class Piece(NamedTuple):
    """Consecutive bytes of a file that come from one place: ``skip`` bytes behind the beginning of a chunk.

    ``chunk`` is the chunk's number in the file, None for a hole; ``whole`` is how long the chunk is.
    """

    offset: int
    length: int
    chunk: int | None
    skip: int
    whole: int


class Layout:
    """The places of one file's bytes: 16 bytes per chunk and 24 per hole. Safe to share between threads."""

    def __init__(self, entry: Entry, places: Places, *, blocks: bool = False) -> None:
        """Find out how long the chunks are. Raises ``object-damaged`` when they do not fit size and holes.

        With ``blocks`` nobody is asked where the file may be cut into blocks: then ``guessed`` is true, and a chunk
        that is not as long as its ``Piece`` says is a reason to ``ask``.
        """
        self.size = entry.size
        self._ids, self._places = entry.chunks, places
        self._begins, self._ends = _data_ranges(entry)
        lengths = self._ends - self._begins
        self._bases = np.concatenate((np.zeros(1, np.int64), np.cumsum(lengths)))
        block = self._even_block(len(entry.chunks) // ID_SIZE) if blocks else 0
        self.guessed = block > 0
        if block:
            self._starts = np.minimum(np.arange(len(entry.chunks) // ID_SIZE + 1, dtype=np.int64) * block, self.data)
        else:
            self.ask()

    def ask(self) -> None:
        """Ask the index how long the chunks are, whatever was guessed. Raises ``object-damaged``. Idempotent."""
        self._starts = _chunk_starts(_lengths(self._ids, self._places), self.data)
        self.guessed = False

    @property
    def data(self) -> int:
        """How many bytes are outside of the holes."""
        return int(self._bases[-1])

    def pieces(self, offset: int, length: int) -> Iterator[Piece]:
        """Yield what the bytes of a stretch are, in order and without gaps, as far as the file goes."""
        for at, count, is_hole in self.extents(offset, length):
            if is_hole:
                yield Piece(at, count, None, 0, count)
            else:
                yield from self._chunked(at, count)

    def extents(self, offset: int, length: int) -> Iterator[tuple[int, int, bool]]:
        """Yield (offset, length, is a hole) of a stretch, in order and without gaps, as far as the file goes."""
        end = min(offset + length, self.size)
        number = int(np.searchsorted(self._ends, offset, "right"))  # the first data that ends behind the offset
        while offset < end:
            begins = int(self._begins[number]) if number < len(self._begins) else end
            if offset < begins:
                yield offset, min(begins, end) - offset, True
            if begins < end:
                at = max(offset, begins)
                yield at, min(int(self._ends[number]), end) - at, False
                begins = int(self._ends[number])
            offset, number = begins, number + 1

    def _chunked(self, offset: int, length: int) -> Iterator[Piece]:
        """Yield the pieces of a stretch that is inside of one range of data."""
        number = int(np.searchsorted(self._begins, offset, "right")) - 1
        at = int(self._bases[number]) + offset - int(self._begins[number])
        starts = self._starts
        chunk = int(np.searchsorted(starts, at, "right")) - 1
        while length:
            begin, end = int(starts[chunk]), int(starts[chunk + 1])
            count = min(end - at, length)
            if count:
                yield Piece(offset, count, chunk, at - begin, end - begin)
            offset, at, length, chunk = offset + count, at + count, length - count, chunk + 1

    def _even_block(self, count: int) -> int:
        """Return the size of the blocks that so many chunks can be: data begins and ends at multiples of it; or 0."""
        begins, inner = self._begins, self._ends[self._ends < self.size]
        for block in _BLOCKS:
            if -(-self.data // block) == count and not (begins % block).any() and not (inner % block).any():
                return block
        return 0


def _data_ranges(entry: Entry) -> tuple[Offsets, Offsets]:
    """Return where the data between a file's holes begins and ends."""
    holes = np.array(entry.holes, np.int64).reshape(-1, 2)
    ends = holes[:, 0] + holes[:, 1]
    before = np.concatenate((np.zeros(1, np.int64), ends))
    behind = np.concatenate((holes[:, 0], np.array([entry.size], np.int64)))
    if (holes[:, 1] <= 0).any() or (behind < before).any():
        raise SkyharborError("object-damaged", "the file's holes are not in order")
    kept = before < behind
    return before[kept], behind[kept]


def _lengths(ids: bytes, places: Places) -> Offsets:
    """Return the length of every chunk, -1 where no pack that can be read says it."""
    lengths = np.empty(len(ids) // ID_SIZE, np.int64)
    done = 0
    for start in range(0, len(ids), _IDS_AT_ONCE):
        found = places.find(ids[start : start + _IDS_AT_ONCE])
        lengths[done : done + len(found)] = [place.raw_length if place else _UNKNOWN for place in found]
        done += len(found)
    return lengths


def _chunk_starts(lengths: Offsets, total: int) -> Offsets:
    """Return where each chunk begins in the data, and the end.

    What is between the first and the last chunk of unknown length belongs to the first of them, which is lost: where
    the others between them begin cannot be known, and a guess could show wrong bytes.
    """
    starts = np.concatenate((np.zeros(1, np.int64), np.cumsum(np.maximum(lengths, 0))))
    unknown = np.flatnonzero(lengths == _UNKNOWN)
    missing = total - int(starts[-1])
    if missing < 0 or (missing and not len(unknown)):
        raise SkyharborError("object-damaged", f"the file's chunks have {int(starts[-1])} bytes, not {total}")
    if len(unknown):
        first, last = int(unknown[0]), int(unknown[-1])
        starts[first + 1 : last + 1] = starts[last + 1] + missing
        starts[last + 1 :] += missing
    return starts
