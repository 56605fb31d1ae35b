"""Turning a stream of entries into stored pages: a page that is in the vault already costs a look-up.

Rule of the file: neighbouring pages share a segment, because they compress well together and are read together.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence

from shared.crypto.domain_keys import DomainKeys
from shared.vault.chunk_table import ID_SIZE
from shared.vault.entry import Entry
from shared.vault.pages import PIECE, Page, PageBuilder, encode_page
from shared.vault.point import PageRef
from shared.vault.segment import Encoded, encode_segment

_SEGMENT = 1024 * 1024


class PageWriter:
    """Collects entries, stores new pages through ``append`` and remembers all of them in ``pages``. One thread.

    ``refer`` is told every chunk id that the point needs: those of the entries and those of the pages.
    """

    def __init__(
        self,
        keys: DomainKeys,
        reserve: Callable[[Sequence[bytes]], list[bool]],
        refer: Callable[[bytes], None],
        append: Callable[[Sequence[bytes], Encoded], None],
        level: int,
    ) -> None:
        self.pages: list[PageRef] = []
        self.references = 0
        self._keys, self._reserve, self._refer, self._append, self._level = keys, reserve, refer, append, level
        self._builder = PageBuilder()
        self._ids: list[bytes] = []
        self._pieces: list[bytes] = []
        self._size = 0

    def add(self, entries: Sequence[Entry]) -> None:
        """Take the next entries."""
        for page in self._builder.add(entries):
            self._store(page)

    @property
    def between_pages(self) -> bool:
        """Whether no page is in the making."""
        return self._builder.empty

    def take(self, page: PageRef) -> int:
        """Take a whole page that is in the vault already; return its number of pieces. ValueError inside of a page."""
        self._builder.skip(page.first)
        self.pages.append(page)
        return len(page.chunks) // ID_SIZE

    def store_page(self, entries: Sequence[Entry]) -> None:
        """Store entries as one page, whatever their paths say about where pages end; their chunks are not referred to.

        ValueError inside of a page, and unless they come next in order.
        """
        self._builder.skip(entries[0].path)
        self._store(Page(entries[0].path, len(entries), b"", encode_page(entries)))

    def finish(self) -> None:
        """Store what is left as the last page."""
        page = self._builder.finish()
        if page:
            self._store(page)

    def flush(self) -> None:
        """Hand on the segment in the making, however small. The page in the making stays."""
        if self._ids:
            self._append(self._ids, encode_segment(self._pieces, self._level))
            self._ids, self._pieces, self._size = [], [], 0

    def _store(self, page: Page) -> None:
        pieces = [page.data[at : at + PIECE] for at in range(0, len(page.data), PIECE)]
        ids = [self._keys.chunk_id(piece) for piece in pieces]
        for chunk_id, piece, new in zip(ids, pieces, self._reserve(ids), strict=True):
            if new:
                self._ids.append(chunk_id)
                self._pieces.append(piece)
                self._size += len(piece)
            if self._size >= _SEGMENT:
                self.flush()
        self.pages.append(PageRef(page.first, b"".join(ids), page.entries))
        self.references += len(ids)
        self._refer(b"".join([page.chunks, *ids]))
