"""Reads a small file of an SSH server in one go.

What was read is taken only when the name and the open file look as the scan met them, before and behind.

Rule of the file: what goes wrong here is read the long way, which says what it was.
"""

from __future__ import annotations

from collections.abc import Callable
from concurrent.futures import Future
from typing import TYPE_CHECKING, Any

from shared.errors import SkyharborError
from shared.vault.entry import Entry
from workers.sources.sftp.nodes import stat_of
from workers.sources.sftp.server import SftpServer
from workers.sources.shares.lines import LineLost
from workers.sources.shares.small import SmallFiles

if TYPE_CHECKING:
    from collections.abc import Coroutine

    from asyncssh import SFTPClient

    from workers.sources.sftp.line import SshLine


def small_files(server: SftpServer) -> SmallFiles:
    """Return a reader for one thread."""
    return SmallFiles(lambda entry: _Coming(server, entry))


class _Coming:
    """A file that was asked for."""

    def __init__(self, server: SftpServer, entry: Entry) -> None:
        self._asked: tuple[SshLine, Future[bytes | None]] | None = None
        try:
            self._asked = server.begin(_reading(entry))
        except (LineLost, SkyharborError):
            return

    def take(self) -> bytes | None:
        """Wait for the content."""
        import asyncssh

        if self._asked is None:
            return None
        line, future = self._asked
        try:
            return line.result(future)
        except (asyncssh.SFTPError, LineLost, SkyharborError):
            return None

    def drop(self) -> None:
        """Nobody wants it any more."""
        if self._asked is not None:
            self._asked[1].cancel()


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
