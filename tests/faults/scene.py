"""A vault of several points, an oracle copy of the source for each, and the source as it is now.

Rule of the file: a scene is made once and never changed; whoever wants to break something takes a copy of its store.
What the source holds is the same every time, so that a failing cell of a matrix can be run again by its name.
"""

from __future__ import annotations

import os
import subprocess
import zlib
from collections.abc import Callable
from dataclasses import dataclass, field
from itertools import count

import pytest

from shared.crypto.domain_keys import DomainKeys
from shared.crypto.slots import seal_slot
from shared.storage.memory import MemoryStore
from shared.storage.object_store import ObjectStore
from shared.vault.pages import MIN_ENTRIES
from shared.vault.vault import open_vault
from shared.vault.writer import PointWriter
from tests.support.trees import Node, plant, settle
from tests.unit.engine import rig as engine_rig
from tests.unit.engine.rig import Rig
from workers.engine.backup import BackupOptions

DEK = b"k" * 32
PASSPHRASE = "correct horse battery staple"
SECURE_OFTEN = BackupOptions(checkpoint_every=0.0)
"""A checkpoint at every chance, so that one run writes index segments more than once."""


@dataclass
class Scene:
    """``oracles`` maps every sealed point to a copy of the source at that time; ``now`` is one of the source today."""

    tree: str
    store: MemoryStore
    now: str
    oracles: dict[str, str] = field(default_factory=dict)

    def copy(self) -> MemoryStore:
        """The scene's vault once more, to break something in."""
        return copy_of(self.store)


def copy_of(store: ObjectStore) -> MemoryStore:
    other = MemoryStore()
    for info in store.list():
        other.put(info.name, [store.get(info.name)])
    return other


def rig_on(store: ObjectStore) -> Rig:
    """Open the vault that is there already, as the next job would."""
    rig = Rig.__new__(Rig)
    rig.store = store
    rig.vault, rig.keys = open_vault(store), DomainKeys.derive(DEK)
    return rig


def oracle_copy(tree: str, to: str) -> str:
    """Copy the tree with everything by a program that is not ours."""
    subprocess.run(["cp", "-a", tree, to], check=True)
    return to


def small_packs(patch: pytest.MonkeyPatch) -> None:
    """Close packs after every segment, so that one small backup writes several of each kind."""
    # ``BackupOptions`` does not say how large packs are: nothing but tests wants to know.
    for name in ("data_pack", "meta_pack"):
        patch.setitem(PointWriter.__init__.__kwdefaults__, name, 1)


def real_slots(patch: pytest.MonkeyPatch) -> None:
    """Give the machine a key slot that opens: what lies in the vault is what a person would need."""
    patch.setattr(engine_rig, "SLOTS", (seal_slot(DEK, PASSPHRASE, machine_id="machine"),))


def data_packs_of(rig: Rig, path: str, point: str | None = None) -> set[str]:
    """Return the names of the packs that a file's content is in, in the last point by default."""
    reader = rig.reader(point)
    (entry,) = reader.entries(os.fsencode(path).lstrip(b"/"))
    return {place.pack for place in reader.locate(entry.chunks)}


Change = Callable[[str], None]


def make_scene(root: str, *generations: Change, options: BackupOptions = SECURE_OFTEN) -> Scene:
    """Plant the source; for every generation change it, and back it up: all but the last, which is the source today.

    With one generation the vault has no point yet.
    """
    scene = Scene(tree=plant(f"{root}/tree", []), store=MemoryStore(), now="")
    rig = Rig(scene.store)
    for number, change in enumerate(generations):
        change(scene.tree)
        settle(scene.tree)
        copy = oracle_copy(scene.tree, f"{root}/oracle-{number}")
        if number == len(generations) - 1:
            scene.now = copy
        else:
            done = rig.backup(scene.tree, options=options)
            scene.oracles[done.point.point_id] = copy
    return scene


# ── generations of one source ────────────────────────────────────────────────────────────────────────


def _text(name: bytes, size: int) -> bytes:
    """Content that compresses, and is another one for every name."""
    line = name + b" is what this line is about\n"
    return (line * (size // len(line) + 1))[:size]


def first(tree: str) -> None:
    """A little of everything, and a file that is large enough for segments, and so for packs, of its own."""
    little(tree)
    _write(tree, "large", _text(b"large", 1_050_000))


def little(tree: str) -> None:
    """A little of everything, all in one segment."""
    plant(
        tree,
        [
            Node(b"a", "dir", mode=0o755),
            Node(b"a/early", data=_text(b"early", 400)),
            Node(b"a/same", data=_text(b"same", 700)),
            Node(b"a/twin", data=_text(b"same", 700)),
            Node(b"empty"),
            Node(b"sub", "dir", mode=0o750),
            Node(b"sub/deep", "dir", mode=0o2750),
            Node(b"sub/deep/changes", data=_text(b"one", 300)),
            Node(b"sub/xattr", data=b"x", xattrs=(("user.note", b"\0\xff"),)),
            Node(b"to nowhere", "symlink", target=b"nowhere/\xff"),
            Node(b"z name", "link", target=b"a/early"),
        ],
    )


def second(tree: str) -> None:
    """Something new, something changed, something gone."""
    _write(tree, "late", _text(b"late", 500))
    _write(tree, "sub/deep/changes", _text(b"two", 350))
    os.unlink(f"{tree}/empty")


def third(tree: str) -> None:
    """A large file changes; a small one moves."""
    with open(f"{tree}/large", "r+b") as file:
        file.seek(500_000)
        file.write(_text(b"middle", 1000))
    os.rename(f"{tree}/late", f"{tree}/a/late")
    _write(tree, "sub/third", _text(b"third", 900))


def fourth(tree: str) -> None:
    """New small files and a large one."""
    _write(tree, "a/fourth", _text(b"fourth", 200))
    _write(tree, "new large", _text(b"fourth large", 1_050_000))
    os.unlink(f"{tree}/z name")


def crowded(tree: str) -> None:
    """So many small files that the entries of the point need a second page, which begins behind this folder."""
    os.mkdir(f"{tree}/many")
    for number in range(MIN_ENTRIES):
        _write(tree, f"many/{number:03}", _text(b"%d" % (number % 5), 20))
    # A page ends at such a path (docs/format, 5.1).
    cut = next(
        name for n in count() if not zlib.crc32(f"{tree}/{(name := f'many/cut {n}')}".lstrip("/").encode()) % 256
    )
    _write(tree, cut, b"the last one on its page")


def in_front(tree: str) -> None:
    """Something new on the first page of a crowded point. The second stays as it is, in the pack that it is in.

    (The first could not: it also describes the folders above the tree, in which other tests come and go.)
    """
    _write(tree, "a/third", _text(b"third", 900))


def unchanged(tree: str) -> None:
    """Nothing happened."""


def _write(tree: str, name: str, data: bytes) -> None:
    with open(f"{tree}/{name}", "wb") as file:
        file.write(data)
