"""The collector's half of the model: a run, one step at a time, by the worker that owns it or by one that was frozen.

Rule of the file: between two words with the tower a collector cannot know that it has been superseded; at each word
it is told.
"""

from __future__ import annotations

from collections.abc import Iterator

from tests.models import tower
from tests.models.clauses import Clauses, Fencing
from tests.models.world import DOOMED, FENCE, GOING, Collector, Step, World, bits, put

ALL = -1
"""In ``needs``: a manifest could not be read, so every pack may be needed."""

EFFECTS = frozenset({"delete-manifests", "fence", "lift", "delete-packs"})
"""Steps that change storage: what a superseded collector can still do before it hears of it."""

STORAGE = EFFECTS | {"look", "look-again"}


def steps(world: World, clauses: Clauses, *, late: bool, fails: bool = False) -> Iterator[Step]:
    """Yield what the collector can do next; with ``late`` the superseded one. ``fails``: so may deleting a manifest."""
    run = world.ghost if late else world.collector
    if run is None:
        return
    who = "superseded collector" if late else "collector"
    if fails and run.left and run.pc == "delete-manifests":
        for at in bits(run.left):
            left = world._replace(collector=run._replace(left=run.left & ~(1 << at)))
            yield f"{who}: cannot delete the manifest of point {at}, and goes on", left
    for said, after, following in _next(world, clauses, run, late):
        yield f"{who}: {said}", after._replace(ghost=following) if late else after._replace(collector=following)


_Next = Iterator[tuple[str, World, Collector | None]]


def _next(world: World, clauses: Clauses, run: Collector, late: bool) -> _Next:
    if late and clauses.collector_is_fenced and not (run.left and run.pc in STORAGE):
        yield "hears that it is not the owner", world, None
        return
    if run.left and run.pc in _EACH:
        for at in bits(run.left):
            yield from _EACH[run.pc](world, clauses, run._replace(left=run.left & ~(1 << at)), 1 << at)
    else:
        yield from _ONCE[run.pc](world, clauses, run)


# ── points ───────────────────────────────────────────────────────────────────────────────────────────


def _list_late(world: World, clauses: Clauses, run: Collector) -> _Next:
    late = sum(1 << point for point in bits(world.fenced) if world.manifests[point] > 0)
    yield f"lists fenced manifests {bits(late)}", world, Collector("ask-points", packs=late)


def _ask_points(world: World, clauses: Clauses, run: Collector) -> _Next:
    if clauses.points_at_once or run.seen:
        yield from _doom_points(world, clauses, run, nobody=run.seen > 1)
    else:
        nobody = tower.no_writers(world, clauses)
        yield f"there are {'no ' if nobody else ''}writers", world, run._replace(seen=1 + nobody)


def _doom_points(world: World, clauses: Clauses, run: Collector, *, nobody: bool) -> _Next:
    after = tower.doom_points(world, clauses, nobody=nobody)
    going = tower.doomed_points(after) | (run.packs & tower.dead_points(after))
    yield f"may delete points {bits(going)}", after, Collector("delete-manifests", left=going)


def _delete_manifest(world: World, clauses: Clauses, run: Collector, bit: int) -> _Next:
    point = bit.bit_length() - 1
    if tower.must_be_fenced(world, clauses, point) and not world.fenced & bit:
        # Its name is never free: a frozen attempt may still put a manifest there.
        yield f"fences point {point}", world._replace(fenced=world.fenced | bit), run._replace(left=run.left | bit)
        return
    after = world._replace(manifests=put(world.manifests, point, 0)) if world.manifests[point] > 0 else world
    yield f"deletes the manifest of point {point}", after, run._replace(seen=run.seen | bit)


def _tell_expired(world: World, clauses: Clauses, run: Collector) -> _Next:
    yield (
        f"points {bits(run.seen)} are gone",
        tower.expired(world, run.seen),
        Collector("ask-ripe" if clauses.settle_after_ripe else "ask-unsettled"),
    )


