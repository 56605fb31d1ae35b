"""Breadth first through all states that a scene can reach.

Rule of the file: states are kept by value with the state they were first reached from, so that what is found comes with
a shortest trace.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

from tests.models import collector, laws, tower, writer
from tests.models.clauses import PROTOCOL, Clauses
from tests.models.world import ABSENT, IDLE, LIVE, SEALED, Job, Step, World, renumbered


@dataclass(frozen=True, slots=True)
class Scene:
    """Who takes part, and what may happen to them. Pack 0 is in storage; point 0 needs it, if ``sealed``."""

    name: str
    jobs: int = 1
    attempts: int = 1
    sealed: bool = True  # otherwise pack 0 is garbage that an index segment speaks of
    empty: bool = False  # not even that
    stores: bool = False  # a writer may store a new pack although it knows an old one
    late_stores: bool = False  # a lost attempt may still store and index
    expires: bool = True
    hold: bool = False
    read: bool = False
    ghosts: bool = True  # a superseded collector may go on


@dataclass(frozen=True, slots=True)
class Found:
    """How the search ended: states seen, and what is broken with the steps to it, if anything is."""

    states: int
    broken: str | None = None
    trace: tuple[str, ...] = ()


def first_world(scene: Scene) -> World:
    """Return the state that a scene begins with."""
    packs = 1 + scene.jobs * scene.attempts
    points = 1 + scene.jobs
    return World(
        present=int(not scene.empty),
        indexed=int(not scene.empty),
        manifests=(1 if scene.sealed else 0, *[0] * (points - 1)),
        fenced=0,
        generation=1,
        packs=(LIVE,) * packs,
        remembered=0,
        points=(SEALED if scene.sealed else ABSENT, *[ABSENT] * (points - 1)),
        held=0,
        reading=0,
        jobs=(Job(),) * scene.jobs,
        writers=((None,) * scene.attempts,) * scene.jobs,
        collector=None,
        ghost=None,
    )


def steps(world: World, scene: Scene, clauses: Clauses) -> Iterator[Step]:
    """Yield everything that can happen next."""
    for number in range(scene.jobs):
        # Jobs that have not begun are alike: the first of them begins first.
        if number == 0 or world.jobs[number - 1].state != IDLE:
            yield from tower.claims(world, clauses, number, attempts=scene.attempts)
        yield from tower.loses(world, number, attempts=scene.attempts)
        for attempt in range(scene.attempts):
            yield from writer.steps(world, clauses, number, attempt, stores=scene.stores)
    if scene.expires:
        yield from tower.expires(world, clauses)
    yield from tower.people(world, hold=scene.hold, read=scene.read)
    if world.collector is None:
        yield "a collection begins", collector.begin(world)
    else:
        yield "the collector is taken for dead", collector.superseded(world, clauses, ghosts=scene.ghosts)
        yield from collector.steps(world, clauses, late=False)
    yield from collector.steps(world, clauses, late=True)


def settled(world: World, scene: Scene, clauses: Clauses) -> World:
    """Return the state without what can change nothing any more: generations' numbers, attempts that only ask."""
    kept = {"seal"} | ({"store", "index"} if scene.late_stores else set())
    if clauses.leave_is_fenced:
        rows = tuple(
            tuple(
                one if one is not None and (one.pc in kept or tower.owns(world, number, attempt)) else None
                for attempt, one in enumerate(row)
            )
            for number, row in enumerate(world.writers)
        )
        world = world._replace(writers=rows)
    return renumbered(world)


def search(scene: Scene, clauses: Clauses = PROTOCOL, *, most: int = 10_000_000, rubbish: bool = True) -> Found:
    """Visit every state; stop at the first that breaks a law of safety, or from which rubbish cannot be collected."""
    start = first_world(scene)
    came: dict[World, tuple[World | None, str]] = {start: (None, "")}
    clean: set[World] = set()
    layer = [start]
    while layer:
        following = []
        for world in layer:
            for said, after in steps(world, scene, clauses):
                state = settled(after, scene, clauses)
                if state in came:
                    continue
                came[state] = (world, said)
                wrong = laws.broken(state) or (_stuck(state, clauses, clean) if rubbish else None)
                if wrong is not None:
                    return Found(len(came), wrong, _trace(came, state))
                following.append(state)
        if len(came) > most:
            raise AssertionError(f"{scene.name}: more than {most} states")
        layer = following
    return Found(len(came))


def _stuck(world: World, clauses: Clauses, clean: set[World]) -> str | None:
    alone = laws.alone(world)
    if alone in clean:
        return None
    clean.add(alone)
    return laws.rubbish(alone, clauses)


def _trace(came: dict[World, tuple[World | None, str]], world: World) -> tuple[str, ...]:
    said = []
    before, how = came[world]
    while before is not None:
        said.append(how)
        before, how = came[before]
    return tuple(reversed(said))
