"""Where chunks are, as columns: the common shape of an index segment, a pack's directory and the index in memory.

Rule of the file: tables never change once made, so threads share them without locks; rows are sorted by id; one row
costs 44 bytes. An id may have several rows (two writers stored the same chunk), each in another pack.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import NamedTuple

import numpy as np
import numpy.typing as npt

ID_SIZE = 32

U32 = npt.NDArray[np.uint32]
U64 = npt.NDArray[np.uint64]
I64 = npt.NDArray[np.int64]
Bool = npt.NDArray[np.bool_]

ABSENT = -1
"""What ``find`` answers for an id without a row."""


class PackInfo(NamedTuple):
    """A pack: its object name, the salt of its key, its size in bytes."""

    name: str
    salt: bytes
    size: int


class SegmentRef(NamedTuple):
    """One segment of one pack: everything that is needed to fetch, decrypt and expand it.

    ``offset`` is where its frame begins, ``stored`` the length of its ciphertext (without the frame), ``raw`` the
    length of its payload.
    """

    pack: str
    salt: bytes
    offset: int
    stored: int
    raw: int
    ordinal: int


class Location(NamedTuple):
    """Where a chunk is: ``raw_length`` bytes at ``raw_offset`` of a segment's payload."""

    segment: SegmentRef
    raw_offset: int
    raw_length: int

    @property
    def pack(self) -> str:
        """The pack's object name."""
        return self.segment.pack

    @property
    def offset(self) -> int:
        """Where the segment begins in the pack."""
        return self.segment.offset

    @property
    def stored(self) -> int:
        """The length of the segment's ciphertext."""
        return self.segment.stored


SEGMENT_DTYPE = np.dtype([("pack", "<u4"), ("offset", "<u4"), ("stored", "<u4"), ("raw", "<u4"), ("ordinal", "<u4")])
Segments = npt.NDArray[np.void]


