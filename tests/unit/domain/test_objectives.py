"""The verdict on an item follows from its newest point, its promise and the time, and from nothing else."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta

import pytest
from hypothesis import given
from hypothesis import strategies as st

from orchestrator.domain.objectives import Record, Verdict, achieved, judge, overdue, verdict

NOON = datetime(2026, 3, 1, 12, tzinfo=UTC)
HOUR = 3600

seconds = st.integers(0, 10**7)
rpos = st.integers(1, 10**6)
estimates = st.integers(0, 10**5).map(float)


@pytest.mark.parametrize(
    ("rpo", "age", "expected"),
    [
        (None, None, Verdict.NEVER),
        (HOUR, None, Verdict.NEVER),
        (None, 10**6, Verdict.UNPROMISED),
        (HOUR, 0, Verdict.MET),
        (HOUR, HOUR - 600, Verdict.MET),
        (HOUR, HOUR - 599, Verdict.AT_RISK),
        (HOUR, HOUR, Verdict.AT_RISK),
        (HOUR, HOUR + 1, Verdict.MISSED),
    ],
)
def test_an_hour_is_promised_and_a_backup_takes_ten_minutes(
    rpo: int | None, age: int | None, expected: Verdict
) -> None:
    newest = None if age is None else NOON - timedelta(seconds=age)
    assert verdict(rpo=rpo, newest=newest, estimate=600.0, now=NOON) is expected


@given(rpo=rpos, estimate=estimates, ages=st.lists(seconds, min_size=2, max_size=2).map(sorted))
def test_without_a_new_point_it_only_gets_worse(rpo: int, estimate: float, ages: list[int]) -> None:
    order = [Verdict.MET, Verdict.AT_RISK, Verdict.MISSED]
    sooner, later = (
        verdict(rpo=rpo, newest=NOON, estimate=estimate, now=NOON + timedelta(seconds=age)) for age in ages
    )
    assert order.index(sooner) <= order.index(later)


@given(rpo=rpos, estimate=estimates, age=seconds)
def test_missed_and_overdue_are_the_same(rpo: int, estimate: float, age: int) -> None:
    now = NOON + timedelta(seconds=age)
    missed = verdict(rpo=rpo, newest=NOON, estimate=estimate, now=now) is Verdict.MISSED
    assert missed == (overdue(rpo=rpo, since=NOON, now=now) is not None)


@given(gap=st.one_of(st.none(), seconds.map(float)), age=seconds)
def test_what_was_achieved_is_never_better_than_what_would_be_lost_now(gap: float | None, age: int) -> None:
    worst = achieved(newest=NOON, longest_gap=gap, now=NOON + timedelta(seconds=age))
    assert worst == max(age, gap or 0)


def test_an_item_that_never_had_a_point_is_overdue_once_it_is_older_than_its_promise() -> None:
    record = Record(
        item_id="i",
        name="docs",
        policy=None,
        created_at=NOON - timedelta(hours=3),
        paused_at=None,
        rpo=HOUR,
        newest=None,
        estimate=600.0,
        longest_gap=None,
        verified_at=None,
        next_fire_at=None,
    )
    standing = judge(record, now=NOON)
    assert (standing.verdict, standing.achieved, standing.overdue) == (Verdict.NEVER, None, 2.0 * HOUR)
