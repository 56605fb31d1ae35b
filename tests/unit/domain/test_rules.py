"""The small rules: retention, windows, retries, storms, names, pages."""

# ruff: noqa: PT017 - an error is allowed here, and only this one

from __future__ import annotations

from dataclasses import replace
from datetime import UTC, datetime, timedelta
from zoneinfo import ZoneInfo

import pytest
from hypothesis import given
from hypothesis import strategies as st

from orchestrator.domain.job_states import JobState
from orchestrator.domain.jobs import Job, Trigger
from orchestrator.domain.names import check_name, check_path, printable
from orchestrator.domain.paging import decode_cursor, encode_cursor
from orchestrator.domain.policy import BlackoutSpec, PolicySpec, RetentionSpec, WindowSpec
from orchestrator.domain.retention import Kept, plan_retention
from orchestrator.domain.retry import after_failure, after_loss, after_release, next_backoff
from orchestrator.domain.storm import is_storm
from orchestrator.domain.window import Closed, is_dark, is_open, why_closed
from shared.errors import SkyharborError
from shared.model.backup import JobKind

NOW = datetime(2026, 6, 15, 12, 0, tzinfo=UTC)
JOB = Job(
    id="j", kind=JobKind.BACKUP, state=JobState.RUNNING, trigger=Trigger.DEMAND, item_id="i", item="i", machine_id="m",
    vault_id="v", point_id="p", attempt=1, created_at=NOW, due_at=NOW, worker="w",
)  # fmt: skip


def kept(rule: RetentionSpec, days: int, **options: datetime) -> list[int]:
    points = [Kept(str(day), NOW - timedelta(days=day), **options) for day in range(days)]
    verdicts = plan_retention(points, rule, now=NOW, zone=ZoneInfo("UTC"))
    assert all(verdict.reasons for verdict in verdicts)
    return [int(verdict.id) for verdict in verdicts if verdict.keep]


def test_retention_keeps_the_newest_of_every_period() -> None:
    assert kept(RetentionSpec(last=2, daily=3, monthly=2), 40) == [0, 1, 2, 15]


def test_retention_of_zeros_keeps_everything_and_no_rule_drops_the_newest() -> None:
    assert kept(RetentionSpec(), 5) == [0, 1, 2, 3, 4]
    assert kept(RetentionSpec(yearly=1), 5) == [0]


def test_a_hold_keeps_a_point_until_it_ends() -> None:
    assert kept(RetentionSpec(last=1), 3, held_until=NOW + timedelta(days=1)) == [0, 1, 2]
    assert kept(RetentionSpec(last=1), 3, held_until=NOW) == [0]


@pytest.mark.parametrize(
    ("hour", "expected"), [(21, False), (22, True), (23, True), (5, True), (6, False), (12, False)]
)
def test_a_window_goes_over_midnight(hour: int, expected: bool) -> None:
    window = WindowSpec(start="22:00", end="06:00", zone="UTC")
    assert is_open(window, NOW.replace(hour=hour)) is expected


WEEKDAYS = BlackoutSpec(zone="Europe/Berlin", days=("mon", "tue", "wed", "thu", "fri"), start="20:00", end="06:00")
ONCE = BlackoutSpec(zone="Europe/Berlin", begin="2026-12-24 12:00", until="2026-12-27 00:00")


@pytest.mark.parametrize(
    ("blackout", "moment", "expected"),
    [
        (WEEKDAYS, "2026-06-15T18:30", True),  # Monday, 20:30 in Berlin
        (WEEKDAYS, "2026-06-20T03:30", True),  # Saturday, 05:30: begun on Friday
        (WEEKDAYS, "2026-06-20T18:30", False),  # Saturday evening
        (WEEKDAYS, "2026-06-22T03:30", False),  # Monday, 05:30: it would have begun on Sunday
        (ONCE, "2026-12-24T10:59", False),
        (ONCE, "2026-12-24T11:00", True),
        (ONCE, "2026-12-26T22:59", True),
        (ONCE, "2026-12-26T23:00", False),
    ],
)
def test_a_blackout_belongs_to_the_local_day_on_which_it_begins(
    blackout: BlackoutSpec, moment: str, expected: bool
) -> None:
    assert is_dark(blackout, datetime.fromisoformat(moment).replace(tzinfo=UTC)) is expected


def test_a_policy_says_why_it_is_closed() -> None:
    window = WindowSpec(start="22:00", end="06:00", zone="UTC")
    spec = PolicySpec(
        name="p", window=window, blackouts=(BlackoutSpec(zone="UTC", begin="2026-06-15", until="2026-06-16"),)
    )
    assert why_closed(spec, NOW) is Closed.BLACKOUT
    assert why_closed(spec, NOW + timedelta(days=1)) is Closed.WINDOW
    assert why_closed(spec, datetime(2026, 6, 16, 0, 0, tzinfo=UTC)) is None


@given(previous=st.floats(0, 600), chance=st.floats(0, 1))
def test_a_backoff_stays_between_five_seconds_and_ten_minutes(previous: float, chance: float) -> None:
    assert 5 <= next_backoff(previous, chance) <= 600


def test_the_last_attempt_is_not_retried() -> None:
    ends = [after_failure(replace(JOB, attempt=n), code="internal", message="x", chance=0.5).state for n in (1, 2, 3)]
    assert ends == [JobState.RETRYABLE, JobState.RETRYABLE, JobState.DISCARDED]


def test_the_first_loss_costs_no_time_and_the_third_is_the_last() -> None:
    ends = [after_loss(replace(JOB, losses=n), chance=0.5) for n in (0, 1, 2)]
    assert [(end.state, end.due_in > 0) for end in ends] == [
        (JobState.RETRYABLE, False),
        (JobState.RETRYABLE, True),
        (JobState.DISCARDED, False),
    ]


def test_a_release_after_a_cancel_is_the_cancel() -> None:
    assert after_release(replace(JOB, cancel_requested_at=NOW)).state is JobState.CANCELLED
    assert after_release(JOB).attempt == 0


def test_a_storm_is_more_than_three_in_ten_of_at_least_ten() -> None:
    assert [is_storm(expired=e, leases=n) for e, n in ((9, 9), (3, 10), (4, 10))] == [False, False, True]


@pytest.mark.parametrize("bad", ["", "-a", "a b", "latest", "a/b", "x" * 101, "01a20383-7781-7369-a318-d904fb72c1d9"])
def test_a_name_that_could_mean_something_else_is_refused(bad: str) -> None:
    with pytest.raises(SkyharborError):
        check_name(bad, noun="item")


def test_paths_are_absolute_and_plain() -> None:
    assert [check_path(path, field="p") for path in ("/", "/a//b/", "/ä")] == ["/", "/a/b", "/ä"]
    for bad in ("a", "/a/../b", "/a\0", ""):
        with pytest.raises(SkyharborError):
            check_path(bad, field="p")


@given(st.text())
def test_whatever_a_worker_says_can_be_kept(text: str) -> None:
    assert "\0" not in printable(text)
    printable(text).encode()


@given(st.text(alphabet=st.characters(exclude_characters="\0", codec="utf-8"), max_size=50))
def test_a_cursor_comes_back_as_it_went(key: str) -> None:
    assert decode_cursor(encode_cursor(key)) == key


@given(st.text(max_size=30))
def test_a_forged_cursor_is_refused_or_harmless(cursor: str) -> None:
    try:
        decode_cursor(cursor)
    except SkyharborError as error:
        assert error.code == "bad-request"
