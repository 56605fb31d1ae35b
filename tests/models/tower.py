"""The tower's half of the model: every function is one transaction.

Rule of the file: nothing here looks into storage; the tower never does.
"""

from __future__ import annotations

from collections.abc import Iterator

from tests.models.clauses import Clauses
from tests.models.world import (
    ABSENT,
    DONE,
    DOOMED,
    EXPIRED,
    EXPIRING,
    FAILED,
    GIVEN_UP,
    GOING,
    IDLE,
    LIVE,
    OWNED,
    SEALED,
    SETTLED,
    WAITING,
    Job,
    Step,
    World,
    Writer,
    bits,
    put,
    with_job,
    with_writer,
)


def older_writers(world: World, clauses: Clauses, mark: int) -> bool:
    """Tell whether somebody may still make a point of what was known before generation ``mark``."""
    for number, job in enumerate(world.jobs):
        if job.state == OWNED:
            owner = world.writers[number][job.attempts - 1]
            if owner is not None and 0 < owner.generation < mark:
                return True
        waits = job.state in (OWNED, WAITING) and clauses.leave_outlives_attempt
        lost = job.state in (FAILED, GIVEN_UP) and clauses.unsettled_counts
        if (waits or lost) and 0 < job.leave <= mark:
            return True
    return False


def claims(world: World, clauses: Clauses, number: int, *, attempts: int) -> Iterator[Step]:
    """A worker takes a job: it registers, and gets a reference and the word whether packs are condemned."""
    job = world.jobs[number]
    if job.state not in (IDLE, WAITING) or job.attempts == attempts:
        return
    keeps = bool(job.leave) and clauses.rejoined_keeps_generation
    generation = job.leave - 1 if keeps else world.generation
    taken = Job(OWNED, job.attempts + 1, job.leave, job.rejoined or bool(job.leave))
    for reference in _references(world, clauses):
        if not clauses.register_first:
            writer = Writer("load", 0, reference)
        elif not clauses.reference_in_claim:
            writer = Writer("register", 0, reference)
        else:
            writer = Writer(_first_step(world, clauses), generation, reference)
        if job.leave:
            writer = writer._replace(pc=f"look,{writer.pc}")
        yield (
            f"job {number}: claimed, attempt {taken.attempts}",
            with_writer(with_job(world, number, taken), number, job.attempts, writer),
        )


def _first_step(world: World, clauses: Clauses) -> str:
    told = clauses.forget_condemned and clauses.forget_before_listing and any(world.packs)
    return "ask-condemned" if told else "load"


def _references(world: World, clauses: Clauses) -> list[int]:
    usable = [
        point
        for point, state in enumerate(world.points)
        if state == SEALED or (state >= EXPIRING and not clauses.reference_is_sealed)
    ]
    return usable or [-1]


def register(world: World, clauses: Clauses, number: int, attempt: int) -> World:
    """What a claim does at once, done later: only in mutations."""
    writer = world.writers[number][attempt]
    assert writer is not None
    job = world.jobs[number]
    keeps = bool(job.leave) and clauses.rejoined_keeps_generation
    generation = job.leave - 1 if keeps else world.generation
    if not clauses.register_first:
        following = "recall" if clauses.forget_condemned and any(world.packs) else "reference"
    else:
        following = _first_step(world, clauses)
    return with_writer(world, number, attempt, writer._replace(pc=following, generation=generation))


def loses(world: World, number: int, *, attempts: int) -> Iterator[Step]:
    """The owner is taken for dead, fails, or the job is cancelled while it waits."""
    job = world.jobs[number]
    if job.state == OWNED:
        if job.attempts < attempts:
            yield f"job {number}: attempt {job.attempts} is lost", with_job(world, number, job._replace(state=WAITING))
        yield f"job {number}: attempt {job.attempts} is lost, the job has failed", _fail(world, number)
    elif job.state == WAITING:
        yield f"job {number}: cancelled", _fail(world, number)


