"""A collection deletes all that nobody needs, and nothing else, whoever writes beside it."""

from __future__ import annotations

import os
import shutil
from pathlib import Path

import pytest

from shared.contracts.collect import GivenUp, PointIds
from shared.errors import SkyharborError
from shared.model.ids import new_id
from shared.storage.faulty import Fault, FaultKind, FaultyStore, Verb
from shared.storage.memory import MemoryStore
from shared.vault import layout
from shared.vault.fences import put_fence
from shared.vault.layout import PointName, point_name
from shared.vault.pack_presence import mark_damaged
from tests.support.collecting_tower import CollectingTower, State
from tests.support.compare import differences
from tests.unit.engine.collect_rig import MACHINE, OTHER, CollectRig
from workers.engine.collecting import compacting
from workers.engine.condemned import forget_condemned

ITEM = f"{MACHINE}-item"


class Field:
    """A rig with a tree for every machine, and a copy of the tree for every point."""

    def __init__(self, root: Path) -> None:
        self.rig = CollectRig()
        self.root = root
        self.copies: dict[str, str] = {}
        self.trees = {machine: str(root / f"tree-{machine}") for machine in (MACHINE, OTHER)}
        for machine, tree in self.trees.items():
            os.mkdir(tree)
            self.write("same", b"what stays " * 300, machine=machine)
        # So that what stays is not in packs of the first point.
        self.keep(self.rig.backup(self.tree, item="base-item"))

    @property
    def tree(self) -> str:
        return self.trees[MACHINE]

    @property
    def tower(self) -> CollectingTower:
        return self.rig.tower

    def write(self, name: str, data: bytes, *, machine: str = MACHINE) -> None:
        Path(self.trees[machine], name).write_bytes(data)

    def keep(self, point: str, machine: str = MACHINE) -> str:
        """Remember what the source is like, for a point that is about to be sealed."""
        copy = str(self.root / f"copy-{point}")
        shutil.copytree(self.trees[machine], copy)
        self.copies[point] = copy
        return point

    def backup(self, machine: str = MACHINE) -> str:
        return self.keep(self.rig.backup(self.trees[machine], machine=machine), machine)

    def change_and_back_up(self, number: int, machine: str = MACHINE) -> str:
        """One file is replaced in every generation, so that every point but the last has packs of its own."""
        self.write("changes", b"generation %d " % number * 200, machine=machine)
        return self.backup(machine)

    def losses(self, points: list[str] | None = None, machine: str = MACHINE) -> list[str]:
        """Say what points do not bring back; all that a user may count on, unless told which."""
        ids = self.tower.sealed() if points is None else points
        found = []
        for point in ids:
            said = self.tower.points[point].ids if point in self.tower.points else PointIds(machine, ITEM, point)
            if said.machine != machine:
                continue
            target = str(self.root / f"out-{new_id()}")
            codes = self.rig.restore(point, target, machine=machine, item=said.item)
            found += [f"{point}: {code}" for code in codes]
            found += differences(self.copies[point], f"{target}{self.trees[machine]}", ignore=["holes"])
            shutil.rmtree(target)
        return found


@pytest.fixture
def field(tmp_path: Path) -> Field:
    return Field(tmp_path)


@pytest.fixture
def three(field: Field) -> tuple[Field, list[str]]:
    return field, [field.change_and_back_up(number) for number in range(3)]


Three = tuple[Field, list[str]]


def test_a_vault_in_which_everything_is_needed_is_left_as_it_is(three: Three) -> None:
    field, _ = three
    before = field.rig.names()
    done = field.rig.collect()
    assert field.rig.names() == before
    assert (done.stats.packs_needed, done.stats.packs_condemned, done.warnings) == (len(field.rig.packs()), 0, ())


def test_what_only_an_expired_point_needed_goes_and_the_others_restore(three: Three) -> None:
    field, (first, second, third) = three
    only_first = field.rig.needs(first) - field.rig.needs(second) - field.rig.needs(third)
    field.tower.expire(first)
    done = field.rig.collect()
    assert only_first
    assert not only_first & field.rig.packs()
    assert (field.rig.points(), field.rig.garbage(), field.losses()) == ([second, third], set(), [])
    stats = done.stats
    assert (stats.points_expired, stats.packs_condemned, stats.packs_deleted, stats.packs_waiting) == (
        1, len(only_first), len(only_first), 0,
    )  # fmt: skip
    assert stats.bytes_deleted == stats.bytes_condemned > 0
    assert field.tower.points[first].state is State.EXPIRED
    assert field.tower.packs == {}


