"""Which instants a nominal local time stands for, across daylight saving."""

# ruff: noqa: DTZ001 - nominal times have no zone

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from itertools import islice, takewhile

import pytest
from hypothesis import given
from hypothesis import strategies as st

from orchestrator.domain.policy import ScheduleSpec
from orchestrator.domain.schedule import Fire, check_cron, fires_after, jitter_seconds

ZONES = ("America/New_York", "Australia/Lord_Howe", "Europe/Berlin", "UTC", "Asia/Kathmandu")


def first(cron: str, zone: str, after: datetime, count: int) -> list[Fire]:
    return list(islice(fires_after(ScheduleSpec(cron=cron, zone=zone), after), count))


def test_all_that_a_gap_swallows_fires_once_after_it() -> None:
    found = first("*/30 * * * *", "America/New_York", datetime(2026, 3, 8, 6, 0, tzinfo=UTC), 3)
    assert [(fire.nominal.strftime("%H:%M"), fire.instant.strftime("%H:%M")) for fire in found] == [
        ("01:30", "06:30"),
        ("02:00", "07:00"),
        ("03:30", "07:30"),
    ]


def test_an_hour_that_comes_twice_fires_the_first_time_only() -> None:
    found = first("0 * * * *", "America/New_York", datetime(2026, 11, 1, 4, 30, tzinfo=UTC), 2)
    assert [fire.instant.strftime("%H:%M") for fire in found] == ["05:00", "07:00"]
    assert found[0].note is not None


def test_lord_howe_loses_and_gains_half_an_hour() -> None:
    gap = first("15 2 * * *", "Australia/Lord_Howe", datetime(2026, 10, 3, 14, 0, tzinfo=UTC), 1)[0]
    fold = first("45 1 * * *", "Australia/Lord_Howe", datetime(2026, 4, 4, 13, 0, tzinfo=UTC), 1)[0]
    assert (gap.instant, fold.instant) == (
        datetime(2026, 10, 3, 15, 30, tzinfo=UTC),
        datetime(2026, 4, 4, 14, 45, tzinfo=UTC),
    )


@given(
    start=st.datetimes(min_value=datetime(2026, 1, 1), max_value=datetime(2026, 12, 1)),
    zone=st.sampled_from(ZONES),
    cron=st.sampled_from(("*/15 * * * *", "30 1,2 * * *", "0 * * * *", "15 2 * * 0")),
    cut=st.integers(min_value=1, max_value=2 * 24 * 60),
)
def test_the_fires_do_not_depend_on_where_planning_began(start: datetime, zone: str, cron: str, cut: int) -> None:
    begin = start.replace(tzinfo=UTC)
    middle, end = begin + timedelta(minutes=cut), begin + timedelta(days=3)
    schedule = ScheduleSpec(cron=cron, zone=zone)
    whole = list(takewhile(lambda fire: fire.instant <= end, fires_after(schedule, begin)))
    later = list(takewhile(lambda fire: fire.instant <= end, fires_after(schedule, middle)))
    assert [fire for fire in whole if fire.instant > middle] == later
    assert len({fire.nominal for fire in whole}) == len({fire.instant for fire in whole}) == len(whole)


@pytest.mark.parametrize("bad", ["", "* * * *", "61 * * * *", "@often", "0 0 31 2 *", "* * * * * *"])
def test_a_bad_expression_is_refused_with_a_sentence(bad: str) -> None:
    with pytest.raises(ValueError, match=" "):
        check_cron(bad)


def test_nicknames_stand_for_five_fields() -> None:
    assert [check_cron(name) for name in ("@hourly", "@daily", "@weekly", "@monthly")] == [
        "0 * * * *",
        "0 0 * * *",
        "0 0 * * 0",
        "0 0 1 * *",
    ]


def test_jitter_is_stable_per_item_and_spreads_a_fleet() -> None:
    delays = [jitter_seconds(f"item-{number}", 600) for number in range(1000)]
    assert delays == [jitter_seconds(f"item-{number}", 600) for number in range(1000)]
    assert (min(delays) >= 0, max(delays) <= 600, len(set(delays)) > 450) == (True, True, True)
