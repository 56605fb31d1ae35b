"""A file of an SSH server held open: reads go ahead of need, with many requests under way.

Rule of the file: when the line is lost, the file is opened once more and must be the same; otherwise the backup fails.
"""

from __future__ import annotations

import stat
from collections.abc import Callable
from typing import TYPE_CHECKING, TypeVar

import asyncssh

from shared.model.backup import Notice
from workers.engine.notices import shown
from workers.engine.ports import Unreadable
from workers.engine.seen import entry_of
from workers.sources.sftp.nodes import stat_of
from workers.sources.sftp.server import SftpServer, unreadable
from workers.sources.shares.lines import LineLost
from workers.sources.shares.pieces import Pieces
from workers.sources.shares.stats import FarStat

if TYPE_CHECKING:
    from workers.sources.sftp.line import SshLine

_T = TypeVar("_T")
_AHEAD = 3
BLOCK = 261_120
"""Bytes of one request: the most that OpenSSH answers at once."""
REQUESTS = 64


class OpenedFarFile:
    """The engine's ``OpenedFile`` on a handle of a server."""

    def __init__(self, server: SftpServer, path: bytes) -> None:
        self._server = server
        self._path = path
        self._pieces = Pieces(self._begin, ahead=_AHEAD)
        try:
            self._open()
        except LineLost:
            try:
                self._open()
            except LineLost as error:
                raise server.gone(error) from error
        self.entry = entry_of(path, self._look)

    def _open(self) -> None:
        path = b"/" + self._path

        async def opened(sftp: asyncssh.SFTPClient) -> tuple[asyncssh.SFTPClientFile, FarStat | None]:
            met = stat_of(await sftp.lstat(path))
            if met is None or not stat.S_ISREG(met.st_mode):
                raise Unreadable(Notice(shown(self._path), "vanished", "it is no regular file any more"))
            file = await sftp.open(path, "rb", block_size=BLOCK, max_requests=REQUESTS)
            return file, stat_of(await file.stat())

        self._line: SshLine = self._server.line()
        try:
            self._file, look = self._line.call(opened)
        except asyncssh.SFTPError as error:
            raise unreadable(self._path, error) from error
        if look is None:
            raise Unreadable(Notice(shown(self._path), "vanished", "it is no regular file any more"))
        self._look = look

    def changes(self) -> None:
        """Files of a server are not cut into blocks."""
        return

    def look(self) -> bool:
        """Look at the attributes again and return whether nothing has changed since the last look."""

        async def looked(_: asyncssh.SFTPClient) -> FarStat | None:
            return stat_of(await self._file.stat())

        now = self._again(lambda: self._line.call(looked))
        if now is None or now == self._look:
            return True
        self._look, self.entry = now, entry_of(self._path, now)
        return False

    def next_data(self, offset: int) -> int | None:
        """Return the offset itself: SFTP tells nothing of holes."""
        return offset if offset < self._look.st_size else None

    def data(self, begin: int, end: int) -> list[tuple[int, int]]:
        """Return everything between two offsets as data."""
        end = min(end, self._look.st_size)
        self._pieces.until = end
        return [(begin, end - begin)] if begin < end else []

    def read(self, size: int, offset: int) -> bytes:
        """Return up to ``size`` bytes from ``offset``."""
        buffer = bytearray(size)
        return bytes(buffer[: self.read_into(memoryview(buffer), offset)])

    def read_into(self, buffer: memoryview, offset: int) -> int:
        """Fill ``buffer`` from ``offset`` as far as the file goes."""
        return self._again(lambda: self._fill(buffer, offset))

    def _fill(self, buffer: memoryview, offset: int) -> int:
        return self._pieces.fill(buffer, offset)

    def _begin(self, size: int, at: int) -> Callable[[], bytes]:
        line = self._line

        async def read(_: asyncssh.SFTPClient) -> bytes:
            data = await self._file.read(size, at)
            return data if isinstance(data, bytes) else data.encode()

        future = line.begin(read)
        return lambda: line.result(future)

    def _again(self, act: Callable[[], _T]) -> _T:
        """Do something with the handle; when the line is lost, once more with a new one on the same file."""
        try:
            try:
                return act()
            except LineLost:
                self._pieces.forget()
            then = self._look
            self._open()
            if self._look != then:
                raise Unreadable(Notice(shown(self._path), "unreadable", "it changed while the connection was lost"))
            return act()
        except LineLost as error:
            raise self._server.gone(error) from error
        except asyncssh.SFTPError as error:
            raise unreadable(self._path, error) from error

    def close(self) -> None:
        """Let go of the handle; nobody waits for it."""

        async def closed(_: asyncssh.SFTPClient) -> None:
            await self._file.close()

        if not self._line.lost:
            self._line.begin(closed)
