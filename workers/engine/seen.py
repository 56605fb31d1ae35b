"""From what a scan saw of nodes to entries of a point, and to columns that compare with those of a page.

Rule of the file: it runs for every protected node at every backup, so whole lists at a time.
"""

from __future__ import annotations

import stat
import sys
from array import array
from collections.abc import Sequence

import numpy as np

from shared.vault.entry import Entry, EntryKind, kind_of
from shared.vault.pages import Columns
from workers.engine.ports import Stat

FIRST_TIME = -(2**63)
LAST_TIME = 2**63 - 1
"""What a point can hold, in nanoseconds: the years 1677 to 2262. Times beyond are brought to the end they passed."""

_SIZED = (int(EntryKind.FILE), int(EntryKind.SYMLINK))
_KIND = bytes(
    int(kind_of(kind << 12)) if kind << 12 in (0o10000, 0o20000, 0o40000, 0o60000, 0o100000, 0o120000, 0o140000) else 0
    for kind in range(16)
)
"""By the four bits above the permissions."""


def entry_of(path: bytes, info: Stat) -> Entry:
    """Return the columns of a node without content, xattrs and link target. Only files and symlinks have a size."""
    kind = _KIND[info.st_mode >> 12 & 15]
    return Entry(
        path,
        kind,
        info.st_mode & 0o7777,
        info.st_uid,
        info.st_gid,
        info.st_size if kind in _SIZED else 0,
        min(max(info.st_mtime_ns, FIRST_TIME), LAST_TIME),
        min(max(info.st_ctime_ns, FIRST_TIME), LAST_TIME),
        info.st_dev,
        info.st_ino,
        rdev=info.st_rdev if kind >= EntryKind.CHAR_DEVICE else 0,
    )


def is_unchanged(info: Stat, entry: Entry) -> bool:
    """Tell whether a node still looks as its entry says: nothing but its access time may have changed."""
    return (
        info.st_ctime_ns == entry.ctime_ns
        and info.st_mtime_ns == entry.mtime_ns
        and info.st_size == entry.size
        and info.st_ino == entry.inode
        and info.st_dev == entry.device
        and stat.S_ISREG(info.st_mode)
    )


class Looks:
    """What change detection compares: change time, modification time, size, inode and kind, as bytes of columns.

    The change time covers owner, mode, xattrs and content, and nobody can set it back. The device number is left out:
    it may differ after a reboot. ``comparable`` is False when a time is beyond what a column holds.
    """

    __slots__ = ("comparable", "ctimes", "inodes", "kinds", "linked", "mtimes", "sizes")

    def __init__(self, stats: Sequence[Stat]) -> None:
        kinds = bytes([_KIND[info.st_mode >> 12 & 15] for info in stats])
        self.kinds = kinds
        self.linked = any(info.st_nlink > 1 and info.st_mode & 0o170000 != 0o040000 for info in stats)
        """Whether a node other than a directory has several names."""
        self.comparable = True
        try:
            self.ctimes = _column("q", [info.st_ctime_ns for info in stats])
            self.mtimes = _column("q", [info.st_mtime_ns for info in stats])
        except OverflowError:
            self.comparable = False
            return
        sizes = [info.st_size for info in stats]
        self.sizes = _column("q", [size if kind in _SIZED else 0 for size, kind in zip(sizes, kinds, strict=True)])
        self.inodes = _column("Q", [info.st_ino for info in stats])

    def changed_rows(self, columns: Columns, first: int = 0) -> list[int]:
        """Return which of these nodes differ from the rows of a page, from ``first`` on, that have the same paths."""
        last = first + len(self.kinds)
        kinds = columns.kinds[first:last]
        pairs = [
            (now, then[8 * first : 8 * last])
            for now, then in (
                (self.ctimes, columns.ctimes),
                (self.mtimes, columns.mtimes),
                (self.sizes, columns.sizes),
                (self.inodes, columns.inodes),
            )
        ]
        if self.kinds == kinds and all(now == then for now, then in pairs):
            return []
        differs = np.frombuffer(self.kinds, np.uint8) != np.frombuffer(kinds, np.uint8)
        for now, then in pairs:
            differs |= np.frombuffer(now, np.uint64) != np.frombuffer(then, np.uint64)
        return [int(row) for row in np.flatnonzero(differs)]


def _column(code: str, values: list[int]) -> bytes:
    column = array(code, values)
    if sys.byteorder == "big":
        column.byteswap()
    return column.tobytes()
