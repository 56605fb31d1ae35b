"""Decision 12, checked by going through all states of small worlds."""

from __future__ import annotations

from dataclasses import replace

import pytest

from tests.models.clauses import PROTOCOL, Clauses, Fencing
from tests.models.search import Scene, search

ONE = Scene("one job beside a point that expires")
GARBAGE = Scene("one job beside garbage", sealed=False)
RETRIED = Scene("one job of two attempts", attempts=2, expires=False)


@pytest.mark.parametrize("scene", [ONE, GARBAGE, RETRIED], ids=lambda scene: scene.name)
def test_no_point_is_lost_and_no_garbage_stays(scene: Scene) -> None:
    found = search(scene)
    print(f"{found.states:,} states")  # noqa: T201 - the size of what was searched belongs to the result
    assert found.broken is None, "\n".join(found.trace)


@pytest.mark.parametrize(
    ("scene", "clauses"),
    [
        pytest.param(ONE, replace(PROTOCOL, fencing=Fencing.LIFTED), id="a fence that is lifted"),
        pytest.param(ONE, replace(PROTOCOL, fencing=Fencing.BESIDE), id="a fence lifted by the owner only"),
        pytest.param(
            ONE, replace(PROTOCOL, unsettled_counts=False, settle_after_ripe=False), id="jobs settled before the answer"
        ),
    ],
)
def test_without_this_clause_data_is_lost(scene: Scene, clauses: Clauses) -> None:
    assert search(scene, clauses).broken is not None
