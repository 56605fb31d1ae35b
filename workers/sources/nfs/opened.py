"""A file of an NFS server held open: reads go ahead of need.

Rule of the file: when the line is lost, the file is opened once more and must be the same; otherwise the backup fails.
Symlinks are not followed, nor any in the path under NFS 3.
"""

from __future__ import annotations

import os
import stat
from collections.abc import Callable
from typing import TypeVar

from shared.model.backup import Notice
from workers.engine.notices import shown
from workers.engine.ports import Unreadable
from workers.engine.seen import entry_of
from workers.sources.nfs.context import Context
from workers.sources.nfs.line import NfsLine, is_doubtful
from workers.sources.nfs.nodes import stat_of
from workers.sources.nfs.server import NfsServer, unreadable
from workers.sources.shares.lines import LineLost
from workers.sources.shares.pieces import Pieces
from workers.sources.shares.stats import FarStat

_T = TypeVar("_T")
FLAGS = os.O_RDONLY | os.O_NOFOLLOW
_AHEAD = 2


class OpenedNfsFile:
    """The engine's ``OpenedFile`` on a handle of a server. It has a line of its own for as long as it is open."""

    def __init__(self, server: NfsServer, path: bytes) -> None:
        self._server = server
        self._path = path
        self._pieces = Pieces(self._begin, ahead=_AHEAD)
        self._line: NfsLine | None = None
        self._handle = 0
        self._look = self._insist(self._open)
        self.entry = entry_of(path, self._look)

    def changes(self) -> None:
        """Files of a server are not cut into blocks."""
        return

    def look(self) -> bool:
        """Look at the attributes again and return whether nothing has changed since the last look."""
        now = self._again(self._looked)
        if now == self._look:
            return True
        self._look, self.entry = now, entry_of(self._path, now)
        return False

    def next_data(self, offset: int) -> int | None:
        """Return the offset itself: neither NFS 3 nor 4.0 tells of holes."""
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

    def close(self) -> None:
        """Let go of the handle and of the line."""
        self._pieces.settle()
        line, self._line = self._line, None
        if line is None:
            return
        try:
            line.call(lambda it: it.release(self._handle))
        except (OSError, LineLost):
            line.close()
        self._server.give_back(line)

    # ── inside ───────────────────────────────────────────────────────────────────────────────────────

    def _open(self) -> FarStat:
        line = self._line = self._server.take()
        try:
            self._handle = line.call(lambda it: it.open(line.at(self._path), FLAGS))
            return self._looked()
        except (OSError, Unreadable):
            self._line = None
            line.close()  # which lets go of the handle, if there is one
            raise

    def _looked(self) -> FarStat:
        line = self._held()
        look = stat_of(line.version, line.call(lambda it: it.fstat(self._handle)))
        if look is None or not stat.S_ISREG(look.st_mode):
            raise Unreadable(Notice(shown(self._path), "vanished", "it is no regular file any more"))
        return look

    def _fill(self, buffer: memoryview, offset: int) -> int:
        return self._pieces.fill(buffer, offset)

    def _begin(self, size: int, at: int) -> Callable[[], bytes]:
        line, handle = self._held(), self._handle

        def read(context: Context) -> bytes:
            return context.pread(handle, size, at)

        future = self._server.begin_on(lambda: line.call(read))
        return future.result

    def _held(self) -> NfsLine:
        if self._line is None:
            raise LineLost("the line was lost")
        return self._line

    def _again(self, act: Callable[[], _T]) -> _T:
        """Do something with the handle; when the line is lost, once more with a new one on the same file."""

        def reopened() -> _T:
            self._pieces.forget()
            if self._line is not None:
                self._line.close()
            if self._open() != self._look:
                raise Unreadable(Notice(shown(self._path), "unreadable", "it changed while the connection was lost"))
            return act()

        return self._insist(act, reopened)

    def _insist(self, act: Callable[[], _T], again: Callable[[], _T] | None = None) -> _T:
        """Do something, and in a second way, or once more, when the line was lost or the server forgot us."""
        try:
            try:
                return act()
            except LineLost:
                self._server.hang_up()
            except OSError as error:
                if not is_doubtful(error, self._server.address.version):
                    raise
                self._server.hang_up()
            return (again or act)()
        except LineLost as error:
            raise self._server.gone(error) from error
        except OSError as error:
            raise unreadable(self._path, error) from error
