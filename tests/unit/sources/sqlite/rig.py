"""Reads SQLite databases as the engine would, without an engine: what was pushed, kept and said."""

from __future__ import annotations

import contextlib
import os
import sqlite3
import threading
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from types import SimpleNamespace
from typing import Any, cast

from shared.contracts.sources import SqliteSource
from shared.model.backup import Notice
from shared.vault.entry import Entry
from shared.vault.reader import PointReader
from workers.engine.ports import Kept, SessionOrder
from workers.sources.sqlite.session import open_sqlite


@dataclass
class Taken:
    """What one backup took: contents by path, paths that were kept, notices, and the state for the next one."""

    files: dict[str, bytes] = field(default_factory=dict)
    entries: dict[str, Entry] = field(default_factory=dict)
    kept: list[str] = field(default_factory=list)
    notices: list[Notice] = field(default_factory=list)
    state: dict[str, str] = field(default_factory=dict)


class _Point:
    """A point that has every path that it is asked for."""

    def entries(self, under: bytes) -> Iterator[bytes]:
        return iter([under])


def take(
    folder: Path,
    *paths: Path,
    state: Mapping[str, str] | None = None,
    check: Any = lambda: None,
    on_file: Any = lambda _: None,
) -> Taken:
    """Back databases up; ``state`` is that of the reference, None for a full; ``on_file`` sees what is pushed."""
    folder.mkdir(exist_ok=True)
    order = SessionOrder(
        spec=SqliteSource(paths=tuple(map(str, paths))),
        item_id="item",
        point_id="point",
        reference=None if state is None else cast(Any, SimpleNamespace(state=dict(state))),
        leave_out=(),
        folder=str(folder),
        guard=cast(Any, None),
        check=check,
    )
    taken = Taken()
    session = open_sqlite(order, cast(SqliteSource, order.spec))
    try:
        for node in session.reading.stream(None if state is None else cast(PointReader, _Point())):
            if isinstance(node, Notice):
                taken.notices.append(node)
            elif isinstance(node, Kept):
                taken.kept.append("/" + os.fsdecode(node.under))
            else:
                on_file(node)
                path = "/" + os.fsdecode(node.entry.path)
                taken.entries[path], taken.files[path] = node.entry, _content(node)
        taken.state = dict(session.state)
        session.confirm()
    finally:
        session.close()
    return taken


def _content(node: Any) -> bytes:
    parts, room = [], memoryview(bytearray(65536))
    while got := node.read_into(room):
        parts.append(bytes(room[:got]))
    return b"".join(parts)


def query(content: bytes, sql: str) -> list[Any]:
    """Ask a copy, and only after SQLite has found it sound."""
    with contextlib.closing(sqlite3.connect(":memory:")) as connection:
        # Out of the bytes that were taken, without a -wal: it is no WAL database while it is in memory.
        image = bytearray(content)
        image[18:20] = b"\1\1"
        connection.deserialize(bytes(image))
        assert connection.execute("PRAGMA integrity_check").fetchall() == [("ok",)]
        return connection.execute(sql).fetchall()


def make(path: Path, *, wal: bool = False, rows: int = 2000) -> sqlite3.Connection:
    """Make a database of pairs that always sum up to zero; the connection stays open."""
    connection = sqlite3.connect(path, isolation_level=None, check_same_thread=False, timeout=30)
    connection.execute(f"PRAGMA journal_mode={'WAL' if wal else 'DELETE'}")
    connection.execute("CREATE TABLE t (id INTEGER PRIMARY KEY, a INTEGER, b BLOB)")
    connection.execute("BEGIN")
    connection.executemany("INSERT INTO t (a, b) VALUES (?, ?)", ((0, os.urandom(200)) for _ in range(rows)))
    connection.execute("COMMIT")
    return connection


@contextlib.contextmanager
def writer(path: Path) -> Iterator[list[int]]:
    """Commit all the time, moving something from one row to another; yields a list that grows with each commit."""
    done: list[int] = []
    stop = threading.Event()

    def run() -> None:
        connection = sqlite3.connect(path, isolation_level=None, timeout=60)
        connection.execute("PRAGMA synchronous=OFF")
        while not stop.wait(0.001):
            connection.execute("BEGIN IMMEDIATE")
            connection.execute("UPDATE t SET a = a + 1, b = randomblob(200) WHERE id = 1")
            connection.execute("UPDATE t SET a = a - 1, b = randomblob(200) WHERE id = 2000")
            connection.execute("COMMIT")
            done.append(1)
        connection.close()

    thread = threading.Thread(target=run)
    thread.start()
    try:
        while not done and thread.is_alive():
            thread.join(0.01)
        yield done
    finally:
        stop.set()
        thread.join()
