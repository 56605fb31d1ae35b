"""Whatever is damaged: verify names the object and the files it takes with it, and a restore brings back all the rest.

Every object of a vault with three points is damaged in every way, one at a time. A restore never writes a wrong byte.
What the source still has comes back with the next backup.
"""

from __future__ import annotations

import json
import os
from collections.abc import Collection, Iterator

import pytest

from shared.errors import SkyharborError
from shared.vault import layout
from shared.vault.index import ChunkIndex
from tests.faults.damages import Damage, Harm, damages, kind_of
from tests.faults.invariants import NAMELESS, named, not_proven, restored, unrestorable, verified
from tests.faults.scene import Scene, crowded, in_front, little, make_scene, rig_on, second, unchanged
from tests.support.counts import Tally
from tests.unit.engine.rig import Rig
from workers.engine.backup import BackupOptions

MATRIX = "damage"


def _crowd(tree: str) -> None:
    little(tree)
    crowded(tree)


@pytest.fixture(scope="module")
def scene(place: str) -> Scene:
    """Three points; the source is what it was at the last."""
    generations = (_crowd, second, in_front, unchanged)
    return make_scene(f"{place}/damage", *generations, options=BackupOptions())


@pytest.fixture(scope="module")
def needs(scene: Scene) -> dict[str, frozenset[str]]:
    """By point: the names of the packs that it needs."""
    rig = rig_on(scene.store)
    return {point: frozenset(pack.name for pack in rig.reader(point).packs) for point in scene.oracles}


def all_damages(scene: Scene, kind: str, tally: Tally) -> Iterator[tuple[Damage, Rig]]:
    """Yield every damage to objects of a kind, done in a copy of the vault that was then opened."""
    for info in scene.store.list():
        if kind_of(info.name) == kind:
            tally.add("objects")
            for damage in damages(scene.store, info.name):
                tally.add("damages")
                store = scene.copy()
                damage.do(store)
                yield damage, rig_on(store)


def test_the_scene_has_several_objects_of_every_kind_and_points_of_two_pages(
    scene: Scene, needs: dict[str, frozenset[str]]
) -> None:
    rig = rig_on(scene.store)
    kinds = [kind_of(info.name) for info in scene.store.list()]
    assert {kind: kinds.count(kind) > 1 for kind in set(kinds)} == {
        "packs/d": True, "packs/m": True, "index": True, "points": True, "machines": False, "vault.json": False,
    }  # fmt: skip
    pages = {
        point: [rig.reader(point).locate(page.chunks)[0].pack for page in rig.reader(point).pages] for point in needs
    }
    assert [len(set(packs)) for packs in pages.values()] == [1, 1, 2]
    assert len(set(needs.values())) == 3


# ── packs ────────────────────────────────────────────────────────────────────────────────────────────


@pytest.mark.parametrize("kind", ["packs/d", "packs/m"])
def test_a_damaged_pack_is_named_with_exactly_the_files_that_it_takes(
    scene: Scene, needs: dict[str, frozenset[str]], kind: str, place: str, tally: Tally
) -> None:
    for damage, rig in all_damages(scene, kind, tally):
        with tally.cell(damage.label) as found:
            lost = {}
            for point, oracle in scene.oracles.items():
                wrong, lost[point] = _judged(rig, scene, point, oracle, damage, needs[point], place)
                found += wrong
            found += _unhealed(rig, scene, lost, place)
    tally.judge(least=40)


def test_a_name_of_a_node_whose_first_name_was_on_a_lost_page_is_named_by_verify(scene: Scene, place: str) -> None:
    rig = rig_on(scene.copy())
    last = list(scene.oracles)[-1]
    first_page = rig.reader(last).pages[0]
    rig.store.delete(rig.reader(last).locate(first_page.chunks)[0].pack)
    back = restored(rig, last, scene.tree, scene.oracles[last], place, forgotten=_forgotten(rig, scene, last))
    assert back.named == named(verified(rig, last)) == {f"{scene.tree}/z name"}


