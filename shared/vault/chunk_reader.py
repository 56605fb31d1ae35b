"""Reading the bytes of chunks, wherever they are.

Rule of the file: bytes that are handed out were authenticated and have the id that was asked for; a chunk that one
place has lost is taken from any other that the finder knows; what is lost everywhere is an error about that chunk.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import Protocol

from typing_extensions import Buffer

from shared.crypto.domain_keys import DomainKeys
from shared.errors import SkyharborError
from shared.vault.chunk_table import ID_SIZE, Location, SegmentRef
from shared.vault.segment import Decoded
from shared.vault.segment_source import SegmentSource

_IDS_AT_ONCE = 1024 * ID_SIZE
_AHEAD = 8
_BAD_OBJECT = ("object-damaged", "object-missing")


class Finder(Protocol):
    """Knows where chunks are."""

    def find(self, ids: bytes) -> list[Location | None]:
        """Return the best place of every id, None where there is none."""
        ...

    def copies(self, chunk_id: bytes) -> list[Location]:
        """Return every place that one chunk is said to be at."""
        ...


class ChunkReader:
    """Chunks of a key domain. Safe to share between threads."""

    def __init__(self, finder: Finder, segments: SegmentSource, keys: DomainKeys) -> None:
        self._finder = finder
        self._segments = segments
        self._keys = keys

    @property
    def bytes_read(self) -> int:
        """How much has been fetched from packs so far (directories not counted)."""
        return self._segments.bytes_read

    def find(self, ids: bytes) -> list[Location | None]:
        """Return where each chunk is, None when no known pack holds it. A batch costs little more than one."""
        return self._finder.find(ids)

    def chunk_id(self, data: Buffer) -> bytes:
        """Return the id that these bytes have in the key domain: to compare what is on a disk with a point."""
        return self._keys.chunk_id(data)

    def read_chunks(self, ids: bytes) -> Iterator[memoryview]:
        """Yield the bytes of chunks in the order asked, each checked against its id.

        Neighbouring segments come with one request, decoded ones are kept for a while. Raises ``object-missing`` or
        ``object-damaged`` at the first chunk that cannot be read.
        """
        for outcome in self.chunks_or_errors(ids):
            if isinstance(outcome, SkyharborError):
                raise outcome
            yield outcome

    def chunks_or_errors(self, ids: bytes) -> Iterator[memoryview | SkyharborError]:
        """Yield chunks like ``read_chunks``, with an error in the place of every one that cannot be read."""
        for start in range(0, len(ids), _IDS_AT_ONCE):
            yield from self._batch(ids[start : start + _IDS_AT_ONCE])

    def _batch(self, ids: bytes) -> Iterator[memoryview | SkyharborError]:
        places = self._finder.find(ids)
        order = list(dict.fromkeys(place.segment for place in places if place))
        turn = {ref: number for number, ref in enumerate(order)}
        last: SegmentRef | None = None
        outcome: Decoded | SkyharborError = lost(ids, 0)
        for position, place in enumerate(places):
            if place is None:
                yield lost(ids, position)
                continue
            if place.segment is not last:
                last = place.segment
                outcome = self._segment(last, order[turn[last] + 1 : turn[last] + 1 + _AHEAD])
            yield self._cut(outcome, ids[position * ID_SIZE : (position + 1) * ID_SIZE], place)

    def _segment(self, ref: SegmentRef, ahead: Sequence[SegmentRef]) -> Decoded | SkyharborError:
        try:
            return self._segments.get(ref, ahead)
        except SkyharborError as error:
            if error.code not in _BAD_OBJECT:
                raise
            return error

    def _cut(self, outcome: Decoded | SkyharborError, chunk_id: bytes, place: Location) -> memoryview | SkyharborError:
        """Return the checked bytes of a chunk from its segment or, where that is lost, from any other copy."""
        chunk = self._checked(outcome, chunk_id, place)
        if not isinstance(chunk, SkyharborError):
            return chunk
        for other in self._finder.copies(chunk_id):
            if other.segment != place.segment:
                copy = self._checked(self._segment(other.segment, ()), chunk_id, other)
                if not isinstance(copy, SkyharborError):
                    return copy
        return chunk

    def _checked(
        self, outcome: Decoded | SkyharborError, chunk_id: bytes, place: Location
    ) -> memoryview | SkyharborError:
        if isinstance(outcome, SkyharborError):
            return outcome
        chunk = memoryview(outcome.payload)[place.raw_offset : place.raw_offset + place.raw_length]
        if self._keys.chunk_id(chunk) != chunk_id:
            return SkyharborError("object-damaged", f"{place.pack}: a chunk is not what its id says", object=place.pack)
        return chunk


def lost(ids: bytes, position: int) -> SkyharborError:
    """Return the error about a chunk that no known pack holds."""
    chunk_id = ids[position * ID_SIZE : (position + 1) * ID_SIZE]
    return SkyharborError("object-missing", f"chunk {chunk_id.hex()} is in no readable pack")
