"""The files workload: directories and files of a machine that this process can reach by path.

Rule of the file: it puts the parts of the adapter together; walking, opening and reading are their own modules.
"""

from __future__ import annotations

import os
from collections.abc import Iterable, Mapping, Sequence

import msgspec

from shared.contracts.sources import FilesSource
from shared.model.backup import Notice
from shared.vault.entry import Entry
from workers.engine.notices import shown, unreadable
from workers.engine.ports import Haste, Survey, Unreadable
from workers.engine.span import EVERYTHING, Span
from workers.sources.excludes import Excludes
from workers.sources.held_places import HeldPlaces
from workers.sources.journal.changes import read_changes
from workers.sources.names import names_of
from workers.sources.nodes import Nodes, is_regular
from workers.sources.opened import OpenedLocalFile
from workers.sources.roots import roots_of
from workers.sources.rules import Rules
from workers.sources.shown import Places, Shown
from workers.sources.survey import survey
from workers.sources.walk import Walk, Walking


class FilesReading(msgspec.Struct, frozen=True, kw_only=True, tag="files", tag_field="reading"):
    """How a backup of files is read: the item's description, and absolute folders that are never entered.

    ``changes`` is the path of a file that says what has changed since the reference; empty when that is not known.
    ``shown`` is what is read in snapshots; ``snapshots`` are their device numbers, with that of what each is of.
    """

    source: FilesSource
    leave_out: tuple[str, ...] = ()
    changes: str = ""
    shown: tuple[Shown, ...] = ()
    snapshots: dict[int, int] = {}
    held: HeldPlaces | None = None
    """What whoever reads by this description has to see."""


class FilesAdapter:
    """The engine's ``Source`` over local paths.

    Paths below other given paths belong to those. ``leave_out`` are absolute folders that are never entered, such as
    the vault that the backup goes to: it would hold itself, and grow with every backup.
    Raises ``source-missing`` for no path at all and for relative ones, ``bad-request`` for an invalid exclude.
    """

    block = 0

    def __init__(
        self,
        source: FilesSource,
        *,
        leave_out: Sequence[str] = (),
        changes: str = "",
        shown: Sequence[Shown] = (),
        snapshots: Mapping[int, int] | None = None,
    ) -> None:
        self._source = source
        self._roots = roots_of(source.paths)
        self._nodes = Nodes(self._roots.walked, Places(shown))
        self._rules = Rules(source, self._roots.given)
        self._leave_out = [os.fsencode(folder) for folder in leave_out]
        self._changes = changes
        self._snapshots = snapshots or {}

    @property
    def selective(self) -> bool:
        """Whether a scan offers what is unchanged (see ``workers.engine.keeping``)."""
        return bool(self._changes)

    def scan(self, span: Span = EVERYTHING) -> Walking:
        """Yield every node of the span in the order of a recovery point (see the port)."""
        self._rules = Rules(self._source, self._roots.given)
        changes = read_changes(self._changes) if self._changes and span.everything else None
        yield from Walk(
            self._roots.walked,
            self._rules,
            self._nodes,
            leave_out=self._leave_out,
            span=span,
            changes=changes,
            snapshots=self._snapshots,
        )
        if not span.begin:  # what has to be said of the item as a whole is said with the first part
            yield from self._roots.notices

    def survey(self, most: int) -> Survey:
        """List upper folders (see the port); of the rules, only patterns are looked at."""
        return survey(self._roots.walked, Excludes(self._source.excludes), most=most)

    @property
    def excluded(self) -> int:
        """How many nodes the rules left out of the last scan (see the port)."""
        return self._rules.excluded

    def complete(self, entry: Entry) -> Entry:
        """Return a node that is no regular file with its xattrs and link target."""
        try:
            return self._nodes.describe(entry)
        except OSError as error:
            raise Unreadable(unreadable(entry.path, error)) from error

    def warm(self, entries: Iterable[Entry]) -> None:
        """Have the content of files fetched into the page cache."""
        self._nodes.warm(entries)

    def read_whole(self, entry: Entry, room: memoryview) -> Haste:
        """Read a small file in one go, if there is nothing special about it (see the port)."""
        return self._nodes.read_whole(entry, room)

    def close(self) -> None:
        """There is nothing to let go of: descriptors are closed by whoever opened them."""

    def names_of_owners(self, uids: Iterable[int], gids: Iterable[int]) -> tuple[dict[str, str], dict[str, str]]:
        """Return what this machine's user and group databases call them."""
        return names_of(uids, gids)

    def open(self, entry: Entry) -> OpenedLocalFile:
        """Open a regular file that the scan met; what stands in its place now is taken when it is a file as well."""
        try:
            fd = self._nodes.open_file(entry)
        except OSError as error:
            raise Unreadable(unreadable(entry.path, error)) from error
        try:
            info = os.fstat(fd)
            if is_regular(info):
                return OpenedLocalFile(entry.path, fd, info)
        except OSError as error:
            os.close(fd)
            raise Unreadable(unreadable(entry.path, error)) from error
        os.close(fd)
        raise Unreadable(Notice(shown(entry.path), "vanished", "it is no regular file any more"))