# ── jobs that ended without a point ──────────────────────────────────────────────────────────────────


def _ask_ripe(world: World, clauses: Clauses, run: Collector) -> _Next:
    ripe, doomed = tower.ripe(world, clauses), tower.doomed_packs(world)
    sweep = "list-again" if ripe | doomed else "list-packs"
    pc = "ask-unsettled" if clauses.settle_after_ripe else sweep
    yield f"packs {bits(ripe)} are ripe, {bits(doomed)} doomed", world, run._replace(pc=pc, ripe=ripe, doomed=doomed)


def _ask_unsettled(world: World, clauses: Clauses, run: Collector) -> _Next:
    lost = tower.unsettled(world, clauses)
    first = {Fencing.NAME: "fence", Fencing.LIFTED: "fence", Fencing.NONE: "tell-settled"}.get(clauses.fencing, "look")
    if lost and clauses.fencing is Fencing.NONE:
        yield f"points {bits(lost)} are given up", world, run._replace(pc="tell-settled", fenced=lost)
    elif clauses.fencing is Fencing.DECIDED:
        pc = "look" if lost | tower.given_up(world) else _after_settling(run, clauses)
        yield f"points {bits(lost)} are unsettled", world, run._replace(pc=pc, left=lost, seen=0, fenced=0)
    else:
        pc = first if lost else _after_settling(run, clauses)
        yield f"points {bits(lost)} are unsettled", world, run._replace(pc=pc, left=lost, seen=0, fenced=0)


def _after_settling(run: Collector, clauses: Clauses) -> str:
    if not clauses.settle_after_ripe:
        return "ask-ripe"
    return "list-again" if run.ripe | run.doomed else "list-packs"


def _look(world: World, clauses: Clauses, run: Collector, bit: int) -> _Next:
    point = bit.bit_length() - 1
    if world.manifests[point] > 0 and world.fenced & bit and clauses.fencing is Fencing.BESIDE:
        yield f"finds point {point}, and a fence", world, run._replace(pc="ask-owner", left=run.left | bit)
    elif world.manifests[point] > 0:
        yield f"finds point {point}", world, run._replace(seen=run.seen | bit)
    elif clauses.fencing is Fencing.DECIDED:
        yield f"does not find point {point}", world, run._replace(fenced=run.fenced | bit)
    else:
        yield f"does not find point {point}", world, run._replace(pc="fence", left=run.left | bit)


def _fence(world: World, clauses: Clauses, run: Collector, bit: int) -> _Next:
    point = bit.bit_length() - 1
    if clauses.fencing is Fencing.NAME:
        if world.manifests[point] > 0:
            yield f"finds point {point}", world, run._replace(seen=run.seen | bit)
        else:
            after = world._replace(manifests=put(world.manifests, point, FENCE))
            yield f"fences point {point}", after, run._replace(fenced=run.fenced | bit)
        return
    marked = world._replace(fenced=world.fenced | bit)
    if clauses.fencing is Fencing.DECIDED:
        yield f"fences point {point}", marked, run._replace(fenced=run.fenced | bit)
    elif clauses.fencing is Fencing.LATE:
        yield f"fences point {point}", marked, run._replace(pc="look", fenced=run.fenced | bit)
    else:
        yield f"fences point {point}", marked, run._replace(pc="look-again", left=run.left | bit)


def _look_again(world: World, clauses: Clauses, run: Collector, bit: int) -> _Next:
    point = bit.bit_length() - 1
    lifted = clauses.fencing is Fencing.LIFTED
    if world.manifests[point] > 0:
        pc = "lift" if lifted else "ask-owner"
        yield f"finds point {point} after all", world, run._replace(pc=pc, left=run.left | bit)
    else:
        pc = ("fence" if lifted else "look") if run.left else "tell-settled"
        yield f"does not find point {point}", world, run._replace(pc=pc, fenced=run.fenced | bit)


