"""A file of an SSH server held open: reads go ahead of need, with many requests under way.

Rule of the file: when the line is lost, the file is opened once more and must be the same; otherwise the backup fails.
"""

from __future__ import annotations

import stat
from collections import deque
from collections.abc import Callable
from concurrent.futures import Future
from typing import TYPE_CHECKING, TypeVar

import asyncssh

from shared.model.backup import Notice
from workers.engine.notices import shown
from workers.engine.ports import Unreadable
from workers.engine.seen import entry_of
from workers.sources.sftp.login import LineLost
from workers.sources.sftp.nodes import stat_of
from workers.sources.sftp.server import SftpServer, unreadable
from workers.sources.shares.stats import FarStat

if TYPE_CHECKING:
    from workers.sources.sftp.line import Act, SshLine

_T = TypeVar("_T")
_PIECE = 4 * 1024 * 1024
_AHEAD = 3
BLOCK = 261_120
"""Bytes of one request: the most that OpenSSH answers at once."""
REQUESTS = 64


class OpenedFarFile:
    """The engine's ``OpenedFile`` on a handle of a server."""

    def __init__(self, server: SftpServer, path: bytes) -> None:
        self._server = server
        self._path = path
        self._coming: deque[tuple[Future[bytes], int, int]] = deque()
        self._rest: tuple[int, memoryview] = (0, memoryview(b""))
        self._until = 0
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
        self._until = end
        return [(begin, end - begin)] if begin < end else []

    def read(self, size: int, offset: int) -> bytes:
        """Return up to ``size`` bytes from ``offset``."""
        buffer = bytearray(size)
        return bytes(buffer[: self.read_into(memoryview(buffer), offset)])

    def read_into(self, buffer: memoryview, offset: int) -> int:
        """Fill ``buffer`` from ``offset`` as far as the file goes."""
        return self._again(lambda: self._fill(buffer, offset))

    def _fill(self, buffer: memoryview, offset: int) -> int:
        done = self._from_rest(buffer, offset)
        if self._coming and done < len(buffer) and self._coming[0][1] != offset + done:
            self._coming.clear()
        while done < len(buffer):
            self._ask_ahead(offset + done, offset + len(buffer))
            future, at, length = self._coming.popleft()
            data = memoryview(self._line.result(future))
            taken = min(len(data), len(buffer) - done)
            buffer[done : done + taken] = data[:taken]
            done += taken
            if len(data) < length:  # the file ended
                self._coming.clear()
                return done
            if taken < len(data):
                self._rest = (at + taken, data[taken:])
        return done

    def _from_rest(self, buffer: memoryview, offset: int) -> int:
        at, data = self._rest
        if at != offset:
            self._rest = (0, memoryview(b""))
            return 0
        taken = min(len(data), len(buffer))
        buffer[:taken] = data[:taken]
        self._rest = (at + taken, data[taken:])
        return taken

    def _ask_ahead(self, offset: int, wanted: int) -> None:
        at = sum(self._coming[-1][1:]) if self._coming else offset
        while len(self._coming) < _AHEAD and (at < self._until or not self._coming):
            end = wanted if at < wanted else max(self._until, at + 1)
            size = min(_PIECE, end - at)
            self._coming.append((self._line.begin(self._reading(size, at)), at, size))
            at += size

    def _reading(self, size: int, at: int) -> Act[bytes]:
        async def read(_: asyncssh.SFTPClient) -> bytes:
            data = await self._file.read(size, at)
            return data if isinstance(data, bytes) else data.encode()

        return read

    def _again(self, act: Callable[[], _T]) -> _T:
        """Do something with the handle; when the line is lost, once more with a new one on the same file."""
        try:
            try:
                return act()
            except LineLost:
                self._coming.clear()
                self._rest = (0, memoryview(b""))
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
