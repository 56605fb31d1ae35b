"""Breadth first through all states that a scene can reach.

Rule of the file: a state is remembered by its hash of 64 bits, with that of the state it was first reached from, so
that what is found comes with a shortest trace.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

from tests.models import collector, laws, tower, writer
from tests.models.clauses import PROTOCOL, Clauses
from tests.models.reduced import reduced
from tests.models.scenes import Scene, first_world
from tests.models.world import IDLE, Step, World


@dataclass(frozen=True, slots=True)
class Found:
    """How the search ended: states seen, and what is broken with the steps to it, if anything is."""

    states: int
    broken: str | None = None
    trace: tuple[str, ...] = ()


def steps(world: World, scene: Scene, clauses: Clauses) -> Iterator[Step]:
    """Yield everything that can happen next."""
    for number in range(scene.jobs):
        # Jobs that have not begun are alike: the first of them begins first.
        if number == 0 or world.jobs[number - 1].state != IDLE:
            yield from tower.claims(world, clauses, number, attempts=scene.attempts)
        yield from tower.loses(world, number, attempts=scene.attempts)
        for attempt in range(scene.attempts):
            yield from writer.steps(world, clauses, number, attempt, stores=scene.stores, gone=scene.late_stores)
    if scene.expires:
        yield from tower.expires(world, clauses)
    yield from tower.people(world, clauses, hold=scene.hold, read=scene.read)
    if world.collector is None:
        yield "a collection begins", collector.begin(world)
    else:
        for after in collector.superseded(world, clauses):
            yield "the collector is taken for dead", after
        yield from collector.steps(world, clauses, late=False, fails=scene.fails)
    yield from collector.steps(world, clauses, late=True)


def search(scene: Scene, clauses: Clauses = PROTOCOL, *, most: int = 50_000_000, rubbish: bool = True) -> Found:
    """Visit every state; stop at the first that breaks a law of safety, or from which rubbish cannot be collected."""
    start = reduced(first_world(scene, clauses), clauses, late_stores=scene.late_stores)
    came: dict[int, int] = {hash(start): 0}
    clean: set[int] = set()
    layer = [start]
    while layer:
        following = []
        for world in layer:
            before = hash(world)
            for _, after in steps(world, scene, clauses):
                state = reduced(after, clauses, late_stores=scene.late_stores)
                key = hash(state)
                if key in came:
                    continue
                came[key] = before
                wrong = laws.broken(state) or (_stuck(state, clauses, clean) if rubbish else None)
                if wrong is not None:
                    return Found(len(came), wrong, _trace(came, key, start, scene, clauses))
                following.append(state)
        if len(came) > most:
            raise AssertionError(f"{scene.name}: more than {most} states")
        layer = following
    return Found(len(came))


def _stuck(world: World, clauses: Clauses, clean: set[int]) -> str | None:
    alone = reduced(laws.alone(world), clauses)
    key = hash(alone)
    if key in clean:
        return None
    clean.add(key)
    return laws.rubbish(alone, clauses)


def _trace(came: dict[int, int], key: int, start: World, scene: Scene, clauses: Clauses) -> tuple[str, ...]:
    """Walk the way again: only hashes were kept of it."""
    keys = []
    while key != hash(start):
        keys.append(key)
        key = came[key]
    said, world = [], start
    for wanted in reversed(keys):
        for what, after in steps(world, scene, clauses):
            state = reduced(after, clauses, late_stores=scene.late_stores)
            if hash(state) == wanted:
                said.append(what)
                world = state
                break
    return tuple(said)
