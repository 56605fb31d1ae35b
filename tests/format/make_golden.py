"""Make the golden vault of the current format: run once per format version, check the result in, never change it.

    python -m tests.format.make_golden

Rule of the file: it refuses to run when the golden vault exists. What the vault must say is written beside it, in
``expected.json``, so that readers are compared with a file and not with this program. (``v1``, the first golden
vault, was made by an earlier version of this program.)
"""

from __future__ import annotations

import hashlib
import os
import sys
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from itertools import pairwise
from pathlib import Path

from shared.crypto.domain_keys import DomainKeys, new_dek
from shared.crypto.slots import Slot, seal_slot
from shared.model.backup import BackupType, Notice
from shared.storage.local import LocalStore
from shared.vault.entry import Entry, EntryKind, sort_key
from shared.vault.index import ChunkIndex
from shared.vault.node_flags import NodeFlag
from shared.vault.vault import create_vault, open_vault
from shared.vault.writer import PointBody, PointWriter
from tests.format.golden_vaults import GOLDEN, NUMBERS, Described, GoldenMachine, write_expected

NAME = "v1-final"
ATLAS = GoldenMachine("0198f000-0000-7000-8000-000000000001", "atlas", "correct horse battery staple")
BOREALIS = GoldenMachine("0198f000-0000-7000-8000-000000000002", "borealis", "Zw\u00f6lf Boxk\u00e4mpfer jagen Viktor")
SRV, HOME, ETC = (f"0198f000-0000-7000-8000-00000000001{number}" for number in range(3))
POINTS = tuple(f"0198f000-0000-7000-8000-00000000010{number}" for number in range(4))
USERS = {"0": "root", "1000": "gr\u00fcn", "4294967294": "nobody"}
GROUPS = {"0": "root", "100": "users"}
SMALL, DATA_PACK = 5000, 40_000

Node = tuple[Entry, Sequence[bytes]]
"""An entry and its content, cut into chunks."""


@dataclass(frozen=True)
class Pilot:
    """A machine that writes points."""

    machine: GoldenMachine
    keys: DomainKeys
    slots: tuple[Slot, ...]


@dataclass(frozen=True)
class Flight:
    """One point to write."""

    pilot: Pilot
    item_id: str
    item_name: str
    path: str
    point_id: str
    reference: str | None
    tree: Sequence[Node]


def noise(seed: int, size: int) -> bytes:
    """Bytes that do not compress and are the same for ever."""
    return hashlib.shake_256(seed.to_bytes(4, "big")).digest(size)


def fixed(content: bytes, size: int = SMALL) -> list[bytes]:
    """Chunks of one size, the last one shorter."""
    return [content[at : at + size] for at in range(0, len(content), size)]


def by_content(content: bytes) -> list[bytes]:
    """Chunks of very different sizes: a cut behind every byte of one value, as content-defined chunking would do it."""
    cuts = [0, *(at + 1 for at, byte in enumerate(content[:-1]) if byte == 0x21), len(content)]
    return [content[first:last] for first, last in pairwise(cuts)]


def node(path: bytes, kind: EntryKind, chunks: Sequence[bytes] = (), **fields: object) -> Node:
    values: dict[str, object] = {
        "mode": 0o755 if kind is EntryKind.DIRECTORY else 0o640,
        "uid": 1000,
        "gid": 100,
        "size": sum(map(len, chunks)),
        "mtime_ns": 1_700_000_000_123_456_789,
        "ctime_ns": 1_700_000_001_000_000_001,
        "device": 2050,
        "inode": 1000 + len(path),
    }
    return Entry(path=path, kind=kind, **{**values, **fields}), chunks  # type: ignore[arg-type]


