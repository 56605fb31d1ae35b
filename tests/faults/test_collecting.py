"""A collection that is killed, frozen or raced at any call harms no point, and the next runs delete what is left.

Every call to the store and to the tower is a moment: there the collector dies (before the call has an effect, and
after it), or sleeps while another collector does all of it, or while a backup begins and ends. And a backup sleeps at
any of its own steps while a collector runs. After each, every point that a user may count on is restored and compared.
"""

from __future__ import annotations

import contextlib
import copy
import functools
import itertools
import shutil
import threading
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import pytest

from shared.contracts.work import CollectInstruction
from shared.errors import SkyharborError
from shared.model.ids import new_id
from shared.storage.faulty import Fault, FaultKind, FaultyStore, Verb
from shared.storage.memory import MemoryStore
from shared.vault import layout
from shared.vault.fences import put_fence
from shared.vault.layout import PointName, point_name
from shared.vault.pack_presence import mark_damaged
from tests.faults.scene import copy_of
from tests.support.collecting_tower import CollectingTower, State
from tests.support.compare import differences
from tests.support.counts import Tally
from tests.unit.engine.collect_rig import MACHINE, CollectRig

MATRIX = "collecting"
ITEM = f"{MACHINE}-item"


@dataclass
class World:
    """A vault, a tower and the copies of the source that belong to the points. ``copy`` is there to be broken."""

    store: MemoryStore
    tower: CollectingTower
    tree: str
    copies: dict[str, str] = field(default_factory=dict)

    def copy(self) -> World:
        return World(copy_of(self.store), copy.deepcopy(self.tower), self.tree, dict(self.copies))

    @property
    def rig(self) -> CollectRig:
        rig = CollectRig(self.store, made=True, tower=self.tower)
        rig.deks = {MACHINE: b"k" * 32}
        return rig

    def write(self, text: str) -> None:
        Path(self.tree, "changes").write_text(text * 50)

    def keep(self, point: str) -> str:
        kept = f"{self.tree}-{point}"
        shutil.copytree(self.tree, kept)
        self.copies[point] = kept
        return point

    def backup(self, text: str) -> str:
        self.write(text)
        return self.keep(self.rig.backup(self.tree))

    def losses(self, place: str) -> list[str]:
        """Say what does not come back of the points that a user may count on."""
        found = []
        promised = {*self.tower.sealed(), *(p for p, job in self.tower.jobs.items() if job.settled == "found")}
        for point in sorted(promised):
            target = f"{place}/{new_id()}"
            try:
                codes = self.rig.restore(point, target)
            except SkyharborError as error:
                found.append(f"{point} ({self.tower.points.get(point)}) cannot be opened: {error}")
                continue
            found += [f"{point} warns: {code}" for code in codes]
            found += [
                f"{point}: {line}" for line in differences(self.copies[point], f"{target}{self.tree}", ignore=["holes"])
            ]
            shutil.rmtree(target)
        return found + self.holes()

    def holes(self) -> list[str]:
        """Say which manifests that readers accept name a pack that is gone."""
        packs, rig = self.rig.packs(), self.rig
        return [f"{point} has holes" for point in rig.points() if not rig.needs(point) <= packs]

    def leftovers(self) -> list[str]:
        """Say what is left that nobody needs, once nothing is under way."""
        states = [
            f"{p} is {row.state}" for p, row in self.tower.points.items() if row.state in (State.EXPIRING, State.DOOMED)
        ]
        gone = [p for p, row in self.tower.points.items() if row.state is State.EXPIRED]
        manifests = [name for name in self.store_names(layout.POINTS) if name.rsplit("/", 1)[1] in gone]
        ids = {layout.parse_point(name) for name in self.store_names(layout.POINTS)}
        late = [f"{name} stands behind a fence" for name in ids if name and self.rig.vault().is_fenced(name)]
        marks = {name.rsplit("/", 1)[1] for name in self.store_names(layout.DAMAGED)}
        dangling = marks - {name.rsplit("/", 1)[1] for name in self.rig.packs()}
        return [
            *states,
            *(f"{name} is garbage" for name in sorted(self.rig.garbage())),
            *(f"{name} is condemned" for name, pack in self.tower.packs.items() if not pack.doomed),
            *(f"{name} is of an expired point" for name in manifests),
            *late,
            *(f"the mark of {name} is left" for name in dangling),
        ]

    def store_names(self, prefix: str) -> list[str]:
        return [info.name for info in self.store.list(prefix)]

    def finish(self) -> None:
        """Run collections until everything is done: one finds, one deletes, one more deletes what came late."""
        for _ in range(3):
            self.rig.collect()


