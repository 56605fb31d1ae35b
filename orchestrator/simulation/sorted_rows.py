"""A sorted collection for queues of a hundred thousand: insert, remove and read from the front, each cheap.

Rule of the file: plain lists of bounded length, so that an insertion moves a few hundred references and no more.
"""

from __future__ import annotations

from bisect import bisect_left
from collections.abc import Iterator
from datetime import datetime
from typing import Generic, TypeVar

_T = TypeVar("_T")

Key = tuple[int, datetime, str]
"""Rank by now, latest start, id: the order of every queue."""

_LOAD = 512


class SortedRows(Generic[_T]):
    """Values by unique keys, in the order of the keys. Don't change it while iterating."""

    def __init__(self) -> None:
        self._keys: list[list[Key]] = []
        self._values: list[list[_T]] = []
        self._lasts: list[Key] = []
        self._count = 0

    def __len__(self) -> int:
        return self._count

    def __iter__(self) -> Iterator[_T]:
        for chunk in self._values:
            yield from chunk

    def first_key(self) -> Key:
        """Return the key of the first value; there has to be one."""
        return self._keys[0][0]

    def add(self, key: Key, value: _T) -> None:
        """Put a value where its key belongs."""
        self._count += 1
        if not self._lasts:
            self._keys, self._values, self._lasts = [[key]], [[value]], [key]
            return
        at = min(bisect_left(self._lasts, key), len(self._lasts) - 1)
        keys = self._keys[at]
        place = bisect_left(keys, key)
        keys.insert(place, key)
        self._values[at].insert(place, value)
        self._lasts[at] = keys[-1]
        if len(keys) > 2 * _LOAD:
            self._split(at)

    def remove(self, key: Key) -> None:
        """Take the value of a key out. ``KeyError`` when there is none."""
        at = bisect_left(self._lasts, key)
        keys = self._keys[at] if at < len(self._keys) else []
        place = bisect_left(keys, key)
        if place == len(keys) or keys[place] != key:
            raise KeyError(key)
        self._count -= 1
        del keys[place], self._values[at][place]
        if keys:
            self._lasts[at] = keys[-1]
        else:
            del self._keys[at], self._values[at], self._lasts[at]

    def _split(self, at: int) -> None:
        keys, values = self._keys[at], self._values[at]
        self._keys[at : at + 1] = [keys[:_LOAD], keys[_LOAD:]]
        self._values[at : at + 1] = [values[:_LOAD], values[_LOAD:]]
        self._lasts[at : at + 1] = [keys[_LOAD - 1], keys[-1]]