def srv() -> list[Node]:
    text = b"air traffic control for backups\n" * 400
    return [
        node(b"srv", EntryKind.DIRECTORY, uid=0, gid=0),
        node(b"srv/data", EntryKind.DIRECTORY, mode=0o2750, flags=int(NodeFlag.NO_ATIME)),
        node(b"srv/data/empty", EntryKind.FILE),
        node(b"srv/data/text", EntryKind.FILE, fixed(text), xattrs=((b"user.empty", b""), (b"user.note", b"a\0b\xff"))),
        node(b"srv/data/text!", EntryKind.FILE, fixed(text), flags=int(NodeFlag.NO_DUMP)),
        node(b"srv/data/text-link", EntryKind.FILE, size=len(text), link=b"srv/data/text"),
        node(
            b"srv/data/large", EntryKind.FILE, by_content(noise(1, 45_678)), mode=0o4755, mtime_ns=-86_400_000_000_000
        ),
        node(b"srv/data/even", EntryKind.FILE, fixed(noise(2, 16_384), 4096)),
        # The second chunk ends one range of data and begins the next: chunks know nothing of holes.
        node(
            b"srv/data/sparse",
            EntryKind.FILE,
            fixed(noise(3, 12_288)),
            size=2_097_152,
            holes=((0, 65_536), (73_728, 1_048_576), (1_126_400, 970_752)),
        ),
        node(b"srv/data/all hole", EntryKind.FILE, size=1_048_576, holes=((0, 1_048_576),)),
        node(b"srv/data/symbolic", EntryKind.SYMLINK, mode=0o777, size=9, target=b"../srv/\xff\xfe"),
        node(b"srv/data/symbolic-link", EntryKind.SYMLINK, mode=0o777, size=9, link=b"srv/data/symbolic"),
        node(b"srv/data/\xff\xfe not\nutf-8", EntryKind.FILE, [b"odd name"], uid=4_294_967_294),
        node(b"srv/data/pipe", EntryKind.FIFO),
        node(b"srv/data/socket", EntryKind.SOCKET),
        node(b"srv/data/null", EntryKind.CHAR_DEVICE, rdev=os.makedev(1, 3)),
        node(b"srv/data/disk", EntryKind.BLOCK_DEVICE, rdev=os.makedev(259, 70_000)),
        *(node(b"srv/data/many/%03d" % n, EntryKind.FILE, [b"file %d" % n]) for n in range(150)),
        node(b"srv/data/many", EntryKind.DIRECTORY, mode=0o1777),
        node(b"srv/data/read-only", EntryKind.DIRECTORY, mode=0o555),
        node(b"srv/data/read-only/file", EntryKind.FILE, [b"read only"], mode=0o444),
    ]


def srv_later() -> list[Node]:
    """The first, with one file changed, one removed and one more."""
    kept = [one for one in srv() if one[0].path not in (b"srv/data/empty", b"srv/data/even")]
    changed = node(b"srv/data/even", EntryKind.FILE, fixed(noise(2, 8192) + noise(4, 8192), 4096))
    return [*kept, changed, node(b"srv/data/\xc3\xbc", EntryKind.FILE, [noise(5, 300)])]


def home() -> list[Node]:
    """Another item of the same machine, with content that the first one has as well."""
    return [
        node(b"home", EntryKind.DIRECTORY, uid=0, gid=0),
        node(b"home/gr\xc3\xbcn", EntryKind.DIRECTORY, mode=0o700),
        node(b"home/gr\xc3\xbcn/copy", EntryKind.FILE, fixed(noise(2, 16_384), 4096), mode=0o600),
        node(b"home/gr\xc3\xbcn/own", EntryKind.FILE, [b"only here\n"], mode=0o600),
    ]


def etc() -> list[Node]:
    """The other machine's."""
    return [
        node(b"etc", EntryKind.DIRECTORY, uid=0, gid=0),
        node(b"etc/hostname", EntryKind.FILE, [b"borealis\n"], mode=0o644),
        node(b"etc/same", EntryKind.FILE, fixed(noise(2, 16_384), 4096), mode=0o644),
    ]


def write(store: LocalStore, flight: Flight) -> None:
    vault, keys = open_vault(store), flight.pilot.keys
    machine = flight.pilot.machine
    writer = PointWriter(
        vault,
        keys,
        ChunkIndex.load(vault, machine.id, keys, cache_dir=None),
        machine_id=machine.id,
        item_id=flight.item_id,
        point_id=flight.point_id,
        slots=flight.pilot.slots,
        data_pack=DATA_PACK,
    )
    for entry, chunks in ordered(flight.tree):
        ids = [keys.chunk_id(chunk) for chunk in chunks]
        new = [at for at, wanted in enumerate(writer.reserve(ids)) if wanted]
        writer.add_segment([ids[at] for at in new], [chunks[at] for at in new])
        entry.chunks = b"".join(ids)
        writer.add_entries([entry])
    writer.seal(body=body_of(flight), validate=lambda: None)


