"""A file of a point that can be read at any place: what disks, mounts and readers of file systems stand on.

Rule of the file: bytes that are handed out are those of the point; a damaged chunk is an error about the bytes in it.
"""

from __future__ import annotations

import threading
from collections import OrderedDict
from collections.abc import Iterator
from typing import Protocol

from shared.errors import SkyharborError
from shared.vault.chunk_table import ID_SIZE
from shared.vault.entry import Entry
from workers.serving.chunk_cache import ChunkCache
from workers.serving.complaints import Complaints
from workers.serving.layout import Layout, Piece

_ZEROS = bytes(1024 * 1024)
_AHEAD = 8 * 1024 * 1024  # what the vault's reader fetches with one request at most
_MOST_AHEAD = 256  # chunks, however small they are
_STREAMS = 32  # readers that go forward in the same file at once


class Image(Protocol):
    """Random access to a regular file. Safe to share between threads."""

    @property
    def size(self) -> int:
        """The file's size in bytes."""
        ...

    @property
    def data(self) -> int:
        """How many bytes are outside of its holes."""
        ...

    def read(self, offset: int, length: int) -> bytes:
        """Return the bytes of a stretch; fewer only at the end of the file.

        Raises ``object-missing`` or ``object-damaged`` when any of them is lost, and what the store raises.
        """
        ...

    def extents(self, offset: int, length: int) -> Iterator[tuple[int, int, bool]]:
        """Yield (offset, length, is a hole) of a stretch, in order and without gaps, as far as the file goes."""
        ...


def open_image(entry: Entry, cache: ChunkCache, complaints: Complaints) -> Image:
    """Open a regular file of a point: an entry with content of its own, no further name of a hard link.

    Raises ``object-damaged`` when the entry makes no sense, and what the store raises.
    """
    if len(entry.chunks) == ID_SIZE and not entry.holes:
        return _OneChunk(entry, cache, complaints)
    return _ManyChunks(entry, cache, complaints)


class _OneChunk:
    """A small file: most of them are. Nothing is looked up before it is read."""

    def __init__(self, entry: Entry, cache: ChunkCache, complaints: Complaints) -> None:
        self._path, self._ids = entry.path, entry.chunks
        self._cache, self._complaints = cache, complaints
        self.size = self.data = entry.size

    def read(self, offset: int, length: int) -> bytes:
        try:
            chunk = self._cache.get(self._ids, 0)
            if len(chunk) != self.size:
                raise SkyharborError("object-damaged", f"the file's chunk has {len(chunk)} bytes, not {self.size}")
        except SkyharborError as error:
            self._complaints.about(self._path, 0, self.size, error)
            raise
        return chunk[offset : offset + length]

    def extents(self, offset: int, length: int) -> Iterator[tuple[int, int, bool]]:
        count = min(length, self.size - offset)
        if count > 0:
            yield offset, count, False


class _ManyChunks:
    """A file of any size; memory is the layout's and the cache's."""

    def __init__(self, entry: Entry, cache: ChunkCache, complaints: Complaints) -> None:
        self._path, self._ids = entry.path, entry.chunks
        self._layout = Layout(entry, cache.reader)
        self._cache, self._complaints = cache, complaints
        chunks = len(entry.chunks) // ID_SIZE
        self._ahead = min(_MOST_AHEAD, _AHEAD * chunks // max(1, self._layout.data))
        self._recent: OrderedDict[int, None] = OrderedDict()
        self._lock = threading.Lock()

    @property
    def size(self) -> int:
        return self._layout.size

    @property
    def data(self) -> int:
        return self._layout.data

    def read(self, offset: int, length: int) -> bytes:
        parts = [part for piece in self._layout.pieces(offset, length) for part in self._bytes_of(piece)]
        return bytes(parts[0]) if len(parts) == 1 else b"".join(parts)

    def extents(self, offset: int, length: int) -> Iterator[tuple[int, int, bool]]:
        return self._layout.extents(offset, length)

    def _bytes_of(self, piece: Piece) -> Iterator[bytes | memoryview]:
        if piece.chunk is None:
            for start in range(0, piece.length, len(_ZEROS)):
                yield memoryview(_ZEROS)[: piece.length - start]
            return
        try:
            ahead = self._ahead if self._goes_on(piece.chunk) else 0
            chunk = self._cache.get(self._ids, piece.chunk, ahead=ahead)
        except SkyharborError as error:
            self._complaints.about(self._path, piece.offset, piece.length, error)
            raise
        whole = piece.length == len(chunk)
        part = chunk if whole else memoryview(chunk)[piece.skip : piece.skip + piece.length]
        if len(part) != piece.length:
            # Two packs that name one chunk with two lengths: the layout believed one, the reader the other.
            wrong = SkyharborError("object-damaged", "a chunk is not as long as its pack said")
            self._complaints.about(self._path, piece.offset, piece.length, wrong)
            raise wrong
        yield part

    def _goes_on(self, chunk: int) -> bool:
        """Note that a chunk is read, and tell whether somebody has read the one before it lately."""
        with self._lock:
            goes_on = chunk - 1 in self._recent
            self._recent[chunk] = None
            self._recent.move_to_end(chunk)
            if len(self._recent) > _STREAMS:
                self._recent.popitem(last=False)
            return goes_on