@dataclass(frozen=True, slots=True, eq=False, weakref_slot=True)
class ChunkTable:
    """Chunks of some packs.

    ``prefix`` is the first 8 bytes of every id as a big-endian number, ascending, so that number order is byte order;
    ``rest`` are the other 24 bytes; ``segment`` numbers rows of ``segments``, whose ``pack`` numbers ``packs``.
    """

    packs: tuple[PackInfo, ...]
    segments: Segments
    prefix: U64
    rest: U64
    segment: U32
    raw_offset: U32
    raw_length: U32

    def __len__(self) -> int:
        return len(self.prefix)

    @property
    def nbytes(self) -> int:
        """Memory of the columns."""
        columns = (self.segments, self.prefix, self.rest, self.segment, self.raw_offset, self.raw_length)
        return sum(column.nbytes for column in columns)

    def ids(self) -> bytes:
        """Return all ids, concatenated in order."""
        out = np.empty((len(self), 4), dtype="<u8")
        out[:, 0] = self.prefix.byteswap()
        out[:, 1:] = self.rest
        return out.tobytes()

    def row_of(self, chunk_id: bytes, *, packs: Bool | None = None) -> int:
        """Return the row of one id, or ``ABSENT``: what ``find`` answers, quicker for a few ids."""
        rows = self.rows_of(chunk_id)
        if packs is not None:
            rows = (row for row in rows if packs[self.segments["pack"][self.segment[row]]])
        return next(rows, ABSENT)

    def rows_of(self, chunk_id: bytes) -> Iterator[int]:
        """Yield all rows of one id: one per copy of the chunk."""
        number, rest = np.uint64(int.from_bytes(chunk_id[:8], "big")), chunk_id[8:]
        row = int(self.prefix.searchsorted(number))
        while row < len(self.prefix) and self.prefix[row] == number:
            if self.rest[row].tobytes() == rest:
                yield row
            row += 1

    def find(self, ids: bytes, *, packs: Bool | None = None) -> I64:
        """Return the row of every id, ``ABSENT`` where there is none.

        With ``packs`` (one truth per pack of the table) only rows in those packs count.
        """
        prefix, rest = split_ids(ids)
        found = np.full(len(prefix), ABSENT, dtype=np.int64)
        if not len(self) or not len(prefix):
            return found
        row = np.searchsorted(self.prefix, prefix).astype(np.int64)
        open_ = np.arange(len(prefix))
        # Nearly always one turn: further ones are for ids that have several rows, or share eight bytes by chance.
        while len(open_):
            inside = row[open_] < len(self)
            open_ = open_[inside]
            open_ = open_[self.prefix[row[open_]] == prefix[open_]]
            at = row[open_]
            match = (self.rest[at] == rest[open_]).all(axis=1)
            if packs is not None:
                match &= packs[self.segments["pack"][self.segment[at]]]
            found[open_[match]] = at[match]
            open_ = open_[~match]
            row[open_] += 1
        return found

    def packs_at(self, rows: I64) -> set[int]:
        """Return the numbers of the packs that these rows are in."""
        return set(np.unique(self.segments["pack"][self.segment[rows]]).tolist())

    def locations(self, rows: I64) -> list[Location]:
        """Return the locations of these rows, in order; chunks of one segment share its ``SegmentRef``."""
        numbers = self.segment[rows]
        unique, inverse = np.unique(numbers, return_inverse=True)
        refs = [self._segment_ref(number) for number in unique.tolist()]
        offsets, lengths = self.raw_offset[rows].tolist(), self.raw_length[rows].tolist()
        return [
            Location(refs[ref], offset, length)
            for ref, offset, length in zip(inverse.tolist(), offsets, lengths, strict=True)
        ]

    def location(self, row: int) -> Location:
        """Return the location of one row."""
        ref = self._segment_ref(int(self.segment[row]))
        return Location(ref, int(self.raw_offset[row]), int(self.raw_length[row]))

    def without(self, gone: Bool) -> ChunkTable:
        """Return the table without some packs (one truth per pack of the table): itself when there are none."""
        if not gone.any():
            return self
        kept = tuple(info for info, lost in zip(self.packs, gone.tolist(), strict=True) if not lost)
        return ChunkTable(kept, *_without(self, ~gone))

    def rows_like(self, ids: bytes) -> I64:
        """Return every row of these ids (each may be given several times), ascending.

        And, once in 2**64, one of an id that shares its first eight bytes with one of them.
        """
        prefix = np.unique(split_ids(ids)[0])
        begin, end = self.prefix.searchsorted(prefix), self.prefix.searchsorted(prefix, side="right")
        counts = (end - begin).astype(np.int64)
        before = np.cumsum(counts) - counts
        return np.repeat(begin.astype(np.int64) - before, counts) + np.arange(int(counts.sum()), dtype=np.int64)

    def pack_numbers(self, rows: I64) -> U32:
        """Return the number of the pack that each row is in."""
        numbers: U32 = self.segments["pack"][self.segment[rows]]
        return numbers

    def take(self, rows: I64) -> ChunkTable:
        """Return a table of these rows (ascending) alone, with just the segments and packs that they need."""
        numbers, segment = np.unique(self.segment[rows], return_inverse=True)
        segments = self.segments[numbers].copy()
        packs, pack = np.unique(segments["pack"], return_inverse=True)
        segments["pack"] = pack
        return ChunkTable(
            packs=tuple(self.packs[number] for number in packs.tolist()),
            segments=segments,
            prefix=self.prefix[rows],
            rest=self.rest[rows],
            segment=segment.astype(np.uint32),
            raw_offset=self.raw_offset[rows],
            raw_length=self.raw_length[rows],
        )

    def _segment_ref(self, number: int) -> SegmentRef:
        pack, offset, stored, raw, ordinal = self.segments[number].tolist()
        info = self.packs[pack]
        return SegmentRef(info.name, info.salt, offset, stored, raw, ordinal)


