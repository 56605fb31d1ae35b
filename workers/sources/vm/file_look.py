"""What tells a file from every other one: whether two workers mean the same image by the same path.

On one machine that is device, inode, size and both times; from another machine a device's number says nothing, and a
shared file system shows the rest alike. Nobody can set a change time, so a copy never looks like what it is a copy of.
What is on a device says nothing of the kind: only on one machine, until it is started again, is a device's number its
own.

Rule of the file: looking only; what to do about a stranger is the caller's.
"""

from __future__ import annotations

import os
import stat
import time

import msgspec


class FileLook(msgspec.Struct, frozen=True, array_like=True):
    """A file as it looked. A device has its own number in ``device``, no inode, and was changed just now."""

    path: str
    device: int
    inode: int
    size: int
    mtime_ns: int
    ctime_ns: int

    @property
    def is_device(self) -> bool:
        """Whether its times say nothing of what is on it."""
        return not self.inode

    def is_of(self, other: FileLook, *, here: bool = True) -> bool:
        """Tell whether both are looks at one file, unchanged. ``here``: both were on the same machine."""
        if self.is_device or other.is_device:
            return here and (self.device, self.inode) == (other.device, other.inode)
        if here and self.device != other.device:
            return False
        mine = self.inode, self.size, self.mtime_ns, self.ctime_ns
        return mine == (other.inode, other.size, other.mtime_ns, other.ctime_ns)


def look_at(path: str) -> FileLook:
    """Look at whatever is at a path. A file is opened for that: only then a file server is asked. Raises OSError."""
    info = os.stat(path)
    if not stat.S_ISREG(info.st_mode):
        return look_of(path, info)
    fd = os.open(path, os.O_RDONLY | os.O_CLOEXEC | os.O_NONBLOCK)
    try:
        return look_into(fd, path)
    finally:
        os.close(fd)


def look_into(fd: int, path: str) -> FileLook:
    """Look at a file that is open; ``path`` is how it is called. Raises OSError."""
    return look_of(path, os.fstat(fd))


def look_of(path: str, info: os.stat_result) -> FileLook:
    """Return what somebody has seen, as such a look."""
    if not stat.S_ISREG(info.st_mode):
        now = time.time_ns()
        return FileLook(path, info.st_rdev, 0, 0, now, now)
    return FileLook(path, info.st_dev, info.st_ino, info.st_size, info.st_mtime_ns, info.st_ctime_ns)
