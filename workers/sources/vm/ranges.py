"""Stretches of a disk, as whole blocks.

Rule of the file: (offset, length) pairs in order; only the end of the disk may cut a block.
"""

from __future__ import annotations

from bisect import bisect_right
from collections.abc import Iterable, Sequence

Ranges = list[tuple[int, int]]


def widened(ranges: Iterable[tuple[int, int]], block: int, size: int) -> Ranges:
    """Return the blocks that these ranges touch, neighbours joined, cut at the end of the disk."""
    found: Ranges = []
    reached = -1
    for offset, length in ranges:
        begin, end = offset - offset % block, min(-(-(offset + length) // block) * block, size)
        if begin <= reached:
            if end > reached:
                found[-1] = (found[-1][0], end - found[-1][0])
                reached = end
        else:
            found.append((begin, end - begin))
            reached = end
    return found


def within(ranges: Sequence[tuple[int, int]], begin: int, end: int) -> Ranges:
    """Return the parts of ranges that are between two offsets."""
    found: Ranges = []
    first = max(0, bisect_right(ranges, begin, key=lambda one: one[0]) - 1)
    for offset, length in ranges[first:]:
        if offset >= end:
            break
        left, right = max(offset, begin), min(offset + length, end)
        if left < right:
            found.append((left, right - left))
    return found
