"""Reading a recovery point: its description, its entries in order, and the bytes of chunks.

Rule of the file: bytes that are handed out were authenticated and have the id that was asked for; a chunk that a pack
of the point has lost is taken from wherever else the machine's index knows it; everything that is missing or damaged
everywhere is an error about that object, and the rest stays readable.
"""

from __future__ import annotations

from bisect import bisect_left, bisect_right
from collections.abc import Callable, Iterator, Sequence

from shared.crypto.domain_keys import DomainKeys
from shared.errors import SkyharborError
from shared.vault.chunk_finder import ChunkFinder
from shared.vault.chunk_reader import ChunkReader, lost
from shared.vault.chunk_table import ID_SIZE, Location
from shared.vault.entry import Entry, sort_key
from shared.vault.index import ChunkIndex
from shared.vault.layout import PointName
from shared.vault.manifest import Manifest, read_manifest, read_point_slots
from shared.vault.pack_reading import prove_pack
from shared.vault.pages import Columns, decode_columns
from shared.vault.point import PackRef, PageRef, PointBody
from shared.vault.segment_source import SegmentSource
from shared.vault.vault import Vault

__all__ = ["PointReader", "read_pages", "read_point_slots"]

_KEEP = 32 * 1024 * 1024  # of expanded segments: enough for four threads that each stand in one of 8 MiB
_PAGES_AT_ONCE = 16


