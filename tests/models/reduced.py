"""Which differences between two states make no difference: the search keeps one state for all that only differ so.

Rule of the file: for every reduction, whatever can happen next to a state can happen to the reduced one and the other
way round, up to steps that change nothing; ``test_reduced`` holds this against every state of small worlds. A mutation
to which a difference matters turns the reduction off.
"""

from __future__ import annotations

from tests.models import tower
from tests.models.clauses import Clauses, Fencing
from tests.models.collector import EFFECTS, may_do
from tests.models.world import (
    DONE,
    EXPIRING,
    FAILED,
    GIVEN_UP,
    IDLE,
    OWNED,
    SETTLED,
    WAITING,
    Collector,
    Job,
    World,
    Writer,
    bits,
    renumbered,
)

_STORED = ("index", "ask-leave", "seal", "tell")
_ENDED = (DONE, FAILED, GIVEN_UP, SETTLED)


def reduced(world: World, clauses: Clauses, *, late_stores: bool = True) -> World:
    """Return the one state that is kept for all that are like this one.

    Without ``late_stores`` it also forgets that a lost attempt may still store a pack, which does make a difference.
    """
    if clauses.leave_is_fenced:
        world = world._replace(writers=_writers(world, late_stores))
    if world.ghost is not None and clauses.fencing is Fencing.DECIDED and clauses.collector_is_fenced:
        world = world._replace(ghost=_ghost(world, world.ghost, clauses))
    world = world._replace(jobs=tuple(_job(job, len(world.writers[0]), clauses) for job in world.jobs))
    if clauses.condemn_is_atomic and clauses.expiry_raises and clauses.register_first and clauses.reference_in_claim:
        world = _in_blocks(world)
    else:
        world = renumbered(world)
    if len(world.jobs) != 2:
        return world
    one, two = _rank(world, 0), _rank(world, 1)
    if one == two:
        return min(world, _swapped(world), key=repr)
    return _swapped(world) if one < two else world


def _writers(world: World, late_stores: bool) -> tuple[tuple[Writer | None, ...], ...]:
    """A lost attempt never gets leave: all that it may still do is to store a pack, or to put its manifest."""
    rows = []
    for number, row in enumerate(world.writers):
        kept: list[Writer | None] = []
        for attempt, one in enumerate(row):
            if one is None or tower.owns(world, number, attempt):
                kept.append(one)
            elif one.pc == "seal" or (late_stores and one.pc == "index"):
                kept.append(Writer(one.pc, 0, needs=one.needs))
            elif late_stores and one.pc not in _STORED:
                kept.append(Writer("store", 0))
            else:
                kept.append(None)
        rows.append(tuple(kept))
    return tuple(rows)


def _ghost(world: World, ghost: Collector, clauses: Clauses) -> Collector | None:
    """A superseded collector is stopped at its next word with the tower: what it may still do to storage is all."""
    if ghost.pc not in EFFECTS:
        return None
    to_come = {"delete-packs": _storable, "delete-manifests": _sealable}.get(ghost.pc, lambda _world, _at: False)
    left = sum(1 << at for at in bits(ghost.left) if may_do(world, clauses, ghost.pc, at) or to_come(world, at))
    return Collector(ghost.pc, left) if left else None


def _storable(world: World, pack: int) -> bool:
    """Tell whether somebody may yet store this pack."""
    number, attempt = divmod(pack - 1, len(world.writers[0]))
    if not 0 <= number < len(world.jobs):
        return False
    writer, job = world.writers[number][attempt], world.jobs[number]
    if writer is not None:
        return writer.pc not in _STORED
    return job.attempts <= attempt and job.state in (IDLE, OWNED, WAITING)


def _sealable(world: World, point: int) -> bool:
    """Tell whether somebody may yet put this manifest."""
    if not point:
        return False
    return world.jobs[point - 1].state not in _ENDED or any(world.writers[point - 1])


def _job(job: Job, most: int, clauses: Clauses) -> Job:
    """A job that has ended is never claimed again; one that needs no settling is nobody's elder."""
    if job.state not in _ENDED:
        return job
    leave = job.leave if job.state in (FAILED, GIVEN_UP) else 0
    return Job(job.state, most, leave, job.rejoined and not (job.state != DONE and clauses.found_is_fenced))


