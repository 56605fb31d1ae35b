"""Calendar expressions: what people write, and the moments that it means."""

from __future__ import annotations

from datetime import UTC, datetime
from itertools import islice

import pytest
from hypothesis import given
from hypothesis import strategies as st

from orchestrator.domain.calendar import crons_of
from orchestrator.domain.policy import ScheduleSpec
from orchestrator.domain.schedule import check_cron, fires_after

START = datetime(2026, 11, 25, 12, 0, tzinfo=UTC)  # a Wednesday


@pytest.mark.parametrize(
    ("text", "moments"),
    [
        ("every 15m", ["11-25 12:15", "11-25 12:30"]),
        ("every 6h", ["11-25 18:00", "11-26 00:00"]),
        ("hourly :20", ["11-25 12:20", "11-25 13:20"]),
        ("daily 02:30", ["11-26 02:30", "11-27 02:30"]),
        ("daily 02:30,14:45", ["11-25 14:45", "11-26 02:30"]),
        ("weekdays 22:00", ["11-25 22:00", "11-26 22:00", "11-27 22:00", "11-30 22:00"]),
        ("sat,sun 03:00", ["11-28 03:00", "11-29 03:00", "12-05 03:00"]),
        ("fri-mon 01:00", ["11-27 01:00", "11-28 01:00", "11-29 01:00", "11-30 01:00", "12-04 01:00"]),
        ("monthly 1,15,last 04:00", ["11-30 04:00", "12-01 04:00", "12-15 04:00", "12-31 04:00"]),
        ("monthly last-fri 22:00", ["11-27 22:00", "12-25 22:00"]),
        ("monthly second-sun 03:00", ["12-13 03:00", "01-10 03:00"]),
        ("yearly 12-31 23:00", ["12-31 23:00", "12-31 23:00"]),
    ],
)
def test_an_expression_means_what_it_says(text: str, moments: list[str]) -> None:
    fires = sorted(
        fire.nominal
        for cron in crons_of(text)
        for fire in islice(fires_after(ScheduleSpec(cron=check_cron(cron), zone="UTC"), START), 9)
    )
    assert [f"{moment:%m-%d %H:%M}" for moment in fires][: len(moments)] == moments


@pytest.mark.parametrize(
    ("text", "words"),
    [
        ("", "write a calendar"),
        ("daily", "time of day at the end"),
        ("nightly 02:00", "daily 02:30"),
        ("daily 25:00", "not a time of day"),
        ("every 7m", "part of an hour"),
        ("every day", "part of an hour"),
        ("hourly 20", "such as :20"),
        ("monthly 32 01:00", "no day of a month"),
        ("monthly fifth-fri 01:00", "no day of a month"),
        ("yearly 13-01 01:00", "month-day"),
    ],
)
def test_a_mistake_says_what_to_write(text: str, words: str) -> None:
    with pytest.raises(ValueError, match=words):
        crons_of(text)


@given(st.text(max_size=40))
def test_no_text_breaks_the_reader(text: str) -> None:
    try:
        crons = crons_of(text)
    except ValueError:
        return
    assert all(check_cron(cron) for cron in crons)
