"""The chunks that were read lately, for many readers at once.

Rule of the file: what is kept was checked by the vault's reader, and is bounded in bytes; a chunk that is damaged is
remembered too, so that whoever insists does not fetch it again and again.
"""

from __future__ import annotations

import threading
from collections import OrderedDict

from shared.errors import SkyharborError
from shared.vault.chunk_reader import ChunkReader
from shared.vault.chunk_table import ID_SIZE

BAD_OBJECT = frozenset({"object-missing", "object-damaged"})

_KEEP = 64 * 1024 * 1024
_KEEP_ERRORS = 4096
_TURNS = 64
_NEIGHBOURS = 8  # chunks that lie in the same segments: one reader decodes these, the others wait for it


class ChunkCache:
    """Bytes of chunks by their ids; ``keep`` bytes of them. Safe to share between threads."""

    def __init__(self, chunks: ChunkReader, *, keep: int = _KEEP) -> None:
        self._chunks, self._keep = chunks, keep
        self._kept: OrderedDict[bytes, bytes] = OrderedDict()
        self._size = 0
        self._errors: OrderedDict[bytes, SkyharborError] = OrderedDict()
        self._lock = threading.Lock()
        self._turns = [threading.Lock() for _ in range(_TURNS)]

    @property
    def reader(self) -> ChunkReader:
        """What reads the chunks."""
        return self._chunks

    @property
    def kept(self) -> int:
        """How many bytes are kept right now."""
        return self._size

    def get(self, ids: bytes, number: int, *, ahead: int = 0) -> bytes:
        """Return the chunk of this number among the ids.

        So many behind it are wanted next: those that are its neighbours in a pack come with the same request. Raises
        ``object-missing``, ``object-damaged`` and what the store raises when it cannot be reached.
        """
        at = number * ID_SIZE
        wanted = ids[at : at + ID_SIZE]
        kept = self._recall(wanted)
        if kept is not None:
            return kept
        # By place and not by id: a neighbour is in the same segment, most of the time.
        with self._turns[hash((ids[:ID_SIZE], number // _NEIGHBOURS)) % _TURNS]:
            kept = self._recall(wanted)
            if kept is not None:
                return kept
            outcome = next(self._chunks.chunks_or_errors(ids[at : at + (1 + ahead) * ID_SIZE]))
            return self._remember(wanted, outcome if isinstance(outcome, SkyharborError) else bytes(outcome))

    def _recall(self, chunk_id: bytes) -> bytes | None:
        with self._lock:
            kept = self._kept.get(chunk_id)
            if kept is not None:
                self._kept.move_to_end(chunk_id)
            elif chunk_id in self._errors:
                raise self._errors[chunk_id]
            return kept

    def _remember(self, chunk_id: bytes, outcome: bytes | SkyharborError) -> bytes:
        with self._lock:
            if isinstance(outcome, SkyharborError):
                self._errors[chunk_id] = outcome
                if len(self._errors) > _KEEP_ERRORS:
                    self._errors.popitem(last=False)
                raise outcome
            if chunk_id not in self._kept:
                self._kept[chunk_id] = outcome
                self._size += len(outcome)
                while self._size > self._keep and len(self._kept) > 1:
                    self._size -= len(self._kept.popitem(last=False)[1])
            return outcome
