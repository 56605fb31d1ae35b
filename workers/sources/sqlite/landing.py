"""Puts databases back, and refuses where SQLite would then spoil them.

What lies in a ``-wal`` or a rollback journal beside a database is put into it by whoever opens it next, whichever
database it was written for. So none may be beside a database that comes back.

Rule of the file: nothing is taken away: who wrote it may still be running.
"""

from __future__ import annotations

import os
from typing import Final

from shared.contracts.work import RestoreDone, RestoreInstruction
from shared.errors import SkyharborError
from shared.model.backup import ConflictRule
from shared.vault.entry import Entry, EntryKind
from shared.vault.reader import PointReader
from workers.engine.ports import Control
from workers.engine.restore import restore_point
from workers.engine.selection import Selection

_SPOILERS: Final = (b"-wal", b"-journal")


def land_sqlite(reader: PointReader, instruction: RestoreInstruction, *, control: Control, folder: str) -> RestoreDone:
    """Bring databases back as files (see the port). Raises ``target-invalid`` before anything is written."""
    del folder
    if instruction.options:
        raise SkyharborError("bad-request", f"SQLite databases come back without {', '.join(instruction.options)}")
    target = os.fsencode(instruction.target)
    for entry in Selection(reader, instruction.paths).entries():
        if isinstance(entry, Entry) and entry.kind == EntryKind.FILE:
            _check(os.path.join(target, entry.path), instruction.conflict)
    return restore_point(
        reader, target=instruction.target, paths=instruction.paths, conflict=instruction.conflict, control=control
    )


def _check(path: bytes, conflict: ConflictRule) -> None:
    if conflict is not ConflictRule.OVERWRITE and os.path.lexists(path):
        return  # it stays, with what is beside it
    for suffix in _SPOILERS:
        beside = path + suffix
        if os.path.lexists(beside) and os.stat(beside, follow_symlinks=False).st_size:
            raise SkyharborError(
                "target-invalid",
                f"{os.fsdecode(beside)} belongs to another database, and would spoil the one that comes back",
                hint="Stop the application, then move that file away, or restore to another folder.",
            )
