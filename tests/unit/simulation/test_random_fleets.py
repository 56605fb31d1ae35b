"""Laws of the tower over random fleets: every seed is a fleet of its own, and a seed that fails stays as a test."""

from __future__ import annotations

import pytest

from orchestrator.simulation.report import report_of
from tests.support.random_fleets import Laws, random_fleet

SEEDS = 24


@pytest.mark.parametrize("seed", range(SEEDS))
def test_the_laws_hold_over_a_random_fleet(seed: int) -> None:
    """Slots add up at every admission, nothing is filed or ended twice, no job that has room is kept for hours, and no
    backup starts with what a restore waits for.

    Half of the fleets have no faults: there nothing fails, and what misses its RPO has waited for something.
    """
    faults = seed % 2 == 0
    laws = Laws(random_fleet(seed, faults=faults), days=2, seed=seed)
    report = report_of(laws.run())
    assert laws.settled
    assert laws.ended
    for wish in (*report["restores"], *report["verifies"]):
        assert wish["asked"] == wish["done"] + wish["failed"] + wish["open"]
    for policy in report["policies"]:
        ends = ("done", "superseded", "start_missed", "finish_missed", "failed", "open")
        assert policy["fires_filed"] == sum(policy[f"jobs_{end}"] for end in ends)
        assert policy["jobs_open"] >= 0
    if not faults:
        assert (report["jobs_failed"], report["attempts_lost"], report["errors"].get("store-unreachable")) == (
            0,
            0,
            None,
        )
        assert report["bottleneck"] is not None or report["rpo_missed_items"] == 0
