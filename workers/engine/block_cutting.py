"""Sources that are cut at fixed places: which blocks are read, and how a file is put together from old and new ones.

Rule of the file: pure arithmetic on offsets and ids; every range that goes in comes out covering whole blocks.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Sequence

import numpy as np
import numpy.typing as npt

from shared.vault.chunk_table import ID_SIZE
from shared.vault.entry import Entry

_MOST_AT_ONCE = 16 * 1024 * 1024  # bytes of blocks handed over together

Ranges = list[tuple[int, int]]
"""(offset, length) pairs in order, not touching each other."""


class BlockCutter:
    """Cuts what it is fed into blocks; only the last one may be shorter. Made once, used by one thread at a time."""

    def __init__(self, block: int) -> None:
        self._block = block
        self._buffer: memoryview | None = None

    def rounds(self, fill: Callable[[memoryview], int]) -> Iterator[list[memoryview]]:
        """Yield lists of consecutive blocks; the rules are those of ``chunker.Cutter.rounds``."""
        if self._buffer is None:
            self._buffer = memoryview(bytearray(max(self._block, _MOST_AT_ONCE - _MOST_AT_ONCE % self._block)))
        buffer, block, ended = self._buffer, self._block, False
        while not ended:
            held = 0
            while held < len(buffer):
                got = fill(buffer[held:])
                if got == 0:
                    ended = True
                    break
                held += got
            if held:
                yield [buffer[at : min(at + block, held)] for at in range(0, held, block)]


def aligned(ranges: Iterable[tuple[int, int]], *, block: int, size: int) -> Ranges:
    """Return the ranges widened to whole blocks of a file of this size, and joined where they then touch."""
    joined: Ranges = []
    for offset, length in ranges:
        begin = offset - offset % block
        end = min(size, -(-(offset + length) // block) * block)
        if begin >= end:
            continue
        if joined and begin <= sum(joined[-1]):
            last = joined[-1][0]
            joined[-1] = (last, max(sum(joined[-1]), end) - last)
        else:
            joined.append((begin, end - begin))
    return joined


def common(one: Sequence[tuple[int, int]], other: Sequence[tuple[int, int]]) -> Ranges:
    """Return what lies in ranges of both; each is in order."""
    both: Ranges = []
    first = second = 0
    while first < len(one) and second < len(other):
        begin = max(one[first][0], other[second][0])
        ends = sum(one[first]), sum(other[second])
        if begin < min(ends):
            both.append((begin, min(ends) - begin))
        if ends[0] <= ends[1]:
            first += 1
        else:
            second += 1
    return both


class BlockMap:
    """The blocks of a file: which of them have data, and their ids. 33 bytes of memory per block."""

    def __init__(self, *, size: int, block: int) -> None:
        self._size = size
        self._block = block
        count = -(-size // block)
        self._ids = np.zeros((count, ID_SIZE), np.uint8)
        self._there = np.zeros(count, np.bool_)

    @classmethod
    def of(cls, entry: Entry, *, block: int) -> BlockMap | None:
        """Return the map of an entry, None when it was not cut into such blocks."""
        blocks = cls(size=entry.size, block=block)
        data = data_between(entry.holes, entry.size)
        if aligned(data, block=block, size=entry.size) != data:
            return None
        numbers = blocks._numbers(data)
        if len(numbers) * ID_SIZE != len(entry.chunks):
            return None
        blocks._put(numbers, entry.chunks)
        return blocks

    def forget(self, ranges: Sequence[tuple[int, int]]) -> None:
        """Make holes of what can have changed: what is data there is put in again."""
        self._there[self._numbers(ranges)] = False

    def put(self, ranges: Sequence[tuple[int, int]], ids: bytes) -> None:
        """Take blocks that were read; ValueError unless there is one id for each."""
        numbers = self._numbers(ranges)
        if len(numbers) * ID_SIZE != len(ids):
            raise ValueError(f"{len(numbers)} blocks with {len(ids) // ID_SIZE} ids")
        self._put(numbers, ids)

    @property
    def chunks(self) -> bytes:
        """The ids of all blocks with data, in order."""
        return self._ids[self._there].tobytes()

    @property
    def holes(self) -> tuple[tuple[int, int], ...]:
        """What has no data, as (offset, length) in order."""
        edges = np.flatnonzero(np.diff(np.concatenate(([True], self._there, [True])).astype(np.int8)))
        begins, ends = edges[::2].tolist(), edges[1::2].tolist()
        block, size = self._block, self._size
        return tuple(
            (begin * block, min(size, end * block) - begin * block) for begin, end in zip(begins, ends, strict=True)
        )

    def _numbers(self, ranges: Sequence[tuple[int, int]]) -> npt.NDArray[np.int64]:
        block = self._block
        pieces = [np.arange(offset // block, -(-(offset + length) // block)) for offset, length in ranges]
        return np.concatenate(pieces) if pieces else np.zeros(0, np.int64)

    def _put(self, numbers: npt.NDArray[np.int64], ids: bytes) -> None:
        self._ids[numbers] = np.frombuffer(ids, np.uint8).reshape(-1, ID_SIZE)
        self._there[numbers] = True


def data_between(holes: Sequence[tuple[int, int]], size: int) -> Ranges:
    """Return what lies between holes of a file of this size."""
    data: Ranges = []
    at = 0
    for offset, length in (*holes, (size, 0)):
        if offset > at:
            data.append((at, offset - at))
        at = offset + length
    return data
