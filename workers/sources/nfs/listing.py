"""Lists folders of an NFS server, a few at a time, each with the looks of all that is in it.

Rule of the file: nothing of a folder is kept here once it was told.
"""

from __future__ import annotations

from concurrent.futures import Future

from shared.model.backup import Notice
from workers.engine.notices import shown
from workers.engine.ports import Unreadable
from workers.sources.nfs.line import NfsLine
from workers.sources.nfs.nodes import stat_of, stat_of_row
from workers.sources.nfs.server import NfsServer, unreadable
from workers.sources.shares.listing import Listed, Rows
from workers.sources.shares.stats import FarStat


class NfsListing:
    """The walk's line to a server (``workers.sources.shares.listing``)."""

    def __init__(self, server: NfsServer) -> None:
        self._server = server

    def ask(self, folder: bytes) -> AskedFolder:
        """Ask for the content of a folder."""
        return AskedFolder(self._server, folder)

    def finished(self, folder: bytes, rows: Rows) -> Rows:  # noqa: ARG002 - the port's signature
        """A listing has told everything."""
        return rows

    def look(self, path: bytes) -> FarStat:
        """Return the look of one node."""
        try:
            found = self._server.ask(lambda line: stat_of(line.version, line.call(lambda it: it.lstat(line.at(path)))))
        except OSError as error:
            problem = unreadable(path, error)
            if path:
                raise problem from error
            told = f"{shown(self._server.address.folder)} on {self._server.address.text}: {problem.notice.message}"
            raise Unreadable(Notice("/", problem.notice.code, told)) from error
        if found is None:
            raise Unreadable(Notice(shown(path), "unreadable", "the server does not tell what it is"))
        return found

    def close(self) -> None:
        """Lines are shared."""


class AskedFolder:
    """A folder that was asked for."""

    def __init__(self, server: NfsServer, folder: bytes) -> None:
        self._folder = folder
        self._asked: Future[Listed] = server.begin(self._list)

    def listed(self) -> Listed:
        """Wait for the answer."""
        try:
            return self._asked.result()
        except OSError as error:
            raise unreadable(self._folder, error) from error

    def drop(self) -> None:
        """Nobody wants the answer any more."""
        self._asked.cancel()

    def _list(self, line: NfsLine) -> Listed:
        found: dict[bytes, FarStat] = {}
        notices: list[Notice] = []
        prefix = self._folder + b"/" if self._folder else b""
        rows = line.call(
            lambda it: [(name, stat_of_row(it.version, told)) for name, told in it.entries(line.at(self._folder))]
        )
        for name, info in rows:
            if name in (b".", b".."):
                continue
            if not name or b"/" in name:
                notices.append(
                    Notice(shown(prefix + name), "refused-name", "the server gave a name that cannot be one")
                )
            elif info is None:
                notices.append(
                    Notice(shown(prefix + name), "unreadable", "the server does not tell enough of it to keep it")
                )
            else:
                found[name] = info
        return Listed(list(found.items()), notices)
