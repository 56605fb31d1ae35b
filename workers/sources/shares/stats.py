"""What a far server says of a node, in the form in which the engine wants it.

Rule of the file: values only. A block of nodes is held until it is written, so they are small.
"""

from __future__ import annotations

from typing import NamedTuple

from workers.engine.seen import FIRST_TIME, LAST_TIME


class FarStat(NamedTuple):
    """The engine's ``Stat``; ``st_gen`` is the workload's own, such as what kind of reparse point a node is."""

    st_mode: int
    st_ino: int
    st_size: int
    st_mtime_ns: int
    st_ctime_ns: int
    st_uid: int
    st_gid: int
    st_gen: int = 0

    @property
    def st_dev(self) -> int:
        """A share is one file system to us."""
        return 0

    @property
    def st_nlink(self) -> int:
        """Not told with listings: every name is a node of its own."""
        return 1

    @property
    def st_rdev(self) -> int:
        """No devices."""
        return 0


def within(at: int) -> int:
    """Bring a time in nanoseconds into what a point can hold."""
    return min(max(at, FIRST_TIME), LAST_TIME)
