"""The SFTP workload as a source: a folder of an SSH server as a tree of entries.

Rule of the file: it puts the parts of the adapter together; listing, reading and opening are their own modules.
"""

from __future__ import annotations

import threading
from collections.abc import Iterable, Iterator, Sequence
from typing import TYPE_CHECKING

from shared.clock import Clock, SystemClock
from shared.model.backup import Notice
from shared.vault.entry import Entry, EntryKind
from workers.engine.ports import Found, Haste, Survey
from workers.engine.reading import RANGE
from workers.engine.span import EVERYTHING, Span
from workers.sources.credentials import read_credentials
from workers.sources.excludes import Excludes
from workers.sources.sftp.address import sftp_address
from workers.sources.sftp.listing import SftpListing
from workers.sources.sftp.login import login_of
from workers.sources.sftp.reading import SftpReading
from workers.sources.sftp.server import SftpServer, unreadable
from workers.sources.sftp.small import SmallFiles
from workers.sources.shares.survey import survey
from workers.sources.shares.walk import Walk

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


class SftpAdapter:
    """The engine's ``Source`` over a folder of a server. Paths are the server's own, absolute."""

    block = 0

    def __init__(self, reading: SftpReading, *, clock: Clock | None = None) -> None:
        self._server = open_server(reading)
        self._clock = clock or SystemClock()
        self._top = self._server.address.folder
        self._excludes = Excludes(reading.spec.excludes)
        self._walk: Walk | None = None
        self._threads = threading.local()

    def scan(self, span: Span = EVERYTHING) -> Iterator[Found | Notice]:
        """Yield every node of the span in the order of a recovery point (see the port)."""
        self._walk = Walk(SftpListing(self._server), self._top, self._excludes, span)
        yield from self._walk

    @property
    def excluded(self) -> int:
        """How many nodes the excludes left out of the last scan."""
        return self._walk.excluded if self._walk is not None else 0

    def survey(self, most: int) -> Survey:
        """List upper folders (see the port)."""
        return survey(SftpListing(self._server), self._top, self._excludes, most=most)

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

    def read_whole(self, entry: Entry, room: memoryview) -> Haste:
        """Read a small file, if it is plainly what the scan met (see the port)."""
        if not self._small().read(entry, room):
            return Haste.NO
        self._aged(entry)
        return Haste.WAITED

    def warm(self, entries: Iterable[Entry]) -> None:
        """There is no cache to warm: ``announce`` is what we are told."""

    def announce(self, entries: Sequence[Entry]) -> None:
        """Have this thread's next files asked for ahead."""
        self._small().announce(entries)

    def open(self, entry: Entry) -> OpenedFarFile:
        """Open a file that the scan met."""
        from workers.sources.sftp.opened import OpenedFarFile

        opened = OpenedFarFile(self._server, entry.path)
        if opened.entry.size < 2 * RANGE:  # larger ones are read in ranges, which compare with what the scan met
            self._aged(opened.entry)
        return opened

    def names_of_owners(
        self,
        uids: Iterable[int],  # noqa: ARG002 - the port's signature
        gids: Iterable[int],  # noqa: ARG002
    ) -> tuple[dict[str, str], dict[str, str]]:
        """Return nothing: the protocol has numbers only."""
        return {}, {}

    def _small(self) -> SmallFiles:
        small: SmallFiles | None = getattr(self._threads, "small", None)
        if small is None:
            small = self._threads.small = SmallFiles(self._server)
        return small

    def _aged(self, entry: Entry) -> Entry:
        if entry.mtime_ns > int(self._clock.now().timestamp() * 1e9) - _YOUNG_NS:
            entry.ctime_ns = 0
        return entry
