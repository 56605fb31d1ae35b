"""A line to an NFS server: a mounted export, and what its answers mean.

Rule of the file: an ``OSError`` is about a node, ``LineLost`` about the connection. What may be either closes the line,
so that the node is asked for once more over another (``server``).
"""

from __future__ import annotations

import errno
import time
from collections.abc import Callable
from typing import TypeVar

from workers.sources.nfs.address import NfsAddress
from workers.sources.nfs.context import Context
from workers.sources.shares.lines import LineLost

_T = TypeVar("_T")

_OF_THE_LINE = frozenset({errno.EFAULT, errno.EINTR, errno.ECONNRESET, errno.ENOMEM})
"""What libnfs says of a connection that is gone, and of a request that took too long."""
_NO_EXPORT = frozenset({errno.ENOENT, errno.EACCES, errno.EPERM, errno.ENOTDIR, errno.ESTALE, errno.ELOOP})
_BUSY_SECONDS, _BUSY_TIMES = 1.0, 30
"""How often a server may say that it has to fetch a file first (NFS3ERR_JUKEBOX)."""


class NotExported(Exception):
    """The server lets nobody, or not us, have this folder or one above it; the text says why."""


class NfsLine:
    """One thread at a time. ``base`` is the item's folder below the mounted ``export``, both raw paths."""

    def __init__(self, context: Context, export: bytes, base: bytes) -> None:
        self.context = context
        self.export = export
        self.base = base

    @property
    def version(self) -> int:
        """Of the protocol."""
        return self.context.version

    @property
    def lost(self) -> bool:
        """Whether it is of no use any more."""
        return self.context.closed

    def at(self, path: bytes) -> bytes:
        """Return the server's path of a node of the point."""
        return b"/" + b"/".join(part for part in (self.base, path) if part)

    def call(self, act: Callable[[Context], _T]) -> _T:
        """Do something over the line."""
        for _ in range(_BUSY_TIMES):
            try:
                return self._called(act)
            except OSError as error:
                if error.errno != errno.EAGAIN:
                    raise
            time.sleep(_BUSY_SECONDS)
        return self._called(act)

    def close(self) -> None:
        """Hang up. Idempotent."""
        self.context.close()

    def _called(self, act: Callable[[Context], _T]) -> _T:
        try:
            return act(self.context)
        except OSError as error:
            if error.errno in _OF_THE_LINE or self.context.is_cut():
                self.close()
                raise LineLost(error.strerror or str(error)) from error
            if is_doubtful(error, self.version):
                self.close()
            raise


def is_doubtful(error: OSError, version: int) -> bool:
    """Tell whether an error may come of what the server has forgotten of us: handles, and state under NFS 4."""
    return error.errno in (errno.EIO, errno.ESTALE, errno.ERANGE) or (version == 4 and error.errno == errno.EINVAL)


def dial(address: NfsAddress, uid: int, gid: int, export: bytes | None = None) -> NfsLine:
    """Mount an export: this one, or the longest part of the address's folder that the server lets us have.

    Raises ``NotExported``, and ``LineLost`` when the server cannot be reached.
    """
    names = address.folder.split(b"/")
    least = len(names) if export is not None else (1 if address.version == 3 else 0)
    why = ""
    for count in range(len(names), least - 1, -1):
        mounted = export if export is not None else b"/" + b"/".join(names[:count])
        context = Context(version=address.version, port=address.port, mount_port=address.mount_port, uid=uid, gid=gid)
        try:
            context.mount(address.host, mounted)
        except OSError as error:
            context.close()
            if error.errno not in _NO_EXPORT:
                raise LineLost(error.strerror or str(error)) from error
            why = why or error.strerror or str(error)
        else:
            below = address.folder.removeprefix(mounted[1:]).strip(b"/")
            return NfsLine(context, mounted, below)
    raise NotExported(why)
