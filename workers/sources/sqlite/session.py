"""The session of SQLite databases: each is held still on its own, for as long as it is copied.

Rule of the file: nothing is left to a guard: locks end with the process, and copies have no name.
"""

from __future__ import annotations

import os
import stat
from collections.abc import Mapping, Sequence
from contextlib import suppress

from shared.contracts.sources import SqliteSource
from shared.errors import SkyharborError
from shared.model.backup import Notice
from workers.engine.notices import reason
from workers.engine.ports import SessionOrder
from workers.sources.sqlite.copying import COPY_PREFIX
from workers.sources.sqlite.stream import SqliteStream


class SqliteSession:
    """The engine's ``Session`` over ``SqliteStream``."""

    def __init__(self, order: SessionOrder, source: SqliteSource) -> None:
        before = order.reference.state if order.reference is not None else {}
        self.reading = SqliteStream(source.paths, before=before, folder=order.folder, check=order.check)
        self.paths = source.paths

    @property
    def state(self) -> Mapping[str, str]:
        """What every database looked like from outside, by its path."""
        return self.reading.state

    def notices(self) -> Sequence[Notice]:
        """Everything is said where it belongs."""
        return ()

    def confirm(self) -> None:
        """Every database was copied within one transaction of its own."""

    def sealed(self) -> None:
        """Nothing has to be remembered."""

    def close(self) -> None:
        """Let the copy go that a stream which nobody reads any more may still have."""
        self.reading.close()


def open_sqlite(order: SessionOrder, source: SqliteSource) -> SqliteSession:
    """Look whether all databases are there. Raises ``source-missing`` and ``bad-request``; nothing is held then."""
    if not source.paths or not all(path.startswith("/") for path in source.paths):
        raise SkyharborError("bad-request", "databases are given by their absolute paths")
    for path in source.paths:
        try:
            if not stat.S_ISREG(os.stat(path).st_mode):
                raise SkyharborError("source-missing", f"{path} is no file, so it is no SQLite database")
        except OSError as error:
            raise SkyharborError("source-missing", f"{path}: {reason(error)}") from error
    _sweep(order.folder)
    return SqliteSession(order, source)


def _sweep(folder: str) -> None:
    """Remove what a kill in the very moment of making a copy has left."""
    for name in os.listdir(folder):
        if name.startswith(COPY_PREFIX):
            with suppress(OSError):
                os.unlink(os.path.join(folder, name))