def test_without_a_second_sweep_the_next_run_deletes(three: Three) -> None:
    field, (first, *_) = three
    field.tower.expire(first)
    done = field.rig.collect(again=False)
    assert done.stats.packs_waiting == done.stats.packs_condemned == len(field.rig.garbage()) > 0
    done = field.rig.collect(again=False)
    assert (field.rig.garbage(), done.stats.packs_condemned, done.stats.packs_waiting) == (set(), 0, 0)


def test_packs_wait_until_the_grace_has_passed(tmp_path: Path) -> None:
    field = Field(tmp_path)
    field.rig.tower = CollectingTower(grace=100)
    first = field.change_and_back_up(1)
    field.change_and_back_up(2)
    field.tower.expire(first)
    assert field.rig.collect().stats.packs_deleted == 0
    field.tower.now = 99
    assert field.rig.collect().stats.packs_deleted == 0
    field.tower.now = 100
    assert field.rig.collect().stats.packs_deleted > 0
    assert field.losses() == []


def test_a_mark_of_damage_goes_with_its_pack(three: Three) -> None:
    field, (first, second, _) = three
    gone = sorted(field.rig.needs(first) - field.rig.needs(second))
    kept = sorted(field.rig.needs(first) & field.rig.needs(second))
    for pack in (gone[0], kept[0]):
        mark_damaged(field.rig.vault(), pack, "for the test")
    field.tower.expire(first)
    field.rig.collect()
    assert field.rig.names(layout.DAMAGED) == {layout.damaged_name(kept[0])}


def base_needs(field: Field) -> set[str]:
    (base,) = field.rig.vault().points(MACHINE, "base-item")
    return field.rig.needs(base.point_id, item="base-item")


def test_a_machine_without_a_key_is_skipped_and_nothing_of_it_goes(field: Field) -> None:
    for machine in (MACHINE, OTHER):
        first, _ = [field.change_and_back_up(number, machine) for number in range(2)]
        field.tower.expire(first)
    mine = set().union(*(field.rig.needs(p) for p in field.rig.points())) | base_needs(field)
    theirs = field.rig.packs() - mine
    done = field.rig.collect(held=[MACHINE])
    assert [(notice.code, OTHER in notice.message) for notice in done.warnings] == [("key-missing", True)]
    assert (done.stats.machines_skipped, done.stats.warnings) == (1, 1)
    assert theirs <= field.rig.packs()
    assert field.rig.garbage() & mine == set()
    assert field.losses() == field.losses(machine=OTHER) == []
    # The key is there again: the rest goes.
    field.rig.collect()
    assert (field.rig.garbage(), field.losses(machine=OTHER)) == (set(), [])


def test_a_machine_that_the_tower_does_not_know_is_never_touched(field: Field) -> None:
    for machine in (MACHINE, OTHER):
        first, _ = [field.change_and_back_up(number, machine) for number in range(2)]
        field.tower.expire(first)
    mine = set().union(*(field.rig.needs(p) for p in field.rig.points())) | base_needs(field)
    theirs = field.rig.packs() - mine
    # Another tower has that machine; its points and packs mean nothing here, even the key does not help.
    for point in [p for p, row in field.tower.points.items() if row.ids.machine == OTHER]:
        del field.tower.points[point], field.tower.jobs[point]
    done = field.rig.collect(machines=[MACHINE])
    assert [notice.code for notice in done.warnings] == ["machine-unknown"]
    assert theirs <= field.rig.packs()
    assert field.rig.garbage() & mine == set()


