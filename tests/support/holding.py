"""Backups of files the way a worker makes them: with a session of its own, and whatever its machine gives to it."""

from __future__ import annotations

import os
from pathlib import Path

import msgspec

from shared.clock import SystemClock
from shared.contracts.sources import FilesSource
from shared.contracts.work import BackupDone, Fence
from shared.model.backup import BackupType
from shared.vault.entry import Entry
from tests.support.uncontrolled import Uncontrolled
from tests.unit.engine.rig import Rig
from workers.engine.backup import BackupOptions, run_backup
from workers.engine.doors import Doors
from workers.engine.ports import SessionOrder
from workers.settings import hands_environment
from workers.sources.freezing.here import Here
from workers.sources.journal.client import JournalLine
from workers.sources.opening import open_session, open_source


class Remembering:
    """A guard that only remembers what it would have to do."""

    def __init__(self) -> None:
        self.armed: dict[int, tuple[str, dict[str, str]]] = {}
        self._last = 0

    def arm(self, kind: str, details: dict[str, str], **_: object) -> int:
        self._last += 1
        self.armed[self._last] = (kind, dict(details))
        return self._last

    def disarm(self, number: int) -> None:
        self.armed.pop(number, None)


class Holding:
    """A rig, a journal that runs for as long as this does, and the folder of the item."""

    def __init__(self, folder: Path, *, journal: bool = True, programs: str | None = None) -> None:
        self.rig = Rig()
        self.folder = str(folder)
        os.makedirs(folder, exist_ok=True)
        self.line = JournalLine(hands_environment()) if journal else None
        self.programs = programs
        self.guard = Remembering()
        self.leave_out: tuple[str, ...] = ()

    def backup(self, spec: FilesSource, *, type: BackupType = BackupType.INCREMENTAL) -> BackupDone:
        """Back up against the last point, as the tower would say."""
        instruction = msgspec.structs.replace(self.rig.instruction(*spec.paths, type=type), source=spec)
        here, guard = Here(programs=self.programs, journal=self.line), self.guard

        def session(reference: object) -> object:
            order = SessionOrder(
                spec=spec,
                item_id="item",
                point_id=instruction.point_id,
                reference=reference,  # type: ignore[arg-type]
                leave_out=self.leave_out,
                folder=self.folder,
                guard=guard,  # type: ignore[arg-type]
                check=lambda: None,
            )
            return open_session(order, here)

        return run_backup(
            doors=Doors(session, open_source),  # type: ignore[arg-type]
            vault=self.rig.vault,
            keys=self.rig.keys,
            index=self.rig.index(),
            instruction=instruction,
            fence=Fence(job_id="job", unit=0, epoch=1, claim_id="claim"),
            control=Uncontrolled(),
            clock=SystemClock(),
            options=BackupOptions(),
        )

    def entries(self) -> list[Entry]:
        """Return all entries of the last point."""
        return list(self.rig.reader().entries())

    def scanned(self, *paths: str) -> list[Entry]:
        """Return the entries of a point of the same paths that is made by looking at everything, once."""
        other = Rig()
        other.backup(*paths)
        return list(other.reader().entries())

    def close(self) -> None:
        if self.line is not None:
            self.line.close()
