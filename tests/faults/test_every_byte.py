"""One bit of every single byte of a tiny vault: nothing is read wrong, and what is lost is named."""

from __future__ import annotations

import os

import pytest

from shared.errors import SkyharborError
from shared.storage.memory import MemoryStore
from shared.vault import layout
from shared.vault.entry import EntryKind
from shared.vault.vault import Vault
from tests.faults.damages import flip, kind_of
from tests.faults.invariants import named, verified
from tests.faults.scene import Scene, make_scene, rig_on, unchanged
from tests.support.counts import Tally
from tests.support.trees import Node, plant
from tests.unit.engine.rig import Rig

MATRIX = "every byte"

CONTENT = {b"one": b"the content of the first", b"two": b"and of the second " * 5}


def _tiny(tree: str) -> None:
    plant(tree, [Node(name, data=data) for name, data in CONTENT.items()])


@pytest.fixture(scope="module")
def scene(place: str) -> Scene:
    """One point with two files."""
    return make_scene(f"{place}/tiny", _tiny, unchanged)


@pytest.mark.parametrize("kind", ["packs/d", "packs/m", "index", "points", "machines", layout.VAULT])
def test_no_flipped_bit_is_read_as_something_else_or_goes_unnoticed(scene: Scene, kind: str, tally: Tally) -> None:
    for info in scene.store.list():
        if kind_of(info.name) != kind:
            continue
        data = scene.store.get(info.name)
        for position in range(len(data)):
            damage = flip(info.name, data, position)
            tally.add("bits flipped")
            with tally.cell(damage.label) as found:
                store = scene.copy()
                damage.do(store)
                found += _noticed(scene, store, kind, info.name)
    tally.judge(least=200)


def _noticed(scene: Scene, store: MemoryStore, kind: str, name: str) -> list[str]:
    rig = rig_on(store)
    (point,) = scene.oracles
    try:
        reader = rig.reader(point)
    except SkyharborError as error:
        right = (kind, error.code, name in str(error)) == ("points", "object-damaged", True)
        return [] if right else [f"opening the point says {error!r}"]
    found = ["the manifest opens"] if kind == "points" else []
    lost, entries_lost = set(), False
    for entry in reader.entries_or_errors():
        if isinstance(entry, SkyharborError):
            entries_lost = True
        elif entry.kind == EntryKind.FILE:
            path = "/" + os.fsdecode(entry.path)
            try:
                content = b"".join(reader.read_chunks(entry.chunks))
            except SkyharborError:
                lost.add(path)
            else:
                found += [] if content == CONTENT[os.path.basename(entry.path)] else [f"{path} is read wrong"]
    done = verified(rig, point)
    found += [] if named(done) == lost else [f"verify names {named(done)}, lost are {lost}"]
    if kind.startswith("packs"):
        found += [] if any(name in notice.message for notice in done.warnings) else ["verify does not name the pack"]
        found += [] if done.stats.problems >= entries_lost + len(lost) else ["verify counts too few problems"]
    else:
        found += [f"verify says {notice}" for notice in done.warnings]
    return found + _told_elsewhere(rig, kind, name, rig_on(scene.store).vault)


def _told_elsewhere(rig: Rig, kind: str, name: str, sound: Vault) -> list[str]:
    """What no point needs is noticed where it is used."""
    if kind == "index":
        return [] if any(name in problem for problem in rig.index().problems) else ["loading does not name it"]
    if kind == layout.VAULT:
        return [] if rig.vault.problems or rig.vault.header == sound.header else ["another header is believed"]
    return []
