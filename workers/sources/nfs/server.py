"""An NFS server as a process uses it: lines that are borrowed, and a few threads that ask ahead of need.

Rule of the file: what is done over a line must be safe to do twice. A server that is gone for good is
``source-failed``: then there is no point, rather than one in which everything is unreadable.
"""

from __future__ import annotations

import errno
import threading
from collections.abc import Callable
from concurrent.futures import Future, ThreadPoolExecutor
from typing import TypeVar

from shared.errors import SkyharborError
from shared.model.backup import Notice
from workers.engine.notices import shown
from workers.engine.ports import Unreadable
from workers.sources.nfs.address import NfsAddress
from workers.sources.nfs.line import NfsLine, NotExported, dial, is_doubtful
from workers.sources.shares.lines import LineLost, Lines
from workers.sources.shares.target import NotDone

_T = TypeVar("_T")
_AHEAD = 6
"""Threads, each with a connection of its own when all are at work."""

_VANISHED = frozenset({errno.ENOENT, errno.ENOTDIR, errno.ESTALE, errno.ELOOP, errno.EISDIR})
_STARVED = frozenset({errno.EMFILE, errno.ENFILE, errno.ENOBUFS})
_WORDS = {
    errno.EACCES: "access denied",
    errno.EPERM: "access denied",
    errno.ENOENT: "it is not there",
    errno.ENOTDIR: "it is no directory",
    errno.ELOOP: "it is a symlink now",
    errno.EISDIR: "it is a directory",
    errno.ESTALE: "it was removed",
    errno.EIO: "the server cannot read it (input/output error)",
    errno.EAGAIN: "the server is still fetching it",
    errno.ENOSPC: "the disk is full",
    errno.EDQUOT: "the quota is used up",
    errno.ERANGE: "the server refused",
    errno.EROFS: "the export is read-only",
    errno.EEXIST: "something of this name is there",
}


class NfsServer(Lines[NfsLine]):
    """Any thread. ``uid`` and ``gid`` are as whom the server is asked."""

    def __init__(self, address: NfsAddress, *, uid: int, gid: int) -> None:
        super().__init__(address.text, self._dialled, harmless=(OSError, Unreadable, NotDone))
        self.address = address
        self._uid = uid
        self._gid = gid
        self._export: bytes | None = None  # the same for all lines, whatever becomes of the folders below it
        self._base = b""
        self._first = threading.Lock()
        self._pool = ThreadPoolExecutor(_AHEAD, thread_name_prefix="nfs")

    @property
    def base(self) -> bytes:
        """The item's folder below the export that is mounted. Raises as ``ask`` does."""
        with self.borrowed() as line:
            return line.base

    def ask(self, act: Callable[[NfsLine], _T]) -> _T:
        """Do something over a line; once more over new ones when the answer may come of what the server forgot of us.

        Raises ``OSError`` for what the server says no to, ``source-failed`` and ``source-denied``.
        """
        try:
            return self.over(act)
        except OSError as error:
            if not is_doubtful(error, self.address.version):
                raise
        self.hang_up()
        return self.over(act)

    def begin(self, act: Callable[[NfsLine], _T]) -> Future[_T]:
        """Have something done by another thread."""
        return self._pool.submit(self.ask, act)

    def begin_on(self, act: Callable[[], _T]) -> Future[_T]:
        """Have something done by another thread that needs no line of its own."""
        return self._pool.submit(act)

    def part(self) -> None:
        """End the threads and hang up for good."""
        self._pool.shutdown(cancel_futures=True)
        super().part()

    def _dialled(self) -> NfsLine:
        if self._export is None:
            with self._first:
                if self._export is None:
                    line = self._try(None)
                    self._export, self._base = line.export, line.base
                    return line
        line = self._try(self._export)
        line.base = self._base
        return line

    def _try(self, export: bytes | None) -> NfsLine:
        where = f"{self.address.text}: /{self.address.folder.decode('utf-8', 'backslashreplace')}"
        try:
            return dial(self.address, self._uid, self._gid, export)
        except NotExported as error:
            raise SkyharborError(
                "source-denied",
                f"{where}: the server exports no such folder to us: {error}",
                hint="Check the path and the server's exports; a worker that is not root needs 'insecure' there.",
            ) from error
        except LineLost as error:
            raise SkyharborError(
                "source-failed",
                f"{self.address.text}: {error}",
                hint="Check host, port and network, and that the server speaks this version of NFS.",
            ) from error


def unreadable(path: bytes, error: OSError) -> Unreadable:
    """Return what is to be said of a node; raises ``source-failed`` when it is this process that has run out."""
    if error.errno in _STARVED:
        raise SkyharborError("source-failed", f"{shown(path)}: {error}") from error
    return Unreadable(Notice(shown(path), "vanished" if error.errno in _VANISHED else "unreadable", words(error)))


def words(error: OSError) -> str:
    """Return what the server said, for people."""
    return _WORDS.get(error.errno or 0) or error.strerror or str(error)
