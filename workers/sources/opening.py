"""Opens what an item describes: the session of a backup, the source that it reads, the lander of a restore.

Rule of the file: the one list of workloads of the data plane; every line of it is one adapter.
"""

from __future__ import annotations

import msgspec

from shared.contracts.sources import FilesSource, workload_of
from shared.errors import SkyharborError
from workers.engine.ports import Lander, Session, SessionOrder, Source
from workers.sources.files import FilesAdapter, FilesReading
from workers.sources.freezing.here import NOTHING_HERE, Here
from workers.sources.freezing.session import FilesSession

Reading = FilesReading
"""Whatever a session may say about how its source is read."""

LANDERS: dict[str, Lander] = {}
"""What brings points of a workload back, by its name; the tree as it is where there is none."""


def open_session(order: SessionOrder, here: Here = NOTHING_HERE) -> Session:
    """Hold the source for one backup. Raises ``source-failed``, ``source-missing``, ``bad-request``, ``Stop``.

    When it raises nothing is held. ``here`` is what this worker's machine gives to sessions of files.
    """
    match order.spec:
        case FilesSource():
            return FilesSession(order, order.spec, here).hold()
        case _:
            raise SkyharborError("bad-request", f"this worker does not know the workload {workload_of(order.spec)!r}")


def open_source(reading: bytes) -> Source:
    """Open the source that a session of this machine holds."""
    told = msgspec.msgpack.decode(reading, type=Reading)
    return FilesAdapter(told.source, leave_out=told.leave_out, changes=told.changes, shown=told.shown)


def described(reading: Reading) -> bytes:
    """Return the description by which hands and shards open a source."""
    return msgspec.msgpack.encode(reading)
