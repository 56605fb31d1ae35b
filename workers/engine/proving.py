"""Proves that a file that is there already is the one of the point: by its bytes, not by its size and time.

Only the ids of the chunks are needed for it, so that nothing is fetched from the vault.

Rule of the file: reading only; what cannot be read or known is not proven.
"""

from __future__ import annotations

import errno
import os
from collections.abc import Callable, Iterator

from shared.errors import SkyharborError
from shared.vault.chunk_reader import ChunkReader
from shared.vault.entry import Entry
from workers.engine.xattrs import KERNELS_OWN, read_xattrs

_ID = 32
_IDS_AT_ONCE = 1024
_PIECE = 1024 * 1024


def data_ranges(entry: Entry) -> Iterator[tuple[int, int]]:
    """Yield the (offset, length) of the data between a file's holes; ``object-damaged`` when these make no sense."""
    at = 0
    for offset, length in entry.holes:
        if offset < at or length <= 0 or offset + length > entry.size:
            raise SkyharborError("object-damaged", "the file's holes are not in order")
        if offset > at:
            yield at, offset - at
        at = offset + length
    if at < entry.size:
        yield at, entry.size - at


def same_content(fd: int, entry: Entry, chunks: ChunkReader, check: Callable[[], None]) -> bool:
    """Read an open file of the entry's size and tell whether its bytes are the entry's. ``check`` may raise to stop.

    Memory is bounded by one chunk. False when the vault does not say how long a chunk is.
    """
    try:
        data = _Data(fd, list(data_ranges(entry)))
    except SkyharborError:
        return False
    for start in range(0, len(entry.chunks), _IDS_AT_ONCE * _ID):
        ids = entry.chunks[start : start + _IDS_AT_ONCE * _ID]
        for number, place in enumerate(chunks.find(ids)):
            check()
            wanted = ids[number * _ID : (number + 1) * _ID]
            # The reader hands out no keys, but whether a chunk is the right one is its to say.
            if place is None or chunks.chunk_id(data.take(place.raw_length)) != wanted:
                return False
    return not data.take(1) and all(_is_zero(fd, offset, length, check) for offset, length in entry.holes)


def same_xattrs(fd: int, entry: Entry) -> bool:
    """Tell whether an open file's xattrs are the entry's, but for those that the machine's own policy adds."""
    kept = dict(entry.xattrs)
    there = {name: value for name, value in read_xattrs(fd) if name in kept or name not in KERNELS_OWN}
    return there == kept


class _Data:
    """The bytes of an open file without its holes, one after the other."""

    def __init__(self, fd: int, ranges: list[tuple[int, int]]) -> None:
        self._fd = fd
        self._ranges = iter(ranges)
        self._at, self._left = 0, 0

    def take(self, count: int) -> bytes:
        """Return the next ``count`` bytes; fewer at the end, which is also where the file was cut meanwhile."""
        taken = bytearray()
        while len(taken) < count:
            if not self._left:
                self._at, self._left = next(self._ranges, (0, 0))
                if not self._left:
                    break
            piece = os.pread(self._fd, min(count - len(taken), self._left), self._at)
            if not piece:
                break
            taken += piece
            self._at += len(piece)
            self._left -= len(piece)
        return bytes(taken)


def _is_zero(fd: int, offset: int, length: int, check: Callable[[], None]) -> bool:
    at, end = offset, offset + length
    while at < end:
        check()
        try:
            at = os.lseek(fd, at, os.SEEK_DATA)
        except OSError as error:
            if error.errno == errno.ENXIO:
                return True
            raise
        piece = os.pread(fd, min(_PIECE, max(0, end - at)), at)
        if piece.count(0) != len(piece):
            return False
        at += len(piece) or end
    return True