def split_ids(ids: bytes) -> tuple[U64, U64]:
    """Split concatenated ids into the two columns of a table. ValueError unless they are 32 bytes each."""
    if len(ids) % ID_SIZE:
        raise ValueError("ids are 32 bytes each")
    words = np.frombuffer(ids, dtype="<u8").reshape(-1, 4)
    return words[:, 0].byteswap(), words[:, 1:]


def make_table(
    packs: Sequence[PackInfo], segments: Segments, ids: bytes, *, segment: U32, raw_offset: U32, raw_length: U32
) -> ChunkTable:
    """Make a table of rows in any order; equal ids keep theirs."""
    prefix, rest = split_ids(ids)
    order = np.argsort(prefix, kind="stable")
    return ChunkTable(
        packs=tuple(packs),
        segments=segments,
        prefix=prefix[order],
        rest=np.ascontiguousarray(rest[order]),
        segment=segment[order].astype(np.uint32, copy=False),
        raw_offset=raw_offset[order].astype(np.uint32, copy=False),
        raw_length=raw_length[order].astype(np.uint32, copy=False),
    )


def merge(tables: Sequence[ChunkTable]) -> ChunkTable:
    """Return one table with the rows of all; a pack that several tables describe is taken from the first of them."""
    if len(tables) == 1:
        return tables[0]
    packs: list[PackInfo] = []
    parts: list[_Columns] = []
    seen: set[str] = set()
    segments = 0
    for table in tables:
        keep = np.array([info.name not in seen for info in table.packs], dtype=bool)
        part = _without(table, keep)
        part.segments["pack"] += np.uint32(len(packs))
        parts.append(part._replace(segment=part.segment + np.uint32(segments)))
        packs += [info for info, kept in zip(table.packs, keep.tolist(), strict=True) if kept]
        seen.update(info.name for info in table.packs)
        segments += len(part.segments)
    joined = _Columns(*(np.concatenate(columns) for columns in zip(*parts, strict=True)))
    order = np.argsort(joined.prefix, kind="stable")
    return ChunkTable(
        packs=tuple(packs),
        segments=joined.segments,
        prefix=joined.prefix[order],
        rest=joined.rest[order],
        segment=joined.segment[order],
        raw_offset=joined.raw_offset[order],
        raw_length=joined.raw_length[order],
    )


EMPTY = ChunkTable(
    packs=(),
    segments=np.empty(0, dtype=SEGMENT_DTYPE),
    prefix=np.empty(0, dtype=np.uint64),
    rest=np.empty((0, 3), dtype=np.uint64),
    segment=np.empty(0, dtype=np.uint32),
    raw_offset=np.empty(0, dtype=np.uint32),
    raw_length=np.empty(0, dtype=np.uint32),
)


class _Columns(NamedTuple):
    segments: Segments
    prefix: U64
    rest: U64
    segment: U32
    raw_offset: U32
    raw_length: U32


def _without(table: ChunkTable, keep: Bool) -> _Columns:
    """Return a copy of the columns with only the packs to keep, everything renumbered without gaps."""
    segments, segment = table.segments.copy(), table.segment
    columns = (table.prefix, table.rest, table.segment, table.raw_offset, table.raw_length)
    if not keep.all():
        kept_segments = keep[segments["pack"]]
        rows = kept_segments[segment]
        columns = tuple(column[rows] for column in columns)
        columns = (*columns[:2], _numbers(kept_segments)[columns[2]], *columns[3:])
        segments = segments[kept_segments]
        segments["pack"] = _numbers(keep)[segments["pack"]]
    return _Columns(segments, *columns)


def _numbers(keep: Bool) -> U32:
    """Return for every kept position its number among the kept."""
    return (np.cumsum(keep, dtype=np.int64) - 1).astype(np.uint32)
