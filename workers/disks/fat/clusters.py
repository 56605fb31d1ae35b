"""Clusters and the table that chains them: what FAT and exFAT have in common.

Rule of the file: numbers in, runs of bytes out; a chain that leaves the volume or ends too early is ``Damaged``.
"""

from __future__ import annotations

from collections import OrderedDict
from collections.abc import Iterator
from typing import NamedTuple

from workers.disks.volume import Damaged, Volume

_WINDOW = 8 * 1024
_KEPT = 64


class Geometry(NamedTuple):
    """Where things are, in bytes; ``bits`` is the width of a row of the table."""

    table: int
    bits: int
    heap: int
    cluster: int
    clusters: int

    def at(self, number: int) -> int:
        """Return where a cluster begins."""
        if not 2 <= number < self.clusters + 2:
            raise Damaged(f"cluster {number} is outside of the file system")
        return self.heap + (number - 2) * self.cluster


class Run(NamedTuple):
    """Bytes of a node that follow each other on the volume as well."""

    at: int
    length: int


class Clusters:
    """Follows chains on one volume."""

    def __init__(self, volume: Volume, geometry: Geometry, *, mask: int) -> None:
        self.geometry = geometry
        self._volume, self._mask = volume, mask
        self._windows: OrderedDict[int, bytes] = OrderedDict()

    def straight(self, first: int, length: int) -> Iterator[Run]:
        """Yield the run of a node whose clusters follow each other without a chain."""
        count = -(-length // self.geometry.cluster)
        if count:
            begin = self.geometry.at(first)
            self.geometry.at(first + count - 1)
            yield Run(begin, length)

    def chained(self, first: int, length: int | None) -> Iterator[Run]:
        """Yield the runs of a node of this length; of a directory without one, to the end of the chain."""
        size, left = self.geometry.cluster, length
        begin, count, number = first, 1, first
        for _ in range(self.geometry.clusters):
            if left is not None and left <= count * size:
                if left:
                    yield self._run(begin, count, left)
                return
            following = self._row(number)
            if following == number + 1 and following < self._mask - 15:
                count, number = count + 1, following
                continue
            if following >= self._mask - 7:  # the end of the chain
                if left is not None:
                    raise Damaged("a chain of clusters ends before the file does")
                yield self._run(begin, count, count * size)
                return
            yield self._run(begin, count, count * size)
            left = None if left is None else left - count * size
            begin, count, number = following, 1, following
        raise Damaged("a chain of clusters goes round in a circle")

    def _run(self, begin: int, count: int, length: int) -> Run:
        at = self.geometry.at(begin)
        self.geometry.at(begin + count - 1)
        return Run(at, length)

    def _row(self, number: int) -> int:
        self.geometry.at(number)
        bits = self.geometry.bits
        if bits == 12:
            at = number + number // 2
            value = int.from_bytes(self._bytes(at, 2), "little")
            return value >> 4 if number & 1 else value & 0xFFF
        width = bits // 8
        return int.from_bytes(self._bytes(number * width, width), "little") & self._mask

    def _bytes(self, at: int, count: int) -> bytes:
        window, inside = divmod(at, _WINDOW)
        data = self._window(window)[inside : inside + count]
        if len(data) < count:
            data += self._window(window + 1)[: count - len(data)]
        if len(data) < count:
            raise Damaged("the table of clusters is cut short")
        return data

    def _window(self, number: int) -> bytes:
        data = self._windows.get(number)
        if data is None:
            data = self._volume.read(self.geometry.table + number * _WINDOW, _WINDOW)
            self._windows[number] = data
            if len(self._windows) > _KEPT:
                self._windows.popitem(last=False)
        return data
