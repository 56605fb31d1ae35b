"""One state of the model: the vault, the tower, and every process in the middle of something.

Rule of the file: a state is a value. Sets of packs and points are bits of an int; generations are renumbered, because
only their order decides anything, so that the number of states is finite.
"""

from __future__ import annotations

from typing import NamedTuple

FENCE = -1
"""In ``manifests``: something that is no manifest has the name, and nothing else can have it."""

LIVE, DOOMED = 0, -1
"""What the tower knows of a pack; a positive number is the generation it is condemned at."""

ABSENT, SEALED, GOING, EXPIRED, EXPIRING = 0, 1, 2, 3, 10
"""What the tower knows of a point: ``GOING`` is doomed, ``EXPIRING + g`` expiring since generation g."""

IDLE, OWNED, WAITING, DONE, FAILED, GIVEN_UP, SETTLED = range(7)
"""Where a job is. ``FAILED`` had leave to seal, and its point may exist or come to exist; ``GIVEN_UP``: it shall not;
``SETTLED``: it cannot, or it was found."""


class Job(NamedTuple):
    """A backup job. ``leave`` is 1 + the generation of its first leave to seal, 0 without one."""

    state: int = IDLE
    attempts: int = 0
    leave: int = 0
    rejoined: bool = False


class Writer(NamedTuple):
    """An attempt of a job, alive or taken for dead. ``pc`` names its next step."""

    pc: str
    generation: int
    reference: int = -1
    forget: int = 0
    known: int = 0
    needs: int = 0


class Collector(NamedTuple):
    """A collector in the middle of a run. ``left`` are names its present loop has yet to visit, ``seen`` its result."""

    pc: str
    left: int = 0
    seen: int = 0
    fenced: int = 0
    ripe: int = 0
    doomed: int = 0
    needs: int = 0
    packs: int = 0


class World(NamedTuple):
    """Everything that is, and everything that anybody knows."""

    present: int  # packs in storage
    indexed: int  # packs that index segments speak of, whether or not they are there
    manifests: tuple[int, ...]  # by point: 0, FENCE, or the packs it needs
    fenced: int  # points with a mark beside their manifest
    generation: int
    packs: tuple[int, ...]
    remembered: int  # doomed packs that are never forgotten: an earlier collector may delete them at any time
    points: tuple[int, ...]
    held: int
    reading: int
    jobs: tuple[Job, ...]
    writers: tuple[tuple[Writer | None, ...], ...]  # by job and attempt
    collector: Collector | None
    ghost: Collector | None


Step = tuple[str, World]
"""What happened, in words, and the world after it."""


def bits(mask: int) -> list[int]:
    """Return the numbers in a set."""
    return [at for at in range(mask.bit_length()) if mask >> at & 1]


def accepted(world: World, point: int) -> bool:
    """Tell whether readers take the point for one."""
    return world.manifests[point] > 0 and not world.fenced >> point & 1


def put(values: tuple[int, ...], at: int, value: int) -> tuple[int, ...]:
    """Return the tuple with another value at one place."""
    return (*values[:at], value, *values[at + 1 :])


def with_job(world: World, number: int, job: Job) -> World:
    """Return the world with another state of one job."""
    return world._replace(jobs=(*world.jobs[:number], job, *world.jobs[number + 1 :]))


def with_writer(world: World, job: int, attempt: int, writer: Writer | None) -> World:
    """Return the world with another state of one attempt."""
    row = world.writers[job]
    row = (*row[:attempt], writer, *row[attempt + 1 :])
    return world._replace(writers=(*world.writers[:job], row, *world.writers[job + 1 :]))


def renumbered(world: World) -> World:
    """Return the same world with its generations as 1, 2, 3… in their order."""
    used = {world.generation}
    used.update(mark for mark in world.packs if mark > 0)
    used.update(state - EXPIRING for state in world.points if state >= EXPIRING)
    used.update(job.leave - 1 for job in world.jobs if job.leave)
    used.update(writer.generation for row in world.writers for writer in row if writer is not None)
    if max(used) == len(used):
        return world
    rank = {old: new for new, old in enumerate(sorted(used), start=1)}
    return world._replace(
        generation=rank[world.generation],
        packs=tuple(rank[mark] if mark > 0 else mark for mark in world.packs),
        points=tuple(EXPIRING + rank[s - EXPIRING] if s >= EXPIRING else s for s in world.points),
        jobs=tuple(job._replace(leave=rank[job.leave - 1] + 1) if job.leave else job for job in world.jobs),
        writers=tuple(
            tuple(w if w is None else w._replace(generation=rank[w.generation]) for w in row) for row in world.writers
        ),
    )
