"""A small vault to try things on, and the shortest way to write and read points in it."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import TypeVar

from shared.crypto.domain_keys import DomainKeys
from shared.errors import SkyharborError
from shared.model.backup import BackupType
from shared.storage.memory import MemoryStore
from shared.storage.object_store import ObjectStore
from shared.vault.entry import Entry, EntryKind, sort_key
from shared.vault.index import ChunkIndex
from shared.vault.reader import PointReader
from shared.vault.vault import Slot, Vault, create_vault, open_vault
from shared.vault.writer import PointBody, PointWriter, Sealed

KEYS = DomainKeys.derive(bytes(range(32)))
MACHINE = "0198c0de-0000-7000-8000-00000000000a"
ITEM = "0198c0de-0000-7000-8000-00000000000b"
SLOTS: tuple[Slot, ...] = ({"slot_id": "one", "kind": "passphrase"},)

Tree = Mapping[bytes, bytes]
Result = TypeVar("Result")


def point_id(number: int) -> str:
    """Point ids sort by their number."""
    return f"0198c0de-0000-7000-8000-{number:012x}"


def file_entry(path: bytes, chunks: bytes = b"", *, size: int = 0, mtime_ns: int = 1) -> Entry:
    return Entry(path, EntryKind.FILE, 0o644, 1000, 1000, size, mtime_ns, 2, 3, 4, chunks)


def body(**changes: object) -> PointBody:
    values: dict[str, object] = {
        "machine_name": "atlas",
        "item_name": "home",
        "paths": ("/home",),
        "type": BackupType.FULL,
        "reference": None,
        "job_id": "job",
        "epoch": 1,
        "claim_id": "claim",
        "started_at": "2026-11-22T10:00:00+00:00",
        "sealed_at": "2026-11-22T10:01:00+00:00",
        "files": 0,
        "bytes": 0,
    }
    return PointBody(**{**values, **changes})  # type: ignore[arg-type]


def never_stop() -> None:
    """A validation that always passes."""


@dataclass(frozen=True)
class Bench:
    """A vault on some store, with one machine in it."""

    vault: Vault
    keys: DomainKeys = KEYS

    @property
    def store(self) -> ObjectStore:
        return self.vault.store

    def on(self, store: ObjectStore) -> Bench:
        """The same vault seen through another store."""
        return Bench(Vault(store, self.vault.header, self.vault.clock), self.keys)

    def index(self, cache_dir: str | None = None) -> ChunkIndex:
        return ChunkIndex.load(self.vault, MACHINE, self.keys, cache_dir=cache_dir)

    def writer(
        self, number: int, *, index: ChunkIndex | None = None, data_pack: int = 600, meta_pack: int = 600
    ) -> PointWriter:
        """A writer with packs so small that every point has several."""
        return PointWriter(
            self.vault,
            self.keys,
            self.index() if index is None else index,
            machine_id=MACHINE,
            item_id=ITEM,
            point_id=point_id(number),
            slots=SLOTS,
            data_pack=data_pack,
            meta_pack=meta_pack,
        )

    def fill(self, writer: PointWriter, tree: Tree, *, piece: int = 100) -> None:
        """Give the writer a tree: every file in chunks of ``piece`` bytes and a segment of its own."""
        for path in sorted(tree, key=sort_key):
            content = tree[path]
            chunks = [content[at : at + piece] for at in range(0, len(content), piece)]
            ids = [self.keys.chunk_id(chunk) for chunk in chunks]
            new = [at for at, wanted in enumerate(writer.reserve(ids)) if wanted]
            writer.add_segment([ids[at] for at in new], [chunks[at] for at in new])
            writer.add_entries([file_entry(path, b"".join(ids), size=len(content))])

    def write(self, number: int, tree: Tree) -> Sealed:
        """Seal a point of this tree."""
        writer = self.writer(number)
        try:
            self.fill(writer, tree)
            return writer.seal(body=body(files=len(tree)), validate=never_stop)
        except BaseException:
            writer.abort()
            raise

    def reader(self, number: int, *, index: ChunkIndex | None = None) -> PointReader:
        return PointReader.open(
            self.vault, self.keys, machine_id=MACHINE, item_id=ITEM, point_id=point_id(number), index=index
        )

    def read(self, number: int, *, index: ChunkIndex | None = None) -> dict[bytes, bytes]:
        """The whole tree of a point."""
        reader = self.reader(number, index=index)
        return {entry.path: b"".join(reader.read_chunks(entry.chunks)) for entry in reader.entries()}

    def names(self, prefix: str = "") -> list[str]:
        return [info.name for info in self.store.list(prefix)]

    def sizes(self, prefix: str = "") -> dict[str, int]:
        return {info.name: info.size for info in self.store.list(prefix)}


def new_bench(store: ObjectStore | None = None) -> Bench:
    """A new vault, in memory unless told otherwise."""
    store = MemoryStore() if store is None else store
    create_vault(store, name="test")
    return Bench(open_vault(store))


def rewritten_header(data: bytes, **changes: object) -> bytes:
    """Return ``vault.json`` as another version would have written it: with other fields, and a check that fits them."""
    fields = {**json.loads(data), **changes}
    del fields["check"]
    canonical = json.dumps(fields, sort_keys=True, separators=(",", ":"))
    return json.dumps({**fields, "check": hashlib.sha256(canonical.encode()).hexdigest()[:32]}).encode()


def outcome_of(call: Callable[[], Result]) -> Result | SkyharborError:
    """What a call returns, or the registered error it raises; every other exception passes."""
    try:
        return call()
    except SkyharborError as error:
        return error
