"""Lists folders of an SSH server, many at a time.

Rule of the file: an answer that was lost with the line is asked for once more over the next.
"""

from __future__ import annotations

from concurrent.futures import Future
from contextlib import suppress
from typing import TYPE_CHECKING

from shared.model.backup import Notice
from workers.engine.notices import shown
from workers.engine.ports import Unreadable
from workers.sources.sftp.nodes import stat_of
from workers.sources.sftp.server import SftpServer, unreadable
from workers.sources.shares.lines import LineLost
from workers.sources.shares.listing import Listed, Rows
from workers.sources.shares.stats import FarStat

if TYPE_CHECKING:
    from collections.abc import Sequence

    from asyncssh import SFTPClient, SFTPName

    from workers.sources.sftp.line import SshLine


class SftpListing:
    """The walk's line to a server (``workers.sources.shares.listing``)."""

    def __init__(self, server: SftpServer) -> None:
        self._server = server

    def ask(self, folder: bytes) -> AskedFolder:
        """Ask for the content of a folder."""
        return AskedFolder(self._server, folder)

    def finished(self, folder: bytes, rows: Rows) -> Rows:  # noqa: ARG002 - the port's signature
        """A listing has told everything."""
        return rows

    def look(self, path: bytes) -> FarStat:
        """Return the look of one node, behind a symlink if it is one: somebody has named it."""
        import asyncssh

        try:
            found = stat_of(self._server.over(lambda sftp: sftp.stat(b"/" + path)))
        except asyncssh.SFTPError as error:
            raise unreadable(path, error) from error
        if found is None:
            raise Unreadable(Notice(shown(path), "unreadable", "the server does not tell what it is"))
        return found

    def close(self) -> None:
        """The line is shared."""


class AskedFolder:
    """A folder that was asked for."""

    def __init__(self, server: SftpServer, folder: bytes) -> None:
        self._server = server
        self._folder = folder
        self._asked: tuple[SshLine, Future[Sequence[SFTPName]]] | None = None
        with suppress(LineLost):  # then it is asked again when it is needed
            self._asked = server.begin(self._list)

    async def _list(self, sftp: SFTPClient) -> Sequence[SFTPName]:
        return await sftp.readdir(b"/" + self._folder)

    def listed(self) -> Listed:
        """Wait for the answer."""
        import asyncssh

        try:
            try:
                if self._asked is None:
                    raise LineLost("the line was lost")
                line, future = self._asked
                return self._understood(line.result(future))
            except LineLost:
                return self._understood(self._server.over(self._list))
        except asyncssh.SFTPError as error:
            raise unreadable(self._folder, error) from error

    def drop(self) -> None:
        """Nobody wants the answer any more."""
        if self._asked is not None:
            self._asked[1].cancel()

    def _understood(self, names: Sequence[SFTPName]) -> Listed:
        found: dict[bytes, FarStat] = {}
        notices: list[Notice] = []
        for one in names:
            name = one.filename if isinstance(one.filename, bytes) else one.filename.encode("utf-8", "surrogateescape")
            if name in (b".", b".."):
                continue
            path = self._folder + b"/" + name if self._folder else name
            info = stat_of(one.attrs)
            if not name or b"/" in name or b"\0" in name:
                notices.append(Notice(shown(path), "refused-name", "the server gave a name that cannot be one"))
            elif info is None:
                notices.append(Notice(shown(path), "unreadable", "the server does not tell enough of it to keep it"))
            else:
                found[name] = info
        return Listed(list(found.items()), notices)
