"""Writing a recovery point: packs, then index, then the manifest, so that a crash anywhere leaves no half point.

Rule of the file: order is everything. Nothing is indexed before its pack is durable; nothing is named by a manifest
before it is indexed; the manifest is created once and never replaced.
"""

from __future__ import annotations

import hashlib
import threading
from collections.abc import Callable, Iterable, Sequence

import msgspec
from typing_extensions import Buffer

from shared.crypto.domain_keys import DomainKeys
from shared.errors import SkyharborError
from shared.vault import layout
from shared.vault.chunk_table import ChunkTable, PackInfo, merge
from shared.vault.chunk_writer import DATA_PACK, ChunkWriter
from shared.vault.entry import Entry
from shared.vault.index import ChunkIndex
from shared.vault.index_segment import encode_index, grouped
from shared.vault.layout import PointName
from shared.vault.manifest import Manifest, decode_manifest, encode_manifest
from shared.vault.pack_format import FinishedPack
from shared.vault.pack_needs import PackNeeds
from shared.vault.pack_presence import absent_packs
from shared.vault.pack_stream import PackStream
from shared.vault.page_writer import PageWriter
from shared.vault.point import PackRef, PageRef, PointBody, PointPart, Sealed
from shared.vault.uploader import Uploader
from shared.vault.vault import Slot, Vault

__all__ = ["PointBody", "PointWriter", "Sealed"]

META_PACK = 8 * 1024 * 1024
INDEX_ROWS = 4_000_000


