"""Pages: the entries of a point in order, cut where the paths say so and written as columns.

Rule of the file: the same entries give the same bytes, always; where a page ends depends on the paths near its end
only, so an insertion changes its own page and perhaps the next, and all other pages are found again by their id.
"""

from __future__ import annotations

import sys
from array import array
from collections.abc import Iterator, Sequence
from typing import Annotated, NamedTuple
from zlib import crc32

import msgspec

from shared.decoders import msgpack_decoder
from shared.errors import SkyharborError
from shared.vault.binary import UNREADABLE
from shared.vault.chunk_table import ID_SIZE
from shared.vault.entry import Entry, EntryKind, sort_key

MIN_ENTRIES = 64
MAX_ENTRIES = 1024
_CUT_MASK = 255  # a page ends at one path in 256 on average, once it has MIN_ENTRIES
_MAX_BYTES = 256 * 1024
_KINDS = bytes(EntryKind)
_FIXED = 64  # about what the columns of fixed width take per entry
PIECE = 1024 * 1024
"""Pages are stored in pieces of at most this many bytes: one huge file's list of chunks needs several."""

Row = Annotated[int, msgspec.Meta(ge=0)]
Flags = Annotated[int, msgspec.Meta(ge=0, lt=2**32)]
Pairs = tuple[tuple[bytes, bytes], ...]
Spans = tuple[tuple[int, int], ...]


class Columns(msgspec.Struct, array_like=True, kw_only=True):
    """The columns of a page. Numbers are little-endian; sparse columns list (row, value) of the unusual."""

    version: int
    paths: list[bytes]
    kinds: bytes  # u8
    modes: bytes  # u16
    uids: bytes  # u32
    gids: bytes  # u32
    sizes: bytes  # i64
    mtimes: bytes  # i64
    ctimes: bytes  # i64
    devices: bytes  # u64
    inodes: bytes  # u64
    counts: bytes  # u32: chunks of each entry
    chunks: bytes  # all ids in order
    targets: list[tuple[Row, bytes]]
    rdevs: list[tuple[Row, int]]
    links: list[tuple[Row, bytes]]
    xattrs: list[tuple[Row, Pairs]]
    holes: list[tuple[Row, Spans]]
    flags: list[tuple[Row, Flags]] = []

    def __len__(self) -> int:
        return len(self.paths)

    def entries(self) -> list[Entry]:
        """Return the rows, as new entries."""
        entries = _rows(self)
        _fill(entries, self)
        return entries


class Page(NamedTuple):
    """A page to be stored: the path of its first entry, their number, all ids of their chunks, its bytes."""

    first: bytes
    entries: int
    chunks: bytes
    data: bytes


class PageBuilder:
    """Collects entries and says when a page is complete. One thread; holds at most one page."""

    def __init__(self) -> None:
        self._entries: list[Entry] = []
        self._bytes = 0
        self._last: bytes | None = None

    def add(self, entries: Sequence[Entry]) -> Iterator[Page]:
        """Take the next entries; yield the pages that they complete.

        ValueError unless entries come in ``sort_key`` order, each path once.
        """
        last, held, size = self._last, self._entries, self._bytes
        for entry in entries:
            path = entry.path
            key = sort_key(path)
            if last is not None and key <= last:
                raise ValueError(f"entries must come in order: {path!r}")
            last = key
            held.append(entry)
            size += len(path) + len(entry.chunks) + _FIXED
            if entry.xattrs:
                size += sum(len(name) + len(value) for name, value in entry.xattrs)
            count = len(held)
            if (count >= MIN_ENTRIES and (not crc32(path) & _CUT_MASK or count >= MAX_ENTRIES)) or size >= _MAX_BYTES:
                yield self._page(held)
                held, size = [], 0
        self._last, self._entries, self._bytes = last, held, size

    def _page(self, entries: list[Entry]) -> Page:
        chunks = b"".join([entry.chunks for entry in entries])
        return Page(entries[0].path, len(entries), chunks, encode_page(entries))

    @property
    def empty(self) -> bool:
        """Whether no page is in the making."""
        return not self._entries

    def skip(self, first: bytes) -> None:
        """Note that a whole page beginning with this path comes next, from elsewhere. ValueError unless it can."""
        key = sort_key(first)
        if self._entries or (self._last is not None and key <= self._last):
            raise ValueError(f"this is no place for a page that begins with {first!r}")
        self._last = key  # its last path is not known here; the next one is checked against its first

    def finish(self) -> Page | None:
        """Return what is left as the last page, None if nothing is."""
        if not self._entries:
            return None
        page = self._page(self._entries)
        self._entries, self._bytes = [], 0
        return page


