"""What all row classes share: the open connection and three ways to run a statement.

Rule of the file: statements come from ``sql/<name>.sql`` or are short reads written beside their use; parameters
are bound, never pasted.
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from functools import cache
from importlib.resources import files
from typing import Any

from sqlalchemy import Connection, TextClause, text

from orchestrator.store.connections import run, wake

RowMapping = Mapping[str, Any]
"""One row, by the names of its columns."""


@cache
def statement(name: str) -> TextClause:
    """Return the statement kept in ``sql/<name>.sql``."""
    return text((files(__package__) / "sql" / f"{name}.sql").read_text(encoding="utf-8"))


@cache
def inline(sql: str) -> TextClause:
    """Return a short statement, prepared once."""
    return text(sql)


def to_json(value: object) -> str:
    """Return the JSON text of plain values, for a jsonb parameter."""
    return json.dumps(value, ensure_ascii=True, separators=(",", ":"))


class Rows:
    """A group of rows seen through one open transaction."""

    def __init__(self, connection: Connection) -> None:
        self._db = connection

    def _all(self, sql: TextClause, **parameters: Any) -> list[dict[str, Any]]:
        return run(self._db, sql, parameters).fetchall()

    def _one(self, sql: TextClause, **parameters: Any) -> dict[str, Any] | None:
        return run(self._db, sql, parameters).fetchone()

    def _run(self, sql: TextClause, **parameters: Any) -> int:
        return run(self._db, sql, parameters).rowcount

    def _wake(self) -> None:
        wake(self._db)
