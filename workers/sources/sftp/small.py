"""Reads small files of an SSH server, many of them under way at once.

The engine says which files come next (``announce``); a window of them is asked for before they are needed. What was
read is taken only when the name and the open file look as the scan met them, before and behind.

Rule of the file: one object per thread. What goes wrong here is read the long way, which says what it was.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Callable, Iterable
from concurrent.futures import Future
from typing import TYPE_CHECKING, Any

from shared.errors import SkyharborError
from shared.vault.entry import Entry, EntryKind
from workers.engine.reading import LARGE_FILE
from workers.sources.sftp.login import LineLost
from workers.sources.sftp.nodes import stat_of
from workers.sources.sftp.server import SftpServer

if TYPE_CHECKING:
    from collections.abc import Coroutine

    from asyncssh import SFTPClient

    from workers.sources.sftp.line import SshLine

_FILES, _BYTES = 64, 8 * 1024 * 1024


class SmallFiles:
    """What one thread has asked for."""

    def __init__(self, server: SftpServer) -> None:
        self._server = server
        self._coming: deque[Entry] = deque()
        self._asked: dict[bytes, tuple[SshLine, Future[bytes | None], int]] = {}
        self._bytes = 0

    def announce(self, entries: Iterable[Entry]) -> None:
        """Take note of the files that are read next, in order; what was announced before is forgotten."""
        for _, future, _ in self._asked.values():
            future.cancel()
        self._asked, self._bytes = {}, 0
        self._coming = deque(entry for entry in entries if entry.kind == EntryKind.FILE and entry.size < LARGE_FILE)

    def read(self, entry: Entry, room: memoryview) -> bool:
        """Read a file into ``room``; False when it is not plainly what the scan met."""
        import asyncssh

        try:
            line, future = self._answering(entry)
            self._ask_ahead()
            data = line.result(future)
        except (asyncssh.SFTPError, LineLost, SkyharborError):
            return False
        if data is None or len(data) != entry.size:
            return False
        room[: len(data)] = data
        return True

    def _answering(self, entry: Entry) -> tuple[SshLine, Future[bytes | None]]:
        if entry.path in self._asked:
            line, future, size = self._asked.pop(entry.path)
            self._bytes -= size
            return line, future
        if self._coming and self._coming[0].path == entry.path:
            self._coming.popleft()
        return self._server.begin(_reading(entry))

    def _ask_ahead(self) -> None:
        while self._coming and len(self._asked) < _FILES and self._bytes < _BYTES:
            entry = self._coming.popleft()
            self._asked[entry.path] = (*self._server.begin(_reading(entry)), entry.size)
            self._bytes += entry.size


def _reading(entry: Entry) -> Callable[[SFTPClient], Coroutine[Any, Any, bytes | None]]:
    path, size, mark, seconds = b"/" + entry.path, entry.size, entry.ctime_ns, entry.mtime_ns

    async def read(sftp: SFTPClient) -> bytes | None:
        met = stat_of(await sftp.lstat(path))
        if met is None or met.st_ctime_ns != mark:
            return None
        async with sftp.open(path, "rb") as file:
            data = await file.read(size + 1, 0)
            last = stat_of(await file.stat())
        if last is None or (last.st_size, last.st_mtime_ns) != (size, seconds) or last.st_mode != met.st_mode:
            return None
        return data if isinstance(data, bytes) else None

    return read
