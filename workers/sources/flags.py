"""The attributes of ``chattr``, asked of the kernel.

Rule of the file: asking costs one call and never fails: most file systems that lack the answer say so.
"""

from __future__ import annotations

import fcntl
import sys

from shared.vault.node_flags import KEPT

_GET_FLAGS = 0x80086601  # FS_IOC_GETFLAGS on 64-bit machines
_ROOM = bytes(8)


def read_flags(fd: int) -> int:
    """Return those flags of an open file or directory that a point keeps; 0 where the file system has none."""
    try:
        # Answered as an int, whatever the size in the request's number says.
        return int.from_bytes(fcntl.ioctl(fd, _GET_FLAGS, _ROOM)[:4], sys.byteorder) & KEPT
    except OSError:
        return 0
