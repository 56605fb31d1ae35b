"""Where the blocks of a fork are: extents in the inode, or in a tree of blocks.

Rule of the file: runs come in order and never overlap; what is not there, or was never written, is a hole.
"""

from __future__ import annotations

import struct
from collections.abc import Iterator
from typing import NamedTuple

from workers.disks.volume import Damaged, Volume, read_exactly
from workers.disks.xfs.inodes import Fork, Format
from workers.disks.xfs.superblock import Superblock

_MAGICS = (b"BMAP", b"BMA3")
_HEADERS = (24, 72)
_MOST_DEEP = 9
_RECORD = 16
_UNWRITTEN = 1 << 63


class Run(NamedTuple):
    """Blocks of a fork that follow each other on the volume as well; ``at`` is the byte of the first one."""

    logical: int
    at: int
    blocks: int


class Mapping:
    """Finds the runs of forks of one file system."""

    def __init__(self, volume: Volume, superblock: Superblock) -> None:
        self._volume, self._sb = volume, superblock

    def runs(self, fork: Fork) -> Iterator[Run]:
        """Yield the runs of data. Raises ``Damaged``."""
        at = 0
        for logical, block, count, written in self._extents(fork):
            if logical < at or not count:
                raise Damaged("the extents of a node are not in order")
            at = logical + count
            if written:
                begin = self._sb.block_at(block)
                if self._sb.block_at(block + count - 1) != begin + (count - 1) * self._sb.block_size:
                    raise Damaged("an extent leaves its group")
                yield Run(logical, begin, count)

    def read(self, fork: Fork, logical: int, count: int) -> bytes:
        """Return blocks of a fork, all of which must have data."""
        return b"".join(self.each_read(list(self.runs(fork)), logical, count))

    def each_read(self, runs: list[Run], logical: int, count: int) -> Iterator[bytes]:
        """Yield the bytes of these blocks by their runs."""
        size = self._sb.block_size
        for run in runs:
            first, end = max(run.logical, logical), min(run.logical + run.blocks, logical + count)
            if first < end:
                if first != logical:
                    break
                yield read_exactly(self._volume, run.at + (first - run.logical) * size, (end - first) * size)
                logical, count = end, count - (end - first)
            if not count:
                return
        raise Damaged("a block of metadata is in a hole")

    def _extents(self, fork: Fork) -> Iterator[tuple[int, int, int, bool]]:
        if fork.format == Format.EXTENTS:
            if fork.extents * _RECORD > len(fork.room):
                raise Damaged("a node has more extents than room for them")
            yield from _records(fork.room, 0, fork.extents)
        elif fork.format == Format.TREE:
            level, count = struct.unpack_from(">HH", fork.room)
            yield from self._below(fork.room, 4, len(fork.room) - 4, level, count)
        else:
            raise Damaged(f"a node keeps its blocks in an unknown form ({fork.format})")

    def _below(
        self, node: bytes, header: int, room: int, level: int, count: int
    ) -> Iterator[tuple[int, int, int, bool]]:
        most = room // _RECORD
        if count > most or not 0 < level <= _MOST_DEEP:
            raise Damaged("a tree of extents is damaged")
        for (pointer,) in struct.iter_unpack(">Q", node[header + most * 8 :][: count * 8]):
            yield from self._block(pointer, level - 1)

    def _block(self, pointer: int, level: int) -> Iterator[tuple[int, int, int, bool]]:
        sb = self._sb
        block = read_exactly(self._volume, sb.block_at(pointer), sb.block_size)
        own = sb.version == 5
        header = _HEADERS[own]
        own_level, count = struct.unpack_from(">HH", block, 4)
        if block[:4] != _MAGICS[own] or own_level != level or header + count * _RECORD > len(block):
            raise Damaged("a tree of extents is damaged")
        if level:
            yield from self._below(block, header, len(block) - header, level, count)
        else:
            yield from _records(block, header, count)


def _records(data: bytes, at: int, count: int) -> Iterator[tuple[int, int, int, bool]]:
    for high, low in struct.iter_unpack(">QQ", data[at : at + count * _RECORD]):
        logical = high >> 9 & (1 << 54) - 1
        yield logical, (high & 0x1FF) << 43 | low >> 21, low & 0x1FFFFF, not high & _UNWRITTEN