def given_up(world: World, text: str, *, how: Callable[[], None] | None = None, puts: int | None = None) -> str:
    """A backup whose job ends without a point: dead at a put, or with ``how`` happening when it has leave to seal."""
    world.write(text)
    point, writer = world.rig.claim()
    store = FaultyStore(world.store, [] if puts is None else [Fault(verb=Verb.PUT, nth=puts + 1, kind=FaultKind.CRASH)])
    writer.on_commit = how or (lambda: None)
    with contextlib.suppress(SkyharborError):
        world.rig.fly(world.tree, point, writer, store=store)
    if not world.tower.jobs[point].over:
        world.tower.give_up(point)
    return point


@pytest.fixture(scope="module")
def world(place: str) -> World:
    """Something for every step of a collection to do."""
    tree = f"{place}/tree"
    Path(tree).mkdir()
    Path(tree, "same").write_text("what stays " * 300)
    store = MemoryStore()
    tower = CollectRig(store).tower
    world = World(store, tower, tree)
    points = [world.backup(f"generation {number} ") for number in range(5)]
    # Condemned by an earlier run, and ripe; one of the packs is marked as damaged.
    tower.expire(points[0])
    world.rig.collect(again=False)
    mark_damaged(world.rig.vault(), sorted(tower.packs)[0], "for the test")
    # Garbage without any point; a worker that was given up before it put its manifest, and one after.
    given_up(world, "orphan ", puts=1)
    given_up(world, "never sealed ", puts=3)
    given_up(world, "sealed all the same ")
    found = next(
        p
        for p, job in tower.jobs.items()
        if job.over and not job.settled and PointName(MACHINE, ITEM, p) in world.rig.vault().points(MACHINE)
    )
    world.keep(found)

    # A manifest behind a fence that the tower knows of.
    def sleep() -> None:
        tower.give_up(late)
        tower.jobs[late].settled = "fenced"
        put_fence(store, PointName(MACHINE, ITEM, late), world.rig.vault().clock)

    world.write("late ")
    late, writer = world.rig.claim()
    writer.on_commit = sleep
    with pytest.raises(SkyharborError):
        world.rig.fly(tree, late, writer)
    assert point_name(PointName(MACHINE, ITEM, late)) in world.rig.names()
    # And two points to expire now.
    tower.expire(points[1], points[2])
    world.write("now ")
    return world


# ── moments ──────────────────────────────────────────────────────────────────────────────────────────


class Died(Exception):
    """The process of the collector is gone."""


class Moments:
    """Counts calls from any thread, and does something before or after the n-th; without ``what`` it is the last."""

    def __init__(self, nth: int, what: Callable[[], None] | None, *, after: bool) -> None:
        self._numbers = itertools.count(1)
        self._nth, self._what, self._after = nth, what, after
        self._lock = threading.Lock()
        self.reached = False
        self.dead = False

    def around(self, call: Callable[[], Any], *, counts: bool) -> Any:
        with self._lock:
            if self.dead:
                raise Died
            mine = counts and next(self._numbers) == self._nth
        if mine:
            self.reached = True
        if mine and not self._after:
            self._happen()
        answer = call()
        if mine and self._after:
            self._happen()
        return answer

    def _happen(self) -> None:
        if self._what is None:
            self.dead = True
            raise Died
        self._what()


class Watched:
    """A store or a desk whose calls are moments."""

    def __init__(
        self, inner: Any, moments: Moments, *, counts: bool = True, but: Sequence[str] = ("describe", "close")
    ) -> None:
        self._inner, self._moments, self._counts, self._but = inner, moments, counts, but

    def __getattr__(self, name: str) -> Any:
        method = getattr(self._inner, name)
        if name in self._but:
            return method
        return lambda *args, **kwargs: self._moments.around(lambda: method(*args, **kwargs), counts=self._counts)


def at_every_moment(
    start: World, what: Callable[[World], None] | None, *, where: str, after: bool
) -> Iterator[tuple[str, World, BaseException | None]]:
    """Run a collection for every call of the desk, or the store, during which something happens: death without."""
    for nth in itertools.count(1):
        world = start.copy()

        moments = Moments(nth, None if what is None else functools.partial(what, world), after=after)
        desk = Watched(world.tower.desk(), moments, counts=where == "desk")
        store: Any = Watched(world.store, moments, counts=where == "store")
        ended: BaseException | None = None
        try:
            world.rig.collect(desk=desk, store=store)
        except (SkyharborError, Died) as error:
            ended = error
        if not moments.reached:
            return
        yield f"{where} call {nth} {'after' if after else 'before'}", world, ended


def collect_beside(world: World) -> None:
    world.rig.collect()


