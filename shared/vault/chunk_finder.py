"""Where the chunks of one point are: by the index, and without it by the packs that its manifest names.

Rule of the file: only packs of the manifest count, because only those are kept for the point.
"""

from __future__ import annotations

import threading
from collections.abc import Sequence

from shared.crypto.domain_keys import DomainKeys
from shared.errors import SkyharborError
from shared.vault import layout
from shared.vault.chunk_table import Location, SegmentRef
from shared.vault.index import ChunkIndex
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
        self._names = frozenset(pack.name for pack in packs)
        self._known = index.restricted(self._names) if index else ChunkIndex()
        covered = self._known.pack_names()
        unread = [pack for pack in packs if pack.name not in covered]
        # Metadata packs first: they are few, and while pages are being read nothing else is needed.
        self._unread = sorted(unread, key=lambda pack: _is_data(pack.name))
        self._lock = threading.Lock()

    def find(self, ids: bytes) -> list[Location | None]:
        """Return the place of every id, None when no pack of the point holds it.

        Reads directories of packs that the index does not cover, but only once something was not found without them.
        """
        places = self._known.locate(ids)
        if self._unread and None in places:
            with self._lock:
                for meta_only in (True, False):
                    if None in places:
                        self._read_directories(meta_only=meta_only)
                        places = self._known.locate(ids)
        return places

    def segment_at(self, pack: str, offset: int) -> SegmentRef | None:
        """Return the segment that begins at ``offset`` of the pack."""
        return self._known.segment_at(pack, offset)

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
                self._known.add(table)
            if problem:
                self.problems.append(problem)


def _is_data(name: str) -> bool:
    parsed = layout.parse_pack(name)
    return parsed is None or parsed[0] == layout.KIND_DATA
