"""Retention as rules: what it may never drop, whatever the rule and the points are."""

from __future__ import annotations

from dataclasses import replace
from datetime import UTC, datetime, timedelta
from zoneinfo import ZoneInfo

from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from orchestrator.domain.expiry_forecast import expected_expiry
from orchestrator.domain.policy import RetentionSpec
from orchestrator.domain.retention import Kept, Verdict, is_held, is_too_much, plan_retention

NOW = datetime(2026, 11, 22, 12, tzinfo=UTC)
UTC_ZONE = ZoneInfo("UTC")
BERLIN = ZoneInfo("Europe/Berlin")

unhurried = settings(deadline=None, max_examples=60, suppress_health_check=[HealthCheck.too_slow])
counts = st.integers(0, 4)
rules = st.builds(RetentionSpec, last=counts, hourly=counts, daily=counts, weekly=counts, monthly=counts, yearly=counts)
moments = st.integers(0, 3 * 365 * 24).map(lambda hours: NOW - timedelta(hours=hours))


@st.composite
def histories(draw: st.DrawFn) -> list[Kept]:
    """The points of one item; the last sealed one is any of the sound ones, for clocks differ."""
    points = [
        Kept(
            id=f"{number:03}",
            sealed_at=draw(moments),
            held=(held := draw(st.booleans()) and draw(st.booleans())),
            held_until=draw(st.one_of(st.none(), moments, st.just(NOW + timedelta(days=1)))) if held else None,
            damaged=draw(st.booleans()) and draw(st.booleans()),
            looked_at=draw(st.booleans()),
            in_use=draw(st.booleans()) and draw(st.booleans()) and draw(st.booleans()),
        )
        for number in range(draw(st.integers(0, 25)))
    ]
    sound = [number for number, point in enumerate(points) if not point.damaged]
    if sound:
        last = draw(st.sampled_from(sound))
        points[last] = replace(points[last], last=True)
    return points


def plan(points: list[Kept], rule: RetentionSpec, zone: ZoneInfo = BERLIN) -> list[Verdict]:
    return plan_retention(points, rule, now=NOW, zone=zone)


def dropped(points: list[Kept], rule: RetentionSpec) -> set[str]:
    return {verdict.id for verdict in plan(points, rule) if not verdict.keep}


@unhurried
@given(histories(), rules)
def test_no_rule_drops_what_it_may_not(points: list[Kept], rule: RetentionSpec) -> None:
    gone = dropped(points, rule)
    for point in points:
        if point.last or is_held(point, NOW) or point.in_use or (point.damaged and not point.looked_at):
            assert point.id not in gone
    sound = {point.id for point in points if not point.damaged}
    assert not sound or sound - gone
    assert sound or not gone


@unhurried
@given(histories(), rules)
def test_every_point_has_one_verdict_and_every_verdict_a_reason(points: list[Kept], rule: RetentionSpec) -> None:
    verdicts = plan(points, rule)
    assert sorted(verdict.id for verdict in verdicts) == [point.id for point in points]
    assert all(verdict.reasons for verdict in verdicts)


@unhurried
@given(histories(), rules)
def test_a_plan_that_was_applied_drops_nothing_more(points: list[Kept], rule: RetentionSpec) -> None:
    gone = dropped(points, rule)
    left = [point for point in points if point.id not in gone]
    assert dropped(left, rule) == set()


@unhurried
@given(histories(), rules, st.sampled_from(RetentionSpec.__struct_fields__))
def test_a_rule_that_keeps_more_drops_nothing_that_the_lesser_one_keeps(
    points: list[Kept], rule: RetentionSpec, field: str
) -> None:
    if rule == RetentionSpec():
        return  # no rule at all keeps everything
    more = RetentionSpec(**{name: getattr(rule, name) + (name == field) for name in RetentionSpec.__struct_fields__})
    assert dropped(points, more) <= dropped(points, rule)


@unhurried
@given(histories(), rules)
def test_a_damaged_point_never_costs_a_sound_one_its_place(points: list[Kept], rule: RetentionSpec) -> None:
    sound = [point for point in points if not point.damaged]
    if sound:
        assert dropped(points, rule) & {point.id for point in sound} == dropped(sound, rule)


@unhurried
@given(histories(), rules)
def test_points_of_a_removed_item_stay(points: list[Kept], rule: RetentionSpec) -> None:
    assert all(verdict.keep for verdict in plan_retention(points, rule, now=NOW, zone=BERLIN, removed=True))


def test_the_brake_holds_above_ten_points_and_a_quarter() -> None:
    def verdicts(going: int, kept: int) -> list[Verdict]:
        return [Verdict(str(number), number >= going, ("x",)) for number in range(going + kept)]

    too_much = {
        (going, kept): is_too_much(verdicts(going, kept)) for going, kept in ((10, 0), (11, 0), (11, 32), (11, 33))
    }
    assert too_much == {(10, 0): False, (11, 0): True, (11, 32): True, (11, 33): False}


def daily(days: int) -> list[Kept]:
    return [Kept(f"{day:03}", NOW - timedelta(days=day), last=day == 0) for day in range(days)]


def test_it_is_said_when_a_point_will_go() -> None:
    fires = [NOW + timedelta(days=day) for day in range(1, 30)]
    expected = expected_expiry(daily(3), RetentionSpec(last=3), fires=fires, now=NOW, zone=UTC_ZONE)
    assert expected == {"000": fires[2], "001": fires[1], "002": fires[0]}
    longest = expected_expiry(daily(2), RetentionSpec(last=1, daily=5), fires=fires, now=NOW, zone=UTC_ZONE)
    assert longest == {"000": fires[4], "001": fires[3]}


def test_it_is_not_said_where_nobody_knows() -> None:
    fires = [NOW + timedelta(days=day) for day in range(1, 30)]
    rule = RetentionSpec(last=2)
    assert expected_expiry(daily(2), rule, fires=[], now=NOW, zone=UTC_ZONE) == {}
    assert expected_expiry(daily(2), RetentionSpec(), fires=fires, now=NOW, zone=UTC_ZONE) == {}
    held = [replace(point, held=True) for point in daily(2)]
    assert expected_expiry(held, rule, fires=fires, now=NOW, zone=UTC_ZONE) == {}
    until = [replace(point, held=True, held_until=NOW + timedelta(days=9)) for point in daily(1)]
    assert expected_expiry(until, rule, fires=fires, now=NOW, zone=UTC_ZONE) == {"000": NOW + timedelta(days=9)}


@unhurried
@given(histories(), rules, st.integers(1, 40))
def test_what_was_said_comes_true(points: list[Kept], rule: RetentionSpec, step: int) -> None:
    """Played forward, a point is there before the time that was said and gone at it."""
    fires = [NOW + timedelta(hours=step * number) for number in range(1, 60)]
    free = [replace(point, held=False, held_until=None, in_use=False, last=False) for point in points]
    for point, moment in expected_expiry(free, rule, fires=fires, now=NOW, zone=BERLIN).items():
        for number, after in (
            (sum(fire <= moment for fire in fires), True),
            (sum(fire < moment for fire in fires), False),
        ):
            made = [Kept(f"fire{index}", fire) for index, fire in enumerate(fires[:number])]
            gone = {verdict.id for verdict in plan([*free, *made], rule) if not verdict.keep}
            assert (point in gone) or not after
            assert (point not in gone) or after or moment == NOW
