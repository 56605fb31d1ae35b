"""A backup killed at any call to the store leaves every sealed point whole, and nothing that anything relies on.

Every call of a run is killed once: before it has an effect (all verbs), and, for puts, after it had its effect and only
the reply was lost, and in the middle. No store that we ship tears a put; one on a lying disk might. The same calls also
fail once while the store goes on: that stops the run as well, unless it only cost a look at the last point.
"""

from __future__ import annotations

import itertools
from collections.abc import Iterator

import pytest

from shared.errors import SkyharborError
from shared.model.ids import new_id
from shared.storage.faulty import Fault, FaultKind, FaultyStore, Verb
from shared.storage.memory import MemoryStore
from shared.vault import layout
from shared.vault.pack_presence import mark_damaged
from shared.vault.vault import create_vault, open_vault
from tests.faults.invariants import (
    dangling_manifests,
    dangling_rows,
    not_proven,
    threads_left,
    unrestorable,
)
from tests.faults.scene import (
    SECURE_OFTEN,
    Scene,
    data_packs_of,
    first,
    fourth,
    make_scene,
    rig_on,
    second,
    third,
    unchanged,
)
from tests.support.counts import Tally

MATRIX = "kills"


def _no_point(root: str) -> Scene:
    return make_scene(root, first)


def _one_point(root: str) -> Scene:
    return make_scene(root, first, second)


def _several_points(root: str) -> Scene:
    return make_scene(root, first, second, third, fourth)


def _lost_index(root: str) -> Scene:
    """The run rebuilds the index."""
    scene = _several_points(root)
    for info in list(scene.store.list(layout.INDEX)):
        scene.store.delete(info.name)
    return scene


SOUND = {"no point": _no_point, "one point": _one_point, "several points": _several_points, "lost index": _lost_index}


@pytest.fixture(scope="module", params=SOUND)
def scene(request: pytest.FixtureRequest, place: str) -> Scene:
    return SOUND[request.param](f"{place}/{request.param}")


class Killed:
    """One run that met its fault, or that did not call the store often enough to meet it."""

    def __init__(self, scene: Scene, fault: Fault) -> None:
        self.store = scene.copy()
        self.point = new_id()
        self.error: SkyharborError | None = None
        self.warnings: list[str] = []
        faulty = FaultyStore(self.store, [fault])
        try:
            done = rig_on(faulty).backup(scene.tree, point_id=self.point, options=SECURE_OFTEN)
            self.warnings = [notice.code for notice in done.warnings]
        except SkyharborError as error:
            self.error = error
        self.hit = faulty.calls(fault.verb) >= fault.nth

    def complaints(self) -> list[str]:
        """Say what is wrong with how the run ended: with the store's error, or having done without what it lost."""
        code = self.error.code if self.error else None
        right = code == "store-unreachable" or self.warnings == ["reference-unusable"]
        return threads_left() + ([] if right else [f"the run ended with {self.error!r} {self.warnings}"])


def every_call(verb: Verb, kind: FaultKind) -> Iterator[Fault]:
    """Every call, the first first; it is for the caller to stop when a run has not met its fault any more."""
    return (Fault(verb=verb, nth=nth, kind=kind) for nth in itertools.count(1))


def killed_at_every_call(scene: Scene, verb: Verb, kind: FaultKind, tally: Tally) -> Iterator[tuple[str, Killed]]:
    """Yield every run that met the fault, and where."""
    for fault in every_call(verb, kind):
        killed = Killed(scene, fault)
        if not killed.hit:
            return
        tally.add("calls killed" if kind.startswith("crash") else "calls failed")
        yield f"{kind} at {verb} {fault.nth}", killed


BEFORE = (Verb.ANY, FaultKind.CRASH)
AFTER = (Verb.PUT, FaultKind.CRASH_AFTER)
FAILED = (Verb.ANY, FaultKind.FAIL)
NOT_TOLD = (Verb.PUT, FaultKind.LOSE_REPLY)


