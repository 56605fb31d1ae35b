"""Keyset pages: one row more than asked tells whether there is a next page.

Rule of the file: the last row shown gives the cursor.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import TypeVar

from orchestrator.domain.paging import Page, encode_cursor

T = TypeVar("T")


def cut(rows: Sequence[T], limit: int, key: Callable[[T], str]) -> Page[T]:
    """Make a page of up to ``limit`` of the rows that were fetched with limit + 1."""
    if len(rows) <= limit:
        return Page(rows)
    return Page(rows[:limit], encode_cursor(key(rows[limit - 1])))
