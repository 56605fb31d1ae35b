"""Whole simulations: what goes in comes out, nothing is ever taken twice, and the answer is that of the seed."""

from __future__ import annotations

import time
from collections.abc import Sequence
from datetime import timedelta

import pytest

from orchestrator.domain.admission import Needs
from orchestrator.domain.job_states import JobState
from orchestrator.simulation.fleet_text import parse_fleet
from orchestrator.simulation.picture import picture_of
from orchestrator.simulation.report import Report, report_of
from orchestrator.simulation.rows import JobRow
from orchestrator.simulation.run import Simulation, simulate
from tests.unit.simulation.fleets import EASY, SMALL

DAYS = 4


def run(document: str, *, days: int, seed: int = 1) -> Report:
    return report_of(simulate(parse_fleet(document), days=days, seed=seed))


@pytest.fixture(scope="module")
def hard() -> Report:
    return run(SMALL, days=DAYS)


def test_a_fleet_with_more_than_enough_fits_and_every_backup_starts_at_its_time() -> None:
    report = run(EASY, days=5)
    assert report["fits"] is True
    assert (report["fires_filed"], report["jobs_done"], report["attempts"]) == (100, 100, 100)
    assert report["bottleneck"] is None
    assert report["policies"][0]["wait"] == {"p50": 0.0, "p99": 0.0, "longest": 0.0}
    # A hundredth of 100 GiB a day at 100 MiB/s, and ten seconds to seal.
    assert report["policies"][0]["run"]["p50"] == pytest.approx(1024 / 100 + 10, abs=0.2)


def test_the_same_seed_gives_the_same_answer_and_another_one_another() -> None:
    short = run(SMALL, days=1)
    assert run(SMALL, days=1) == short
    assert run(SMALL, days=1, seed=2) != short


def test_everything_that_can_go_wrong_went_wrong(hard: Report) -> None:
    """Otherwise the laws below prove little."""
    for key in ("jobs_superseded", "jobs_failed", "jobs_start_missed", "attempts_lost", "fires_skipped"):
        assert hard[key] > 0, key
    assert hard["rpo_missed_items"] > 0
    assert hard["fits"] is False


def test_every_fire_and_every_job_ends_exactly_once(hard: Report) -> None:
    for policy in hard["policies"]:
        ends = ("done", "superseded", "start_missed", "finish_missed", "failed", "open")
        assert policy["fires_filed"] == sum(policy[f"jobs_{end}"] for end in ends)
        assert policy["jobs_open"] >= 0


def test_the_fires_are_those_of_the_calendar(hard: Report) -> None:
    settled = {
        policy["policy"]: sum(policy[f"fires_{end}"] for end in ("filed", "missed", "skipped"))
        for policy in hard["policies"]
    }
    # 22:00 in Berlin comes once a day. The fire of midnight at the end is planned, for every item, and not yet settled.
    assert settled == {"nightly": 60 * DAYS, "busy": 12 * (12 * DAYS - 1)}
    assert hard["fires_planned"] == 12


def test_slots_are_never_taken_twice_and_all_are_given_back() -> None:
    simulation = Simulation(parse_fleet(SMALL), days=DAYS, seed=1)
    world, take = simulation.world, simulation.world.admit
    most: dict[object, int] = {}
    ends: list[str] = []
    heard = world.on_end

    def admit(needs: Sequence[Needs]) -> None:
        take(needs)
        held = [(key, count) for row in world.jobs.values() for key, count in row.holds]
        for key, scope in world.scopes.items():
            counted = sum(count for held_key, count in held if held_key == key)
            assert counted == scope.in_use <= scope.capacity
            most[key] = max(most.get(key, 0), counted)
        for item in world.items.values():
            assert sum(row.active for row in item.open_jobs) == item.busy <= 1

    def ended(row: JobRow, before: JobState) -> None:
        if row.finished_at is not None:
            ends.append(row.id)
        assert heard is not None
        heard(row, before)

    world.admit, world.on_end = admit, ended  # type: ignore[method-assign]
    simulation.run()
    assert len(ends) == len(set(ends)) > 0
    assert most["vault", "cellar"] == 9  # ten, and one that only restores may take
    assert {key: scope.in_use for key, scope in world.scopes.items() if scope.in_use} == {
        key: sum(count for row in world.jobs.values() for held, count in row.holds if held == key)
        for key, scope in world.scopes.items()
        if scope.in_use
    }


