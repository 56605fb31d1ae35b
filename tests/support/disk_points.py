"""Points of machines for tests: images of disks, cut into blocks, sealed in a vault as a backup of a machine would."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path

from shared.crypto.domain_keys import DomainKeys
from shared.crypto.slots import Slot
from shared.model.backup import BackupType
from shared.model.ids import new_id
from shared.storage.memory import MemoryStore
from shared.vault.entry import Entry, EntryKind, sort_key
from shared.vault.index import ChunkIndex
from shared.vault.layout import PointName
from shared.vault.reader import PointReader
from shared.vault.vault import Vault, create_vault, open_vault
from shared.vault.writer import PointBody, PointWriter

KEYS = DomainKeys.derive(b"k" * 32)
SLOTS: tuple[Slot, ...] = ({"slot_id": "s", "kind": "passphrase"},)
BLOCK = 256 * 1024
_SEGMENT = 4 * 1024 * 1024


def disk_entry(writer: PointWriter, keys: DomainKeys, name: str, image: Path, *, block: int = BLOCK) -> Entry:
    """Write an image's blocks and return its entry; blocks of zeros become holes."""
    size, ids, holes = image.stat().st_size, [], []
    zeros = bytes(block)
    waiting: list[tuple[bytes, bytes]] = []
    with image.open("rb") as file:
        for at in range(0, size, block):
            data = file.read(block)
            if data == zeros[: len(data)]:
                if holes and sum(holes[-1]) == at:
                    holes[-1] = (holes[-1][0], holes[-1][1] + len(data))
                else:
                    holes.append((at, len(data)))
                continue
            chunk = keys.chunk_id(data)
            ids.append(chunk)
            if writer.reserve([chunk])[0]:
                waiting.append((chunk, data))
            if len(waiting) * block >= _SEGMENT:
                _store(writer, waiting)
                waiting = []
    _store(writer, waiting)
    return Entry(name.encode(), EntryKind.FILE, 0o600, 0, 0, size, 1, 1, 1, 1, b"".join(ids), holes=tuple(holes))


def _store(writer: PointWriter, waiting: list[tuple[bytes, bytes]]) -> None:
    if waiting:
        writer.add_segment([chunk for chunk, _ in waiting], [data for _, data in waiting])


def seal_disks(
    vault: Vault,
    images: Mapping[str, Path],
    *,
    keys: DomainKeys = KEYS,
    machine_id: str = "machine",
    slots: tuple[Slot, ...] = SLOTS,
    block: int = BLOCK,
) -> PointName:
    """Seal a point with these images under their names, and a description of the machine beside them."""
    name = PointName(machine_id, "item", new_id())
    index = ChunkIndex.load(vault, machine_id, keys, cache_dir=None)
    writer = PointWriter(vault, keys, index, machine_id=machine_id, item_id="item", point_id=name.point_id, slots=slots)
    entries = [disk_entry(writer, keys, disk, image, block=block) for disk, image in images.items()]
    entries.append(Entry(b"machine.json", EntryKind.FILE, 0o600, 0, 0, 0, 1, 1, 1, 2))
    for entry in sorted(entries, key=lambda one: sort_key(one.path)):
        writer.add_entries([entry])
    body = PointBody(
        machine_name="m1", item_name="guest", paths=(), type=BackupType.FULL, reference=None, job_id="j",
        epoch=1, claim_id="c", workload="vm", started_at="2026-11-22T10:00:00+00:00",
        sealed_at="2026-11-22T10:00:05+00:00",
        files=len(entries), bytes=sum(entry.size for entry in entries),
    )  # fmt: skip
    writer.seal(body=body, validate=lambda: None)
    return name


def point_of(images: Mapping[str, Path], *, block: int = BLOCK) -> PointReader:
    """Seal a point in a vault in memory and open it."""
    store = MemoryStore()
    create_vault(store, name="test")
    vault = open_vault(store)
    return open_point(vault, seal_disks(vault, images, block=block))


def open_point(vault: Vault, name: PointName) -> PointReader:
    """Open a point with the index."""
    return PointReader.open(
        vault, KEYS, machine_id=name.machine_id, item_id=name.item_id, point_id=name.point_id,
        index=ChunkIndex.load(vault, name.machine_id, KEYS, cache_dir=None),
    )  # fmt: skip
