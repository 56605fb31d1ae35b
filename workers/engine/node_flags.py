"""The attributes of ``chattr`` on an open file or directory: asked of the kernel, and given back by a restore.

When a restore sets them: what changes how data is written, before the first byte; the rest behind all other attributes;
what forbids any change only when the whole restore is done, for a file that is immutable can get no further name.

Rule of the file: asking costs one call and never fails; what cannot be set is told by name.
"""

from __future__ import annotations

import fcntl
import sys

from shared.vault.node_flags import KEPT, NodeFlag

_GET_FLAGS = 0x80086601  # FS_IOC_GETFLAGS on 64-bit machines
_SET_FLAGS = 0x40086602  # FS_IOC_SETFLAGS
_ROOM = bytes(8)

FIRST = int(NodeFlag.NO_COPY_ON_WRITE | NodeFlag.COMPRESSED | NodeFlag.NO_COMPRESSION)
"""What has to be set while a file is empty. A directory gets it in the end: what is made in it would inherit it."""
FIRST_OF_FOLDERS = int(NodeFlag.CASE_FOLD)
"""What has to be set while a directory is empty."""
LAST = int(NodeFlag.IMMUTABLE | NodeFlag.APPEND_ONLY)
"""What forbids changes."""
INHERITED = int(
    NodeFlag.SECURE_DELETE
    | NodeFlag.UNDELETE
    | NodeFlag.SYNC
    | NodeFlag.NO_DUMP
    | NodeFlag.NO_ATIME
    | NodeFlag.DIRECTORY_SYNC
)
"""What new nodes get from their directory, without those flags by which a target decides how it stores them."""


def read_flags(fd: int) -> int:
    """Return those flags that a point keeps; 0 where the file system has none."""
    return _ask(fd) & KEPT


def set_flags(fd: int, wanted: int, *, without: int = 0) -> list[str]:
    """Set flags and take others away, unless they are wanted; return the names of those where that is impossible."""
    now = _ask(fd)
    right = now & ~without | wanted
    if right == now or _try(fd, right):
        return []
    lost = []
    for flag in NodeFlag(right ^ now):
        if _try(fd, now ^ flag):
            now ^= flag
        else:
            lost.append(f"{(flag.name or hex(flag)).lower().replace('_', '-')} flag")
    return lost


def _ask(fd: int) -> int:
    try:
        # Answered as an int, whatever the size in the request's number says.
        return int.from_bytes(fcntl.ioctl(fd, _GET_FLAGS, _ROOM)[:4], sys.byteorder)
    except OSError:
        return 0


def _try(fd: int, flags: int) -> bool:
    try:
        fcntl.ioctl(fd, _SET_FLAGS, flags.to_bytes(8, sys.byteorder))
    except OSError:
        return False
    return True
