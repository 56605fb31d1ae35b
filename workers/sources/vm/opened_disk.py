"""A disk held open for reading: an export of an NBD server, or a raw image.

A disk that cannot be read has no point: every failure is ``source-failed``, and none a notice about one file.

Rule of the file: whole blocks only, so that what was read once is found again by the number of its block.
"""

from __future__ import annotations

import errno
import os
from abc import ABC, abstractmethod
from collections.abc import Iterator

from shared.errors import SkyharborError
from shared.vault.entry import Entry
from workers.engine.notices import reason
from workers.sources.vm.connections import Connections
from workers.sources.vm.description import DiskReading
from workers.sources.vm.file_look import look_into
from workers.sources.vm.nbd import ALLOCATION, ZERO, NbdClient
from workers.sources.vm.ranges import Ranges, widened, within

_LOOK_AHEAD = 64 * 1024 * 1024
_MOST_AHEAD = 64 * _LOOK_AHEAD


class OpenedDisk(ABC):
    """What both kinds have in common. The engine's ``OpenedFile``; used by one thread."""

    def __init__(self, disk: DiskReading, entry: Entry, block: int) -> None:
        self.entry = entry
        self._disk = disk
        self._block = block
        self._changed: Ranges | None = None

    def changes(self) -> Ranges | None:
        """Return which blocks can have changed (see the port); ``data`` tells of all, for who has no use for that."""
        return self._changed

    def look(self) -> bool:
        """Return that nothing has changed: that is what the session is for."""
        return True

    def next_data(self, offset: int) -> int | None:
        """Return where the next block with data begins (see the port)."""
        size, ahead = self.entry.size, _LOOK_AHEAD
        while offset < size:
            begin = offset - offset % self._block
            end = min(begin + ahead, size)
            first = next(self._with_data(begin, end), None)
            if first is not None:
                return max(offset, first[0] - first[0] % self._block)
            offset, ahead = end, min(2 * ahead, _MOST_AHEAD)
        return None

    def data(self, begin: int, end: int) -> Ranges:
        """Return the blocks with data between two offsets, cut to them (see the port)."""
        end = min(end, self.entry.size)
        if begin >= end:
            return []
        first = begin - begin % self._block
        last = min(-(-end // self._block) * self._block, self.entry.size)
        return within(widened(self._with_data(first, last), self._block, self.entry.size), begin, end)

    def read(self, size: int, offset: int) -> bytes:
        """Return up to ``size`` bytes (see the port)."""
        buffer = bytearray(max(0, min(size, self.entry.size - offset)))
        self.read_into(memoryview(buffer), offset)
        return bytes(buffer)

    @abstractmethod
    def read_into(self, buffer: memoryview, offset: int) -> int:
        """Fill the buffer as far as the disk goes (see the port)."""

    @abstractmethod
    def close(self) -> None:
        """Let go."""

    @abstractmethod
    def _with_data(self, begin: int, end: int) -> Iterator[tuple[int, int]]:
        """Yield the ranges that are not known to be zeros."""

    def _failed(self, error: OSError) -> SkyharborError:
        return SkyharborError("source-failed", f"/{self._disk.name}: {reason(error)}")


class OpenedExport(OpenedDisk):
    """A disk behind an NBD server."""

    def __init__(self, disk: DiskReading, entry: Entry, block: int, connections: Connections) -> None:
        super().__init__(disk, entry, block)
        self._connections = connections
        self._client: NbdClient | None = None
        try:
            self._changed = [] if disk.unchanged else connections.changes()
            self._client = connections.take()
        except OSError as error:
            raise self._failed(error) from error

    def read_into(self, buffer: memoryview, offset: int) -> int:
        """Fill the buffer as far as the disk goes (see the port)."""
        size = max(0, min(len(buffer), self.entry.size - offset))
        client = self._connected()
        try:
            client.read_into(buffer[:size], offset)
        except OSError as error:
            self._drop()
            raise self._failed(error) from error
        return size

    def close(self) -> None:
        """Give the connection back."""
        client, self._client = self._client, None
        if client is not None:
            self._connections.give_back(client)

    def _with_data(self, begin: int, end: int) -> Iterator[tuple[int, int]]:
        client = self._connected()
        try:
            for extent in client.extents(ALLOCATION, begin, end):
                if not extent.flags & ZERO:
                    yield extent.offset, extent.length
        except OSError as error:
            self._drop()
            raise self._failed(error) from error

    def _connected(self) -> NbdClient:
        if self._client is None:
            raise SkyharborError("source-failed", f"/{self._disk.name}: the connection was lost")
        return self._client

    def _drop(self) -> None:
        client, self._client = self._client, None
        if client is not None:
            client.close()


class OpenedImage(OpenedDisk):
    """A raw image file, or a block device."""

    def __init__(self, disk: DiskReading, entry: Entry, block: int) -> None:
        super().__init__(disk, entry, block)
        self._changed = [] if disk.unchanged else None
        try:
            self._fd = os.open(disk.file, os.O_RDONLY | os.O_CLOEXEC)
        except OSError as error:
            raise self._failed(error) from error
        if not all(look_into(self._fd, disk.file).is_of(then) for then in disk.image):
            os.close(self._fd)
            raise SkyharborError("source-failed", f"{disk.file} was changed while it was read")

    def read_into(self, buffer: memoryview, offset: int) -> int:
        """Fill the buffer as far as the disk goes (see the port)."""
        size = max(0, min(len(buffer), self.entry.size - offset))
        filled = 0
        try:
            while filled < size:
                got = os.preadv(self._fd, [buffer[filled:size]], offset + filled)
                if not got:
                    raise OSError("the image has become shorter")
                filled += got
        except OSError as error:
            raise self._failed(error) from error
        return filled

    def close(self) -> None:
        """Close the image."""
        os.close(self._fd)

    def _with_data(self, begin: int, end: int) -> Iterator[tuple[int, int]]:
        while begin < end:
            at = self._seek(begin, os.SEEK_DATA)
            if at >= end:
                return
            stop = min(self._seek(at, os.SEEK_HOLE), end)
            yield at, stop - at
            begin = stop

    def _seek(self, offset: int, what: int) -> int:
        try:
            return os.lseek(self._fd, offset, what)
        except OSError as error:
            if what == os.SEEK_DATA and error.errno != errno.ENXIO:
                return offset  # a block device cannot say: everything is data
            return self.entry.size