def test_a_damaged_manifest_keeps_every_pack_of_its_machine(three: Three) -> None:
    field, (first, second, third) = three
    store = field.rig.store
    assert isinstance(store, MemoryStore)
    other = [field.change_and_back_up(number, OTHER) for number in range(2)]
    before, theirs = field.rig.packs(), field.rig.needs(other[0], machine=OTHER)
    name = point_name(PointName(MACHINE, ITEM, second))
    sound = store.get(name)
    store.tamper(name, sound[:-1] + bytes([sound[-1] ^ 1]))
    field.tower.expire(first, other[0])
    done = field.rig.collect()
    assert [notice.code for notice in done.warnings] == ["manifest-damaged"]
    assert before - field.rig.packs() == theirs - field.rig.needs(other[1], machine=OTHER) != set()
    store.tamper(name, sound)
    assert field.losses([second, third]) == []


def test_packs_condemned_before_a_manifest_was_damaged_stay(three: Three) -> None:
    field, (first, second, third) = three
    store = field.rig.store
    assert isinstance(store, MemoryStore)
    field.tower.expire(first)
    field.rig.collect(again=False)
    name = point_name(PointName(MACHINE, ITEM, second))
    sound, before = store.get(name), field.rig.packs()
    store.tamper(name, sound[:-1])
    done = field.rig.collect()
    assert [notice.code for notice in done.warnings] == ["manifest-damaged", "packs-hidden", "packs-hidden"]
    assert (field.rig.packs(), done.stats.packs_deleted) == (before, 0)
    assert done.stats.packs_waiting > 0
    store.tamper(name, sound)
    field.rig.collect()
    assert (field.rig.garbage(), field.losses([second, third])) == (set(), [])


def test_what_an_index_claims_about_another_machines_packs_does_not_count(field: Field) -> None:
    """Whoever holds one machine's key can say of any pack that it is his."""
    other = [field.change_and_back_up(number, OTHER) for number in range(2)]
    field.backup()
    for segment in field.rig.names(layout.index_prefix(OTHER)):
        # Not even readable for the victim's keys: only that a list of names would be believed is tried here.
        field.rig.store.put(segment.replace(OTHER, MACHINE), [field.rig.store.get(segment)])
    before = field.rig.packs()
    field.rig.collect(held=[MACHINE])
    assert (field.rig.packs(), field.losses(other, OTHER)) == (before, [])


def test_keys_that_machines_share_are_hidden_with_any_of_them(three: Three) -> None:
    field, (first, *_) = three
    field.rig.deks = {MACHINE: b"k" * 32, OTHER: b"k" * 32}
    field.change_and_back_up(7, OTHER)
    store = field.rig.store
    assert isinstance(store, MemoryStore)
    (manifest,) = field.rig.names(layout.points_prefix(OTHER))
    store.tamper(manifest, store.get(manifest)[:-1])
    field.tower.expire(first)
    before = field.rig.packs()
    field.rig.collect()
    assert field.rig.packs() == before


# ── backups beside it ────────────────────────────────────────────────────────────────────────────────


def interrupted(field: Field, *, after_puts: int) -> str:
    """Begin a backup that dies at a put, and return the point that it was about; its job waits for another attempt."""
    point, writer = field.rig.claim()
    faulty = FaultyStore(field.rig.store, [Fault(verb=Verb.PUT, nth=after_puts + 1, kind=FaultKind.CRASH)])
    with pytest.raises(SkyharborError):
        field.rig.fly(field.tree, point, writer, store=faulty)
    field.tower.rescue(point)
    return point


def test_what_an_interrupted_backup_has_stored_is_found_again_while_its_machine_is_busy(three: Three) -> None:
    field, _ = three
    field.write("large", os.urandom(3_000_000))
    point = interrupted(field, after_puts=3)  # data, metadata, index; not the manifest
    orphans = field.rig.garbage()
    assert orphans
    done = field.rig.collect()
    assert (field.rig.garbage(), done.stats.packs_condemned) == (orphans, 0)
    _, writer = field.rig.claim(point)
    again = field.rig.fly(field.tree, point, writer)
    assert again.stats.bytes_transferred < 1_000_000
    writer.complete()
    field.keep(point)
    field.rig.collect()  # a page may have been cut off before it was indexed; nothing is busy any more
    assert (field.rig.garbage(), field.losses()) == (set(), [])