def back_up_beside(world: World) -> None:
    """A backup whose content is what condemned and expiring points have."""
    world.write("generation 0 ")
    world.keep(world.rig.backup(world.tree))


MOMENTS = [(where, after) for where in ("desk", "store") for after in (False, True)]


def test_the_world_has_something_for_every_step(world: World, place: str) -> None:
    mine = world.copy()
    assert mine.losses(place) == []
    done = mine.rig.collect()
    stats = done.stats
    assert (stats.points_expired, stats.points_fenced) == (2, 1)
    assert min(stats.packs_condemned, stats.packs_deleted, stats.packs_needed) > 0
    assert (mine.leftovers(), mine.losses(place)) == ([], [])


@pytest.mark.parametrize(("where", "after"), MOMENTS)
def test_a_collector_killed_at_any_call_harms_nothing_and_the_next_ones_finish(
    world: World, place: str, tally: Tally, where: str, after: bool
) -> None:
    for name, mine, ended in at_every_moment(world, None, where=where, after=after):
        tally.add("calls killed")
        with tally.cell(name) as found:
            found += [] if isinstance(ended, Died) else [f"the run ended with {ended!r}"]
            found += mine.losses(place)
            back_up_beside(mine)
            mine.finish()
            found += mine.losses(place) + mine.leftovers()
    tally.judge(least=10)


@pytest.mark.parametrize(("where", "after"), MOMENTS)
def test_a_collector_that_sleeps_while_another_one_collects_harms_nothing(
    world: World, place: str, tally: Tally, where: str, after: bool
) -> None:
    for name, mine, ended in at_every_moment(world, collect_beside, where=where, after=after):
        tally.add("sleeps")
        with tally.cell(name) as found:
            stale = isinstance(ended, SkyharborError) and ended.code == "stale-claim"
            found += [] if stale or ended is None else [f"the run ended with {ended!r}"]
            found += mine.losses(place)
            mine.finish()
            found += mine.losses(place) + mine.leftovers()
    tally.judge(least=10)


def back_up_and_collect_beside(world: World) -> None:
    back_up_beside(world)
    world.rig.collect()
    back_up_beside(world)


@pytest.mark.parametrize("beside", [back_up_beside, back_up_and_collect_beside])
@pytest.mark.parametrize(("where", "after"), MOMENTS)
def test_a_backup_that_begins_and_ends_during_any_call_of_a_collection_loses_nothing(
    world: World, place: str, tally: Tally, where: str, after: bool, beside: Callable[[World], None]
) -> None:
    for name, mine, ended in at_every_moment(world, beside, where=where, after=after):
        tally.add("backups")
        with tally.cell(name) as found:
            stale = isinstance(ended, SkyharborError) and ended.code == "stale-claim"
            found += [] if stale or ended is None else [f"the run ended with {ended!r}"]
            found += mine.losses(place)
            mine.finish()
            found += mine.losses(place) + mine.leftovers()
    tally.judge(least=10)


# ── a backup that sleeps ─────────────────────────────────────────────────────────────────────────────


@dataclass
class Sleeper:
    """One backup during whose n-th call to the store something happens."""

    world: World
    point: str
    ended: SkyharborError | None


def backups_asleep(start: World, what: Callable[[World, str], None], *, after: bool) -> Iterator[tuple[str, Sleeper]]:
    for nth in itertools.count(1):
        world = start.copy()
        world.write("generation 0 ")  # what condemned packs hold
        # Before anything was said of a backup: the machine counts as idle.
        point, writer = world.rig.claim()
        moments = Moments(nth, lambda world=world, point=point: what(world, point), after=after)  # type: ignore[misc]
        error = None
        try:
            world.rig.fly(world.tree, point, writer, store=Watched(world.store, moments))  # type: ignore[arg-type]
            writer.complete()
            world.keep(point)
        except SkyharborError as failure:
            error = failure
        if not moments.reached:
            return
        yield f"store call {nth} {'after' if after else 'before'}", Sleeper(world, point, error)


def idle(world: World) -> CollectInstruction:
    """What a collector is told that was claimed before the backup: its machine is not busy."""
    instruction = world.rig.collecting(again=True)
    machines = tuple(type(one)(machine=one.machine, busy=False) for one in instruction.machines)
    return type(instruction)(vault=instruction.vault, machines=machines, again=True)


def collect_twice(world: World, _point: str) -> None:
    for _ in range(2):
        world.rig.collect(instruction=idle(world))


def give_up_and_collect(world: World, point: str) -> None:
    """The worker is taken for dead for good; it knows nothing of that."""
    world.tower.give_up(point)
    collect_twice(world, point)


