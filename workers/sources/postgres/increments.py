"""Files of an increment, put on top of what is there.

An increment has, for a file of which blocks were changed, ``INCREMENTAL.<name>``: which blocks, their contents, and how
short the file has been since the parent. The result is what ``pg_combinebackup`` makes (its ``reconstruct.c`` is the
description of the format): the newest version of every block, nothing older behind the newest's truncation length,
and zeros for what no backup has.

Rule of the file: one file at a time, written forward from its oldest whole version; nothing is kept in memory.
"""

from __future__ import annotations

import os
import struct
from collections.abc import Callable, Iterator
from typing import Final, NamedTuple

from typing_extensions import Buffer

from shared.errors import SkyharborError

PREFIX: Final = b"INCREMENTAL."
BLOCK: Final = 8192

_MAGIC = 0xD3AE1F0D
_HEAD = struct.Struct("<III")
_MOST = 131072  # blocks of a file: 1 GiB


class Header(NamedTuple):
    """``blocks`` are numbers, in the order of the contents; ``length`` is the truncation length in blocks."""

    blocks: tuple[int, ...]
    length: int


class Increment:
    """An incremental file that comes in pieces."""

    def __init__(self, pieces: Iterator[memoryview]) -> None:
        """Read the header. Raises ``object-damaged`` when it is none."""
        self._pieces = pieces
        self._rest = memoryview(b"")
        magic, count, length = _HEAD.unpack(self._take(_HEAD.size))
        if magic != _MAGIC or count > _MOST or length > _MOST:
            raise SkyharborError("object-damaged", "a file of an increment does not begin as it must")
        self.header = Header(struct.unpack(f"<{count}I", self._take(4 * count)), length)
        if count:
            self._take(-(_HEAD.size + 4 * count) % BLOCK)

    def blocks(self) -> Iterator[tuple[int, bytes]]:
        """Yield numbers and contents of blocks, in the file's order."""
        for number in self.header.blocks:
            yield number, self._take(BLOCK)

    @property
    def final_length(self) -> int:
        """How long the file is when this is its newest version, in blocks."""
        return max(self.header.length, 1 + max(self.header.blocks, default=-1))

    def _take(self, size: int) -> bytes:
        taken = bytearray()
        while len(taken) < size:
            if not self._rest:
                piece = next(self._pieces, None)
                if piece is None:
                    raise SkyharborError("object-damaged", "a file of an increment broke off")
                self._rest = memoryview(piece)
            count = size - len(taken)
            taken += self._rest[:count]
            self._rest = self._rest[count:]
        return bytes(taken)


def apply(fd: int, increments: Iterator[Iterator[memoryview]], check: Callable[[], None]) -> None:
    """Write increments, oldest first, over a file that has its oldest whole version."""
    waiting = next(increments, None)
    while waiting is not None:
        following = next(increments, None)
        _apply_one(fd, Increment(waiting), newest=following is None, check=check)
        waiting = following


def _apply_one(fd: int, increment: Increment, *, newest: bool, check: Callable[[], None]) -> None:
    if newest:
        os.ftruncate(fd, min(os.fstat(fd).st_size, increment.header.length * BLOCK))
    for number, content in increment.blocks():
        _write(fd, content, number * BLOCK)
        check()
    if newest:
        os.ftruncate(fd, increment.final_length * BLOCK)


def _write(fd: int, data: Buffer, offset: int) -> None:
    view = memoryview(data)
    while view:
        done = os.pwrite(fd, view, offset)
        view, offset = view[done:], offset + done
