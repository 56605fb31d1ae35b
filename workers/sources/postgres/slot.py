"""The replication slot of an item: what makes the server keep its log until a point has it.

A slot that nobody moves makes the server keep its log for ever. So it is made by the first backup, with the guard told
before; dropped again when that backup fails; moved by every point that is sealed; and its size is told.

Rule of the file: slots only; when one is needed is decided by the session.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Final, NamedTuple

from shared.errors import SkyharborError
from workers.sources.postgres.access import Access
from workers.sources.postgres.lsn import parse_lsn, show_lsn
from workers.sources.postgres.replication import Refusal, Replication
from workers.sources.postgres.trouble import failed
from workers.sources.postgres.wal_stream import begin_streaming, confirm_flushed

DEED: Final = "postgres-drop-slot"
"""The guard's deed: details are ``dsn``, ``credentials_file`` and ``slot``."""

_DEED_SECONDS = 60.0


class Slot(NamedTuple):
    """A slot that is there. ``kept`` is where the log begins that it keeps; None when it has lost its log."""

    kept: int | None


def look(connection: Replication, name: str) -> Slot | None:
    """Return the slot, None when there is none. Raises ``source-failed`` when it is one of another kind."""
    kind, kept, *_ = connection.rows(f"READ_REPLICATION_SLOT {name}")[0]
    if kind is None:
        return None
    return Slot(parse_lsn(kept) if kept else None)


def create(connection: Replication, name: str) -> int:
    """Make the slot, which keeps the log from the last checkpoint on, and return where that is."""
    connection.rows(f"CREATE_REPLICATION_SLOT {name} PHYSICAL RESERVE_WAL")
    slot = look(connection, name)
    if slot is None or slot.kept is None:
        raise failed(f"the replication slot {name} keeps no log")
    return slot.kept


def drop(connection: Replication, name: str) -> None:
    """Drop the slot, waiting until nobody uses it. Idempotent."""
    if look(connection, name) is not None:
        connection.rows(f"DROP_REPLICATION_SLOT {name} WAIT")


def advance(connection: Replication, name: str, position: int, timeline: int) -> None:
    """Let go of the log before this position. Raises ``source-failed`` when the slot did not move."""
    begin_streaming(connection, name, position, timeline)
    confirm_flushed(connection, position)
    connection.end_copy()
    slot = look(connection, name)
    if slot is None or slot.kept is None or slot.kept < position:
        raise failed(f"the replication slot {name} did not move to {show_lsn(position)}")


def still_has(connection: Replication, name: str, position: int, timeline: int) -> bool:
    """Tell whether the server can still send its log from here on, though the slot does not promise it."""
    try:
        begin_streaming(connection, name, position, timeline)
        next(connection.messages(), None)
        connection.end_copy()
    except Refusal:
        return False
    return True


def drop_left_slot(details: Mapping[str, str]) -> None:
    """Do the guard's deed. Safe to do twice, and when there is no slot. Raises ``source-failed``."""
    connection = Replication(Access(details["dsn"], details["credentials_file"]), silence=_DEED_SECONDS)
    try:
        drop(connection, details["slot"])
    except SkyharborError:
        if look(connection, details["slot"]) is not None:
            raise
    finally:
        connection.close()