def test_of_a_busy_machine_what_an_expired_point_needed_goes_all_the_same(three: Three) -> None:
    field, (first, second, _) = three
    field.write("large", os.urandom(3_000_000))
    interrupted(field, after_puts=2)  # before it had leave to seal: then it would be an older writer
    orphans = field.rig.garbage()
    only_first = field.rig.needs(first) - field.rig.needs(second)
    field.tower.expire(first)
    field.rig.collect()
    assert only_first
    assert (field.rig.packs() & only_first, field.rig.garbage(), field.losses()) == (set(), orphans, [])


def test_what_a_backup_that_was_given_up_has_stored_goes(three: Three) -> None:
    field, _ = three
    field.write("large", os.urandom(3_000_000))
    field.tower.give_up(interrupted(field, after_puts=3))
    assert field.rig.garbage()
    field.rig.collect()
    assert (field.rig.garbage(), field.losses()) == (set(), [])


def test_a_backup_that_began_before_keeps_a_condemned_pack_that_it_found(three: Three) -> None:
    field, (first, second, third) = three
    only_first = field.rig.needs(first) - field.rig.needs(second) - field.rig.needs(third)
    field.write("changes", b"generation 0 " * 200)  # what only the first point has
    point, writer = field.rig.claim()
    runs = []

    def collect_once() -> None:
        if not runs:
            field.tower.expire(first)
            runs.append(field.rig.collect())

    writer.on_commit = collect_once
    field.rig.fly(field.tree, point, writer)
    writer.complete()
    field.keep(point)
    kept = field.rig.needs(point) & only_first
    assert kept
    # Its machine was busy and the expiry younger: the expired point had to wait for it, its packs too.
    assert (runs[0].stats.points_expired, runs[0].stats.packs_deleted) == (0, 0)
    done = field.rig.collect()
    assert done.stats.points_expired == 1
    assert kept <= field.rig.packs()
    assert (field.rig.garbage(), field.losses()) == (set(), [])


def condemn_all_of(field: Field, point: str) -> set[str]:
    """Expire a point, and condemn what only it needed; nothing is deleted yet."""
    field.tower.expire(point)
    field.rig.collect(again=False)
    return set(field.tower.packs)


def test_a_condemned_pack_that_an_older_writer_has_used_is_revived(three: Three) -> None:
    field, _ = three
    field.write("large", os.urandom(3_000_000))
    field.tower.give_up(interrupted(field, after_puts=3))
    orphans = field.rig.garbage()
    idle = field.rig.collecting(again=True)  # said while no backup was under way
    point, writer = field.rig.claim()
    runs = []

    def condemn_once() -> None:
        if not runs:
            runs.append(None)
            field.rig.collect(instruction=idle)

    writer.on_check = condemn_once
    field.rig.fly(field.tree, point, writer)
    used = field.rig.needs(point) & orphans
    assert used
    assert used <= field.tower.packs.keys()
    writer.complete()
    field.keep(point)
    done = field.rig.collect()
    assert done.stats.packs_revived == len(used)
    assert (field.rig.garbage(), field.losses(), field.tower.packs) == (set(), [], {})


def test_a_backup_that_began_after_stores_again_what_is_condemned(three: Three) -> None:
    field, (first, *_) = three
    garbage = condemn_all_of(field, first)
    field.write("changes", b"generation 0 " * 200)
    point = field.backup()
    assert garbage
    assert not field.rig.needs(point) & garbage
    field.rig.collect()
    assert not field.rig.packs() & garbage
    assert (field.rig.garbage(), field.losses()) == (set(), [])


def test_an_unchanged_file_in_a_condemned_pack_is_read_again(three: Three) -> None:
    """As when the reference was sealed by a writer that knew the pack, and nobody has taken it back yet."""
    field, (*_, third) = three
    field.tower.packs.clear()
    desk = field.tower.desk()
    condemned = field.rig.needs(third)
    desk.condemn([GivenUp(name, 1) for name in condemned], ())
    point = field.backup()
    assert not field.rig.needs(point) & condemned
    field.rig.collect()
    assert (field.rig.garbage(), field.losses()) == (set(), [])


