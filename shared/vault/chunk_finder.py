"""Where the chunks of one point are: by the index, and without it by the packs that its manifest names.

Rule of the file: packs of the manifest come first, because only those are kept for the point. Where they fail, any copy
that the machine's index knows of will do: the reader checks every chunk against its id.
"""

from __future__ import annotations

import threading
from collections.abc import Sequence

from shared.crypto.domain_keys import DomainKeys
from shared.errors import SkyharborError
from shared.vault import layout
from shared.vault.chunk_table import EMPTY, ChunkTable, Location, merge
from shared.vault.index import ChunkIndex, PackFilter
from shared.vault.index_loading import pack_table
from shared.vault.point import PackRef
from shared.vault.vault import Vault


class ChunkFinder:
    """Finds chunks of a point. Safe to share between threads.

    ``problems`` collects what was wrong with packs on the way, one line each.
    """

    def __init__(self, vault: Vault, keys: DomainKeys, packs: Sequence[PackRef], index: ChunkIndex | None) -> None:
        self.problems: list[str] = []
        self._vault, self._keys = vault, keys
        self._packs = PackFilter(pack.name for pack in packs)
        self._index = index
        self._read = ChunkIndex()  # what directories said
        covered = index.pack_names() if index else set()
        unread = [pack for pack in packs if pack.name not in covered]
        # Metadata packs first: they are few, and while pages are being read nothing else is needed.
        self._unread = sorted(unread, key=lambda pack: _is_data(pack.name))
        self._lock = threading.Lock()

    def find(self, ids: bytes) -> list[Location | None]:
        """Return the place of every id: in a pack of the point, or else in any that the index knows, or else None.

        Reads directories of packs that the index does not cover, but only once something was not found without them.
        """
        places = self._locate(ids)
        if None in places:
            # Looked for again under the lock: another thread may be reading the very directory that has it.
            with self._lock:
                places = self._locate(ids)
                for meta_only in (True, False):
                    if None in places and self._unread:
                        self._read_directories(meta_only=meta_only)
                        places = self._locate(ids)
        if None in places and self._index is not None:
            anywhere = self._index.locate(ids)
            places = [place or other for place, other in zip(places, anywhere, strict=True)]
        return places

    def copies(self, chunk_id: bytes) -> list[Location]:
        """Return every place that the chunk is said to be at, in packs of the point and in others."""
        known = self._index.copies(chunk_id) if self._index is not None else []
        return known + self._read.copies(chunk_id)

    def table_of(self, ids: bytes) -> ChunkTable:
        """Return all that is known about where these chunks are, for somebody without the index.

        Of several copies, those in packs of the point come first.
        """
        self.find(ids)  # reads what directories it takes
        known = self._index.tables_of(ids, first=self._packs) if self._index is not None else []
        return merge([*known, *self._read.tables_of(ids, first=self._packs), EMPTY])

    def _locate(self, ids: bytes) -> list[Location | None]:
        if self._index is None:
            return self._read.locate(ids)
        places = self._index.locate(ids, packs=self._packs)
        if len(self._read) and None in places:
            others = self._read.locate(ids)
            places = [place or other for place, other in zip(places, others, strict=True)]
        return places

    def _read_directories(self, *, meta_only: bool) -> None:
        unread, self._unread = self._unread, []
        for number, pack in enumerate(unread):
            if meta_only and _is_data(pack.name):
                self._unread = unread[number:]
                return
            try:
                table, problem = pack_table(self._vault, pack, self._keys)
            except SkyharborError as error:
                if error.code not in ("object-damaged", "object-missing"):
                    self._unread = unread[number:]
                    raise
                problem = f"{error.code}: {error.detail}"
            else:
                self._read.add(table)
            if problem:
                self.problems.append(problem)


class TableFinder:
    """Finds chunks by one small table after the other: what a process without the index was told. One thread."""

    def __init__(self) -> None:
        self._index = ChunkIndex()

    def turn_to(self, table: ChunkTable) -> None:
        """Forget what was, and look into this table from now on."""
        self._index = ChunkIndex([table])

    def find(self, ids: bytes) -> list[Location | None]:
        """Return the place of every id, None where the table has none."""
        return self._index.locate(ids)

    def copies(self, chunk_id: bytes) -> list[Location]:
        """Return every place that the table has for the chunk."""
        return self._index.copies(chunk_id)


def _is_data(name: str) -> bool:
    parsed = layout.parse_pack(name)
    return parsed is None or parsed[0] == layout.KIND_DATA
