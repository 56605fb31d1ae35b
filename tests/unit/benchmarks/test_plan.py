"""Every row can be asked for, has its data set, and is the same step everywhere."""

import pytest

from tests.benchmarks.__main__ import expected_minutes
from tests.benchmarks.caches import Cache
from tests.benchmarks.plan import EXPERIMENTS, FULL, QUICK_ROWS, ROWS, SMALL_FILES, USUAL_ROWS, Material
from tests.benchmarks.programs import Verb
from tests.benchmarks.rounds import Orders


def _orders(*rows, runs=3, caches=None, may_drop=True):
    return Orders(rows=rows, runs=runs, sizes=FULL, material=Material(()), caches=caches, may_drop=may_drop)


@pytest.mark.parametrize("row", ROWS)
def test_every_row_is_measured_by_exactly_one_experiment(row):
    assert len([experiment for experiment in EXPERIMENTS if experiment.is_wanted({row})]) == 1


def test_every_experiment_begins_with_a_first_backup():
    assert [experiment.steps[0].verb for experiment in EXPERIMENTS] == [Verb.FIRST] * len(EXPERIMENTS)


def test_goals_are_those_that_we_promise():
    promised = {
        (step.row, cache.value): str(step.goals[cache])
        for experiment in EXPERIMENTS
        for step in experiment.steps
        for cache in step.caches
        if cache in step.goals
    }
    assert promised == {
        ("first", "warm"): "≤ 0.33",
        ("first", "cold"): "≤ 0.45",
        ("unchanged", "warm"): "≤ 0.25",
        ("changed", "warm"): "≤ 0.33",
        ("restore", "warm"): "≤ 0.50",
        ("image", "warm"): "≤ 0.50",
        ("incompressible", "warm"): "≤ 0.50",
    }


def test_a_first_backup_is_measured_warm_and_cold_unless_told_otherwise():
    first = SMALL_FILES.steps[0]
    assert [
        list(orders.caches_of(first))
        for orders in (_orders("first"), _orders("first", caches=[Cache.WARM]), _orders("first", may_drop=False))
    ] == [[Cache.WARM, Cache.COLD], [Cache.WARM], [Cache.WARM]]


def test_everything_is_expected_within_an_hour_and_the_quick_rows_within_five_minutes():
    everything, quick = _orders(*ROWS), _orders(*QUICK_ROWS, caches=[Cache.WARM])
    assert (
        expected_minutes(everything, EXPERIMENTS, quick=False) <= 60,
        expected_minutes(quick, [SMALL_FILES], quick=True) < 5,
    ) == (True, True)


def test_the_million_has_to_be_asked_for():
    assert set(ROWS) - set(USUAL_ROWS) == {"million"}
