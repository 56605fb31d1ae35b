"""A file of a point that can be read at any place.

Rule of the file: bytes that are handed out are those of the point; a damaged chunk is an error about the bytes in it.
"""

from __future__ import annotations

import threading
from collections import OrderedDict
from collections.abc import Callable, Iterator
from typing import Protocol

from shared.errors import SkyharborError
from shared.vault.chunk_table import ID_SIZE
from shared.vault.entry import Entry
from workers.images.chunk_cache import ChunkCache
from workers.images.layout import Layout, Piece

_ZEROS = bytes(1024 * 1024)
_AHEAD = 8 * 1024 * 1024  # what the vault's reader fetches with one request at most
_MOST_AHEAD = 256  # chunks, however small they are
_STREAMS = 32  # readers that go forward in the same file at once

CUT_INTO_BLOCKS = "vm"
"""The workload whose files are never cut by their content: they may be taken for what they look like."""

Tell = Callable[[bytes, int, int, SkyharborError], None]
"""Is told that bytes of a file cannot be read: its path, offset, length, why. Called by any thread."""


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


def open_image(entry: Entry, cache: ChunkCache, tell: Tell = lambda *_: None, *, workload: str = "files") -> Image:
    """Open a regular file of a point: an entry with content of its own, no further name of a hard link.

    ``workload`` is the point's. Raises ``object-damaged`` when the entry makes no sense, and what the store raises.
    """
    if len(entry.chunks) == ID_SIZE and not entry.holes:
        return _OneChunk(entry, cache, tell)
    return _ManyChunks(entry, cache, tell, blocks=workload == CUT_INTO_BLOCKS)


class _UnevenError(Exception):
    """A chunk does not have the size that it was guessed to have."""


class _OneChunk:
    """A small file: most of them are. Nothing is looked up before it is read."""

    def __init__(self, entry: Entry, cache: ChunkCache, tell: Tell) -> None:
        self._path, self._ids = entry.path, entry.chunks
        self._cache, self._tell = cache, tell
        self.size = self.data = entry.size

    def read(self, offset: int, length: int) -> bytes:
        try:
            chunk = self._cache.get(self._ids, 0)
            if len(chunk) != self.size:
                raise SkyharborError("object-damaged", f"the file's chunk has {len(chunk)} bytes, not {self.size}")
        except SkyharborError as error:
            self._tell(self._path, 0, self.size, error)
            raise
        return chunk[offset : offset + length]

    def extents(self, offset: int, length: int) -> Iterator[tuple[int, int, bool]]:
        count = min(length, self.size - offset)
        if count > 0:
            yield offset, count, False


class _ManyChunks:
    """A file of any size; memory is the layout's and the cache's."""

    def __init__(self, entry: Entry, cache: ChunkCache, tell: Tell, *, blocks: bool) -> None:
        self._path, self._ids = entry.path, entry.chunks
        self._layout = Layout(entry, cache.reader, blocks=blocks)
        self._cache, self._tell = cache, tell
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
        try:
            return self._read(offset, length, guessed=self._layout.guessed)
        except _UnevenError:
            self._layout.ask()
            return self._read(offset, length, guessed=False)

    def extents(self, offset: int, length: int) -> Iterator[tuple[int, int, bool]]:
        return self._layout.extents(offset, length)

    def _read(self, offset: int, length: int, *, guessed: bool) -> bytes:
        pieces = list(self._layout.pieces(offset, length))
        last = max((piece.chunk for piece in pieces if piece.chunk is not None), default=0)
        parts = [part for piece in pieces for part in self._bytes_of(piece, last, guessed=guessed)]
        return bytes(parts[0]) if len(parts) == 1 else b"".join(parts)

    def _bytes_of(self, piece: Piece, last: int, *, guessed: bool) -> Iterator[bytes | memoryview]:
        """Yield the bytes of a piece; the chunks up to the ``last`` one are wanted right after it."""
        if piece.chunk is None:
            for start in range(0, piece.length, len(_ZEROS)):
                yield memoryview(_ZEROS)[: piece.length - start]
            return
        ahead = self._ahead if self._goes_on(piece.chunk) else 0
        try:
            chunk = self._cache.get(self._ids, piece.chunk, ahead=max(ahead, min(last - piece.chunk, _MOST_AHEAD)))
            if len(chunk) != piece.whole:
                if guessed:
                    raise _UnevenError
                # Two packs that name one chunk with two lengths: the layout believed one, the reader the other.
                raise SkyharborError("object-damaged", "a chunk is not as long as its pack said")
        except SkyharborError as error:
            self._tell(self._path, piece.offset, piece.length, error)
            raise
        yield chunk if piece.length == len(chunk) else memoryview(chunk)[piece.skip : piece.skip + piece.length]

    def _goes_on(self, chunk: int) -> bool:
        """Note that a chunk is read, and tell whether somebody has read the one before it lately."""
        with self._lock:
            goes_on = chunk - 1 in self._recent
            self._recent[chunk] = None
            self._recent.move_to_end(chunk)
            if len(self._recent) > _STREAMS:
                self._recent.popitem(last=False)
            return goes_on
