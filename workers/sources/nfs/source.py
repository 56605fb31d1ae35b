"""The NFS workload as a source: a folder of a server as a tree of entries. Paths are those below the folder.

Rule of the file: it puts the parts of the adapter together; listing, reading and opening are their own modules.
"""

from __future__ import annotations

from shared.clock import Clock, SystemClock
from shared.vault.entry import Entry, EntryKind
from workers.sources.nfs.address import nfs_address
from workers.sources.nfs.listing import NfsListing
from workers.sources.nfs.opened import OpenedNfsFile
from workers.sources.nfs.reading import NfsReading
from workers.sources.nfs.server import NfsServer, unreadable
from workers.sources.nfs.small import small_files
from workers.sources.shares.per_thread import PerThread
from workers.sources.shares.source import FarSource, Means

_YOUNG_NS = 3_000_000_000
"""Change times are by the server's clock, which ticks and is not ours: a file that was changed as short a time before
it was read may change again unseen, so the next backup reads it again."""


class NfsAdapter(FarSource):
    """The engine's ``Source`` over a folder of a server."""

    def __init__(self, reading: NfsReading, *, clock: Clock | None = None) -> None:
        spec = reading.spec
        server = self._server = NfsServer(nfs_address(spec.url), uid=spec.uid, gid=spec.gid)
        self._clock = clock or SystemClock()
        means = Means(
            listing=lambda: NfsListing(server),
            small=PerThread(lambda: small_files(server)),
            opened=lambda path: OpenedNfsFile(server, path),
            is_young=self._is_young,
            part=server.part,
        )
        super().__init__(means, top=b"", excludes=spec.excludes)

    def complete(self, entry: Entry) -> Entry:
        """Return a symlink with its target; of other nodes the listing has told everything."""
        if entry.kind == EntryKind.SYMLINK:
            try:
                entry.target = self._server.ask(
                    lambda line: line.call(lambda context: context.readlink(line.at(entry.path)))
                )
            except OSError as error:
                raise unreadable(entry.path, error) from error
            entry.size = len(entry.target)
        return self._aged(entry)

    def _is_young(self, entry: Entry) -> bool:
        return entry.ctime_ns > int(self._clock.now().timestamp() * 1e9) - _YOUNG_NS