def _judged(
    rig: Rig, scene: Scene, point: str, oracle: str, damage: Damage, needed: frozenset[str], place: str
) -> tuple[list[str], frozenset[str]]:
    """Say what is wrong with what verify and restore make of one point, and return what is lost of it."""
    done = verified(rig, point)
    forgotten = _forgotten(rig, scene, point)
    back = restored(rig, point, scene.tree, oracle, place, forgotten=forgotten)
    found = [f"restored wrong: {line}" for line in back.wrong]
    hit = needed & set(damage.objects)
    messages = "; ".join({notice.message for notice in done.warnings})
    found += [f"verify does not name {name}, it says: {messages}" for name in hit if name not in messages]
    if not hit and (done.warnings or back.lost or back.done.warnings):
        found.append("the point needs nothing of it, and yet something is wrong")
    if any(notice.path == NAMELESS and notice.code == "damaged" for notice in done.warnings) != bool(forgotten):
        found.append("verify does not say that entries are lost, or says it without need")
    found += _unlike("verify names", named(done), "the restore names", back.named)
    # Directories on the way to something come back even when nothing describes them any more.
    files, directories = named(done) | forgotten, _directories(scene, oracle)
    found += _unlike("verify names", files - directories, "the restore loses", back.lost - directories)
    return [f"{point}: {line}" for line in found], back.lost


def _unlike(one: str, left: frozenset[str], other: str, right: frozenset[str]) -> list[str]:
    only = [(one, left - right), (other, right - left)]
    return [f"only {who} {min(paths)} and {len(paths) - 1} more" for who, paths in only if paths]


def _directories(scene: Scene, oracle: str) -> frozenset[str]:
    return frozenset(f"{scene.tree}{folder[len(oracle) :]}" for folder, _, _ in os.walk(oracle))


def _forgotten(rig: Rig, scene: Scene, point: str) -> frozenset[str]:
    """Return the paths in the tree whose entries cannot be read any more."""
    lost = _described(rig_on(scene.store), point) - _described(rig, point)
    return frozenset(path for path in lost if path.startswith(scene.tree))


def _described(rig: Rig, point: str) -> frozenset[str]:
    entries = rig.reader(point).entries_or_errors()
    return frozenset("/" + os.fsdecode(entry.path) for entry in entries if not isinstance(entry, SkyharborError))


def _names_of(rig: Rig, point: str, paths: Collection[str]) -> frozenset[str]:
    """Return the further names of these hard-linked nodes."""
    entries = rig.reader(point).entries_or_errors()
    readable = [entry for entry in entries if not isinstance(entry, SkyharborError)]
    return frozenset("/" + os.fsdecode(e.path) for e in readable if e.link and "/" + os.fsdecode(e.link) in paths)


def _unhealed(rig: Rig, scene: Scene, lost: dict[str, frozenset[str]], place: str) -> list[str]:
    """Back up once more: the new point must be whole, and older ones must get back what the source still has."""
    done = rig.backup(scene.tree)
    assert done.point is not None
    found = not_proven(rig, done.point.point_id)
    back = restored(rig, done.point.point_id, scene.tree, scene.now, place)
    found += [f"the next point: {line}" for line in [*back.wrong, *sorted(back.lost), *back.done.warnings]]
    for point, oracle in scene.oracles.items():
        if not lost[point]:
            continue
        # A page of entries comes back only if the source still looks like that: mostly it does not.
        forgotten = _forgotten(rig, scene, point)
        after = restored(rig, point, scene.tree, oracle, place, forgotten=forgotten)
        links = _names_of(rig, point, forgotten)
        kept = [path for path in sorted(after.lost - forgotten - links) if _same_today(path, scene, oracle)]
        found += [f"{point} does not get back {path}, which the source still has" for path in kept]
        found += [f"{point} has lost more: {path}" for path in sorted(after.lost - lost[point])]
        found += [f"{point} restores wrong after the healing: {line}" for line in after.wrong]
    return found


def _same_today(path: str, scene: Scene, oracle: str) -> bool:
    then = f"{oracle}{path[len(scene.tree) :]}"
    if not (os.path.isfile(then) and os.path.isfile(path)):
        return False
    with open(then, "rb") as one, open(path, "rb") as other:
        return one.read() == other.read()


# ── everything that is not a pack ────────────────────────────────────────────────────────────────────


