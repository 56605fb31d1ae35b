"""Which packs a point needs: collected while its entries pass by, complete when it is sealed.

Rule of the file: an id counts only when it is in a durable pack; a point that names anything else cannot be sealed.
"""

from __future__ import annotations

from collections.abc import Iterable

from shared.errors import SkyharborError
from shared.vault.chunk_table import ID_SIZE, PackInfo
from shared.vault.index import ChunkIndex
from shared.vault.point import PackRef

_LOOK_AT = 16_384 * ID_SIZE


class PackNeeds:
    """The packs behind all ids that a point refers to. One thread."""

    def __init__(self, index: ChunkIndex) -> None:
        self._index = index
        self._packs: set[PackRef] = set()
        self._waiting: list[bytes] = []  # ids not looked up yet, or whose pack is not durable yet
        self._waiting_size = 0
        self._look_at = _LOOK_AT

    def refer(self, ids: bytes) -> None:
        """Note that the point needs these chunks."""
        # Looked up in bulk: one search for many thousand ids costs a fraction of many small ones.
        self._waiting.append(ids)
        self._waiting_size += len(ids)
        if self._waiting_size > self._look_at:
            self._look()

    def add(self, packs: Iterable[PackInfo]) -> None:
        """Note that the point needs these packs."""
        self._packs.update(PackRef(info.name, info.size) for info in packs)

    def add_refs(self, packs: Iterable[PackRef]) -> None:
        """Note that the point needs these packs, which need not be in the index."""
        self._packs.update(packs)

    def settle(self) -> tuple[PackRef, ...]:
        """Return all packs, sorted by name, once everything is durable.

        Raises ``internal`` when a chunk is in no pack: its writer failed without saying so.
        """
        self._look()
        if self._waiting_size:
            raise SkyharborError("internal", f"{self._waiting_size // ID_SIZE} chunks of the point were never stored")
        return tuple(sorted(self._packs, key=lambda pack: pack.name))

    def _look(self) -> None:
        missing = self._resolve(b"".join(self._waiting))
        self._waiting, self._waiting_size = [missing], len(missing)
        # Twice what could not be settled now: the total work stays linear however long a pack takes.
        self._look_at = max(_LOOK_AT, 2 * len(missing))

    def _resolve(self, ids: bytes) -> bytes:
        if not ids:
            return b""
        packs, missing = self._index.packs_of(ids)
        self.add(packs)
        return missing