@pytest.mark.parametrize(
    ("verb", "kind"),
    [BEFORE, AFTER, FAILED, NOT_TOLD],
    ids=["killed before the effect", "killed after the effect", "failed once", "reply lost once"],
)
def test_a_backup_stopped_at_any_call_harms_nothing_and_the_next_attempt_completes(
    scene: Scene, verb: Verb, kind: FaultKind, place: str, tally: Tally
) -> None:
    for where, killed in killed_at_every_call(scene, verb, kind, tally):
        with tally.cell(where) as found:
            rig = rig_on(killed.store)
            oracles = dict(scene.oracles)
            if killed.point in rig.points():
                oracles[killed.point] = scene.now
            found += killed.complaints()
            found += unrestorable(rig, oracles, scene.tree, place)
            found += dangling_manifests(rig, oracles)
            found += dangling_rows(rig, before_dropping=True)
            # The job is tried again, for the same point.
            rig.backup(scene.tree, point_id=killed.point, options=SECURE_OFTEN)
            oracles[killed.point] = scene.now
            found += unrestorable(rig, oracles, scene.tree, place)
            found += dangling_manifests(rig, oracles)
            found += not_proven(rig, killed.point)
    tally.judge(least=4)


def test_a_put_torn_by_a_lying_disk_harms_no_earlier_point_and_the_next_backup_completes(
    scene: Scene, place: str, tally: Tally
) -> None:
    for where, killed in killed_at_every_call(scene, Verb.PUT, FaultKind.CRASH_TORN, tally):
        with tally.cell(where) as found:
            rig = rig_on(killed.store)
            oracles = dict(scene.oracles)
            half = {killed.point} & set(rig.points())
            found += killed.complaints()
            found += unrestorable(rig, oracles, scene.tree, place, but=half)
            found += dangling_manifests(rig, oracles)
            found += dangling_rows(rig, before_dropping=True)
            found += [f"half the manifest {point} opened" for point in half if opens(scene, killed, point)]
            done = rig.backup(scene.tree, options=SECURE_OFTEN)
            assert done.point is not None
            oracles[done.point.point_id] = scene.now
            codes = [notice.code for notice in done.warnings]
            found += [f"the next backup says {codes}"] if codes != ["reference-unusable"] * len(half) else []
            found += unrestorable(rig, oracles, scene.tree, place, but=half)
            found += not_proven(rig, done.point.point_id)
    tally.judge(least=4)


def opens(scene: Scene, killed: Killed, point: str) -> bool:
    try:
        rig_on(killed.store).reader(point)
    except SkyharborError as error:
        return error.code != "object-damaged" or point not in str(error)
    return True


@pytest.mark.parametrize(("verb", "kind"), [BEFORE, AFTER], ids=["before the effect", "after the effect"])
def test_a_healing_backup_killed_at_any_call_loses_no_more_and_the_next_attempt_heals_everything(
    place: str, tally: Tally, verb: Verb, kind: FaultKind
) -> None:
    """A pack is gone, another one is marked as damaged, and the source still has what was in both."""
    scene = make_scene(f"{place}/healing {verb} {kind}", first, second, unchanged)
    rig = rig_on(scene.store)
    mark_damaged(rig.vault, data_packs_of(rig, f"{scene.tree}/late").pop(), "for the test")
    scene.store.delete(data_packs_of(rig, f"{scene.tree}/large").pop())
    for where, killed in killed_at_every_call(scene, verb, kind, tally):
        with tally.cell(where) as found:
            rig = rig_on(killed.store)
            found += killed.complaints() + dangling_rows(rig, before_dropping=False)
            rig.backup(scene.tree, point_id=killed.point, options=SECURE_OFTEN)
            oracles = {**scene.oracles, killed.point: scene.now}
            found += unrestorable(rig, oracles, scene.tree, place)
            found += dangling_manifests(rig, [killed.point])
            found += not_proven(rig, killed.point)
    tally.judge(least=4)


@pytest.mark.parametrize(("verb", "kind"), [BEFORE, AFTER], ids=["before the effect", "after the effect"])
def test_making_a_vault_killed_at_any_call_leaves_a_vault_or_an_empty_place(
    verb: Verb, kind: FaultKind, tally: Tally
) -> None:
    for fault in every_call(verb, kind):
        store = MemoryStore()
        faulty = FaultyStore(store, [fault])
        try:
            create_vault(faulty, name="test")
        except SkyharborError:
            tally.add("calls killed")
        else:
            break
        with tally.cell(f"{kind} at {verb} {fault.nth}") as found:
            if not list(store.list()):
                create_vault(store, name="test")
            found += open_vault(store).problems
    tally.judge(least=1)