def test_a_lost_index_does_not_bring_condemned_packs_back(three: Three) -> None:
    """Without index segments what points need is found in the packs themselves, condemned or not."""
    field, (first, second, third) = three
    condemned = field.rig.needs(third)
    field.tower.desk().condemn([GivenUp(name, 1) for name in condemned], ())
    for segment in field.rig.names(layout.INDEX):
        field.rig.store.delete(segment)
    point = field.backup()
    assert not field.rig.needs(point) & condemned
    assert not field.rig.index().pack_names() & condemned
    assert field.losses([first, second, third, point]) == []


# ── ghosts ───────────────────────────────────────────────────────────────────────────────────────────


def test_a_manifest_that_a_ghost_puts_late_is_no_point(three: Three) -> None:
    """A worker has leave to seal, sleeps, is given up; packs that it found go; it wakes up and puts its manifest."""
    field, (first, second, third) = three
    field.write("changes", b"generation 0 " * 200)
    point, writer = field.rig.claim()
    runs = []

    def sleep() -> None:
        field.tower.give_up(point)
        field.tower.expire(first)
        runs.append(field.rig.collect())

    writer.on_commit = sleep
    with pytest.raises(SkyharborError) as caught:
        field.rig.fly(field.tree, point, writer)
    assert caught.value.code == "point-fenced"
    assert (runs[0].stats.points_fenced, runs[0].stats.packs_deleted > 0) == (1, True)
    manifest = point_name(PointName(MACHINE, ITEM, point))
    assert manifest in field.rig.names()
    assert field.rig.points() == [second, third]
    field.rig.collect()
    assert manifest not in field.rig.names()
    assert (field.rig.garbage(), field.losses()) == (set(), [])


def test_a_point_that_was_sealed_before_its_job_was_given_up_counts(three: Three) -> None:
    field, points = three
    field.write("changes", b"generation 9 " * 200)
    point, writer = field.rig.claim()
    field.rig.fly(field.tree, point, writer)
    field.keep(point)
    field.tower.give_up(point)
    done = field.rig.collect()
    assert (done.stats.points_fenced, field.tower.jobs[point].settled) == (0, "found")
    assert field.rig.names(layout.FENCED) == set()
    assert (field.rig.points(), field.losses([*points, point])) == ([*points, point], [])


def test_a_fence_of_somebody_else_does_not_get_a_sealed_point_given_up(three: Three) -> None:
    field, points = three
    field.write("changes", b"generation 9 " * 200)
    point, writer = field.rig.claim()
    field.rig.fly(field.tree, point, writer)
    field.keep(point)
    field.tower.give_up(point)
    put_fence(field.rig.store, PointName(MACHINE, ITEM, point), field.rig.vault().clock)
    field.rig.collect()
    assert field.tower.jobs[point].settled == "found"
    for fence in field.rig.names(layout.FENCED):
        field.rig.store.delete(fence)
    assert (field.rig.points(), field.losses([*points, point])) == ([*points, point], [])


def test_a_manifest_that_comes_after_the_look_is_none(three: Three) -> None:
    """The tower has been told that it is missing, and that is final."""
    field, points = three
    point, writer = field.rig.claim()
    field.write("changes", b"generation 9 " * 200)
    manifest = point_name(PointName(MACHINE, ITEM, point))
    field.rig.fly(field.tree, point, writer)
    field.tower.give_up(point)
    store = field.rig.store
    data = store.get(manifest)
    store.delete(manifest)
    told = []

    def come_late(verb: str) -> None:
        told.append(verb)
        if told[-2:] == ["settled", "unsettled"]:
            store.put(manifest, [data])

    field.tower.hook = come_late
    done = field.rig.collect()
    assert (done.stats.points_fenced, field.tower.jobs[point].settled) == (1, "fenced")
    assert (field.rig.points(), manifest in field.rig.names()) == (points, False)
    field.rig.collect()
    assert (field.rig.garbage(), field.losses()) == (set(), [])


