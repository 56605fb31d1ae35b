"""A regular file held open for reading, with its extents and a second look.

Rule of the file: ``pread`` only, never mmap: a live file may shrink under us.
"""

from __future__ import annotations

import errno
import os

from shared.vault.entry import Entry
from workers.engine.xattrs import read_xattrs
from workers.sources.flags import forbidding_flags
from workers.sources.nodes import entry_of


class OpenedLocalFile:
    """The engine's ``OpenedFile`` on a file descriptor, which it owns."""

    __slots__ = ("_fd", "_seen", "entry")

    def __init__(self, path: bytes, fd: int, info: os.stat_result) -> None:
        self._fd = fd
        self._seen = info
        self.entry: Entry = entry_of(path, info)
        self.entry.xattrs = read_xattrs(fd)

    def lost(self) -> str:
        """Return what of the file's attributes no point can hold, in words; empty for nothing."""
        return forbidding_flags(self._fd)

    def look(self) -> bool:
        """Look at the attributes again and return whether nothing has changed since the last look."""
        # Compared with what was seen, not with the entry: its taker may have corrected that one.
        info, then = os.fstat(self._fd), self._seen
        if (
            info.st_size == then.st_size
            and info.st_mtime_ns == then.st_mtime_ns
            and info.st_ctime_ns == then.st_ctime_ns
        ):
            return True
        self._seen = info
        self.entry = entry_of(self.entry.path, info)
        self.entry.xattrs = read_xattrs(self._fd)
        return False

    def data(self) -> list[tuple[int, int]]:
        """Return the (offset, length) ranges that hold data, in order.

        Asked of the file system only when it allocated fewer blocks than the size needs. Ranges end at the size of
        the last look.
        """
        size = self._seen.st_size
        if self._seen.st_blocks * 512 >= size:
            return [(0, size)] if size else []
        found: list[tuple[int, int]] = []
        at = 0
        while at < size:
            try:
                begin = os.lseek(self._fd, at, os.SEEK_DATA)
            except OSError as error:
                if error.errno == errno.ENXIO:
                    break
                return [(0, size)]  # the file system cannot say: everything is data
            end = min(os.lseek(self._fd, begin, os.SEEK_HOLE), size)
            if begin >= size:
                break
            found.append((begin, end - begin))
            at = end
        return found

    def read(self, size: int, offset: int) -> bytes:
        """Return up to ``size`` bytes from ``offset``."""
        return os.pread(self._fd, size, offset)

    def read_into(self, buffer: memoryview, offset: int) -> int:
        """Fill ``buffer`` from ``offset`` as far as the file goes."""
        filled = 0
        while filled < len(buffer):
            got = os.preadv(self._fd, [buffer[filled:]], offset + filled)
            if got == 0:
                break
            filled += got
        return filled

    def close(self) -> None:
        """Close the descriptor."""
        os.close(self._fd)
