"""The ledger of fires on a real PostgreSQL: planned once, filed once, whatever the clock or the operator does."""

# ruff: noqa: DTZ001 - nominal times have no zone

from __future__ import annotations

from collections.abc import Iterator
from datetime import UTC, datetime, timedelta

import pytest

from orchestrator.domain.jobs import Job
from orchestrator.domain.paging import PageRequest
from orchestrator.use_cases.admit import explain_waits
from orchestrator.use_cases.items import get_item, pause_item, remove_item, resume_item
from orchestrator.use_cases.jobs import list_jobs
from orchestrator.use_cases.plan_fires import file_fires, plan_fires
from orchestrator.use_cases.policies import apply_policy, get_policy, preview_policy
from shared.errors import SkyharborError
from shared.model.backup import BackupType
from tests.support.control import ControlPlane
from tests.support.postgres import database_url, postgres_server  # noqa: F401

HOURLY = 'name: p\nschedule: {cron: "0 * * * *", zone: UTC}\n'


@pytest.fixture
def plane(database_url: str) -> Iterator[ControlPlane]:  # noqa: F811
    control = ControlPlane(database_url)
    control.machine()
    control.vault()
    yield control
    control.close()


def protect(plane: ControlPlane, document: str, *, since: datetime, name: str = "i1") -> None:
    with plane.uow() as uow:
        apply_policy(uow, actor="test", document=document)
    plane.item(name, policy="p")
    plane.sql("UPDATE item SET planned_through = :since", since=since)


def plan(plane: ControlPlane, now: datetime) -> None:
    with plane.uow() as uow:
        while plan_fires(uow, now=now):
            pass


def file(plane: ControlPlane, now: datetime) -> None:
    with plane.uow() as uow:
        while file_fires(uow, now=now):
            pass


def fires(plane: ControlPlane) -> list[tuple[object, ...]]:
    return [tuple(row) for row in plane.sql("SELECT nominal, instant, state FROM fire ORDER BY instant, schedule_no")]


def states(plane: ControlPlane) -> list[object]:
    return [row[2] for row in fires(plane)]


def jobs(plane: ControlPlane) -> list[Job]:
    with plane.uow() as uow:
        return list(list_jobs(uow, request=PageRequest()).items)


def utc(*parts: int) -> datetime:
    return datetime(*parts, tzinfo=UTC)  # type: ignore[misc,arg-type]


def walk(plane: ControlPlane, start: datetime, end: datetime) -> None:
    """Let the planner live through a stretch of time in steps of ten minutes."""
    now = start
    while now <= end:
        plan(plane, now)
        file(plane, now)
        plane.sql(
            "UPDATE job SET state = 'cancelled', finished_at = clock_timestamp(), wait_reason = NULL"
            " WHERE finished_at IS NULL"
        )
        now += timedelta(minutes=10)


def test_new_york_springs_forward_and_a_fire_in_the_gap_happens_once(plane: ControlPlane) -> None:
    start = utc(2026, 3, 8, 0, 0)
    protect(plane, 'name: p\nschedule: {cron: "30 2 * * *", zone: America/New_York}\n', since=start)
    walk(plane, start, utc(2026, 3, 9, 8, 0))
    assert fires(plane) == [
        (datetime(2026, 3, 8, 2, 30), utc(2026, 3, 8, 7, 0), "filed"),
        (datetime(2026, 3, 9, 2, 30), utc(2026, 3, 9, 6, 30), "filed"),
    ]


def test_new_york_falls_back_and_a_time_that_comes_twice_fires_once(plane: ControlPlane) -> None:
    start = utc(2026, 10, 31, 12, 0)
    protect(plane, 'name: p\nschedule: {cron: "30 1 * * *", zone: America/New_York}\n', since=start)
    walk(plane, start, utc(2026, 11, 2, 8, 0))
    assert fires(plane) == [
        (datetime(2026, 11, 1, 1, 30), utc(2026, 11, 1, 5, 30), "filed"),
        (datetime(2026, 11, 2, 1, 30), utc(2026, 11, 2, 6, 30), "filed"),
    ]