class PointReader:
    """One sealed point. Safe to share between threads."""

    def __init__(
        self, vault: Vault, keys: DomainKeys, point: PointName, manifest: Manifest, index: ChunkIndex | None
    ) -> None:
        self.point = point
        self._vault, self._keys, self._manifest = vault, keys, manifest
        self._starts = [sort_key(page.first) for page in manifest.pages]
        self._finder = ChunkFinder(vault, keys, manifest.packs, index)
        self._chunks = ChunkReader(self._finder, SegmentSource(vault, keys, keep=_KEEP), keys)

    @classmethod
    def open(
        cls,
        vault: Vault,
        keys: DomainKeys,
        *,
        machine_id: str,
        item_id: str,
        point_id: str,
        index: ChunkIndex | None = None,
    ) -> PointReader:
        """Read the manifest. With an index, chunks are found without reading the packs' directories.

        Raises ``object-missing`` when there is no such point, ``object-damaged`` when its manifest is not right or
        the keys are another machine's. Fences are not looked at: whoever names a point has it from the list of points,
        which passes over them, or from the tower, which knows better.
        """
        point = PointName(machine_id, item_id, point_id)
        return cls(vault, keys, point, read_manifest(vault, point, keys), index)

    @property
    def body(self) -> PointBody:
        """What the point says about itself."""
        return self._manifest.body

    @property
    def packs(self) -> tuple[PackRef, ...]:
        """All packs that the point needs, sorted by name, with their exact sizes."""
        return self._manifest.packs

    @property
    def pages(self) -> tuple[PageRef, ...]:
        """The pages of entries, in order."""
        return self._manifest.pages

    @property
    def bytes_read(self) -> int:
        """How much has been fetched from packs so far (directories not counted)."""
        return self._chunks.bytes_read

    @property
    def vault(self) -> Vault:
        """The vault that the point is in."""
        return self._vault

    def prove_pack(self, pack: PackRef, *, on_read: Callable[[int], None]) -> None:
        """Read a whole pack and raise ``object-damaged`` or ``object-missing`` unless all of it is what it must be.

        That is: its SHA-256 is its name, every segment opens, every chunk has its id, and the directory agrees.
        ``on_read`` is told the size of every part (8 MiB at most) as it comes, and may raise to stop.
        """
        prove_pack(self._vault.store, pack.name, pack.size, keys=self._keys, vault_id=self._vault.id, on_read=on_read)

    def stored_size(self, pack: str) -> int | None:
        """Return the size that a pack has in the store right now, None when it is gone: one small request."""
        return self._vault.store.size(pack)

    @property
    def problems(self) -> list[str]:
        """What was wrong with directories of packs so far, one line each."""
        return self._finder.problems

    def entries(self, under: bytes = b"") -> Iterator[Entry]:
        """Yield entries in ``sort_key`` order: all, or the node at ``under`` and everything below it.

        Streams: a few pages are in memory. Raises ``object-damaged`` or ``object-missing`` at the first page that
        cannot be read; ``entries_or_errors`` goes on.
        """
        for outcome in self.entries_or_errors(under):
            if isinstance(outcome, SkyharborError):
                raise outcome
            yield outcome

    def entries_or_errors(self, under: bytes = b"") -> Iterator[Entry | SkyharborError]:
        """Yield entries like ``entries``, with an error in the place of every page that cannot be read."""
        pages = self._pages_under(under)
        for start in range(0, len(pages), _PAGES_AT_ONCE):
            for outcome in self._read_pages(pages[start : start + _PAGES_AT_ONCE]):
                if isinstance(outcome, SkyharborError):
                    yield outcome
                else:
                    yield from _below(outcome.entries(), under) if under else outcome.entries()

    def columns(self, begin: bytes = b"", end: bytes = b"") -> Iterator[tuple[PageRef, Columns]]:
        """Yield pages in order as columns: what a comparison with millions of nodes can afford.

        All, or those whose first path is from ``begin`` up to, and without, ``end``.
        Raises ``object-damaged`` or ``object-missing`` at the first page that cannot be read.
        """
        stop = bisect_left(self._starts, sort_key(end)) if end else len(self.pages)
        for start in range(bisect_left(self._starts, sort_key(begin)), stop, _PAGES_AT_ONCE):
            batch = self.pages[start : min(stop, start + _PAGES_AT_ONCE)]
            for page, outcome in zip(batch, self._read_pages(batch), strict=True):
                if isinstance(outcome, SkyharborError):
                    raise outcome
                yield page, outcome

    @property
    def chunks(self) -> ChunkReader:
        """Reads the bytes of chunks; decoded segments are kept, 64 MiB for all threads together."""
        return self._chunks

    @property
    def finder(self) -> ChunkFinder:
        """Knows where chunks are: in a pack of the point, and only where there is none in another one."""
        return self._finder

    def read_chunks(self, ids: bytes) -> Iterator[memoryview]:
        """Yield the bytes of chunks in the order asked (``ChunkReader.read_chunks``)."""
        return self._chunks.read_chunks(ids)

    def copies(self, chunk_id: bytes) -> list[Location]:
        """Return every place where the chunk is said to be, in packs of the point and in others of the machine."""
        return self._finder.copies(chunk_id)

    def locate(self, ids: bytes) -> list[Location]:
        """Return where each chunk is; ``object-missing`` when one is in no pack that is known."""
        places = self._finder.find(ids)
        located = [place for place in places if place is not None]
        if len(located) != len(places):
            raise lost(ids, places.index(None))
        return located

    # ── inside ───────────────────────────────────────────────────────────────────────────────────────

    def _pages_under(self, under: bytes) -> Sequence[PageRef]:
        """Return the pages that may hold the node or something below it."""
        if not under:
            return self.pages
        key = sort_key(under)
        # Everything below begins with the key and a zero byte; what follows in the order is at least key + 1.
        first = max(0, bisect_right(self._starts, key) - 1)
        return self.pages[first : bisect_right(self._starts, key + b"\x01")]

    def _read_pages(self, pages: Sequence[PageRef]) -> Iterator[Columns | SkyharborError]:
        return read_pages(pages, self._chunks)


def read_pages(pages: Sequence[PageRef], chunks: ChunkReader) -> Iterator[Columns | SkyharborError]:
    """Yield the columns of pages in the order asked, with an error in the place of every one that cannot be read."""
    pieces = chunks.chunks_or_errors(b"".join(page.chunks for page in pages))
    for page in pages:
        outcomes = [next(pieces) for _ in range(len(page.chunks) // ID_SIZE)]
        errors = [outcome for outcome in outcomes if isinstance(outcome, SkyharborError)]
        yield errors[0] if errors else _decoded(page, b"".join(o for o in outcomes if isinstance(o, memoryview)))


def _decoded(page: PageRef, data: bytes) -> Columns | SkyharborError:
    try:
        columns = decode_columns(data)
    except SkyharborError as error:
        return error
    if len(columns) != page.entries or not len(columns) or columns.paths[0] != page.first:
        return SkyharborError("object-damaged", f"the page that begins with {page.first!r} is another one")
    return columns


def _below(entries: list[Entry], under: bytes) -> list[Entry]:
    below = under + b"/"
    return [entry for entry in entries if entry.path == under or entry.path.startswith(below)]