class PointWriter:
    """Writes one point. Use: ``reserve``, ``add_segment`` and ``adopt`` from any thread, the rest from one.

    Chunks are stored by this process (``add_segment``) or by others, whose packs are then adopted.

    After a failure (raised at whatever call comes next, and again at every later one) or ``abort`` only ``abort`` may
    be called. ``slots`` are the machine's key slots, stored with the point and as a machine card; without them those
    of the machine's card in the vault are used.
    """

    def __init__(
        self,
        vault: Vault,
        keys: DomainKeys,
        index: ChunkIndex,
        *,
        machine_id: str,
        item_id: str,
        point_id: str,
        zstd_level: int = 3,
        slots: Sequence[Slot] = (),
        data_pack: int = DATA_PACK,
        meta_pack: int = META_PACK,
    ) -> None:
        self.point = PointName(layout.check_id(machine_id), layout.check_id(item_id), layout.check_id(point_id))
        self._vault, self._keys, self._index, self._level = vault, keys, index, zstd_level
        self._slots = tuple(dict(slot) for slot in slots)
        self._lock = threading.Lock()
        self._reserved: set[bytes] = set()
        self._unindexed: list[ChunkTable] = list(index.recovered)
        self._chunks_new = self._bytes = self._references = 0
        self._joined = PointPart((), (), 0, 0, 0)
        self._data = ChunkWriter(
            vault, keys, on_durable=self.adopt, zstd_level=zstd_level, data_pack=data_pack, in_flight=2
        )
        self._uploader = Uploader(vault.store, self.adopt, threads=1)
        self._meta = PackStream(keys, self._uploader, vault_id=vault.id, kind=layout.KIND_META, target=meta_pack)
        self._needs = PackNeeds(index)
        self._pages = PageWriter(keys, self.reserve, self._needs.refer, self._meta.append, zstd_level)

    # ── from any thread ──────────────────────────────────────────────────────────────────────────────

    def reserve(self, ids: Sequence[bytes]) -> list[bool]:
        """Return for every id whether the caller must store it: True at most once per id and point.

        Whoever got True owes the chunk to ``add_segment``; a point that refers to a chunk nobody stored is not sealed.
        """
        self._check()
        if not ids:
            return []
        with self._lock:
            answers = []
            for chunk_id, known in zip(ids, self._index.contains_many(ids).tolist(), strict=True):
                new = not known and chunk_id not in self._reserved
                if new:
                    self._reserved.add(chunk_id)
                answers.append(new)
            self._chunks_new += sum(answers)
        return answers

    def add_segment(
        self, ids: Sequence[bytes], chunks: Sequence[Buffer], *, whole: memoryview | None = None, effort: int = 0
    ) -> None:
        """Compress chunks together in this thread and append them to the open data pack.

        The ids must be those of the chunks; ``whole`` is the chunks as one buffer, where there is one;
        ``effort`` is how many levels of zstd above the point's own they are worth.
        1-4 MiB in all is best; waits while two full packs are on their way.
        """
        self._data.add_segment(ids, chunks, whole=whole, effort=effort)

    def adopt(self, pack: FinishedPack) -> None:
        """Take note of a durable pack: of this process, or of another one that reserved its chunks here."""
        ids = pack.table.ids()
        with self._lock:
            # Under one lock with ``reserve``: an id is always either reserved or in the index.
            self._index.add(pack.table)
            self._reserved.difference_update(ids[at : at + 32] for at in range(0, len(ids), 32))
            self._unindexed.append(pack.table)
            self._bytes += pack.info.size

    @property
    def bytes_transferred(self) -> int:
        """Bytes that are durable in the vault because of this writer: packs, index segments, card and manifest."""
        return self._bytes

    @property
    def chunks_new(self) -> int:
        """Chunks, pages included, that this point had to store."""
        return self._chunks_new

    @property
    def chunks_reused(self) -> int:
        """References by entries and pages to chunks that were in the vault, or had been met before in this point."""
        return max(0, self._references + self._pages.references - self._chunks_new)

    # ── from one thread ──────────────────────────────────────────────────────────────────────────────

    def add_entries(self, entries: Sequence[Entry]) -> None:
        """Take the next entries, in ``sort_key`` order (ValueError otherwise); their chunks may be on their way."""
        self._references += sum([len(entry.chunks) for entry in entries]) // 32
        self._pages.add(entries)

    def add_page(self, page: PageRef, packs: Iterable[PackInfo]) -> None:
        """Take a page of an earlier point as it is; ``packs`` hold its pieces and all chunks of its entries.

        Only between pages (``between_pages``): ValueError otherwise, or when it is not next in order.
        """
        self._references += self._pages.take(page)
        self._needs.add(packs)

    @property
    def between_pages(self) -> bool:
        """Whether the last entry given ended its page."""
        return self._pages.between_pages

    def checkpoint(self) -> None:
        """Make everything given so far durable and index it, so that a later attempt finds it. Waits for that."""
        self._check()
        self._pages.flush()
        self._data.flush()
        self._meta.flush()
        self._uploader.drain()
        self._write_index()

    def finish_part(self) -> PointPart:
        """End without a point: what was written is durable and indexed, and returned for another writer to join."""
        self._pages.finish()
        self.checkpoint()
        packs = self._needs.settle()
        self._data.close()
        self._uploader.stop()
        references = self._references + self._pages.references
        return PointPart(tuple(self._pages.pages), packs, self._bytes, self._chunks_new, references)

    def join(self, part: PointPart, pages: Iterable[PageRef | Sequence[Entry]]) -> None:
        """Take a part that comes next in order; ``pages`` are its pages, some of them perhaps with other entries.

        Chunks that such entries did not have in the part must be named with ``refer``.
        """
        self._pages.finish()
        self._needs.add_refs(part.packs)
        self._joined = self._joined.plus(part)
        for page in pages:
            if isinstance(page, PageRef):
                self._pages.take(page)
            else:
                self._pages.store_page(page)

    def refer(self, ids: bytes) -> None:
        """Note that the point needs chunks of this writer that no entry given to it names."""
        self._needs.refer(ids)

    def seal(self, *, body: PointBody, validate: Callable[[], None]) -> Sealed:
        """Make the point exist: the last call. Whatever it raises, either the point is whole or it does not exist.

        Order: packs durable, index segment, a look whether all packs are in the store, ``validate`` (which raises to
        stop), machine card, manifest, a look for a fence (``point-fenced``: whoever put it found no manifest, so there
        is no point). When another attempt has sealed this point already, that one stays and is returned with
        ``created`` False. ``object-missing`` when a pack that the point needs is gone: the index must have forgotten
        what the store had lost before the writer began (``ChunkIndex.drop_missing_packs``).
        """
        self._pages.finish()
        self.checkpoint()
        packs = self._needs.settle()
        self._must_be_there(packs)
        validate()
        slots = self._put_card(body.machine_name)
        sealed = self._put_manifest(body, packs, slots)
        self._data.close()
        self._uploader.stop()
        return sealed

    def abort(self) -> None:
        """Write nothing more: buffers are dropped, puts that have begun are waited for. Idempotent."""
        self._data.abort()
        self._uploader.stop()
        self._meta.drop()

    # ── inside ───────────────────────────────────────────────────────────────────────────────────────

    def _check(self) -> None:
        self._data.check()
        self._uploader.check()

    def _must_be_there(self, packs: Sequence[PackRef]) -> None:
        gone = absent_packs(self._vault, {pack.name: pack.size for pack in packs})
        if gone:
            detail = f"{len(gone)} packs that the point needs are not in the store, such as {gone[0]}"
            raise SkyharborError("object-missing", f"{detail}; the next backup stores what the source has of them")

    def _write_index(self) -> None:
        with self._lock:
            tables = list(self._unindexed)
        machine = self.point.machine_id
        for group in grouped(tables, most_rows=INDEX_ROWS):
            data = encode_index(merge(group), keys=self._keys, vault_id=self._vault.id, machine_id=machine)
            self._put(layout.index_name(machine, hashlib.sha256(data).hexdigest()), data)
        with self._lock:
            # Packs that became durable meanwhile stay for the next one.
            del self._unindexed[: len(tables)]

    def _put_card(self, machine_name: str) -> tuple[Slot, ...]:
        machine = self.point.machine_id
        if not self._slots:
            card = self._vault.machine_card(machine)
            return card.slots if card else ()
        written = self._vault.put_machine_card(machine, machine_name, self._slots)
        with self._lock:
            self._bytes += written
        return self._slots

    def _put_manifest(self, body: PointBody, packs: tuple[PackRef, ...], slots: Sequence[Slot]) -> Sealed:
        body = msgspec.structs.replace(body, stats={**body.stats, **self._counts()})
        manifest = Manifest(body=body, pages=tuple(self._pages.pages), packs=packs)
        data = encode_manifest(manifest, vault_id=self._vault.id, point=self.point, slots=slots, keys=self._keys)
        name = layout.point_name(self.point)
        created = self._put(name, data)
        if not created:
            # Perhaps ours after all: a store that retries a put whose reply was lost finds its own object.
            stored = self._vault.store.get(name)
            created, data = stored == data, stored
            body = decode_manifest(data, vault_id=self._vault.id, point=self.point, keys=self._keys).body
        if self._vault.is_fenced(self.point):
            raise SkyharborError("point-fenced", f"{name}: what lies there now is no point")
        digest = hashlib.sha256(data).hexdigest()
        return Sealed(created=created, manifest=name, manifest_sha256=digest, manifest_size=len(data), body=body)

    def _counts(self) -> dict[str, int]:
        joined = self._joined
        sent, new = self._bytes + joined.bytes_transferred, self._chunks_new + joined.chunks_new
        references = self._references + self._pages.references + joined.references
        return {
            "bytes_transferred": sent,
            "bytes_stored": sent,
            "chunks_new": new,
            "chunks_reused": max(0, references - new),
        }

    def _put(self, name: str, data: bytes) -> bool:
        created = self._vault.store.put(name, [data])
        if created:
            with self._lock:
                self._bytes += len(data)
        return created