def test_a_damaged_index_segment_is_named_and_rebuilt_and_costs_nothing(scene: Scene, place: str, tally: Tally) -> None:
    for damage, rig in all_damages(scene, "index", tally):
        with tally.cell(damage.label) as found:
            found += unrestorable(rig, scene.oracles, scene.tree, place)
            for point in scene.oracles:
                found += not_proven(rig, point)
            problems = "; ".join(rig.index().problems)
            if damage.harm in (Harm.FLIP, Harm.TRUNCATE) and damage.objects[0] not in problems:
                found.append(f"loading the index does not name it, it says: {problems}")
            done = rig.backup(scene.tree)
            assert done.point is not None
            found += not_proven(rig, done.point.point_id)
            rebuilt = rig.index()
            found += ["what was rebuilt is rebuilt again by the next one"] if rebuilt.recovered else []
            points = [done.point.point_id, *(scene.oracles if damage.harm is not Harm.DELETE else ())]
            found += [f"{point} is not in the index" for point in points if not _covered(rig, rebuilt, point)]
    tally.judge(least=40)


def test_one_index_segment_that_is_gone_is_rebuilt_instead_of_storing_everything_again(scene: Scene) -> None:
    stored = []
    for info in scene.store.list(layout.INDEX):
        rig = rig_on(scene.copy())
        rig.store.delete(info.name)
        stored.append(rig.backup(scene.tree).stats.chunks_new)
    assert max(stored) <= 1  # one page: the folders above may have changed


def test_an_index_that_is_gone_is_rebuilt_and_costs_nothing(scene: Scene, place: str) -> None:
    rig = rig_on(scene.copy())
    for info in list(rig.store.list(layout.INDEX)):
        rig.store.delete(info.name)
    assert unrestorable(rig, scene.oracles, scene.tree, place) == []
    stored = rig.backup(scene.tree).stats.chunks_new
    assert (stored <= 1, rig.index().recovered) == (True, ())  # one page: the folders above may have changed
    assert all(_covered(rig, rig.index(), point) for point in scene.oracles)


def _covered(rig: Rig, index: ChunkIndex, point: str) -> bool:
    reader = rig.reader(point)
    ids = b"".join([*(page.chunks for page in reader.pages), *(entry.chunks for entry in reader.entries())])
    return index.contains_all(ids)


def test_a_damaged_manifest_is_named_and_takes_its_point_and_nothing_else(
    scene: Scene, place: str, tally: Tally
) -> None:
    for damage, rig in all_damages(scene, "points", tally):
        with tally.cell(damage.label) as found:
            hit = {name.rsplit("/", 1)[1] for name in damage.objects}
            code = "object-missing" if damage.harm is Harm.DELETE else "object-damaged"
            found += [line for point in hit for line in _opens(rig, point, code)]
            sound = {point: oracle for point, oracle in scene.oracles.items() if point not in hit}
            found += unrestorable(rig, sound, scene.tree, place, but=hit)
            done = rig.backup(scene.tree)
            assert done.point is not None
            found += not_proven(rig, done.point.point_id)
            found += unrestorable(rig, {**sound, done.point.point_id: scene.now}, scene.tree, place, but=hit)
    tally.judge(least=40)


def _opens(rig: Rig, point: str, code: str) -> list[str]:
    try:
        rig.reader(point)
    except SkyharborError as error:
        return [] if error.code == code and point in str(error) else [f"opening {point} says {error!r}"]
    return [f"{point} opens"]


def test_a_damaged_header_of_the_vault_costs_nothing_and_is_told(scene: Scene, place: str, tally: Tally) -> None:
    for damage, rig in all_damages(scene, layout.VAULT, tally):
        with tally.cell(damage.label) as found:
            harmless = _said_by_the_header(rig) == _said_by_the_header(rig_on(scene.store))
            found += unrestorable(rig, scene.oracles, scene.tree, place)
            told = [notice.code for notice in rig.backup(scene.tree).warnings]
            if not harmless and (not rig.vault.problems or "vault-header" not in told):
                found.append(f"nobody says so: {rig.vault.problems} {told}")
    tally.judge(least=12)


def _said_by_the_header(rig: Rig) -> object:
    """What is in ``vault.json``, but for white space."""
    try:
        return json.loads(rig.store.get(layout.VAULT))
    except (ValueError, SkyharborError):
        return None


def test_a_damaged_machine_card_costs_nothing_and_the_next_backup_puts_another(
    scene: Scene, place: str, tally: Tally
) -> None:
    (sound,) = rig_on(scene.store).vault.machine_cards()
    for damage, rig in all_damages(scene, "machines", tally):
        with tally.cell(damage.label) as found:
            found += unrestorable(rig, scene.oracles, scene.tree, place)
            rig.backup(scene.tree)
            card = rig.vault.machine_card("machine")
            if card is None or (card.name, card.slots) != (sound.name, sound.slots):
                found.append(f"the card is {card}")
    tally.judge(least=12)
