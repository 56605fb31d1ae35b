"""Pieces of large files: what a shard of a backup is about where a few disks are all there is.

A disk of blocks is cut anywhere between two of them, and by the bytes that somebody has to read: of a disk with a
bitmap that is what can have changed, so that a terabyte with little to read is no work for anybody.

Rule of the file: pure; a bad cut costs time and nothing else.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import NamedTuple

import msgspec

_LITTLE = 4
"""A file with less to read than one part in so many of a fair share is read by one worker."""


class Stretch(msgspec.Struct, frozen=True, array_like=True):
    """A file from one offset up to another; both are where blocks begin, or its end.

    ``changed``: only what can have changed since the reference is read.
    """

    path: bytes
    begin: int
    end: int
    changed: bool = False


class ToRead(NamedTuple):
    """A file of which there is something to read: whole blocks as (offset, length), in order. ``changed`` as above."""

    path: bytes
    size: int
    ranges: Sequence[tuple[int, int]]
    changed: bool

    @property
    def bytes(self) -> int:
        """How much there is to read."""
        return sum(length for _, length in self.ranges)


def cut(files: Sequence[ToRead], *, parts: int, block: int) -> list[list[Stretch]]:
    """Cut what there is to read of files into at most so many parts, each of about as many bytes.

    All stretches of a file one after the other are the file. Files with nothing to read are in no part.
    """
    total = sum(file.bytes for file in files)
    cutter = _Cutter(share=max(1, -(-total // parts)), block=block)
    for file in files:
        if file.bytes:
            cutter.add(file)
    return cutter.parts


class _Cutter:
    def __init__(self, *, share: int, block: int) -> None:
        self._share = share
        self._block = block
        self._filled = 0
        self.parts: list[list[Stretch]] = [[]]

    def add(self, file: ToRead) -> None:
        begin = 0
        if self._filled >= self._share:
            self._turn()
        if file.bytes < self._share // _LITTLE:
            self._filled += file.bytes
        else:
            for border in self._fill(file.ranges):
                self.parts[-1].append(Stretch(file.path, begin, border, file.changed))
                self.parts.append([])
                begin = border
        self.parts[-1].append(Stretch(file.path, begin, file.size, file.changed))

    def _fill(self, ranges: Sequence[tuple[int, int]]) -> Sequence[int]:
        """Fill this part and further ones; return where each of them is full, and there is more data behind."""
        borders: list[int] = []
        for offset, length in ranges:
            at, end = offset, offset + length
            while at < end:
                if self._filled >= self._share:
                    borders.append(at)
                    self._filled = 0
                room = -(-(self._share - self._filled) // self._block) * self._block
                taken = min(room, end - at)
                self._filled += taken
                at += taken
        return borders

    def _turn(self) -> None:
        self.parts.append([])
        self._filled = 0
