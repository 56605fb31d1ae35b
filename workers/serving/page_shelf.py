"""Pages of entries, as many as were needed lately.

Rule of the file: bounded in bytes, whatever the point has; a page that cannot be read is an error each time.
"""

from __future__ import annotations

import threading
from collections import OrderedDict
from dataclasses import dataclass

from shared.errors import SkyharborError
from shared.vault.entry import Entry, sort_key
from shared.vault.reader import PointReader, read_pages

_KEEP = 32 * 1024 * 1024
_ENTRY = 700  # about what an entry takes beside its path and its chunks
_TURNS = 16


@dataclass(frozen=True, slots=True)
class OpenPage:
    """The entries of a page, with the keys that they are in order by."""

    keys: list[bytes]
    entries: list[Entry]

    @property
    def weight(self) -> int:
        """About how many bytes it takes."""
        return sum(_ENTRY + 2 * len(entry.path) + len(entry.chunks) + 90 * len(entry.holes) for entry in self.entries)


class PageShelf:
    """Reads and keeps the pages of one point. Safe to share between threads."""

    def __init__(self, reader: PointReader, *, keep: int = _KEEP) -> None:
        self._reader, self._keep = reader, keep
        self._kept: OrderedDict[int, tuple[OpenPage, int]] = OrderedDict()
        self._size = 0
        self._lock = threading.Lock()
        self._turns = [threading.Lock() for _ in range(_TURNS)]

    @property
    def kept(self) -> int:
        """How many pages are kept right now."""
        return len(self._kept)

    def get(self, number: int) -> OpenPage:
        """Return a page. Raises ``object-damaged``, ``object-missing`` and what the store raises."""
        page = self._recall(number)
        if page is not None:
            return page
        with self._turns[number % _TURNS]:
            page = self._recall(number)
            if page is None:
                page = self._read(number)
                self._remember(number, page)
            return page

    def _read(self, number: int) -> OpenPage:
        outcome = next(read_pages([self._reader.pages[number]], self._reader.chunks))
        if isinstance(outcome, SkyharborError):
            raise outcome
        entries = outcome.entries()
        return OpenPage([sort_key(entry.path) for entry in entries], entries)

    def _recall(self, number: int) -> OpenPage | None:
        with self._lock:
            kept = self._kept.get(number)
            if kept is None:
                return None
            self._kept.move_to_end(number)
            return kept[0]

    def _remember(self, number: int, page: OpenPage) -> None:
        weight = page.weight
        with self._lock:
            self._kept[number] = page, weight
            self._size += weight
            while self._size > self._keep and len(self._kept) > 1:
                self._size -= self._kept.popitem(last=False)[1][1]