def body_of(flight: Flight) -> PointBody:
    minute = POINTS.index(flight.point_id)
    return PointBody(
        machine_name=flight.pilot.machine.name,
        item_name=flight.item_name,
        paths=(flight.path,),
        type=BackupType.INCREMENTAL if flight.reference else BackupType.FULL,
        reference=flight.reference,
        job_id="0198f000-0000-7000-8000-000000000005",
        epoch=3,
        claim_id="claim",
        started_at=f"2026-11-22T10:0{minute}:00+00:00",
        sealed_at=f"2026-11-22T10:0{minute}:07.250000+00:00",
        files=len(flight.tree),
        bytes=sum(entry.size for entry, _ in flight.tree),
        stats={"files": len(flight.tree)},
        notices=(Notice("/srv/locked", "unreadable", "Permission denied"),),
        policy_version="7",
        users=USERS,
        groups=GROUPS,
    )


def ordered(tree: Sequence[Node]) -> list[Node]:
    return sorted(tree, key=lambda one: sort_key(one[0].path))


def described(entry: Entry, content: bytes) -> Described:
    """Put an entry and the bytes of its chunks into the words of ``expected.json``."""
    return {
        "path": entry.path.hex(),
        "numbers": [getattr(entry, name) for name in NUMBERS],
        "target": entry.target.hex(),
        "link": entry.link.hex(),
        "xattrs": [[name.hex(), value.hex()] for name, value in entry.xattrs],
        "holes": [list(hole) for hole in entry.holes],
        "flags": entry.flags,
        "content": hashlib.sha256(content).hexdigest(),
    }


def described_body(body: PointBody) -> Described:
    """Put what a point says about itself into words; the numbers are the writer's own."""
    names = ("machine_name", "item_name", "type", "reference", "job_id", "epoch", "claim_id", "policy_version")
    said: dict[str, object] = {
        name: getattr(body, name) for name in (*names, "started_at", "sealed_at", "files", "bytes")
    }
    owners: Mapping[str, object] = {"users": body.users, "groups": body.groups}
    notices = [[notice.path, notice.code, notice.message] for notice in body.notices]
    return {**said, **owners, "paths": list(body.paths), "notices": notices}


def pilot(machine: GoldenMachine) -> Pilot:
    dek = new_dek()
    lost = seal_slot(dek, "a second passphrase, which nobody wrote down", machine_id=machine.id)
    unknown: Slot = {"slot_id": "0" * 32, "kind": "of-a-later-version", "anything": "at all"}
    return Pilot(
        machine, DomainKeys.derive(dek), (unknown, lost, seal_slot(dek, machine.passphrase, machine_id=machine.id))
    )


def leave_foreign_objects(vault: Path) -> None:
    """What is not of the format must not disturb a reader."""
    for name in (f"points/{ATLAS.id}/{SRV}/NOTE.txt", "packs/d/README", "lost+found/0"):
        os.makedirs(vault / Path(name).parent, exist_ok=True)
        (vault / name).write_text("left here by somebody\n")


def main() -> None:
    folder = GOLDEN / NAME
    if folder.exists():
        sys.exit(f"{folder} exists: a golden vault is never changed")
    os.makedirs(folder)
    store = LocalStore.create(str(folder / "vault"))
    create_vault(store, name="golden")
    atlas, borealis = pilot(ATLAS), pilot(BOREALIS)
    flights = [
        Flight(atlas, SRV, "srv", "/srv/data", POINTS[0], None, srv()),
        Flight(atlas, HOME, "home", "/home/grün", POINTS[1], None, home()),
        Flight(borealis, ETC, "etc", "/etc", POINTS[2], None, etc()),
        Flight(atlas, SRV, "srv", "/srv/data", POINTS[3], POINTS[0], srv_later()),
    ]
    for flight in flights:
        write(store, flight)
    leave_foreign_objects(folder / "vault")
    write_expected(
        folder,
        [ATLAS, BOREALIS],
        {one.point_id: [described(entry, b"".join(chunks)) for entry, chunks in ordered(one.tree)] for one in flights},
        {one.point_id: described_body(body_of(one)) for one in flights},
    )
    for path in folder.rglob("*"):  # a store is private; what is checked in is for everybody
        path.chmod(0o755 if path.is_dir() else 0o644)


if __name__ == "__main__":
    main()
