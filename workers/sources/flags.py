"""The attributes of ``chattr`` that forbid changes: a point cannot hold them, so at least they are named.

Rule of the file: asking costs one call and never fails: most file systems that lack the answer say so.
"""

from __future__ import annotations

import fcntl
import struct

_GET_FLAGS = 0x80086601  # FS_IOC_GETFLAGS on 64-bit machines
_NAMES = ((0x10, "immutable"), (0x20, "append-only"))


def forbidding_flags(fd: int) -> str:
    """Return which of these flags an open file or directory has, in words; empty for none."""
    try:
        (flags,) = struct.unpack("=i4x", fcntl.ioctl(fd, _GET_FLAGS, bytes(8)))
    except OSError:
        return ""
    return ", ".join(f"{name} flag" for bit, name in _NAMES if flags & bit)
