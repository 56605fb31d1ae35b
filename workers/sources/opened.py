"""A regular file held open for reading, with its extents and a second look.

Rule of the file: ``pread`` only, never mmap: a live file may shrink under us.
"""

from __future__ import annotations

import errno
import os

from shared.vault.entry import Entry
from workers.engine.node_flags import read_flags
from workers.engine.seen import entry_of
from workers.engine.xattrs import read_xattrs


class OpenedLocalFile:
    """The engine's ``OpenedFile`` on a file descriptor, which it owns."""

    __slots__ = ("_fd", "_seen", "entry")

    def __init__(self, path: bytes, fd: int, info: os.stat_result) -> None:
        self._fd = fd
        self._seen = info
        self.entry: Entry = self._described(path, info)

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
        self.entry = self._described(self.entry.path, info)
        return False

    def changes(self) -> list[tuple[int, int]] | None:
        """Nobody keeps a list of what changes in files."""
        return None

    def _described(self, path: bytes, info: os.stat_result) -> Entry:
        entry = entry_of(path, info)
        entry.xattrs, entry.flags = read_xattrs(self._fd), read_flags(self._fd)
        return entry

    def next_data(self, offset: int) -> int | None:
        """Return where data at or behind ``offset`` begins, None when there is none up to the size of the last look."""
        size = self._seen.st_size
        if offset >= size:
            return None
        try:
            at = os.lseek(self._fd, offset, os.SEEK_DATA)
        except OSError as error:
            # Either the file system cannot say, and everything is data; or nothing is left, and when that is because
            # the file was cut meanwhile, reading must find out.
            return offset if error.errno != errno.ENXIO or os.fstat(self._fd).st_size < size else None
        return at if at < size else None

    def data(self, begin: int, end: int) -> list[tuple[int, int]]:
        """Return the (offset, length) ranges that hold data, in order, cut to ``begin`` and ``end``.

        The file system is asked every time: the number of blocks does not tell, for xattrs have blocks too, and some
        are reserved behind the end. Blocks that are reserved and were never written count as hole. Ranges end at the
        size of the last look.
        """
        end = min(end, self._seen.st_size)
        found: list[tuple[int, int]] = []
        while begin < end and (at := self.next_data(begin)) is not None and at < end:
            begin = min(self._next_hole(at), end)
            found.append((at, begin - at))
        return found

    def _next_hole(self, offset: int) -> int:
        try:
            return os.lseek(self._fd, offset, os.SEEK_HOLE)
        except OSError:
            return self._seen.st_size

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