def _ask_owner(world: World, clauses: Clauses, run: Collector, bit: int) -> _Next:
    yield "is the owner", world, run._replace(pc="lift", left=run.left | bit)


def _lift(world: World, clauses: Clauses, run: Collector, bit: int) -> _Next:
    pc = ("fence" if clauses.fencing is Fencing.LIFTED else "look") if run.left else "tell-settled"
    after = world._replace(fenced=world.fenced & ~bit)
    yield f"lifts the fence of point {bit.bit_length() - 1}", after, run._replace(pc=pc, seen=run.seen | bit)


def _tell_looked(world: World, clauses: Clauses, run: Collector) -> _Next:
    if clauses.fencing is not Fencing.DECIDED:
        yield from _tell_settled(world, clauses, run)
        return
    after = tower.give_up(tower.settled(world, clauses, fenced=0, found=run.seen), run.fenced)
    given_up = tower.given_up(after)
    said = f"points {bits(run.seen)} are found, {bits(given_up)} given up"
    yield said, after, run._replace(pc="fence", left=given_up, seen=0, fenced=0)


def _tell_settled(world: World, clauses: Clauses, run: Collector) -> _Next:
    after = tower.settled(world, clauses, fenced=run.fenced, found=run.seen)
    pc = _after_settling(run, clauses)
    said = f"points {bits(run.fenced)} are fenced, {bits(run.seen)} found"
    yield said, after, Collector(pc, ripe=run.ripe, doomed=run.doomed)


# ── sweep ────────────────────────────────────────────────────────────────────────────────────────────


def _list_again(world: World, clauses: Clauses, run: Collector) -> _Next:
    if not clauses.ripe_before_listing:
        # Listed first, and whatever of the condemned is ripe by then counts as ripe.
        for said, needs in _needs(world, clauses) if clauses.second_listing else [("lists nothing", 0)]:
            yield said, world, run._replace(pc="ask-ripe-late", needs=needs)
        return
    for said, needs in _needs(world, clauses) if clauses.second_listing else [("lists nothing", 0)]:
        yield said, world, run._replace(pc="revive", needs=needs)


def _ask_ripe_late(world: World, clauses: Clauses, run: Collector) -> _Next:
    ripe, doomed = tower.ripe(world, clauses), tower.doomed_packs(world)
    yield f"packs {bits(ripe)} are ripe", world, run._replace(pc="revive", ripe=ripe, doomed=doomed)


def _needs(world: World, clauses: Clauses) -> Iterator[tuple[str, int]]:
    """Yield what a listing and reading of all manifests can bring.

    One step: manifests do not change, and one that is gone when it is read keeps every pack, like one that cannot be
    read.
    """
    needs, there = 0, 0
    for point, manifest in enumerate(world.manifests):
        if manifest <= 0 or world.fenced >> point & 1:
            continue
        there |= 1 << point
        if clauses.manifests_first or world.points[point] != GOING:
            needs |= manifest
    yield f"lists points {bits(there)}, which need {bits(needs)}", needs
    if there:
        yield f"lists points {bits(there)} and cannot read them", ALL if clauses.unreadable_keeps_all else 0


def _revive(world: World, clauses: Clauses, run: Collector) -> _Next:
    keep = (run.ripe if clauses.doom_is_final else run.ripe | run.doomed) & run.needs
    after = tower.revive(world, clauses, keep)
    rest = (run.ripe if clauses.doom_of_answer else tower.ripe(after, clauses)) & ~run.needs
    if clauses.doom_first:
        yield f"revives {bits(keep)}", after, run._replace(pc="doom", ripe=rest)
    else:
        yield f"revives {bits(keep)}", after, run._replace(pc="delete-packs", left=rest | run.doomed, packs=rest)


def _doom(world: World, clauses: Clauses, run: Collector) -> _Next:
    after = tower.doom_packs(world, clauses, run.ripe)
    doomed = tower.doomed_packs(after) & (run.ripe | run.doomed)
    pc = "delete-packs" if clauses.forget_after_deleting else "report-early"
    yield f"may delete {bits(doomed)}", after, Collector(pc, left=doomed)