def test_lord_howe_shifts_by_half_an_hour_and_nothing_fires_twice(plane: ControlPlane) -> None:
    start = utc(2026, 4, 4, 13, 0)
    protect(plane, 'name: p\nschedule: {cron: "45 1 * * *", zone: Australia/Lord_Howe}\n', since=start)
    walk(plane, start, utc(2026, 4, 5, 16, 0))
    assert fires(plane) == [
        (datetime(2026, 4, 5, 1, 45), utc(2026, 4, 4, 14, 45), "filed"),
        (datetime(2026, 4, 6, 1, 45), utc(2026, 4, 5, 15, 15), "filed"),
    ]


def test_planning_again_from_an_earlier_time_plans_nothing_twice(plane: ControlPlane) -> None:
    start = utc(2026, 6, 1, 0, 30)
    protect(plane, HOURLY, since=start)
    plan(plane, start)
    file(plane, utc(2026, 6, 1, 1, 0))
    plane.sql("UPDATE item SET planned_through = :since", since=start)
    plan(plane, start)
    file(plane, utc(2026, 6, 1, 1, 0))
    assert states(plane) == ["filed", "planned"]
    assert len(jobs(plane)) == 1


@pytest.mark.parametrize(
    ("rule", "expected", "filed"),
    [
        ("run_once", ["missed"] * 4 + ["filed"], 1),
        ("run_all", ["filed"] * 5, 5),
        ("skip", ["missed"] * 5, 0),
    ],
)
def test_what_passed_while_the_tower_slept_follows_on_missed(
    plane: ControlPlane, rule: str, expected: list[str], filed: int
) -> None:
    start = utc(2026, 6, 1, 0, 30)
    protect(plane, HOURLY + f"on_missed: {rule}\n", since=start)
    awake = utc(2026, 6, 1, 5, 30)
    plan(plane, awake)
    file(plane, awake)
    assert states(plane)[:5] == expected
    assert len(jobs(plane)) == filed


def test_a_fire_beside_an_active_backup_is_skipped_with_its_reason(plane: ControlPlane) -> None:
    start = utc(2026, 6, 1, 0, 30)
    protect(plane, HOURLY, since=start)
    plane.backup()
    plan(plane, start)
    file(plane, utc(2026, 6, 1, 1, 0))
    assert plane.sql("SELECT state, reason FROM fire WHERE settled_at IS NOT NULL") == [
        ("skipped", "a backup of the item is still active")
    ]


def test_of_two_schedules_at_one_time_the_one_that_reads_most_is_filed(plane: ControlPlane) -> None:
    start = utc(2026, 6, 6, 23, 30)
    document = (
        "name: p\nschedules:\n"
        '  - {cron: "0 0 * * 0", zone: UTC, type: full}\n'
        '  - {cron: "0 0 * * *", zone: UTC, type: incremental}\n'
    )
    protect(plane, document, since=start)
    plan(plane, start)
    file(plane, utc(2026, 6, 7, 0, 1))
    assert states(plane) == ["filed", "skipped"]
    assert [job.requested_type for job in jobs(plane)] == [BackupType.FULL]


def test_pausing_takes_fires_back_and_resuming_does_not_catch_up(plane: ControlPlane) -> None:
    now = datetime.now(UTC)
    protect(plane, HOURLY, since=now)
    plan(plane, now)
    with plane.uow() as uow:
        planned = get_item(uow, ref="i1").next_fire_at
        paused = pause_item(uow, actor="test", ref="i1")
        pause_item(uow, actor="test", ref="i1")
    plan(plane, now)
    assert (planned is not None, paused.paused_at is not None, fires(plane)) == (True, True, [])
    with plane.uow() as uow:
        resume_item(uow, actor="test", ref="i1")
    plan(plane, now)
    assert all(instant > now for _, instant, _ in fires(plane))  # type: ignore[operator]
    assert fires(plane)


