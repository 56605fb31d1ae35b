"""The files workload: directories and files of a machine that this process can reach by path.

Rule of the file: it puts the parts of the adapter together; walking, opening and reading are their own modules.
"""

from __future__ import annotations

import os
from collections.abc import Iterator

from shared.contracts.work import FilesSource
from shared.errors import SkyharborError
from shared.model.backup import Notice
from shared.vault.entry import Entry, EntryKind
from workers.engine.notices import reason, shown
from workers.engine.ports import Found, Unreadable
from workers.sources.excludes import Excludes
from workers.sources.nodes import Nodes, is_regular
from workers.sources.opened import OpenedLocalFile
from workers.sources.walk import Walk


class FilesAdapter:
    """The engine's ``Source`` over local paths.

    Paths below other given paths are dropped. Raises ``source-missing`` for no path at all and for relative ones.
    """

    def __init__(self, source: FilesSource) -> None:
        roots = _roots(source.paths)
        self._nodes = Nodes(roots)
        self._walk = Walk(roots, Excludes(source.excludes), self._nodes)

    def scan(self) -> Iterator[Found | Notice]:
        """Yield every node in the order of a recovery point (see the port)."""
        return iter(self._walk)

    def complete(self, entry: Entry) -> Entry:
        """Return a node that is no regular file with its xattrs and link target."""
        try:
            entry.target, entry.xattrs = self._nodes.describe(entry)
        except OSError as error:
            raise _unreadable(entry.path, error) from error
        if entry.kind == EntryKind.SYMLINK:
            entry.size = len(entry.target)
        return entry

    def open(self, entry: Entry) -> OpenedLocalFile:
        """Open a regular file that the scan met; what stands in its place now is taken when it is a file as well."""
        try:
            fd = self._nodes.open_file(entry)
        except OSError as error:
            raise _unreadable(entry.path, error) from error
        try:
            info = os.fstat(fd)
            if is_regular(info):
                return OpenedLocalFile(entry.path, fd, info)
        except OSError as error:
            os.close(fd)
            raise _unreadable(entry.path, error) from error
        os.close(fd)
        raise Unreadable(Notice(shown(entry.path), "vanished", "it is no regular file any more"))


def _roots(paths: tuple[str, ...]) -> list[bytes]:
    cleaned = sorted({b"/" + os.fsencode(path).strip(b"/") for path in paths if path.startswith("/")})
    if not cleaned or len([path for path in paths if not path.startswith("/")]) > 0:
        raise SkyharborError("source-missing", "an item needs absolute paths")
    return [path for path in cleaned if not any(_below(path, other) for other in cleaned)]


def _below(path: bytes, other: bytes) -> bool:
    return path != other and path.startswith(other.rstrip(b"/") + b"/")


def _unreadable(path: bytes, error: OSError) -> Unreadable:
    vanished = isinstance(error, FileNotFoundError | NotADirectoryError)
    return Unreadable(Notice(shown(path), "vanished" if vanished else "unreadable", reason(error)))
