"""Where the blocks of a node are: by its tree of extents, or by its lists of blocks (ext2, ext3).

Rule of the file: runs come in order and never overlap; what is not there, or was never written, is a hole.
"""

from __future__ import annotations

import struct
from collections.abc import Iterator
from typing import NamedTuple

from workers.disks.ext.inodes import EXTENTS, Inode
from workers.disks.ext.superblock import Superblock
from workers.disks.volume import Damaged, Volume, read_exactly

_MAGIC = 0xF30A
_MOST_DEEP = 5
_UNWRITTEN = 0x8000
_DIRECT = 12


class Run(NamedTuple):
    """Blocks of a file that follow each other on the volume as well."""

    logical: int
    physical: int
    blocks: int


class Mapping:
    """Finds the runs of inodes of one file system."""

    def __init__(self, volume: Volume, superblock: Superblock) -> None:
        self._volume, self._sb = volume, superblock

    def runs(self, inode: Inode) -> Iterator[Run]:
        """Yield the runs of data up to the size of the node. Raises ``Damaged``."""
        end = -(-inode.size // self._sb.block_size)
        raw = self._extents(inode.root, 0, None) if inode.flags & EXTENTS else _joined(self._listed(inode, end))
        at = 0
        for run in raw:
            if run.logical < at or not 0 < run.physical <= self._sb.blocks - run.blocks:
                raise Damaged(f"the blocks of inode {inode.number} are not in order")
            at = run.logical + run.blocks
            if run.logical >= end:
                return  # preallocated behind the end
            yield run._replace(blocks=min(run.blocks, end - run.logical))

    def read(self, inode: Inode) -> Iterator[bytes]:
        """Yield the blocks of a node that have data, one after the other."""
        for run in self.runs(inode):
            for number in range(run.physical, run.physical + run.blocks):
                yield self._block(number)

    def _extents(self, node: bytes, depth: int, expected: int | None) -> Iterator[Run]:
        magic, entries, _, below = struct.unpack_from("<HHHH", node)
        if magic != _MAGIC or below > _MOST_DEEP or (expected is not None and below != expected):
            raise Damaged("a tree of extents is damaged")
        if 12 + 12 * entries > len(node):
            raise Damaged("a tree of extents has more entries than room")
        for at in range(12, 12 + 12 * entries, 12):
            if below:
                _, low, high = struct.unpack_from("<IIH", node, at)
                yield from self._extents(self._block(low | high << 32), depth + 1, below - 1)
                continue
            logical, count, high, low = struct.unpack_from("<IHHI", node, at)
            if count <= _UNWRITTEN:
                yield Run(logical, low | high << 32, count)

    def _listed(self, inode: Inode, end: int) -> Iterator[Run]:
        numbers = struct.unpack("<15I", inode.root)
        at = 0
        for number in numbers[:_DIRECT]:
            if number:
                yield Run(at, number, 1)
            at += 1
        per_block = self._sb.block_size // 4
        for level, number in enumerate(numbers[_DIRECT:], 1):
            if at < end and number:
                yield from self._indirect(number, level, at, end)
            at += per_block**level

    def _indirect(self, block: int, level: int, at: int, end: int) -> Iterator[Run]:
        step = (self._sb.block_size // 4) ** (level - 1)
        for number in struct.unpack(f"<{self._sb.block_size // 4}I", self._block(block)):
            if at >= end:
                return
            if number and level == 1:
                yield Run(at, number, 1)
            elif number:
                yield from self._indirect(number, level - 1, at, end)
            at += step

    def _block(self, number: int) -> bytes:
        if not 0 < number < self._sb.blocks:
            raise Damaged(f"block {number} is outside of the file system")
        return read_exactly(self._volume, number * self._sb.block_size, self._sb.block_size)


def _joined(runs: Iterator[Run]) -> Iterator[Run]:
    last: Run | None = None
    for run in runs:
        if last and last.logical + last.blocks == run.logical and last.physical + last.blocks == run.physical:
            last = last._replace(blocks=last.blocks + run.blocks)
            continue
        if last:
            yield last
        last = run
    if last:
        yield last