def test_a_new_version_replaces_the_fires_to_come(plane: ControlPlane) -> None:
    now = datetime.now(UTC)
    protect(plane, HOURLY, since=now)
    plan(plane, now)
    with plane.uow() as uow:
        second = apply_policy(uow, actor="test", document=HOURLY.replace("0 *", "*/30 *"))
        same = apply_policy(uow, actor="test", document=HOURLY.replace("0 *", "*/30 *"))
    plan(plane, now)
    versions = {row[0] for row in plane.sql("SELECT version_id FROM fire")}
    with plane.uow() as uow:
        record, spec = get_policy(uow, name="p")
    assert (second.version.n, second.created, same.created, versions) == (2, True, False, {second.version.id})
    assert (record.items, spec.schedules[0].cron) == (("i1",), "*/30 * * * *")


def test_a_fire_whose_jitter_has_not_passed_survives_a_new_version(plane: ControlPlane) -> None:
    now = datetime.now(UTC)
    protect(plane, 'name: p\nschedule: {cron: "* * * * *", zone: UTC}\njitter: 2h\n', since=now - timedelta(minutes=30))
    plan(plane, now - timedelta(minutes=80))
    before = [row[:2] for row in fires(plane)]
    to_come = plane.sql("SELECT min(instant) FROM fire WHERE due_at > clock_timestamp()")[0][0]
    with plane.uow() as uow:
        apply_policy(uow, actor="test", document='name: p\nschedule: {cron: "* * * * *", zone: UTC}\njitter: 119m\n')
    plan(plane, now)
    after = [row[:2] for row in fires(plane)]
    assert before
    assert [row for row in before if row[1] >= to_come and row not in after] == []  # type: ignore[operator]


def test_a_removed_item_is_planned_no_more_and_its_name_is_free(plane: ControlPlane) -> None:
    now = datetime.now(UTC)
    protect(plane, HOURLY, since=now)
    plane.run()
    plan(plane, now)
    with plane.uow() as uow:
        remove_item(uow, actor="test", ref="i1")
    plan(plane, now)
    with plane.uow() as uow, pytest.raises(SkyharborError) as error:
        get_item(uow, ref="i1")
    assert (error.value.code, fires(plane)) == ("not-found", [])
    plane.item("i1")


def test_an_item_with_an_active_job_is_not_removed(plane: ControlPlane) -> None:
    plane.item()
    plane.backup()
    with plane.uow() as uow, pytest.raises(SkyharborError) as error:
        remove_item(uow, actor="test", ref="i1")
    assert error.value.code == "conflict"


def test_outside_its_window_a_scheduled_job_waits_and_one_on_demand_does_not(plane: ControlPlane) -> None:
    moment = datetime.now(UTC)
    start, end = (moment + timedelta(hours=hours) for hours in (3, 5))
    window = f'window: {{start: "{start:%H:%M}", end: "{end:%H:%M}", zone: UTC}}\n'
    protect(plane, HOURLY + window, since=moment - timedelta(hours=2))
    plan(plane, moment)
    file(plane, moment)
    assert plane.admit() == 0
    with plane.uow() as uow:
        explain_waits(uow)
    assert [job.wait_reason for job in jobs(plane)] == ["window"]
    demanded = plane.backup()
    assert plane.admit() == 1
    assert plane.job(demanded.id).admitted_at is not None


def test_a_preview_shows_local_times_and_daylight_saving(plane: ControlPlane) -> None:
    with plane.uow() as uow:
        apply_policy(uow, actor="test", document='name: p\nschedule: {cron: "30 2 * * *", zone: America/New_York}\n')
        shown = preview_policy(uow, name="p", days=2, now=utc(2026, 3, 7, 12, 0))
    assert [(fire.at, fire.local, fire.note is not None) for fire in shown] == [
        (utc(2026, 3, 8, 7, 0), datetime(2026, 3, 8, 2, 30), True),
        (utc(2026, 3, 9, 6, 30), datetime(2026, 3, 9, 2, 30), False),
    ]
