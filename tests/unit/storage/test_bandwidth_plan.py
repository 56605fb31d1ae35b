"""Which limits hold when."""

from __future__ import annotations

from datetime import UTC, datetime
from zoneinfo import ZoneInfo

import pytest

from shared.model.bandwidth import BandwidthPlan, BandwidthWindow, Day, Limits

WEEK = tuple(Day)
WORKDAYS = WEEK[:5]
BERLIN = "Europe/Berlin"


def plan(start: str, end: str, *, days: tuple[Day, ...] = WORKDAYS, zone: str = BERLIN) -> BandwidthPlan:
    window = BandwidthWindow(days=days, start=start, end=end, zone=zone, upload=5)
    return BandwidthPlan(upload=20, download=30, windows=(window,))


def upload(of: BandwidthPlan, *moments: str, zone: str = BERLIN) -> list[int]:
    """The limits at these local times."""
    return [of.limits_at(datetime.fromisoformat(text).replace(tzinfo=ZoneInfo(zone))).upload for text in moments]


def test_without_a_plan_nothing_is_limited() -> None:
    assert BandwidthPlan().limits_at(datetime(2026, 1, 1, tzinfo=UTC)) == Limits(0, 0)


def test_a_window_holds_from_its_start_to_just_before_its_end_on_its_days() -> None:
    office = plan("08:00", "18:00")
    friday = ["2026-03-06T07:59:59", "2026-03-06T08:00:00", "2026-03-06T17:59:59", "2026-03-06T18:00:00"]
    assert upload(office, *friday) == [20, 5, 5, 20]
    assert upload(office, "2026-03-07T12:00", "2026-03-08T12:00", "2026-03-09T12:00") == [20, 20, 5]


def test_a_window_over_midnight_belongs_to_the_day_on_which_it_opens() -> None:
    night = plan("22:00", "06:00", days=(Day.FRI,))
    moments = ["2026-03-06T05:00", "2026-03-06T23:00", "2026-03-07T05:59", "2026-03-07T06:00", "2026-03-07T23:00"]
    assert upload(night, *moments) == [20, 5, 5, 20, 20]


def test_a_window_that_ends_when_it_starts_is_the_whole_day() -> None:
    sunday = plan("00:00", "00:00", days=(Day.SUN,))
    moments = ["2026-03-07T23:59:59", "2026-03-08T00:00", "2026-03-08T23:59:59", "2026-03-09T00:00"]
    assert upload(sunday, *moments) == [20, 5, 5, 20]


def test_a_direction_that_a_window_does_not_name_is_as_it_always_is() -> None:
    assert plan("08:00", "18:00").limits_at(datetime(2026, 3, 6, 12, tzinfo=UTC)) == Limits(5, 30)


def test_a_window_may_lift_a_limit() -> None:
    window = BandwidthWindow(days=WEEK, start="22:00", end="06:00", zone="UTC", upload=0)
    night = BandwidthPlan(upload=20, windows=(window,))
    assert upload(night, "2026-03-06T21:00", "2026-03-06T22:00", zone="UTC") == [20, 0]


def test_of_several_open_windows_the_first_one_decides() -> None:
    lunch = BandwidthWindow(days=WEEK, start="12:00", end="13:00", zone="UTC", upload=0)
    day = BandwidthWindow(days=WEEK, start="08:00", end="18:00", zone="UTC", upload=5)
    both = BandwidthPlan(upload=20, windows=(lunch, day))
    assert upload(both, "2026-03-06T11:59", "2026-03-06T12:30", "2026-03-06T13:00", zone="UTC") == [5, 0, 5]


@pytest.mark.parametrize(
    ("moment", "limit"),
    [
        # Berlin leaps from 02:00 to 03:00 on 2026-03-29 (01:00 UTC) and lives 02:00-03:00 twice on 2026-10-25.
        ("2026-03-28T07:00+00:00", 5),  # 08:00 in winter
        ("2026-03-29T06:00+00:00", 5),  # 08:00 in summer
        ("2026-03-29T05:59+00:00", 20),
        ("2026-10-24T06:00+00:00", 5),
        ("2026-10-25T06:59+00:00", 20),
        ("2026-10-25T07:00+00:00", 5),
    ],
)
def test_eight_o_clock_stays_eight_o_clock_across_daylight_saving(moment: str, limit: int) -> None:
    office = plan("08:00", "18:00", days=WEEK)
    assert office.limits_at(datetime.fromisoformat(moment)).upload == limit


def test_an_hour_that_comes_twice_is_open_twice_and_one_that_is_leapt_over_never() -> None:
    small_hours = plan("02:00", "03:00", days=WEEK)
    autumn = [datetime(2026, 10, 25, hour, minute, tzinfo=UTC) for hour in (0, 1) for minute in (0, 59)]
    spring = [datetime(2026, 3, 29, 0, 59, tzinfo=UTC), datetime(2026, 3, 29, 1, 0, tzinfo=UTC)]
    assert [small_hours.limits_at(moment).upload for moment in (*autumn, *spring)] == [5, 5, 5, 5, 20, 20]


def test_a_zone_that_this_machine_does_not_know_never_makes_it_faster_than_it_was_told() -> None:
    def window(zone: str, upload: int) -> BandwidthWindow:
        return BandwidthWindow(days=WEEK, start="08:00", end="18:00", zone=zone, upload=upload)

    noon = datetime(2026, 3, 6, 12, tzinfo=UTC)
    cases = {
        "slower": BandwidthPlan(upload=20, windows=(window("Mars/Olympus", 5),)),
        "faster": BandwidthPlan(upload=20, windows=(window("Mars/Olympus", 50),)),
        "unlimited": BandwidthPlan(upload=20, windows=(window("Mars/Olympus", 0),)),
        "before an open one": BandwidthPlan(upload=20, windows=(window("Mars/Olympus", 5), window("UTC", 9))),
        "behind an open one": BandwidthPlan(upload=20, windows=(window("UTC", 9), window("Mars/Olympus", 5))),
    }
    assert {name: case.limits_at(noon).upload for name, case in cases.items()} == {
        "slower": 5,
        "faster": 20,
        "unlimited": 20,
        "before an open one": 5,
        "behind an open one": 9,
    }
