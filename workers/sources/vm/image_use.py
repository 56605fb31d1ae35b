"""Whether somebody writes to an image right now.

QEMU marks what it does with an image by locks on single bytes: byte 100 plus the number of a permission says that it
uses that permission (block/file-posix.c; the number of "write" is 1).

Rule of the file: asking only; no lock is ever taken.
"""

from __future__ import annotations

import fcntl
import os
import struct

_OFD_GETLK = 36
_WRITE_PERMISSION = 100 + 1
_LOCK = "hhqqi4x"


def is_written_to(path: str) -> bool:
    """Tell whether a QEMU has the image open for writing. OSError when the image cannot be opened."""
    fd = os.open(path, os.O_RDONLY | os.O_CLOEXEC)
    try:
        # Asked as if we wanted to write: that is what any lock of others is in the way of.
        asked = struct.pack(_LOCK, fcntl.F_WRLCK, os.SEEK_SET, _WRITE_PERMISSION, 1, 0)
        kind = struct.unpack(_LOCK, fcntl.fcntl(fd, _OFD_GETLK, asked))[0]
        return bool(kind != fcntl.F_UNLCK)
    finally:
        os.close(fd)