def test_the_name_of_an_expired_point_is_fenced_when_another_attempt_may_have_its_manifest(three: Three) -> None:
    """The first attempt sleeps right before its manifest; the second one makes the point, which expires and goes."""
    field, _ = three
    field.write("changes", b"generation 9 " * 200)
    point, first = field.rig.claim()
    asleep = []

    def sleep() -> None:
        if asleep:
            return
        asleep.append(None)
        field.tower.rescue(point)
        _, second = field.rig.claim(point)
        field.rig.fly(field.tree, point, second)
        second.complete()
        field.keep(point)
        field.change_and_back_up(10)
        field.tower.expire(point)
        field.tower.hook = lambda verb: told.append(verb) if verb != "expired" else told.append(manifest_there())
        field.rig.collect()

    def manifest_there() -> bool:
        return point_name(PointName(MACHINE, ITEM, point)) in field.rig.names()

    told: list[object] = []
    first.on_commit = sleep
    with pytest.raises(SkyharborError) as caught:
        field.rig.fly(field.tree, point, first)
    assert caught.value.code == "point-fenced"
    assert (False in told, True in told) == (True, False)
    assert field.tower.points[point].state is State.EXPIRED
    assert point not in field.rig.points()
    field.rig.collect()
    assert point_name(PointName(MACHINE, ITEM, point)) not in field.rig.names()
    assert (field.rig.garbage(), field.losses()) == (set(), [])


def test_a_fence_that_somebody_else_has_put_on_a_point_takes_nothing_away(three: Three) -> None:
    """As whoever can only put objects could, and not delete them: the tower has not given up any of these names."""
    field, points = three
    field.change_and_back_up(5)
    for point in [*points, "01a213cf-0000-7000-8000-00000000dead"]:
        put_fence(field.rig.store, PointName(MACHINE, ITEM, point), field.rig.vault().clock)
    before = field.rig.packs()
    done = field.rig.collect()
    assert [notice.code for notice in done.warnings] == ["fence-foreign"] * len(points)
    assert field.rig.packs() == before
    assert field.losses() == []  # by the tower's word, fence or no
    for fence in field.rig.names(layout.FENCED):
        field.rig.store.delete(fence)
    assert set(points) <= set(field.rig.points())


def test_doomed_packs_of_a_collector_that_sleeps_stay_condemned_for_ever(three: Three) -> None:
    """It may delete them at any time: nobody is ever to rely on these names again."""
    field, (first, *_) = three
    condemned = condemn_all_of(field, first)
    field.tower.desk().doom(sorted(condemned))
    field.rig.collect()
    assert not condemned & field.rig.packs()
    assert condemned <= field.tower.packs.keys()
    again = field.rig.collect()
    assert (again.stats.packs_deleted, again.stats.packs_waiting) == (0, 0)
    assert field.losses() == []


def test_a_ghosts_manifest_with_holes_stays_fenced_when_the_tower_forgot_that_it_was_settled(three: Three) -> None:
    field, (first, second, third) = three
    field.write("changes", b"generation 0 " * 200)
    point, writer = field.rig.claim()

    def sleep() -> None:
        field.tower.give_up(point)
        field.tower.expire(first)
        field.rig.collect()

    writer.on_commit = sleep
    with pytest.raises(SkyharborError):
        field.rig.fly(field.tree, point, writer)
    assert field.tower.jobs[point].settled == "fenced"
    field.tower.jobs[point].settled = ""  # its database was put back
    field.rig.collect()
    assert field.tower.jobs[point].settled == "fenced"
    assert (field.rig.points(), field.rig.garbage(), field.losses()) == ([second, third], set(), [])


def test_a_needed_pack_that_the_tower_dooms_is_not_deleted_and_the_run_ends(three: Three) -> None:
    field, (_, _, third) = three
    needed = sorted(field.rig.needs(third))[0]
    field.tower.desk().condemn([GivenUp(needed, 1)], ())
    field.tower.packs[needed].doomed = True
    with pytest.raises(SkyharborError) as caught:
        field.rig.collect()
    assert caught.value.code == "internal"
    assert (needed in field.rig.packs(), field.losses()) == (True, [])


def test_a_tower_that_dooms_what_nobody_asked_for_is_not_obeyed(three: Three) -> None:
    field, (first, *_) = three
    condemn_all_of(field, first)
    before = field.rig.packs()
    desk = field.tower.desk()
    desk.doom = lambda packs: (*packs, "packs/d/00/" + "0" * 64)  # type: ignore[method-assign]
    with pytest.raises(SkyharborError) as caught:
        field.rig.collect(desk=desk)
    assert (caught.value.code, field.rig.packs()) == ("internal", before)


