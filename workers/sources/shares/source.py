"""The part of the engine's ``Source`` that is the same for every share.

Rule of the file: it scans and keeps the order of calls; what is asked of a server is the workload's.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass
from typing import Protocol

from shared.model.backup import Notice
from shared.vault.entry import Entry
from workers.engine.ports import Found, Haste, OpenedFile, Survey
from workers.engine.reading import RANGE
from workers.engine.span import EVERYTHING, Span
from workers.sources.excludes import Excludes
from workers.sources.shares.listing import Listing
from workers.sources.shares.survey import survey
from workers.sources.shares.walk import Walk


class SmallReader(Protocol):
    """Reads small files, many of them under way at once. One thread."""

    def announce(self, entries: Iterable[Entry]) -> None:
        """Take note of the nodes that are read next, in order; what was announced before is forgotten."""
        ...

    def read(self, entry: Entry, room: memoryview) -> bool:
        """Read a file into ``room`` and complete its entry; False when it is not plainly what the scan met."""
        ...


@dataclass(frozen=True, slots=True, kw_only=True)
class Means:
    """What a workload reads its server by.

    ``listing`` opens a line for one scan, ``small`` returns the calling thread's reader, ``opened`` opens a file by its
    path. ``is_young`` tells of a node that was changed so shortly before it was read that it may change again unseen.
    ``part`` hangs up for good.
    """

    listing: Callable[[], Listing]
    small: Callable[[], SmallReader]
    opened: Callable[[bytes], OpenedFile]
    is_young: Callable[[Entry], bool]
    part: Callable[[], None]


class FarSource:
    """A folder of a server as a tree of entries, but for ``complete``, which is the workload's.

    ``top`` is the folder's path in the point. ``bad-request`` for a bad exclude.
    """

    block = 0

    def __init__(self, means: Means, *, top: bytes, excludes: Sequence[str]) -> None:
        self._means = means
        self._top = top
        self._excludes = Excludes(excludes)
        self._walk: Walk | None = None

    def scan(self, span: Span = EVERYTHING) -> Iterator[Found | Notice]:
        """Yield every node of the span in the order of a recovery point (see the port)."""
        listing = self._means.listing()
        self._walk = Walk(listing, self._top, self._excludes, span)
        try:
            yield from self._walk
        finally:
            listing.close()

    @property
    def excluded(self) -> int:
        """How many nodes the excludes left out of the last scan."""
        return self._walk.excluded if self._walk is not None else 0

    def survey(self, most: int) -> Survey:
        """List upper folders (see the port)."""
        listing = self._means.listing()
        try:
            return survey(listing, self._top, self._excludes, most=most)
        finally:
            listing.close()

    def read_whole(self, entry: Entry, room: memoryview) -> Haste:
        """Read a small file, if it is plainly what the scan met (see the port)."""
        if not self._means.small().read(entry, room):
            return Haste.NO
        self._aged(entry)
        return Haste.WAITED

    def warm(self, entries: Iterable[Entry]) -> None:
        """There is no cache to warm: ``announce`` is what we are told."""

    def announce(self, entries: Sequence[Entry]) -> None:
        """Have this thread's next nodes asked for ahead."""
        self._means.small().announce(entries)

    def open(self, entry: Entry) -> OpenedFile:
        """Open a file that the scan met."""
        opened = self._means.opened(entry.path)
        if opened.entry.size < 2 * RANGE:  # larger ones are read in ranges, which compare with what the scan met
            self._aged(opened.entry)
        return opened

    def names_of_owners(
        self,
        uids: Iterable[int],  # noqa: ARG002 - the port's signature
        gids: Iterable[int],  # noqa: ARG002
    ) -> tuple[dict[str, str], dict[str, str]]:
        """Return nothing: a server tells numbers, or keeps owners where only it understands them."""
        return {}, {}

    def close(self) -> None:
        """Hang up for good (see the port)."""
        self._means.part()

    def _aged(self, entry: Entry) -> Entry:
        """Return the entry, with a change time that never compares when the node is young."""
        if self._means.is_young(entry):
            entry.ctime_ns = 0
        return entry
