"""Make the golden vault of the current format: run once per format version, check the result in, never change it.

    python -m tests.format.make_golden

Rule of the file: it refuses to run when the golden vault exists. What the vault must say is written beside it, in
``expected.json``, so that readers are compared with a file and not with this program.
"""

from __future__ import annotations

import hashlib
import json
import os
import sys
from pathlib import Path

from shared.crypto.domain_keys import DomainKeys, new_dek
from shared.crypto.slots import seal_slot
from shared.model.backup import BackupType, Notice
from shared.storage.local import LocalStore
from shared.vault.entry import Entry, EntryKind, sort_key
from shared.vault.index import ChunkIndex
from shared.vault.vault import create_vault, open_vault
from shared.vault.writer import PointBody, PointWriter

GOLDEN = Path(__file__).parent / "golden" / "v1"
PASSPHRASE = "correct horse battery staple"
MACHINE = "0198f000-0000-7000-8000-000000000001"
ITEM = "0198f000-0000-7000-8000-000000000002"
POINTS = ("0198f000-0000-7000-8000-000000000003", "0198f000-0000-7000-8000-000000000004")
CHUNK = 5000
NUMBERS = ("kind", "mode", "uid", "gid", "size", "mtime_ns", "ctime_ns", "device", "inode", "rdev")

Node = tuple[Entry, bytes]


def noise(seed: int, size: int) -> bytes:
    """Bytes that do not compress and are the same for ever."""
    return hashlib.shake_256(seed.to_bytes(4, "big")).digest(size)


def node(path: bytes, kind: EntryKind, content: bytes = b"", **fields: object) -> Node:
    values: dict[str, object] = {
        "mode": 0o755 if kind is EntryKind.DIRECTORY else 0o640,
        "uid": 1000,
        "gid": 100,
        "size": len(content),
        "mtime_ns": 1_700_000_000_123_456_789,
        "ctime_ns": 1_700_000_001_000_000_001,
        "device": 2050,
        "inode": 1000 + len(path),
    }
    return Entry(path=path, kind=kind, **{**values, **fields}), content  # type: ignore[arg-type]


def first_tree() -> list[Node]:
    text = b"air traffic control for backups\n" * 400
    return [
        node(b"srv", EntryKind.DIRECTORY),
        node(b"srv/empty", EntryKind.FILE),
        node(b"srv/text", EntryKind.FILE, text, xattrs=((b"user.note", b"kept\0too"),)),
        node(b"srv/text!", EntryKind.FILE, text),
        node(b"srv/text-link", EntryKind.FILE, size=len(text), link=b"srv/text"),
        node(b"srv/noise", EntryKind.FILE, noise(1, 23_456), mode=0o4755, mtime_ns=-86_400_000_000_000),
        node(b"srv/sparse", EntryKind.FILE, noise(2, 4096), size=1_052_672, holes=((4096, 1_048_576),)),
        node(b"srv/symbolic", EntryKind.SYMLINK, mode=0o777, target=b"../srv/\xff\xfe"),
        node(b"srv/\xff\xfe not utf-8", EntryKind.FILE, b"odd name", uid=4_294_967_294),
        node(b"srv/pipe", EntryKind.FIFO),
        node(b"srv/null", EntryKind.CHAR_DEVICE, rdev=259),
        *(node(b"srv/many/%03d" % number, EntryKind.FILE, b"file %d" % number) for number in range(300)),
        node(b"srv/many", EntryKind.DIRECTORY, mode=0o1777),
    ]


def second_tree() -> list[Node]:
    """The first, with one file changed, one removed and one more."""
    kept = [(entry, content) for entry, content in first_tree() if entry.path not in (b"srv/empty", b"srv/noise")]
    changed = node(b"srv/noise", EntryKind.FILE, noise(1, 20_000) + noise(3, 5_000))
    return [*kept, changed, node(b"srv/\xc3\xbc", EntryKind.FILE, noise(4, 300))]


def write(
    store: LocalStore, keys: DomainKeys, slots: list[dict[str, str | int]], number: int, tree: list[Node]
) -> None:
    vault = open_vault(store)
    index = ChunkIndex.load(vault, MACHINE, keys, cache_dir=None)
    writer = PointWriter(
        vault, keys, index, machine_id=MACHINE, item_id=ITEM, point_id=POINTS[number], slots=slots, data_pack=8000
    )
    for entry, content in sorted(tree, key=lambda one: sort_key(one[0].path)):
        chunks = [content[at : at + CHUNK] for at in range(0, len(content), CHUNK)]
        ids = [keys.chunk_id(chunk) for chunk in chunks]
        new = [at for at, wanted in enumerate(writer.reserve(ids)) if wanted]
        writer.add_segment([ids[at] for at in new], [chunks[at] for at in new])
        entry.chunks = b"".join(ids)
        writer.add_entries([entry])
    writer.seal(
        body=PointBody(
            machine_name="atlas",
            item_name="srv",
            paths=("/srv",),
            type=BackupType.FULL if number == 0 else BackupType.INCREMENTAL,
            reference=None if number == 0 else POINTS[0],
            job_id="0198f000-0000-7000-8000-000000000005",
            epoch=3,
            claim_id="claim",
            started_at="2026-11-22T10:00:00+00:00",
            sealed_at="2026-11-22T10:00:07+00:00",
            files=len(tree),
            bytes=sum(entry.size for entry, _ in tree),
            stats={"files": len(tree)},
            notices=(Notice("/srv/locked", "unreadable", "Permission denied"),),
        ),
        validate=lambda: None,
    )


def described(entry: Entry, content: bytes) -> dict[str, object]:
    """What ``expected.json`` says of an entry; bytes as hex, no chunk ids, because these depend on the key."""
    return {
        "path": entry.path.hex(),
        "numbers": [getattr(entry, name) for name in NUMBERS],
        "target": entry.target.hex(),
        "link": entry.link.hex(),
        "xattrs": [[name.hex(), value.hex()] for name, value in entry.xattrs],
        "holes": [list(hole) for hole in entry.holes],
        "content": hashlib.sha256(content).hexdigest(),
    }


def main() -> None:
    if GOLDEN.exists():
        sys.exit(f"{GOLDEN} exists: a golden vault is never changed")
    os.makedirs(GOLDEN)
    store = LocalStore.create(str(GOLDEN / "vault"))
    create_vault(store, name="golden")
    dek = new_dek()
    slots = [seal_slot(dek, PASSPHRASE, machine_id=MACHINE)]
    expected = {}
    for number, tree in enumerate((first_tree(), second_tree())):
        write(store, DomainKeys.derive(dek), slots, number, tree)
        ordered = sorted(tree, key=lambda one: sort_key(one[0].path))
        expected[POINTS[number]] = [described(entry, content) for entry, content in ordered]
    (GOLDEN / "expected.json").write_text(json.dumps(expected, indent=0) + "\n")


if __name__ == "__main__":
    main()
