"""Reads a small file of an NFS server in one go.

What was read is taken only when the file looks, behind the reading, as the scan met it.

Rule of the file: what goes wrong here is read the long way, which says what it was.
"""

from __future__ import annotations

from concurrent.futures import CancelledError, Future

from shared.errors import SkyharborError
from shared.vault.entry import Entry
from workers.engine.seen import is_unchanged
from workers.sources.nfs.context import Context
from workers.sources.nfs.line import NfsLine
from workers.sources.nfs.nodes import stat_of
from workers.sources.nfs.opened import FLAGS
from workers.sources.nfs.server import NfsServer
from workers.sources.shares.lines import LineLost
from workers.sources.shares.small import SmallFiles


def small_files(server: NfsServer) -> SmallFiles:
    """Return a reader for one thread."""
    return SmallFiles(lambda entry: _Coming(server.begin(lambda line: _read(line, entry))))


class _Coming:
    """A file that was asked for."""

    def __init__(self, future: Future[bytes | None]) -> None:
        self._future = future

    def take(self) -> bytes | None:
        """Wait for the content."""
        try:
            return self._future.result()
        except (OSError, LineLost, SkyharborError, CancelledError):
            return None

    def drop(self) -> None:
        """Nobody wants it any more."""
        self._future.cancel()


def _read(line: NfsLine, entry: Entry) -> bytes | None:
    def read(context: Context) -> bytes | None:
        handle = context.open(line.at(entry.path), FLAGS)
        try:
            data = context.pread(handle, entry.size + 1, 0)
            look = stat_of(context.version, context.fstat(handle))
        finally:
            context.release(handle)
        return data if look is not None and is_unchanged(look, entry) else None

    return line.call(read)
