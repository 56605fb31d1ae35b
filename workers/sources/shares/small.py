"""Has small files asked for before they are needed, so that many are under way at once.

The engine says which files come next (``announce``); a window of them is begun. How one is read is the workload's.

Rule of the file: one object per thread. What goes wrong here is read the long way, which says what it was.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Callable, Iterable
from typing import Protocol

from shared.vault.entry import Entry, EntryKind
from workers.engine.reading import LARGE_FILE

_FILES, _BYTES = 64, 8 * 1024 * 1024


class Coming(Protocol):
    """A file whose reading was begun."""

    def take(self) -> bytes | None:
        """Wait for the content; None when the file is not plainly what the scan met, or anything went wrong."""
        ...

    def drop(self) -> None:
        """Nobody wants it any more."""
        ...


class SmallFiles:
    """What one thread has asked for."""

    def __init__(self, begin: Callable[[Entry], Coming]) -> None:
        self._begin = begin
        self._next: deque[Entry] = deque()
        self._asked: dict[bytes, tuple[Coming, int]] = {}
        self._bytes = 0

    def announce(self, entries: Iterable[Entry]) -> None:
        """Take note of the files that are read next, in order; what was announced before is forgotten."""
        for coming, _ in self._asked.values():
            coming.drop()
        self._asked, self._bytes = {}, 0
        self._next = deque(entry for entry in entries if entry.kind == EntryKind.FILE and entry.size < LARGE_FILE)

    def read(self, entry: Entry, room: memoryview) -> bool:
        """Read a file into ``room``; False when it is not plainly what the scan met."""
        coming = self._answering(entry)
        self._ask_ahead()
        data = coming.take()
        if data is None or len(data) != entry.size:
            return False
        room[: len(data)] = data
        return True

    def _answering(self, entry: Entry) -> Coming:
        if entry.path in self._asked:
            coming, size = self._asked.pop(entry.path)
            self._bytes -= size
            return coming
        if self._next and self._next[0].path == entry.path:
            self._next.popleft()
        return self._begin(entry)

    def _ask_ahead(self) -> None:
        while self._next and len(self._asked) < _FILES and self._bytes < _BYTES:
            entry = self._next.popleft()
            self._asked[entry.path] = (self._begin(entry), entry.size)
            self._bytes += entry.size
