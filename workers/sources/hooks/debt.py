"""The command that is owed once the command before has begun, and how it is paid whatever dies.

It is written down in the item's folder and told to the guard before the command before begins. Whoever runs it takes
the note away when it has ended: the worker, the guard of a worker that died, or the item's next backup when the machine
went down. So it runs at least once. Twice only when somebody dies while it runs, or between its end and the note's.

Rule of the file: it is told and noted first, run, and only then forgotten.
"""

from __future__ import annotations

import os
from collections.abc import Mapping
from contextlib import suppress

import msgspec

from shared.decoders import json_decoder
from workers.sources.hooks.permission import allowed
from workers.sources.hooks.running import Ended, run

KIND = "run-hook"
"""Of the guard's deed."""

_NOTE = "hook-owed.json"


class Owed(msgspec.Struct, frozen=True, kw_only=True):
    """A command that has to run, whatever happens. ``note`` is where that is written."""

    command: tuple[str, ...]
    item_id: str
    point_id: str
    timeout: float
    folder: str | None
    note: str

    def pay(self, outcome: str) -> Ended:
        """Run the command, if it is still owed, and forget it; raises ``source-failed`` when it is not allowed."""
        try:
            return run(
                allowed(self.command, self.folder),
                environment=environment(self.item_id, self.point_id, outcome),
                timeout=self.timeout,
            )
        finally:
            self.forget()

    def write(self) -> None:
        """Write down that it is owed; durable when this returns."""
        making = f"{self.note}.new"
        with open(os.open(making, os.O_WRONLY | os.O_CREAT | os.O_TRUNC | os.O_CLOEXEC, 0o600), "wb") as file:
            file.write(msgspec.json.encode(self))
            os.fsync(file.fileno())
        os.rename(making, self.note)
        folder = os.open(os.path.dirname(self.note), os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
        try:
            os.fsync(folder)
        finally:
            os.close(folder)

    def forget(self) -> None:
        """Take the note away. Idempotent."""
        with suppress(FileNotFoundError):
            os.unlink(self.note)

    def details(self) -> dict[str, str]:
        """Return what the guard has to know."""
        return {"owed": msgspec.json.encode(self).decode()}


def note_in(folder: str) -> str:
    """Return where an item's folder has the note."""
    return os.path.join(folder, _NOTE)


def left_behind(folder: str) -> Owed | None:
    """Return what an earlier backup of the item still owes; a note that cannot be read says nothing."""
    try:
        with open(note_in(folder), "rb") as file:
            return json_decoder(Owed).decode(file.read())
    except (OSError, msgspec.MsgspecError):
        return None


def pay_for_the_dead(details: Mapping[str, str]) -> None:
    """Run what a dead worker owes: the guard's deed. Nothing when somebody has done so."""
    owed = json_decoder(Owed).decode(details["owed"])
    there = left_behind(os.path.dirname(owed.note))
    if there is None or there.point_id != owed.point_id:
        return
    owed.pay("lost")


def environment(item_id: str, point_id: str, outcome: str) -> dict[str, str]:
    """Return what a hook is told."""
    return {"SKYHARBOR_ITEM": item_id, "SKYHARBOR_POINT": point_id, "SKYHARBOR_OUTCOME": outcome}
