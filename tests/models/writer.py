"""The writer's half of the model: one step at a time, each of them a word with the tower or one operation of storage.

Rule of the file: a writer may stop after any step and go on much later; whether it still owns its job only the tower
knows, and only where the writer asks.
"""

from __future__ import annotations

from collections.abc import Iterator

from tests.models import tower
from tests.models.clauses import Clauses
from tests.models.world import Step, World, Writer, accepted, bits, put, with_writer


def steps(world: World, clauses: Clauses, number: int, attempt: int, *, stores: bool, gone: bool) -> Iterator[Step]:
    """Yield what one attempt can do next.

    ``stores``: it may store a new pack although it knows an old one. ``gone``: one that was taken for dead may be dead.
    """
    writer = world.writers[number][attempt]
    if writer is None:
        return
    who = f"job {number}, attempt {attempt + 1}"
    if gone and not tower.owns(world, number, attempt):
        yield f"{who}: is dead", with_writer(world, number, attempt, None)
    for said, after, next_writer in _next(world, clauses, number, attempt, writer, stores):
        yield f"{who}: {said}", with_writer(after, number, attempt, next_writer)


_Next = Iterator[tuple[str, World, Writer | None]]


def _next(world: World, clauses: Clauses, number: int, attempt: int, writer: Writer, stores: bool) -> _Next:
    point, own = number + 1, tower.owns(world, number, attempt)
    match writer.pc.split(",")[0]:
        case "look":
            # Its job had leave before: the point may be there.
            there = accepted(world, point)
            rest = "tell" if there else writer.pc.split(",")[1]
            yield f"looks for its point: {'there' if there else 'nothing'}", world, writer._replace(pc=rest)
        case "register":
            after = tower.register(world, clauses, number, attempt) if own else world
            yield "registers", after, after.writers[number][attempt] if own else None
        case "ask-condemned":
            forget = tower.condemned_packs(world)
            yield f"is told to forget {bits(forget)}", world, writer._replace(pc="load", forget=forget) if own else None
        case "load":
            yield from _load(world, clauses, writer)
        case "recall":
            forget = tower.condemned_packs(world)
            told = writer._replace(pc="reference", known=writer.known & ~forget) if own else None
            yield f"is told to forget {bits(forget)}", world, told
        case "reference":
            yield from _choose(world, writer._replace(forget=0), writer.forget, stores)
        case "store":
            pack = 1 + number * len(world.writers[0]) + attempt
            after = world._replace(present=world.present | 1 << pack)
            yield f"stores pack {pack}", after, writer._replace(pc="index", needs=1 << pack)
            # The answer is lost: it will put the pack once more, perhaps much later.
            yield f"stores pack {pack}, hears nothing", after, writer
        case "index":
            yield "indexes it", world._replace(indexed=world.indexed | writer.needs), writer._replace(pc="ask-leave")
        case "ask-leave":
            allowed = tower.leave(world, clauses, number, attempt)
            if allowed is None:
                yield "has no leave to seal", world, None
            else:
                yield "has leave to seal", allowed, writer._replace(pc="seal")
        case "seal":
            yield from _seal(world, clauses, point, writer, own)
        case "tell":
            yield "completes", tower.complete(world, number) if own else world, None


def _load(world: World, clauses: Clauses, writer: Writer) -> _Next:
    # The index is read first, then the packs are listed. One step: what another writer indexes in between could only
    # have been known later as well, and a listing is as old as its end.
    known = world.indexed & (world.present if clauses.list_packs else -1)
    following = "reference"
    if not clauses.register_first:
        following = "register"
    elif not clauses.forget_before_listing:
        following = "recall"
    yield (
        f"knows packs {bits(known & ~writer.forget)}",
        world,
        writer._replace(pc=following, known=known & ~writer.forget, forget=writer.forget * clauses.forget_pages),
    )


def _choose(world: World, writer: Writer, forget: int, stores: bool) -> _Next:
    pages = 0
    if writer.reference >= 0 and accepted(world, writer.reference):
        pages = world.manifests[writer.reference] & ~forget
    old = writer.known | pages
    for pack in bits(old):
        how = "a page of its reference" if pages >> pack & 1 else "the index"
        yield (
            f"refers to pack {pack} by {how}",
            world,
            writer._replace(pc="ask-leave", known=0, reference=-1, needs=1 << pack),
        )
    if stores or not old:
        yield "has to store", world, writer._replace(pc="store", known=0, reference=-1)


def _seal(world: World, clauses: Clauses, point: int, writer: Writer, own: bool) -> _Next:
    free = world.manifests[point] == 0 or not clauses.put_if_absent
    after = world._replace(manifests=put(world.manifests, point, writer.needs)) if free else world
    said = f"puts its manifest, which needs {bits(writer.needs)}" if free else "finds the name taken"
    yield said, after, writer._replace(pc="tell", needs=0) if own else None
    if free:
        # The answer is lost: it will put the manifest once more, perhaps much later.
        yield f"{said}, and hears nothing", after, writer