def test_what_a_scope_was_used_is_what_its_jobs_have_held_it() -> None:
    simulation = Simulation(parse_fleet(EASY), days=2, seed=1)
    held = timedelta()
    heard = simulation.world.on_end

    def ended(row: JobRow, before: JobState) -> None:
        nonlocal held
        assert row.admitted_at is not None
        held += simulation.world.now - row.admitted_at
        assert heard is not None
        heard(row, before)

    simulation.world.on_end = ended
    record = simulation.run()
    assert record.open_jobs == 0
    assert record.scopes["global", ""].used == pytest.approx(held.total_seconds())


def test_the_scope_that_is_too_small_is_found() -> None:
    narrow = EASY.replace("count: 20", "count: 400").replace("size: 100GiB", "size: 2000GiB")
    assert run(narrow + "slots: {global: 100, vault/cellar: 5}\n", days=2)["bottleneck"] == "vault/cellar"
    assert run(narrow + "slots: {global: 5, vault/cellar: 100}\n", days=2)["bottleneck"] == "global"
    assert run(narrow + "slots: {global: 100, vault/cellar: 90}\n", days=2)["bottleneck"] == "workers"


def test_a_tower_that_sleeps_over_the_hour_files_what_it_missed() -> None:
    asleep = EASY + "outages: [{what: tower, from: 21h, until: 27h}]\n"
    report = run(asleep, days=3)
    assert (report["fires_filed"], report["fires_missed"], report["jobs_done"]) == (60, 0, 60)
    skipping = asleep.replace("    jitter: 1h\n", "    jitter: 1h\n    on_missed: skip\n")
    report = run(skipping, days=3)
    assert (report["fires_filed"], report["fires_missed"], report["rpo_missed_items"]) == (40, 20, 20)


def test_an_empty_fleet_begins_with_full_backups() -> None:
    full, warm = run(EASY + "begin: empty\n", days=1), run(EASY, days=1)
    assert full["tib_moved"] == pytest.approx(20 * 100 / 1024, abs=0.001)
    assert warm["tib_moved"] == pytest.approx(full["tib_moved"] / 100, abs=0.002)


def test_a_worker_that_dies_costs_time_and_no_backup() -> None:
    slow = EASY.replace("change: 1%", "change: 40%") + "losses: {per_day: 200, back_after: 1m}\n"
    report = run(slow, days=3)
    assert report["attempts_lost"] > 3
    assert report["jobs_done"] + report["jobs_failed"] + report["jobs_open"] == report["fires_filed"] == 60
    assert report["attempts"] > 60


def test_the_picture_shows_every_scope_that_was_measured(hard: Report) -> None:
    picture = picture_of(hard)
    assert picture.startswith("<svg ")
    assert picture.count("<polygon") == 1 + min(8, len(hard["scopes"]))
    assert "vault/cellar" in picture
    assert "does not fit" in picture


def test_a_fleet_of_two_thousand_runs_for_a_week_in_seconds() -> None:
    began = time.process_time()
    report = run(EASY.replace("count: 20", "count: 2000").replace("slots: 4", "slots: 40") + "step: 5s\n", days=7)
    assert report["jobs_done"] == 14_000
    assert report["fits"] is True
    assert time.process_time() - began < 30


def test_no_scope_and_no_seat_is_ever_used_beyond_its_capacity(hard: Report) -> None:
    over = [scope for scope in hard["scopes"] if not 0 < scope["mean"] <= scope["peak"] <= scope["capacity"]]
    assert over == []
