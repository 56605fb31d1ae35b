"""The session of a backup of files.

In order: the command before; the journal's mark; what has changed. At the end: the command after as soon as everything
has been read, so that what it holds still is held no longer than that.

Rule of the file: whatever was begun when something goes wrong is ended by ``close``, in reverse.
"""

from __future__ import annotations

import os
from collections.abc import Mapping, Sequence
from contextlib import suppress

import msgspec

from shared.contracts.sources import FilesSource
from shared.model.backup import Notice
from workers.engine.ports import SessionOrder
from workers.sources.files import FilesReading
from workers.sources.freezing.here import Here
from workers.sources.hooks.pair import HookPair
from workers.sources.journal.changes import write_changes
from workers.sources.journal.journaling import Journaling


class FilesSession:
    """The engine's ``Session`` over files of this machine. ``hold`` begins it.

    A command after is told ``SKYHARBOR_OUTCOME``: ``read`` when everything was read, ``failed`` otherwise.
    """

    def __init__(self, order: SessionOrder, source: FilesSource, here: Here) -> None:
        self._order = order
        self._source = source
        self._here = here
        self._changes = ""
        self._journaling: Journaling | None = None
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
                self._look_up_changes()
        except BaseException:
            self.close()
            raise
        return self

    @property
    def reading(self) -> bytes:
        """How the files are read."""
        return msgspec.msgpack.encode(
            FilesReading(source=self._source, leave_out=tuple(self._order.leave_out), changes=self._changes)
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
        """Let go, now that everything was read, and return what has to be said."""
        self._hooks.release("read")
        return [*self._hooks.notices(), *(self._journaling.notices if self._journaling is not None else [])]

    def confirm(self) -> None:
        """What was read is what was there."""

    def sealed(self) -> None:
        """The journal's mark is in the point."""

    def close(self) -> None:
        """Let go of everything."""
        self._hooks.release("failed")
        if self._changes:
            with suppress(FileNotFoundError):
                os.unlink(self._changes)
            self._changes = ""

    def _look_up_changes(self) -> None:
        self._journaling = Journaling(self._here.journal, self._source, self._order.leave_out)
        changes = self._journaling.changes(self._order.reference)
        if changes is not None:
            self._changes = os.path.join(self._order.folder, "changes")
            write_changes(self._changes, changes)
