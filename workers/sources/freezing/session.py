"""The session of a backup of files.

In order: the command before; the journal's mark; snapshots; the command after, where there is a snapshot; what has
changed since the reference. Without a snapshot the command after comes as soon as everything has been read: what it
holds still is held no longer than that.

Rule of the file: whatever was begun when something goes wrong is ended by ``close``, in reverse.
"""

from __future__ import annotations

import os
from collections.abc import Mapping, Sequence
from contextlib import suppress

import msgspec

from shared.contracts.sources import FilesSource, SnapshotWay
from shared.model.backup import Notice
from workers.engine.ports import SessionOrder
from workers.sources.files import FilesReading
from workers.sources.freezing.here import Here
from workers.sources.held_places import held_places
from workers.sources.hooks.pair import HookPair
from workers.sources.journal.changes import write_changes
from workers.sources.journal.journaling import Journaling
from workers.sources.journal.mount_table import read_mounts
from workers.sources.roots import roots_of
from workers.sources.snapshots.taking import Snapshots


class FilesSession:
    """The engine's ``Session`` over files of this machine. ``hold`` begins it.

    A command after is told ``SKYHARBOR_OUTCOME``: ``snapshot`` when there is one to read from, ``read`` when everything
    was read, ``failed`` otherwise; ``lost`` when the worker died.
    """

    def __init__(self, order: SessionOrder, source: FilesSource, here: Here) -> None:
        self._order = order
        self._source = source
        self._here = here
        self._changes = ""
        self._journaling: Journaling | None = None
        self._snapshots = Snapshots(source.snapshot, order, percent=source.snapshot_percent)
        self._hooks = HookPair(
            source.hooks,
            item_id=order.item_id,
            point_id=order.point_id,
            programs=here.programs,
            folder=order.folder,
            guard=order.guard,
            check=order.check,
        )

    def hold(self) -> FilesSession:
        """Bring the source to rest. When it raises, nothing is held."""
        try:
            self._hooks.hold()
            if self._source.journal:
                self._journaling = Journaling(self._here.journal, self._source, self._order.leave_out)
            if self._source.snapshot is not SnapshotWay.NONE:
                self._take_snapshots()
            if self._journaling is not None:
                self._look_up_changes(self._journaling)
        except BaseException:
            self.close()
            raise
        return self

    @property
    def reading(self) -> bytes:
        """How the files are read."""
        return msgspec.msgpack.encode(
            FilesReading(
                source=self._source,
                leave_out=tuple(self._order.leave_out),
                changes=self._changes,
                shown=tuple(self._snapshots.shown),
                snapshots=self._snapshots.devices,
                held=held_places(self._snapshots.shown),
            )
        )

    @property
    def paths(self) -> tuple[str, ...]:
        """What is protected."""
        return self._source.paths

    @property
    def state(self) -> Mapping[str, str]:
        """What the journal has to know next time."""
        return self._journaling.state if self._journaling is not None else {}

    def notices(self) -> Sequence[Notice]:
        """Let go, now that everything was read, and return what has to be said.

        Raises ``source-failed`` when a snapshot was lost: that says more than what could not be read in it.
        """
        self._snapshots.confirm()
        self._hooks.release("read")
        journal = self._journaling.notices if self._journaling is not None else []
        return [*self._hooks.notices(), *self._snapshots.notices, *journal]

    def confirm(self) -> None:
        """What was read is what was there, as long as snapshots are what they were."""
        self._snapshots.confirm()

    def sealed(self) -> None:
        """The journal's mark is in the point."""

    def close(self) -> None:
        """Let go of everything."""
        self._snapshots.release()
        self._hooks.release("failed")
        if self._changes:
            with suppress(FileNotFoundError):
                os.unlink(self._changes)
            self._changes = ""

    def _take_snapshots(self) -> None:
        roots = [os.fsdecode(root) for root in roots_of(self._source.paths).walked]
        self._snapshots.take(roots, read_mounts(), below=not self._source.rules.one_file_system)
        if self._snapshots.holds_all:
            self._hooks.release("snapshot")

    def _look_up_changes(self, journaling: Journaling) -> None:
        changes = journaling.changes(self._order.reference)
        if changes is not None:
            changes = msgspec.structs.replace(changes, snapshots=self._snapshots.devices)
            self._changes = os.path.join(self._order.folder, "changes")
            write_changes(self._changes, changes)