def _fail(world: World, number: int) -> World:
    job = world.jobs[number]
    return with_job(world, number, job._replace(state=FAILED if job.leave else SETTLED))


def leave(world: World, clauses: Clauses, number: int, attempt: int) -> World | None:
    """Leave to seal; None when the fence is stale."""
    job = world.jobs[number]
    if not owns(world, number, attempt):
        return world if not clauses.leave_is_fenced else None
    writer = world.writers[number][attempt]
    assert writer is not None
    first = job.leave if clauses.rejoined_keeps_generation else 0
    return with_job(world, number, job._replace(leave=first or writer.generation + 1))


def owns(world: World, number: int, attempt: int) -> bool:
    """Tell whether an attempt is its job's owner."""
    job = world.jobs[number]
    return job.state == OWNED and job.attempts - 1 == attempt


def complete(world: World, number: int) -> World:
    """The owner reports its point."""
    job = world.jobs[number]
    return with_job(world, number, job._replace(state=DONE))._replace(points=put(world.points, number + 1, SEALED))


# ── retention and people ─────────────────────────────────────────────────────────────────────────────


def expires(world: World, clauses: Clauses) -> Iterator[Step]:
    """Retention lets a point go."""
    for point, state in enumerate(world.points):
        if state == SEALED and not world.held >> point & 1:
            generation = world.generation + clauses.expiry_raises
            yield (
                f"point {point}: expiring",
                world._replace(generation=generation, points=put(world.points, point, EXPIRING + generation)),
            )


def people(world: World, clauses: Clauses, *, hold: bool, read: bool) -> Iterator[Step]:
    """Holds and restores of the first point begin and end."""
    state, is_sealed = world.points[0], world.points[0] == SEALED
    if hold and world.held & 1:
        yield "point 0: released", world._replace(held=0)
    elif hold and (is_sealed or state >= EXPIRING or (state == GOING and not clauses.hold_before_doom)):
        now = SEALED if state >= EXPIRING and clauses.hold_brings_back else state
        yield "point 0: held", world._replace(held=1, points=put(world.points, 0, now))
    if read and world.reading & 1:
        yield "point 0: restored", world._replace(reading=0)
    elif read and (is_sealed or (state >= EXPIRING and not clauses.restore_is_of_sealed)):
        yield "point 0: a restore begins", world._replace(reading=1)


# ── the collector's verbs ────────────────────────────────────────────────────────────────────────────


def no_writers(world: World, clauses: Clauses) -> bool:
    """Tell whether there is nobody who could seal anything."""
    return not older_writers(world, clauses, world.generation + 1)


def doom_points(world: World, clauses: Clauses, *, nobody: bool = False) -> World:
    """Doom every expiring point that may go. ``nobody``: there were no writers a while ago, which is taken for true."""
    points = world.points
    for point, state in enumerate(points):
        if state < EXPIRING:
            continue
        if clauses.points_wait_for_writers and not nobody and older_writers(world, clauses, state - EXPIRING):
            continue
        if clauses.points_wait_for_readers and world.reading >> point & 1:
            continue
        points = put(points, point, GOING)
    return world._replace(points=points)


def doomed_points(world: World) -> int:
    """Return the points that are doomed."""
    return sum(1 << point for point, state in enumerate(world.points) if state == GOING)


def dead_points(world: World) -> int:
    """Return the points that are no points: expired ones, and those of jobs that were settled without."""
    return sum(
        1 << point
        for point, state in enumerate(world.points)
        if state in (GOING, EXPIRED)
        or (point and state == ABSENT and world.jobs[point - 1].state in (GIVEN_UP, SETTLED))
    )


def expired(world: World, gone: int) -> World:
    """The manifests of these points are gone."""
    points = world.points
    for point in bits(gone):
        if points[point] == GOING:
            points = put(points, point, EXPIRED)
    return world._replace(points=points)


