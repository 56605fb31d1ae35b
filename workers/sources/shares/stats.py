"""What a far server says of a node, in the form in which the engine wants it.

Rule of the file: values only. A block of nodes is held until it is written, so they are small.
"""

from __future__ import annotations

from typing import NamedTuple

from workers.engine.seen import FIRST_TIME, LAST_TIME

Node = tuple[int, int]
"""Device and inode."""


class FarStat(NamedTuple):
    """The engine's ``Stat``; ``st_gen`` is the workload's own, such as what kind of reparse point a node is.

    Where a listing tells nothing of devices and further names, a share is one file system, and every name a node.
    """

    st_mode: int
    st_ino: int
    st_size: int
    st_mtime_ns: int
    st_ctime_ns: int
    st_uid: int
    st_gid: int
    st_gen: int = 0
    st_dev: int = 0
    st_nlink: int = 1
    st_rdev: int = 0

    @property
    def node(self) -> Node:
        """By what a node is told from all others, where the server numbers them."""
        return self.st_dev, self.st_ino


def within(at: int) -> int:
    """Bring a time in nanoseconds into what a point can hold."""
    return min(max(at, FIRST_TIME), LAST_TIME)
