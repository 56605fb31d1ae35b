"""A goal is met or missed by proof only, and against the better of the peers."""

import pytest

from tests.benchmarks.goals import AtMost, Limit, Ratio, Within, cpu_ratio_of, ratio_of, summarize
from tests.benchmarks.measure import Sample


def _runs(*values, cpu=None, cut_off=False):
    return summarize([Sample(value, cpu, cut_off=cut_off) for value in values])


def test_a_ratio_compares_medians_with_the_faster_peer():
    summaries = {"ours": _runs(1, 3, 2), "restic": _runs(8, 9, 7), "borg": _runs(4, 5, 40), "cp -a": _runs(1)}
    assert ratio_of(summaries) == Ratio(2 / 5)


def test_cpu_is_compared_with_the_peer_that_was_faster_by_the_clock():
    summaries = {"ours": _runs(1, cpu=3), "restic": _runs(8, cpu=1), "borg": _runs(4, cpu=6)}
    assert cpu_ratio_of(summaries) == 0.5


@pytest.mark.parametrize(
    "summaries", [{}, {"ours": _runs(1)}, {"restic": _runs(1)}, {"ours": _runs(1), "tar | zstd": _runs(1)}]
)
def test_without_ours_or_without_a_peer_there_is_no_ratio(summaries):
    assert (ratio_of(summaries), cpu_ratio_of(summaries), AtMost(0.5).is_met(summaries)) == (None, None, None)


def test_a_peer_that_was_cut_off_gives_a_bound_that_proves_a_goal_met():
    summaries = {"ours": _runs(30), "restic": _runs(300, cut_off=True)}
    assert (str(ratio_of(summaries)), AtMost(0.5).is_met(summaries)) == ("≤ 0.10", True)


def test_a_peer_that_was_cut_off_never_proves_a_goal_missed():
    assert AtMost(0.05).is_met({"ours": _runs(30), "restic": _runs(300, cut_off=True)}) is None


def test_ours_cut_off_is_a_miss_when_the_bound_proves_it_and_undecided_else():
    summaries = {"ours": _runs(300, cut_off=True), "restic": _runs(400)}
    assert (str(ratio_of(summaries)), AtMost(0.5).is_met(summaries), AtMost(0.8).is_met(summaries)) == (
        "≥ 0.75",
        False,
        None,
    )


def test_both_cut_off_prove_nothing():
    summaries = {"ours": _runs(300, cut_off=True), "restic": _runs(300, cut_off=True)}
    assert (ratio_of(summaries), AtMost(2).is_met(summaries)) == (None, None)


def test_a_peer_that_finished_sooner_than_another_was_cut_off_decides():
    summaries = {"ours": _runs(100), "restic": _runs(300, cut_off=True), "borg": _runs(200)}
    assert ratio_of(summaries) == Ratio(0.5)


def test_one_run_that_was_cut_off_makes_all_of_them_a_bound():
    assert summarize([Sample(300, cut_off=True), Sample(280, 5.0), Sample(290, 7.0)]).cut_off


@pytest.mark.parametrize(("ours", "met"), [(0.5, True), (0.51, False)])
def test_a_goal_is_met_up_to_its_very_value(ours, met):
    assert AtMost(0.5).is_met({"ours": _runs(ours), "restic": _runs(1)}) is met


def test_a_goal_against_one_peer_does_not_see_the_other():
    assert AtMost(1.0, peers=("restic",)).is_met({"ours": _runs(5), "restic": _runs(5), "borg": _runs(1)}) is True


@pytest.mark.parametrize(("ours", "met"), [(15, True), (15.1, False)])
def test_a_limit_looks_at_ours_alone(ours, met):
    assert Limit(15, "µs").is_met({"ours": _runs(ours)}) is met


@pytest.mark.parametrize(("ours", "met"), [(150, True), (151, False)])
def test_memory_may_exceed_one_peer_by_so_much(ours, met):
    assert Within("restic", 100).is_met({"ours": _runs(ours), "restic": _runs(50), "borg": _runs(1)}) is met


def test_goals_say_themselves():
    goals = (AtMost(1 / 3), AtMost(1.0, peers=("restic",)), Limit(15, "µs"), Within("restic", 100 << 20))
    assert [str(goal) for goal in goals] == ["≤ 0.33", "≤ 1.00 of restic", "≤ 15 µs", "≤ restic + 100 MiB"]
