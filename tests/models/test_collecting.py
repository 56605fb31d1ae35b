"""Decision 12, checked by going through all states of small worlds, and then without each of its clauses in turn.

``pytest tests/models -s`` prints how many states there were, and the shortest way to lose data without a clause; with
``-m soak`` in the larger worlds.
"""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import pytest

from tests.models.clauses import PROTOCOL, Clauses, Fencing
from tests.models.scenes import Scene
from tests.models.search import Found, search

POINT = Scene("a job beside a point that expires")
GARBAGE = Scene("a job beside garbage", sealed=False)
CONDEMNED = Scene("a job beside a point that needs a condemned pack", condemned=True)
PEOPLE = Scene("a job beside a point that is held and restored", hold=True, read=True)
FAILING = Scene("manifests that cannot be deleted yet", fails=True)
BOTH = Scene("a job beside a point and garbage", beside=True)
LATE = Scene("a lost worker that stores late", sealed=False, stores=True, late_stores=True)
RETRIED = Scene("a job of two attempts", attempts=2, expires=False)
FROZEN = Scene(
    "a frozen collector and a worker that stores late",
    attempts=2,
    sealed=False,
    empty=True,
    expires=False,
    late_stores=True,
    frozen=True,
)
STALE = Scene("a frozen collector whose garbage was taken back", sealed=False, stale=True)

TRIES = Scene("a job of two attempts beside a point that expires", attempts=2)
PAIR = Scene("two jobs beside a point that expires", jobs=2)
PAIR_GARBAGE = Scene("two jobs beside garbage", jobs=2, sealed=False)

SMALL = [POINT, GARBAGE, CONDEMNED, PEOPLE, FAILING, LATE, RETRIED, FROZEN]
LARGE = [BOTH, TRIES, PAIR, PAIR_GARBAGE]

GONE = "that it needs are gone"
UNSEEN = "readers do not find it"
GOES = "goes while somebody holds or restores it"


def _without(clause: str) -> Clauses:
    taken: dict[str, Any] = {clause: False}
    return replace(PROTOCOL, **taken)


def _name(scene: Scene) -> str:
    return scene.name


def _safe(scene: Scene, clauses: Clauses = PROTOCOL, *, rubbish: bool = True) -> None:
    found = search(scene, clauses, rubbish=rubbish)
    print(f"\n{scene.name}: {found.states:,} states")  # noqa: T201 - the size of what was searched is a result
    assert found.broken is None, _told(found)


def _told(found: Found) -> str:
    return "\n".join([*found.trace, f"→ {found.broken}"])


@pytest.mark.parametrize("scene", SMALL, ids=_name)
def test_no_point_is_lost_and_no_garbage_stays(scene: Scene) -> None:
    _safe(scene)


@pytest.mark.soak
@pytest.mark.timeout(7200)
@pytest.mark.parametrize("scene", LARGE, ids=_name)
def test_no_point_is_lost_and_no_garbage_stays_in_larger_worlds(scene: Scene) -> None:
    _safe(scene)


WITHOUT = [
    (GARBAGE, "register_first", GONE),
    (GARBAGE, "forget_condemned", GONE),
    (GARBAGE, "forget_before_listing", GONE),
    (GARBAGE, "list_packs", GONE),
    (TRIES, "put_if_absent", GONE),
    (GARBAGE, "leave_is_fenced", GONE),
    (CONDEMNED, "reference_in_claim", GONE),
    (CONDEMNED, "reference_is_sealed", GONE),
    (TRIES, "rejoined_keeps_generation", GONE),
    (TRIES, "leave_outlives_attempt", GONE),
    (CONDEMNED, "expiry_raises", GONE),
    (CONDEMNED, "points_wait_for_writers", GONE),
    (CONDEMNED, "points_at_once", GONE),
    (PEOPLE, "points_wait_for_readers", GOES),
    (PEOPLE, "hold_brings_back", GOES),
    (PEOPLE, "hold_before_doom", GOES),
    (FAILING, "manifests_first", GONE),
    (TRIES, "rejoined_is_fenced", GONE),
    (GARBAGE, "found_is_fenced", GONE),
    (GARBAGE, "condemn_is_atomic", GONE),
    (GARBAGE, "ripe_waits", GONE),
    (GARBAGE, "ripe_before_listing", GONE),
    (GARBAGE, "second_listing", GONE),
    (GARBAGE, "doom_of_answer", GONE),
    (BOTH, "doom_is_final", GONE),
    (BOTH, "doom_first", GONE),
    (FAILING, "unreadable_keeps_all", GONE),
    (FAILING, "forget_after_deleting", GONE),
    (FROZEN, "forget_once", GONE),
    (STALE, "collector_is_fenced", GONE),
    (GARBAGE, "first_answer_is_final", UNSEEN),
]


@pytest.mark.parametrize(("scene", "clause", "what"), WITHOUT, ids=[clause for _, clause, _ in WITHOUT])
def test_without_this_clause_data_is_lost(scene: Scene, clause: str, what: str) -> None:
    _lost(scene, _without(clause), what)


@pytest.mark.parametrize(
    ("fencing", "what"),
    [(Fencing.BESIDE, UNSEEN), (Fencing.LIFTED, UNSEEN), (Fencing.LATE, UNSEEN), (Fencing.NONE, GONE)],
    ids=["BESIDE", "LIFTED", "LATE", "NONE"],
)
def test_with_another_way_of_settling_data_is_lost(fencing: Fencing, what: str) -> None:
    _lost(GARBAGE, replace(PROTOCOL, fencing=fencing), what)


def test_a_job_that_ended_without_a_point_counts_as_a_writer_or_is_settled_after_the_answer() -> None:
    _lost(GARBAGE, replace(PROTOCOL, unsettled_counts=False, settle_after_ripe=False), GONE)


def _lost(scene: Scene, clauses: Clauses, what: str) -> None:
    found = search(scene, clauses, rubbish=False)
    print(f"\n{found.states:,} states, {len(found.trace)} steps:\n{_told(found)}")  # noqa: T201 - what the test is about
    assert found.broken is not None
    assert what in found.broken


@pytest.mark.parametrize(
    ("scene", "clause"),
    [(GARBAGE, "settle_after_ripe"), (GARBAGE, "unsettled_counts"), (PEOPLE, "restore_is_of_sealed")],
    ids=["settle_after_ripe", "unsettled_counts", "restore_is_of_sealed"],
)
def test_this_clause_is_a_second_belt(scene: Scene, clause: str) -> None:
    _safe(scene, _without(clause))


@pytest.mark.soak
@pytest.mark.parametrize("clause", ["settle_after_ripe", "unsettled_counts"])
def test_this_clause_is_a_second_belt_where_a_job_is_tried_again(clause: str) -> None:
    _safe(TRIES, _without(clause))


@pytest.mark.soak
@pytest.mark.parametrize(
    "clause",
    ["reference_in_claim", "reference_is_sealed", "expiry_raises", "points_wait_for_writers", "points_at_once"],
)
def test_where_pages_are_forgotten_too_this_clause_is_a_second_belt(clause: str) -> None:
    _safe(CONDEMNED, replace(_without(clause), forget_pages=True), rubbish=False)


def test_a_fence_under_the_name_itself_would_do_as_well() -> None:
    _safe(GARBAGE, replace(PROTOCOL, fencing=Fencing.NAME))
