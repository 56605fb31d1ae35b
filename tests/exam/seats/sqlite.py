"""Databases of SQLite, one with a WAL that is written to."""

from __future__ import annotations

import random
import sqlite3
from collections.abc import Callable, Mapping, Sequence
from contextlib import closing
from pathlib import Path

from shared.contracts.sources import SourceSpec, SqliteSource
from shared.model.backup import ConflictRule
from shared.vault.reader import PointReader
from tests.exam.seat import Seat
from tests.support.uncontrolled import Uncontrolled
from workers.engine.restore import restore_point

_ROWS = 6000


class SqliteSeat:
    """Two databases; in the one that is written to, pairs of rows always sum up to nothing."""

    name = "sqlite"

    def __init__(self, folder: Path) -> None:
        self._rng = random.Random(11)
        self._paths = (folder / "app.db", folder / "still.db")
        for path, mode in zip(self._paths, ("WAL", "DELETE"), strict=True):
            with closing(_opened(path)) as made:
                made.execute(f"PRAGMA journal_mode={mode}")
                made.execute("CREATE TABLE pairs (id INTEGER PRIMARY KEY, n INTEGER, pad BLOB)")
                made.execute("BEGIN")
                made.executemany(
                    "INSERT INTO pairs (n, pad) VALUES (0, ?)", ((self._rng.randbytes(1000),) for _ in range(_ROWS))
                )
                made.execute("COMMIT")
        # An application that has it open: its last commits are in the WAL only.
        self._app = _opened(self._paths[0])
        self._app.execute("PRAGMA synchronous=OFF")
        self._app.execute("INSERT INTO pairs (n, pad) VALUES (0, x'00')")
        self.spec: SourceSpec = SqliteSource(paths=tuple(map(str, self._paths)))

    def truth(self) -> object:
        return {str(path): _content(path) for path in self._paths}

    def change(self) -> None:
        self._app.execute("UPDATE pairs SET pad = ? WHERE id = 77", (self._rng.randbytes(1000),))

    def restored(self, reader: PointReader, target: Path) -> object:
        restore_point(
            reader, target=str(target), paths=(), conflict=ConflictRule.SKIP, control=Uncontrolled(), muster=None
        )
        return {str(path): _content(Path(f"{target}{path}")) for path in self._paths}

    def left_behind(self) -> Sequence[str]:
        """A lock would be in the way of this."""
        for path in self._paths:
            with closing(_opened(path)) as other:
                try:
                    other.execute("BEGIN EXCLUSIVE")
                except sqlite3.OperationalError as error:
                    return [f"{path}: {error}"]
                other.execute("ROLLBACK")
        return []

    def wrong(self) -> Sequence[tuple[SourceSpec, str]]:
        text = self._paths[0].with_name("text.db")
        text.write_bytes(b"this is no database at all\n" * 1000)
        return [
            (SqliteSource(paths=("/nowhere/at/all.db",)), "/nowhere/at/all.db"),
            (SqliteSource(paths=(str(text),)), "no SQLite database, or an encrypted one"),
        ]

    def write_on(self) -> None:
        one, other = self._rng.sample(range(1, _ROWS), 2)
        self._app.execute("BEGIN")
        self._app.execute("UPDATE pairs SET n = n + 1 WHERE id = ?", (one,))
        self._app.execute("UPDATE pairs SET n = n - 1 WHERE id = ?", (other,))
        self._app.execute("COMMIT")

    def is_of_one_moment(self, truth: object) -> bool:
        assert isinstance(truth, Mapping)
        return all(sum(n for _, n, _ in rows) == 0 for rows in truth.values())

    def die(self) -> bool:
        return False

    def close(self) -> None:
        self._app.close()


def _opened(path: Path) -> sqlite3.Connection:
    return sqlite3.connect(path, isolation_level=None, timeout=0)


def _content(path: Path) -> list[tuple[int, int, bytes]]:
    with closing(_opened(path)) as database:
        assert database.execute("PRAGMA integrity_check").fetchall() == [("ok",)]
        return database.execute("SELECT id, n, pad FROM pairs ORDER BY id").fetchall()


def seats() -> Mapping[str, Callable[[Path], Seat]]:
    return {"sqlite": SqliteSeat}
