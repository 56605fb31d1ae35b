"""Forecasts: how long jobs take, when waiting ones start, and when retries are held back."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta

from orchestrator.domain.admission import Holder
from orchestrator.domain.breaker import retries_allowed, tripped
from orchestrator.domain.estimate import expected_mib_per_second, expected_seconds, frees_at, with_run
from orchestrator.domain.forecast import forecast_starts
from orchestrator.domain.slots import GLOBAL, Room, room_of
from shared.model.backup import JobKind
from tests.unit.domain.test_admission import job

NOW = datetime(2026, 6, 15, 12, 0, tzinfo=UTC)


def minutes(number: float) -> timedelta:
    return timedelta(minutes=number)


def test_an_estimate_is_what_eight_of_ten_runs_stayed_below() -> None:
    assert expected_seconds(JobKind.BACKUP, [10, 20, 30, 40, 50, 60, 70, 80, 90, 1000]) == 90
    assert expected_seconds(JobKind.BACKUP, []) == 600
    assert (expected_mib_per_second([0.2]), expected_mib_per_second([])) == (1, 10)
    assert with_run(list(range(10)), 10.0) == [*range(1, 10), 10.0]


def test_slots_are_free_when_enough_holders_should_have_ended() -> None:
    holders = [(NOW + minutes(30), 2), (NOW + minutes(10), 1), (NOW + minutes(20), 1)]
    assert frees_at(holders, wanted=2, now=NOW) == NOW + minutes(20)
    assert frees_at(holders, wanted=5, now=NOW) is None
    assert frees_at([(NOW - minutes(90), 1)], wanted=1, now=NOW) == NOW  # it is late, and not gone


def test_a_queue_is_played_forward_over_all_its_scopes() -> None:
    room = {GLOBAL: Room(1, 1, 2), ("machine", "m1"): Room(1, 1, 1), ("machine", "m2"): Room(0, 0, 1)}
    holder = Holder(NOW + minutes(30), 1)
    queue = [job(name, machine=machine, estimate=600) for name, machine in (("a", "m1"), ("b", "m1"), ("c", "m2"))]
    starts = forecast_starts(queue, room=room, holders={GLOBAL: [holder], ("machine", "m2"): [holder]}, now=NOW)
    assert starts == {"a": NOW, "b": NOW + minutes(10), "c": NOW + minutes(30)}


def test_a_job_that_can_never_start_has_no_forecast_and_holds_nobody_up() -> None:
    room = {GLOBAL: Room(1, 1, 1), ("machine", "none"): Room(0, 0, 0)}
    starts = forecast_starts([job("a", machine="none"), job("b")], room=room, holders={}, now=NOW)
    assert starts == {"b": NOW}


def test_what_a_paused_scope_gets_back_is_given_to_nobody() -> None:
    room = {GLOBAL: Room(5, 5, 6), ("vault", "v"): room_of(capacity=6, in_use=1, floor=0, paused=True)}
    held = {scope: [Holder(NOW + minutes(5), 1)] for scope in room}
    assert forecast_starts([job("a")], room=room, holders=held, now=NOW) == {}


def test_the_breaker_trips_for_what_fails_everywhere_and_for_nothing_else() -> None:
    assert tripped(failures={"store-unreachable": 40, "server-unreachable": 9}, ends=100) == ["store-unreachable"]
    assert tripped(failures={"store-unreachable": 9}, ends=9) == []
    assert tripped(failures={"source-missing": 90}, ends=100) == []  # nobody retries that anyway


def test_retries_take_a_fifth_of_the_slots_and_two_at_least() -> None:
    assert [retries_allowed(slots=slots, running=1) for slots in (1, 16, 100)] == [1, 2, 19]
    assert retries_allowed(slots=100, running=50) == 0
