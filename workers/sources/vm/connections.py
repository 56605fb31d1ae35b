"""Connections to the NBD server of one disk, used again and again by the readers of one process.

Rule of the file: a connection on which something went wrong is never used again.
"""

from __future__ import annotations

import threading
import weakref
from collections import deque

from workers.sources.vm.description import DiskReading
from workers.sources.vm.nbd import ALLOCATION, DIRTY, NbdClient, dirty_context
from workers.sources.vm.ranges import Ranges, widened

_IDLE = 4


class Connections:
    """To one export. Any thread. Methods raise OSError."""

    def __init__(self, disk: DiskReading, block: int) -> None:
        self._disk = disk
        self._block = block
        self._idle: deque[NbdClient] = deque()
        self._all: weakref.WeakSet[NbdClient] = weakref.WeakSet()
        self._closed = False
        self._lock = threading.RLock()
        self._changes: Ranges | None = None

    def take(self) -> NbdClient:
        """Return a connection that nobody else is using."""
        try:
            return self._idle.pop()
        except IndexError:
            return self._connect()

    def give_back(self, client: NbdClient) -> None:
        """Keep a connection for the next one who wants it."""
        if len(self._idle) < _IDLE and not self._closed:
            self._idle.append(client)
        else:
            client.close()

    def changes(self) -> Ranges | None:
        """Return the blocks that the bitmap has something of, None when there is none. Asked of the server once."""
        if not self._disk.bitmap:
            return None
        with self._lock:
            if self._changes is None:
                client = self.take()
                try:
                    extents = client.extents(dirty_context(self._disk.bitmap), 0, client.size)
                    dirty = ((one.offset, one.length) for one in extents if one.flags & DIRTY)
                    self._changes = widened(dirty, self._block, client.size)
                except BaseException:
                    client.close()
                    raise
                self.give_back(client)
            return self._changes

    def close(self) -> None:
        """Hang up for good, and for those who have not come to give back what they took. Idempotent."""
        self._closed = True
        self._idle.clear()
        for client in list(self._all):
            client.close()

    def _connect(self) -> NbdClient:
        disk = self._disk
        contexts = [ALLOCATION, *([dirty_context(disk.bitmap)] if disk.bitmap else [])]
        client = NbdClient.connect(disk.address, disk.export, contexts=contexts)
        if client.size != disk.size:
            client.close()
            raise OSError(f"the export has {client.size} bytes, not {disk.size}")
        with self._lock:
            self._all.add(client)
        return client
