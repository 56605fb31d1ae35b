"""One look at the control database: a read-only transaction that sees a single moment.

Rule of the file: it only reads, and whoever opens a look closes it.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from typing import Any

import psycopg
from psycopg.rows import dict_row

Row = Mapping[str, Any]


class Look:
    """The database as it was at one moment."""

    def __init__(self, connection: psycopg.Connection[dict[str, Any]]) -> None:
        self._connection = connection

    def rows(self, sql: str, **values: object) -> list[dict[str, Any]]:
        """Return all rows of a query with ``%(name)s`` in it."""
        return self._connection.execute(sql, values).fetchall()

    def value(self, sql: str, **values: object) -> Any:
        """Return the one value of a query."""
        (row,) = self.rows(sql, **values)
        (value,) = row.values()
        return value


@contextmanager
def look(dsn: str) -> Iterator[Look]:
    """Open a look. ``psycopg.OperationalError`` when the database is away, now or in the middle."""
    with psycopg.connect(dsn, row_factory=dict_row, connect_timeout=5) as connection:
        connection.isolation_level = psycopg.IsolationLevel.REPEATABLE_READ
        connection.read_only = True
        yield Look(connection)