def must_be_fenced(world: World, clauses: Clauses, point: int) -> bool:
    """Tell whether somebody may still have a manifest for a point that goes."""
    if not point:
        return False
    job = world.jobs[point - 1]
    was_found = job.state == SETTLED
    return (job.rejoined and clauses.rejoined_is_fenced) or (was_found and clauses.found_is_fenced)


def unsettled(world: World, clauses: Clauses) -> int:
    """Return the points of jobs that had leave to seal and failed, and that are to be looked for."""
    asked = (FAILED,) if clauses.first_answer_is_final else (FAILED, GIVEN_UP)
    return sum(1 << number + 1 for number, job in enumerate(world.jobs) if job.state in asked)


def given_up(world: World) -> int:
    """Return the points that shall not exist, and whose fences are not known to be up."""
    return sum(1 << number + 1 for number, job in enumerate(world.jobs) if job.state == GIVEN_UP)


def give_up(world: World, missing: int) -> World:
    """These points were not found: from now on nobody finds them."""
    for point in bits(missing):
        job = world.jobs[point - 1]
        if job.state == FAILED:
            world = with_job(world, point - 1, job._replace(state=GIVEN_UP))
    return world


def settled(world: World, clauses: Clauses, *, fenced: int, found: int) -> World:
    """These points are decided."""
    late = fenced if clauses.first_answer_is_final else fenced | found
    for point in bits(fenced | found):
        job = world.jobs[point - 1]
        if job.state == FAILED or (job.state == GIVEN_UP and late >> point & 1):
            world = with_job(world, point - 1, job._replace(state=SETTLED))
            if found >> point & 1:
                world = world._replace(points=put(world.points, point, SEALED))
    return world


def ripe(world: World, clauses: Clauses) -> int:
    """Return the condemned packs that no writer can refer to any more."""
    return sum(
        1 << pack
        for pack, mark in enumerate(world.packs)
        if mark > 0 and not (clauses.ripe_waits and older_writers(world, clauses, mark))
    )


def doomed_packs(world: World) -> int:
    """Return the packs whose deletion has been allowed."""
    return sum(1 << pack for pack, mark in enumerate(world.packs) if mark == DOOMED)


def condemned_packs(world: World) -> int:
    """Return what a writer is told to forget."""
    return sum(1 << pack for pack, mark in enumerate(world.packs) if mark != LIVE)


def condemn(world: World, packs: int, *, generation: int | None = None) -> World:
    """Give packs up and raise the generation; what is condemned already stays as it is."""
    new = [pack for pack in bits(packs) if world.packs[pack] == LIVE]
    if not new:
        return world
    mark = world.generation + 1 if generation is None else generation
    marks = world.packs
    for pack in new:
        marks = put(marks, pack, mark)
    return world._replace(packs=marks, generation=max(world.generation, mark))


def revive(world: World, clauses: Clauses, packs: int) -> World:
    """Take condemned packs back; doomed ones stay doomed."""
    marks = world.packs
    for pack in bits(packs):
        if marks[pack] > 0 or (marks[pack] == DOOMED and not clauses.doom_is_final):
            marks = put(marks, pack, LIVE)
    return world._replace(packs=marks)


def doom_packs(world: World, clauses: Clauses, packs: int) -> World:
    """Allow that these be deleted, as far as they are ripe."""
    marks = world.packs
    for pack in bits(packs & ripe(world, clauses)):
        marks = put(marks, pack, DOOMED)
    return world._replace(packs=marks)


def deleted(world: World, packs: int) -> World:
    """Forget packs that are gone, unless an earlier collector may still delete them."""
    marks = world.packs
    for pack in bits(packs & ~world.remembered):
        if marks[pack] == DOOMED:
            marks = put(marks, pack, LIVE)
    return world._replace(packs=marks)


def supersede(world: World, clauses: Clauses) -> World:
    """The collector is taken for dead: what it was allowed to delete it may still delete."""
    kept = doomed_packs(world) if clauses.forget_once else 0
    return world._replace(remembered=world.remembered | kept)
