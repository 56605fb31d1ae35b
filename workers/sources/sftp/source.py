"""The SFTP workload as a source: a folder of an SSH server as a tree of entries.

Rule of the file: it puts the parts of the adapter together; listing, reading and opening are their own modules.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from shared.clock import Clock, SystemClock
from shared.vault.entry import Entry, EntryKind
from workers.sources.credentials import read_credentials
from workers.sources.sftp.address import sftp_address
from workers.sources.sftp.listing import SftpListing
from workers.sources.sftp.login import login_of
from workers.sources.sftp.reading import SftpReading
from workers.sources.sftp.server import SftpServer, unreadable
from workers.sources.sftp.small import small_files
from workers.sources.shares.per_thread import PerThread
from workers.sources.shares.source import FarSource, Means

if TYPE_CHECKING:
    from workers.sources.sftp.opened import OpenedFarFile

_YOUNG_NS = 3_000_000_000
"""Times are told in seconds, by a clock that is not ours: a file that was changed as short a time before it was read
may change again unseen, so the next backup reads it again."""


def open_server(reading: SftpReading) -> SftpServer:
    """Return the server of a description; nothing is dialled yet. Raises ``source-failed`` for bad credentials."""
    spec = reading.spec
    address = sftp_address(spec.url)
    return SftpServer(address, login_of(read_credentials(spec.credentials_file), address, spec.known_hosts))


class SftpAdapter(FarSource):
    """The engine's ``Source`` over a folder of a server. Paths are the server's own, absolute."""

    def __init__(self, reading: SftpReading, *, clock: Clock | None = None) -> None:
        server = self._server = open_server(reading)
        self._clock = clock or SystemClock()
        means = Means(
            listing=lambda: SftpListing(server),
            small=PerThread(lambda: small_files(server)),
            opened=self._opened,
            is_young=self._is_young,
            part=server.part,
        )
        super().__init__(means, top=server.address.folder, excludes=reading.spec.excludes)

    def complete(self, entry: Entry) -> Entry:
        """Return a symlink with its target; of other nodes the listing has told everything."""
        import asyncssh

        if entry.kind == EntryKind.SYMLINK:
            try:
                target = self._server.over(lambda sftp: sftp.readlink(b"/" + entry.path))
            except asyncssh.SFTPError as error:
                raise unreadable(entry.path, error) from error
            entry.target = target if isinstance(target, bytes) else target.encode("utf-8", "surrogateescape")
            entry.size = len(entry.target)
        return self._aged(entry)

    def _opened(self, path: bytes) -> OpenedFarFile:
        from workers.sources.sftp.opened import OpenedFarFile  # its library is optional, and takes its time

        return OpenedFarFile(self._server, path)

    def _is_young(self, entry: Entry) -> bool:
        return entry.mtime_ns > int(self._clock.now().timestamp() * 1e9) - _YOUNG_NS
