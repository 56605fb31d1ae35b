"""Points of files with any content, cut and laid out as a test wants it, without an engine.

Rule of the file: chunks go into segments of four and one pack, as writers do it; the oracle's bytes are kept beside.
"""

from __future__ import annotations

import random
from collections.abc import Sequence
from dataclasses import dataclass, field

from shared.crypto.domain_keys import DomainKeys
from shared.model.backup import BackupType
from shared.model.ids import new_id
from shared.storage.memory import MemoryStore
from shared.storage.object_store import ObjectStore
from shared.vault.entry import Entry, EntryKind, sort_key
from shared.vault.index import ChunkIndex
from shared.vault.reader import PointReader
from shared.vault.vault import create_vault, open_vault
from shared.vault.writer import PointBody, PointWriter
from workers.images.chunk_cache import ChunkCache
from workers.images.image import Image, open_image
from workers.serving.complaints import Complaints

DEK = b"k" * 32
SLOTS = ({"slot_id": "s", "kind": "passphrase"},)
MTIME = 1_600_000_000_123_456_789
_TOGETHER = 4

Spans = Sequence[tuple[int, int]]


@dataclass(frozen=True)
class File:
    """A file as it should be in a point: its bytes, its holes, and the lengths of its chunks (the last is repeated)."""

    content: bytes
    holes: Spans = ()
    cuts: Sequence[int] = (1 << 20,)

    def data(self) -> list[bytes]:
        """Return the chunks: what is between the holes, cut."""
        kept, at = bytearray(), 0
        for offset, length in self.holes:
            kept += self.content[at:offset]
            at = offset + length
        kept += self.content[at:]
        chunks, at, cuts = [], 0, list(self.cuts)
        while at < len(kept):
            length = cuts.pop(0) if len(cuts) > 1 else cuts[0]
            chunks.append(bytes(kept[at : at + length]))
            at += length
        return chunks


def random_file(seed: int, *, size: int, holes: int, smallest: int, largest: int) -> File:
    """Return a file whose holes and chunks know nothing of each other. Holes read as zeros."""
    rng = random.Random(seed)
    places = sorted(rng.sample(range(size + 1), 2 * holes))
    spans = [(a, b - a) for a, b in zip(places[::2], places[1::2], strict=True)]
    content = bytearray(rng.randbytes(size))
    for offset, length in spans:
        content[offset : offset + length] = bytes(length)
    return File(bytes(content), spans, [rng.randint(smallest, largest) for _ in range(size // smallest + 1)])


def node(path: bytes, kind: EntryKind = EntryKind.FILE, **more: object) -> Entry:
    """An entry with attributes that differ from any default."""
    mode = 0o2750 if kind is EntryKind.DIRECTORY else 0o640
    entry = Entry(path, kind, mode, 12, 34, 0, MTIME, MTIME + 1, 1, 7)
    for name, value in more.items():
        setattr(entry, name, value)
    return entry


@dataclass
class Bench:
    """One vault with the key of its machine."""

    store: ObjectStore = field(default_factory=MemoryStore)
    with_index: bool = True
    made: bool = False

    def __post_init__(self) -> None:
        if not self.made:
            create_vault(self.store, name="test")
        self.vault = open_vault(self.store)
        self.keys = DomainKeys.derive(DEK)

    def index(self) -> ChunkIndex:
        return ChunkIndex.load(self.vault, "machine", self.keys, cache_dir=None)

    def seal(self, entries: Sequence[Entry], files: dict[bytes, File] | None = None) -> PointReader:
        """Seal a point of these entries and files, and open it."""
        point_id = new_id()
        writer = PointWriter(
            self.vault, self.keys, self.index(), machine_id="machine", item_id="item", point_id=point_id, slots=SLOTS
        )
        nodes = [*entries, *(self._store(writer, path, file) for path, file in (files or {}).items())]
        for entry in sorted(nodes, key=lambda one: sort_key(one.path)):
            writer.add_entries([entry])
        body = PointBody(
            machine_name="the machine", item_name="the item", paths=("/",), type=BackupType.FULL, reference=None,
            job_id="j", epoch=1, claim_id="c", started_at="2026-11-22T10:00:00+00:00",
            sealed_at="2026-11-22T10:00:05+00:00", files=len(nodes), bytes=sum(one.size for one in nodes),
        )  # fmt: skip
        writer.seal(body=body, validate=lambda: None)
        return self.open(point_id)

    def open(self, point_id: str) -> PointReader:
        index = self.index() if self.with_index else None
        return PointReader.open(
            self.vault, self.keys, machine_id="machine", item_id="item", point_id=point_id, index=index
        )

    def without_index(self) -> Bench:
        """The same vault, for readers that have no index."""
        return Bench(self.store, with_index=False, made=True)

    def _store(self, writer: PointWriter, path: bytes, file: File) -> Entry:
        chunks = file.data()
        ids = [self.keys.chunk_id(chunk) for chunk in chunks]
        for start in range(0, len(chunks), _TOGETHER):
            group = range(start, min(start + _TOGETHER, len(chunks)))
            wanted = writer.reserve([ids[number] for number in group])
            new = [number for number, want in zip(group, wanted, strict=True) if want]
            if new:
                writer.add_segment([ids[number] for number in new], [chunks[number] for number in new])
        return node(path, size=len(file.content), chunks=b"".join(ids), holes=tuple(file.holes))


@dataclass
class Told:
    """Complaints that a test can look at."""

    lines: list[str] = field(default_factory=list)

    def complaints(self) -> Complaints:
        return Complaints(self.lines.append)


def image_of(reader: PointReader, path: bytes, told: Told | None = None) -> Image:
    """Open a file of a point."""
    entry = next(reader.entries(path))
    return open_image(entry, ChunkCache(reader.chunks), (told or Told()).complaints().about)