def test_a_shard_that_was_claimed_later_forgets_what_its_lead_may_use(three: Three) -> None:
    """Both are right: the lead is an older writer, for which the pack waits; the shard is not, and stores again."""
    field, (first, *_) = three
    point, lead = field.rig.claim()
    field.tower.rescue(point)
    condemned = condemn_all_of(field, first)
    _, lead = field.rig.claim(point)
    shard = field.tower.claim(MACHINE, ITEM, point, unit=1)
    index = field.rig.index()
    assert condemned <= index.pack_names()
    forget_condemned(index, shard)
    assert not index.pack_names() & condemned
    lead.complete()


# ── the index ────────────────────────────────────────────────────────────────────────────────────────


def segments(field: Field) -> set[str]:
    return field.rig.names(layout.index_prefix(MACHINE))


def test_many_index_segments_become_one_without_the_rows_of_packs_that_are_gone(
    three: Three, monkeypatch: pytest.MonkeyPatch
) -> None:
    field, (first, *_) = three
    before = segments(field)
    field.rig.collect()
    assert segments(field) == before  # they are few
    monkeypatch.setattr(compacting, "_MANY", 3)
    field.tower.expire(first)
    known = field.rig.index().pack_names()
    done = field.rig.collect()
    assert done.stats.packs_deleted > 0
    after = segments(field)
    assert (len(after), after & before) == (1, set())
    index = field.rig.index()
    assert index.pack_names() == known & field.rig.packs()
    assert index.problems == []
    assert field.losses() == []
    point = field.backup()  # finds everything that it had stored before
    assert field.rig.needs(point) <= field.rig.packs()
    assert field.losses() == []


def test_a_busy_machines_index_is_left_alone(three: Three, monkeypatch: pytest.MonkeyPatch) -> None:
    field, _ = three
    monkeypatch.setattr(compacting, "_MANY", 1)
    field.rig.claim()
    before = segments(field)
    field.rig.collect()
    assert segments(field) == before


def test_a_damaged_segment_is_left_where_it_is(three: Three, monkeypatch: pytest.MonkeyPatch) -> None:
    field, _ = three
    monkeypatch.setattr(compacting, "_MANY", 1)
    store = field.rig.store
    assert isinstance(store, MemoryStore)
    bad = sorted(segments(field))[0]
    store.tamper(bad, store.get(bad)[:-1])
    field.rig.collect()
    assert bad in segments(field)
    assert len(segments(field)) == 2


def test_rows_of_packs_that_came_during_the_run_stay(three: Three, monkeypatch: pytest.MonkeyPatch) -> None:
    field, _ = three
    monkeypatch.setattr(compacting, "_MANY", 1)
    desk = field.tower.desk()
    points = []

    def back_up_once(verb: str) -> None:
        if verb == "unsettled" and not points:
            points.append("")
            points[0] = field.change_and_back_up(8)

    field.tower.hook = back_up_once
    field.rig.collect(desk=desk)
    assert len(segments(field)) == 1
    assert field.rig.needs(points[0]) <= field.rig.index().pack_names()


def test_a_compaction_killed_at_any_call_loses_no_row(three: Three, monkeypatch: pytest.MonkeyPatch) -> None:
    field, _ = three
    monkeypatch.setattr(compacting, "_MANY", 3)
    known, start = field.rig.index().pack_names(), field.rig.store
    for verb in (Verb.PUT, Verb.DELETE):
        for kind in (FaultKind.CRASH, FaultKind.CRASH_AFTER):
            store = MemoryStore()
            for info in start.list():
                store.put(info.name, [start.get(info.name)])
            field.rig.store = store
            with pytest.raises(SkyharborError):
                field.rig.collect(store=FaultyStore(store, [Fault(verb=verb, nth=1, kind=kind)]))
            assert field.rig.index().pack_names() == known
            field.rig.collect()
            assert (field.rig.index().pack_names(), len(segments(field)) <= 3) == (known, True)