def encode_page(entries: Sequence[Entry]) -> bytes:
    """Return the columns of these entries. OverflowError for a number that does not fit its column."""
    return msgspec.msgpack.encode(
        Columns(
            version=1,
            paths=[e.path for e in entries],
            kinds=bytes([e.kind for e in entries]),
            modes=_column("H", [e.mode for e in entries]),
            uids=_column("I", [e.uid for e in entries]),
            gids=_column("I", [e.gid for e in entries]),
            sizes=_column("q", [e.size for e in entries]),
            mtimes=_column("q", [e.mtime_ns for e in entries]),
            ctimes=_column("q", [e.ctime_ns for e in entries]),
            devices=_column("Q", [e.device for e in entries]),
            inodes=_column("Q", [e.inode for e in entries]),
            counts=_column("I", [_chunk_count(e.chunks) for e in entries]),
            chunks=b"".join([e.chunks for e in entries]),
            targets=[(row, e.target) for row, e in enumerate(entries) if e.target],
            rdevs=[(row, e.rdev) for row, e in enumerate(entries) if e.rdev],
            links=[(row, e.link) for row, e in enumerate(entries) if e.link],
            xattrs=[(row, e.xattrs) for row, e in enumerate(entries) if e.xattrs],
            holes=[(row, e.holes) for row, e in enumerate(entries) if e.holes],
            flags=[(row, e.flags) for row, e in enumerate(entries) if e.flags],
        )
    )


def decode_columns(data: bytes) -> Columns:
    """Return the columns of a page; ``object-damaged`` unless they agree about the number of rows and chunks."""
    try:
        page = msgpack_decoder(Columns).decode(data)
        if page.version != 1:
            raise SkyharborError("object-damaged", f"a page has version {page.version}, this reader knows 1")
        _check(page)
        _check_nodes(page)
    except UNREADABLE as error:
        raise SkyharborError("object-damaged", f"a page cannot be decoded: {error}") from None
    return page


def _check(page: Columns) -> None:
    rows = len(page.paths)
    fixed = (
        (1, page.kinds),
        (2, page.modes),
        (4, page.uids),
        (4, page.gids),
        (8, page.sizes),
        (8, page.mtimes),
        (8, page.ctimes),
        (8, page.devices),
        (8, page.inodes),
        (4, page.counts),
    )
    if any(len(column) != width * rows for width, column in fixed):
        raise ValueError("the columns have different lengths")
    if ID_SIZE * sum(_values("I", page.counts)) != len(page.chunks):
        raise ValueError("the number of chunk ids is not the sum of the counts")
    sparse = (page.targets, page.rdevs, page.links, page.xattrs, page.holes, page.flags)
    if any(row >= rows for column in sparse for row, _ in column):
        raise ValueError("a sparse column has a row that the page does not have")


def _check_nodes(page: Columns) -> None:
    """Raise ValueError for nodes that no system can have: a restore hands these values on as they are."""
    if page.kinds.translate(None, _KINDS):
        raise ValueError("a node has a kind that does not exist")
    if any(b"\0" in target for _, target in page.targets):
        raise ValueError("the target of a symbolic link has a zero byte")
    if any(not name or b"\0" in name for _, pairs in page.xattrs for name, _ in pairs):
        raise ValueError("an extended attribute has an impossible name")


def _rows(page: Columns) -> list[Entry]:
    counts = _values("I", page.counts)
    chunks: list[bytes] = []
    at = 0
    for count in counts:
        end = at + count * ID_SIZE
        chunks.append(page.chunks[at:end])
        at = end
    columns = zip(
        page.paths,
        page.kinds,
        _values("H", page.modes),
        _values("I", page.uids),
        _values("I", page.gids),
        _values("q", page.sizes),
        _values("q", page.mtimes),
        _values("q", page.ctimes),
        _values("Q", page.devices),
        _values("Q", page.inodes),
        chunks,
        strict=True,
    )
    return [Entry(*row) for row in columns]


def _fill(entries: list[Entry], page: Columns) -> None:
    for row, target in page.targets:
        entries[row].target = target
    for row, rdev in page.rdevs:
        entries[row].rdev = rdev
    for row, link in page.links:
        entries[row].link = link
    for row, xattrs in page.xattrs:
        entries[row].xattrs = xattrs
    for row, holes in page.holes:
        entries[row].holes = holes
    for row, flags in page.flags:
        entries[row].flags = flags


def _chunk_count(chunks: bytes) -> int:
    count, rest = divmod(len(chunks), ID_SIZE)
    if rest:
        raise ValueError("chunk ids are 32 bytes each")
    return count


def _column(code: str, values: list[int]) -> bytes:
    column = array(code, values)
    if sys.byteorder == "big":
        column.byteswap()
    return column.tobytes()


def _values(code: str, column: bytes) -> array[int]:
    values = array(code)
    values.frombytes(column)
    if sys.byteorder == "big":
        values.byteswap()
    return values
