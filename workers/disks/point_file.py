"""One file of a point, to be read at any offset: chunks are fetched as they are touched, holes are zeros.

Where chunks begin is known without asking for each of them when the file was cut into blocks of one size; for others
the sizes of all chunks are asked of the index once, eight bytes of memory per chunk.

Rule of the file: what is handed out comes from chunks that have the id of the point; memory is bounded whatever is
read.
"""

from __future__ import annotations

import threading
from collections import OrderedDict
from collections.abc import Iterator

import numpy as np
import numpy.typing as npt

from shared.errors import SkyharborError
from shared.vault.chunk_table import ID_SIZE
from shared.vault.entry import Entry
from shared.vault.reader import PointReader
from workers.engine.proving import data_ranges

_KEEP = 64 * 1024 * 1024
_ASK = 64 * 1024  # ids at once, of the index
_BLOCKS = tuple(1 << power for power in range(12, 27))  # 4 KiB to 64 MiB

I64 = npt.NDArray[np.int64]


class _UnevenError(Exception):
    """A chunk does not have the size that all have that are cut alike."""


class PointFile:
    """Random access to a regular file of a point. Safe to share between threads; keeps ``keep`` bytes of chunks.

    Raises ``object-damaged`` where chunks and holes do not make up the size, and what the store raises.
    """

    def __init__(self, reader: PointReader, entry: Entry, *, keep: int = _KEEP) -> None:
        self.size = entry.size
        self._reader, self._entry, self._keep = reader, entry, keep
        self._count = len(entry.chunks) // ID_SIZE
        self._ranges = _Ranges(entry)
        self._block = _even_block(entry, self._ranges, self._count)
        self._starts = np.zeros(0, np.int64) if self._block else self._ask_for_starts()
        self._kept: OrderedDict[int, bytes] = OrderedDict()
        self._kept_size = 0
        self._lock = threading.Lock()

    def read(self, offset: int, length: int) -> bytes:
        """Return the bytes from ``offset`` on; fewer only at the end of the file."""
        length = min(length, self.size - offset)
        if offset < 0 or length <= 0:
            return b""
        try:
            return self._read(offset, length)
        except _UnevenError:
            # As many chunks as even blocks would be, and yet cut in another way: now it has to be known how.
            with self._lock:
                self._block, self._starts = 0, self._ask_for_starts()
                self._kept.clear()
                self._kept_size = 0
            return self._read(offset, length)

    def is_hole(self, offset: int, length: int) -> bool:
        """Tell whether the point has no data in this range: it reads as zeros, without asking the vault."""
        return next(self._ranges.of(offset, length), None) is None

    # ── inside: chunks are counted in the data between the holes ─────────────────────────────────────

    def _read(self, offset: int, length: int) -> bytes:
        out = bytearray(length)
        for begin, data_at, count in self._ranges.of(offset, length):
            self._copy(out, begin - offset, data_at, count)
        return bytes(out)

    def _copy(self, out: bytearray, at: int, data_at: int, length: int) -> None:
        first, last = self._number_at(data_at), self._number_at(data_at + length - 1)
        for number, chunk in self._chunks(first, last + 1):
            skip = max(0, data_at - self._start_of(number))
            part = memoryview(chunk)[skip : skip + length]
            out[at : at + len(part)] = part
            at, data_at, length = at + len(part), data_at + len(part), length - len(part)
        if length:
            raise _misfit()

    def _chunks(self, first: int, end: int) -> Iterator[tuple[int, bytes]]:
        """Yield chunks in order; those that are not kept come with as few requests as they can."""
        numbers = list(range(first, end))
        with self._lock:
            have = {number: self._kept[number] for number in numbers if number in self._kept}
            for number in have:
                self._kept.move_to_end(number)
        missing = [number for number in numbers if number not in have]
        ids = self._entry.chunks
        fetched = self._reader.read_chunks(b"".join(ids[n * ID_SIZE : (n + 1) * ID_SIZE] for n in missing))
        for number in numbers:
            if number in have:
                yield number, have[number]
                continue
            chunk = bytes(next(fetched))
            if len(chunk) != self._length_of(number):
                if not self._block:
                    raise _misfit()
                raise _UnevenError
            self._remember(number, chunk)
            yield number, chunk

    def _remember(self, number: int, chunk: bytes) -> None:
        with self._lock:
            if number not in self._kept:
                self._kept[number] = chunk
                self._kept_size += len(chunk)
            while self._kept_size > self._keep and len(self._kept) > 1:
                self._kept_size -= len(self._kept.popitem(last=False)[1])

    def _number_at(self, data_at: int) -> int:
        if self._block:
            return data_at // self._block
        return int(np.searchsorted(self._starts, data_at, side="right")) - 1

    def _start_of(self, number: int) -> int:
        return number * self._block if self._block else int(self._starts[number])

    def _length_of(self, number: int) -> int:
        if self._block:
            return min(self._block, self._ranges.data - number * self._block)
        return int(self._starts[number + 1] - self._starts[number])

    def _ask_for_starts(self) -> I64:
        """Return where every chunk begins in the data, and where the last one ends."""
        lengths = np.zeros(self._count + 1, np.int64)
        for begin in range(0, self._count, _ASK):
            ids = self._entry.chunks[begin * ID_SIZE : (begin + _ASK) * ID_SIZE]
            sizes = [place.raw_length for place in self._reader.locate(ids)]
            lengths[begin + 1 : begin + 1 + len(sizes)] = sizes
        starts = np.cumsum(lengths, dtype=np.int64)
        if int(starts[-1]) != self._ranges.data:
            raise _misfit()
        return starts


class _Ranges:
    """The data between the holes, as columns. ``data`` is how much there is."""

    def __init__(self, entry: Entry) -> None:
        pairs = np.array(list(data_ranges(entry)), np.int64).reshape(-1, 2)
        self.begins: I64 = pairs[:, 0]
        self.lengths: I64 = pairs[:, 1]
        ends = np.cumsum(self.lengths)
        self._data_at: I64 = ends - self.lengths
        self.data = int(ends[-1]) if len(ends) else 0

    def of(self, offset: int, length: int) -> Iterator[tuple[int, int, int]]:
        """Yield the data in a range of the file as (offset in the file, offset in the data, length)."""
        number = max(0, int(np.searchsorted(self.begins, offset, side="right")) - 1)
        while number < len(self.begins):
            begin, size = int(self.begins[number]), int(self.lengths[number])
            if begin >= offset + length:
                return
            first, end = max(begin, offset), min(begin + size, offset + length)
            if first < end:
                yield first, int(self._data_at[number]) + first - begin, end - first
            number += 1


def _even_block(entry: Entry, ranges: _Ranges, count: int) -> int:
    """Return the block size by which the file seems to be cut: all data begins and ends at multiples of it; or 0."""
    if not count:
        return 0
    ends = ranges.begins + ranges.lengths
    for block in _BLOCKS:
        if -(-ranges.data // block) == count:
            inner = ends[ends < entry.size]
            if not (ranges.begins % block).any() and not (inner % block).any():
                return block
    return 0


def _misfit() -> SkyharborError:
    return SkyharborError("object-damaged", "the chunks of the disk do not fit between its holes")