def _report_early(world: World, clauses: Clauses, run: Collector) -> _Next:
    yield f"says {bits(run.left)} are gone", tower.deleted(world, run.left), run._replace(pc="delete-packs")


def _delete_pack(world: World, clauses: Clauses, run: Collector, bit: int) -> _Next:
    pack = bit.bit_length() - 1
    yield f"deletes pack {pack}", world._replace(present=world.present & ~bit), run._replace(seen=run.seen | bit)


def _tell_deleted(world: World, clauses: Clauses, run: Collector) -> _Next:
    if not clauses.doom_first:
        for pack in bits(run.packs):
            world = world._replace(packs=put(world.packs, pack, DOOMED))
    yield f"packs {bits(run.seen)} are gone", tower.deleted(world, run.seen), Collector("list-packs")


# ── mark ─────────────────────────────────────────────────────────────────────────────────────────────


def _list_packs(world: World, clauses: Clauses, run: Collector) -> _Next:
    yield f"lists packs {bits(world.present)}", world, Collector("list", packs=world.present)


def _list(world: World, clauses: Clauses, run: Collector) -> _Next:
    for said, needs in _needs(world, clauses):
        unneeded = run.packs & ~needs & ~tower.condemned_packs(world)
        if not unneeded:
            yield f"{said}; no garbage", world, None
        elif clauses.condemn_is_atomic:
            yield said, world, Collector("condemn", packs=unneeded)
        else:
            yield said, world, Collector("raise", packs=unneeded)


def _raise(world: World, clauses: Clauses, run: Collector) -> _Next:
    yield "raises the generation", world._replace(generation=world.generation + 1), run._replace(pc="condemn")


def _condemn(world: World, clauses: Clauses, run: Collector) -> _Next:
    mark = None if clauses.condemn_is_atomic else world.generation
    yield f"condemns packs {bits(run.packs)}", tower.condemn(world, run.packs, generation=mark), None


_ONCE = {
    "list-late": _list_late,
    "ask-points": _ask_points,
    "delete-manifests": _tell_expired,
    "ask-ripe": _ask_ripe,
    "ask-unsettled": _ask_unsettled,
    "look": _tell_looked,
    "fence": _tell_settled,
    "look-again": _tell_settled,
    "lift": _tell_settled,
    "ask-owner": _tell_settled,
    "tell-settled": _tell_settled,
    "list-again": _list_again,
    "ask-ripe-late": _ask_ripe_late,
    "revive": _revive,
    "doom": _doom,
    "report-early": _report_early,
    "delete-packs": _tell_deleted,
    "list-packs": _list_packs,
    "list": _list,
    "raise": _raise,
    "condemn": _condemn,
}

_EACH = {
    "delete-manifests": _delete_manifest,
    "look": _look,
    "fence": _fence,
    "look-again": _look_again,
    "ask-owner": _ask_owner,
    "lift": _lift,
    "delete-packs": _delete_pack,
}


def may_do(world: World, clauses: Clauses, pc: str, at: int) -> bool:
    """Tell whether one of ``EFFECTS`` would change anything as things are."""
    if pc == "delete-packs":
        return bool(world.present >> at & 1)
    fenced = bool(world.fenced >> at & 1)
    if pc == "delete-manifests":
        return world.manifests[at] > 0 or (tower.must_be_fenced(world, clauses, at) and not fenced)
    return not fenced


def begin(world: World) -> World:
    """A run starts."""
    return world._replace(collector=Collector("list-late"))


def superseded(world: World, clauses: Clauses) -> Iterator[World]:
    """The collector is taken for dead, and is; or what it can still do it may do at any time later."""
    run = world.collector
    after = tower.supersede(world, clauses)._replace(collector=None)
    yield after
    able = run is not None and ((run.left and run.pc in STORAGE) or not clauses.collector_is_fenced)
    if able and world.ghost is None:
        yield after._replace(ghost=run)