def try_again_and_collect(world: World, point: str) -> None:
    """The worker is taken for dead, another one makes the point, and a collector runs before and after."""
    world.tower.rescue(point)
    collect_twice(world, point)
    _, writer = world.rig.claim(point)
    try:
        world.rig.fly(world.tree, point, writer)
        writer.complete()
    finally:
        collect_twice(world, point)
    world.keep(point)


@pytest.mark.parametrize("after", [False, True])
def test_a_backup_during_any_call_of_which_collectors_run_keeps_all_that_it_needs(
    world: World, place: str, tally: Tally, after: bool
) -> None:
    for name, sleeper in backups_asleep(world, collect_twice, after=after):
        tally.add("collections")
        mine = sleeper.world
        with tally.cell(name) as found:
            found += [] if sleeper.ended is None else [f"the backup ended with {sleeper.ended!r}"]
            found += mine.losses(place)
            mine.finish()
            found += mine.losses(place) + mine.leftovers()
    tally.judge(least=10)


@pytest.mark.parametrize("what", [give_up_and_collect, try_again_and_collect])
@pytest.mark.parametrize("after", [False, True])
def test_a_worker_that_was_taken_for_dead_at_any_call_and_goes_on_makes_no_point_with_holes(
    world: World, place: str, tally: Tally, after: bool, what: Callable[[World, str], None]
) -> None:
    for name, sleeper in backups_asleep(world, what, after=after):
        tally.add("ghosts")
        mine = sleeper.world
        with tally.cell(name) as found:
            if sleeper.point in mine.rig.points() and sleeper.point not in mine.copies:
                mine.keep(sleeper.point)
            found += mine.losses(place)
            mine.finish()
            found += mine.losses(place) + mine.leftovers()
    tally.judge(least=10)


# ── older writers that end during a collection ───────────────────────────────────────────────────────


def older_writer(start: World) -> tuple[World, str, Any]:
    """A backup that knows orphans by the index, which are condemned after it has registered and asked.

    Returns the point, and what flies the rest of the backup.
    """
    world = start.copy()
    world.finish()
    given_up(world, "knows ", puts=3)  # its packs are in the index, and no manifest needs them
    orphans = world.rig.garbage()
    assert orphans
    world.write("knows ")
    instruction = idle(world)
    point, writer = world.rig.claim()
    world.rig.collect(instruction=type(instruction)(vault=instruction.vault, machines=instruction.machines))
    assert world.tower.packs.keys() & orphans
    return world, point, writer


_VERBS = 12
"""How often a collector speaks to the tower in this world, and once or twice more."""


def at_verb(world: World, number: int, what: Callable[[], None]) -> None:
    numbers = itertools.count()

    def hook(_verb: str) -> None:
        if next(numbers) == number:
            what()

    world.tower.hook = hook


def test_an_older_writer_that_seals_at_any_moment_of_a_collection_keeps_what_it_needs(
    world: World, place: str, tally: Tally
) -> None:
    for number in range(_VERBS):
        mine, point, writer = older_writer(world)

        def seal(mine: World = mine, point: str = point, writer: Any = writer) -> None:
            mine.rig.fly(mine.tree, point, writer, told=False)
            writer.complete()
            mine.keep(point)

        at_verb(mine, number, seal)
        tally.add("older writers that seal")
        with tally.cell(f"verb {number}") as found:
            mine.rig.collect()
            mine.tower.hook = lambda _: None
            found += mine.losses(place)
            if not mine.tower.jobs[point].over:
                mine.tower.give_up(point)
            mine.finish()
            found += mine.losses(place) + mine.leftovers()
    tally.judge(least=10)


@pytest.mark.parametrize("forgetful", [False, True])
def test_an_older_writer_given_up_at_any_moment_of_a_collection_makes_no_point_with_holes(
    world: World, place: str, tally: Tally, forgetful: bool
) -> None:
    """It has leave to seal, and puts its manifest when the collection is over."""
    for number in range(_VERBS):
        mine, point, writer = older_writer(world)
        mine.tower.forgetful = forgetful

        def sleep(mine: World = mine, point: str = point, number: int = number) -> None:
            at_verb(mine, number, lambda: mine.tower.give_up(point))
            mine.rig.collect()
            mine.tower.hook = lambda _: None

        writer.on_commit = sleep
        tally.add("older writers given up")
        with tally.cell(f"verb {number}") as found:
            with contextlib.suppress(SkyharborError):
                mine.rig.fly(mine.tree, point, writer, told=False)
            if not mine.tower.jobs[point].over:
                mine.tower.give_up(point)
            if point in mine.rig.points():
                mine.keep(point)
            found += mine.losses(place)
            mine.finish()
            found += mine.losses(place) + mine.leftovers()
    tally.judge(least=10)
