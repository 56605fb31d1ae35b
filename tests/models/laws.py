"""What must hold in every state, and what must become of every state when everybody but the collector is gone.

Rule of the file: written from what a reader and an owner of data may expect, not from the protocol.
"""

from __future__ import annotations

from tests.models import collector
from tests.models.clauses import Clauses
from tests.models.world import (
    DONE,
    EXPIRED,
    EXPIRING,
    FAILED,
    GIVEN_UP,
    GOING,
    IDLE,
    LIVE,
    SEALED,
    SETTLED,
    Job,
    World,
    accepted,
    bits,
)

MOST_RUNS = 6


def broken(world: World) -> str | None:
    """Return which law of safety the state breaks, or None."""
    for point, manifest in enumerate(world.manifests):
        if accepted(world, point) and (gone := manifest & ~world.present):
            return f"readers accept point {point}, and packs {bits(gone)} that it needs are gone"
    for point, state in enumerate(world.points):
        if (state == SEALED or state >= EXPIRING) and not accepted(world, point):
            return f"point {point} is whole in the catalog, and readers do not find it"
        if state in (GOING, EXPIRED) and (world.held | world.reading) >> point & 1:
            return f"point {point} goes while somebody holds or restores it"
    return None


def rubbish(quiet: World, clauses: Clauses) -> str | None:
    """Run collections to their ends in a world of ``alone``; return what is left that should not be."""
    for _ in range(MOST_RUNS):
        before = quiet
        quiet = _collected(quiet, clauses)
        if (wrong := broken(quiet)) is not None:
            return wrong
        if quiet == before:
            break
    needed = 0
    for point, manifest in enumerate(quiet.manifests):
        if manifest > 0:
            if quiet.points[point] != SEALED:
                return f"the manifest of point {point} stays for ever"
            needed |= manifest
    if quiet.present & ~needed:
        return f"packs {bits(quiet.present & ~needed)} stay for ever"
    if any(mark > 0 for mark in quiet.packs) or any(s == GOING or s >= EXPIRING for s in quiet.points):
        return "the tower waits for ever"
    if any(mark != LIVE and not quiet.remembered >> pack & 1 for pack, mark in enumerate(quiet.packs)):
        return "the tower remembers a pack for ever"
    return None


def alone(world: World) -> World:
    """Return the world after all writers, readers and holds have ended for good, and superseded collectors too."""
    jobs = tuple(job if job.state in (DONE, FAILED, GIVEN_UP, SETTLED) else _failed(job) for job in world.jobs)
    writers = tuple(tuple(None for _ in row) for row in world.writers)
    return world._replace(jobs=jobs, writers=writers, collector=None, ghost=None, held=0, reading=0)


def _failed(job: Job) -> Job:
    return job if job.state == IDLE else job._replace(state=FAILED if job.leave else SETTLED)


def _collected(world: World, clauses: Clauses) -> World:
    world = collector.begin(world)
    while world.collector is not None:
        # Of several outcomes the first is that nothing goes wrong.
        world = next(collector.steps(world, clauses, late=False))[1]
    return world
