"""How many names every hard-linked node of a point has: only the whole point says it.

Rule of the file: the point's pages are read once, in the background; memory grows with the number of nodes that have
several names, and with nothing else.
"""

from __future__ import annotations

import threading
from hashlib import blake2b

from shared.errors import SkyharborError
from shared.vault.entry import Entry
from shared.vault.reader import PointReader, read_pages
from workers.serving.complaints import Complaints

_PAGES_AT_ONCE = 16


def node_number(path: bytes) -> int:
    """Return the number of the node whose first name this is: the same in every mount of the point, never 0 or 1."""
    return int.from_bytes(blake2b(path, digest_size=8).digest(), "big") | 2


class LinkCounts:
    """Counts names. ``names`` waits for the count."""

    def __init__(self, reader: PointReader, complaints: Complaints) -> None:
        self._reader, self._complaints = reader, complaints
        self._further: dict[int, int] = {}
        self._thread = threading.Thread(target=self._count, name="link-counts", daemon=True)
        self._thread.start()

    def names(self, entry: Entry) -> int:
        """Return how many names the node of an entry has. Those in pages that cannot be read are not counted."""
        if self._thread.is_alive():
            self._thread.join()
        return 1 + self._further.get(node_number(entry.link or entry.path), 0)

    def _count(self) -> None:
        pages = self._reader.pages
        for start in range(0, len(pages), _PAGES_AT_ONCE):
            batch = pages[start : start + _PAGES_AT_ONCE]
            try:
                for page, columns in zip(batch, read_pages(batch, self._reader.chunks), strict=True):
                    if isinstance(columns, SkyharborError):
                        self._complaints.about_names(page.first, columns)
                        continue
                    for _, first in columns.links:
                        number = node_number(first)
                        self._further[number] = self._further.get(number, 0) + 1
            except SkyharborError as error:  # the store: the names can be used, what they have in common may not show
                self._complaints.about_names(batch[0].first, error)