def _in_blocks(world: World) -> World:
    """Number generations anew. All that matters of them is which writers are older than which marks."""
    at: list[tuple[int, int]] = [(mark, 0) for mark in world.packs if mark > 0]
    at += [(state - EXPIRING, 0) for state in world.points if state >= EXPIRING]
    for number, job in enumerate(world.jobs):
        if job.leave:
            at.append((job.leave - 1, 1))
        if job.state == OWNED:
            owner = world.writers[number][job.attempts - 1]
            if owner is not None and owner.generation:
                at.append((owner.generation, 1))
    now, new = 1, {}
    for value in sorted(set(at)):  # a writer registered at a mark's generation is not older: marks come first
        now += now % 2 == 1 - value[1]
        new[value] = now
    rows = tuple(
        tuple(
            one
            if one is None
            else one._replace(
                generation=new[one.generation, 1] if one.generation and tower.owns(world, number, attempt) else 0
            )
            for attempt, one in enumerate(row)
        )
        for number, row in enumerate(world.writers)
    )
    return world._replace(
        generation=now | 1,
        packs=tuple(new[mark, 0] if mark > 0 else mark for mark in world.packs),
        points=tuple(EXPIRING + new[s - EXPIRING, 0] if s >= EXPIRING else s for s in world.points),
        jobs=tuple(job._replace(leave=new[job.leave - 1, 1] + 1) if job.leave else job for job in world.jobs),
        writers=rows,
    )


# ── two jobs are alike ───────────────────────────────────────────────────────────────────────────────


def _rank(world: World, number: int) -> tuple[object, ...]:
    """Something to order the jobs by, so that of two states with the jobs exchanged mostly one is kept."""
    first = 1 + number * len(world.writers[0])
    return (
        world.jobs[number],
        world.points[number + 1],
        world.fenced >> number + 1 & 1,
        world.manifests[number + 1] > 0,
        tuple(() if one is None else (one.pc, one.generation) for one in world.writers[number]),
        world.packs[first : first + len(world.writers[0])],
        tuple(world.present >> pack & 1 for pack in range(first, first + len(world.writers[0]))),
    )


def _swapped(world: World) -> World:
    """Return the same world with job 0 called 1, and 1 called 0."""
    attempts = len(world.writers[0])
    one, two = ((1 << attempts) - 1) << 1, ((1 << attempts) - 1) << 1 + attempts

    def packs(mask: int) -> int:
        return mask if mask < 0 else mask & 1 | (mask & one) << attempts | (mask & two) >> attempts

    def points(mask: int) -> int:
        return mask & 1 | (mask & 2) << 1 | (mask & 4) >> 1

    def writer(who: Writer | None) -> Writer | None:
        if who is None:
            return None
        reference = (0, 2, 1, -1)[who.reference]
        return Writer(who.pc, who.generation, reference, packs(who.forget), packs(who.known), packs(who.needs))

    def collector(run: Collector | None) -> Collector | None:
        if run is None:
            return None
        left, seen = (packs, packs) if run.pc in ("delete-packs", "report-early") else (points, points)
        listed = points if run.pc == "ask-points" else packs
        return Collector(
            run.pc,
            left(run.left),
            seen(run.seen),
            points(run.fenced),
            packs(run.ripe),
            packs(run.doomed),
            packs(run.needs),
            listed(run.packs),
        )

    marks = world.packs
    return World(
        packs(world.present),
        packs(world.indexed),
        (packs(world.manifests[0]), packs(world.manifests[2]), packs(world.manifests[1])),
        points(world.fenced),
        world.generation,
        (marks[0], *marks[1 + attempts :], *marks[1 : 1 + attempts]),
        packs(world.remembered),
        (world.points[0], world.points[2], world.points[1]),
        points(world.held),
        points(world.reading),
        (world.jobs[1], world.jobs[0]),
        (tuple(map(writer, world.writers[1])), tuple(map(writer, world.writers[0]))),
        collector(world.collector),
        collector(world.ghost),
    )
