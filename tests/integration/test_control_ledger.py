"""The ledger of fires on a real PostgreSQL: planned once, filed once, whatever the clock or the operator does."""

# ruff: noqa: DTZ001 - nominal times have no zone

from __future__ import annotations

from collections.abc import Iterator
from datetime import UTC, datetime, timedelta

import pytest

from orchestrator.domain.job_states import JobState
from orchestrator.domain.jobs import Job
from orchestrator.domain.paging import PageRequest
from orchestrator.domain.schedule import jitter_seconds
from orchestrator.use_cases.admit import explain_waits
from orchestrator.use_cases.audit_log import list_audit
from orchestrator.use_cases.items import get_item, pause_item, remove_item, resume_item, with_next_fires
from orchestrator.use_cases.jobs import list_jobs
from orchestrator.use_cases.plan_fires import file_fires, plan_fires
from orchestrator.use_cases.policies import apply_policy, get_policy, preview_policy
from orchestrator.use_cases.preview_retention import preview_retention
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


def test_a_fleet_that_nobody_planned_for_long_is_caught_up_in_steps(
    plane: ControlPlane, monkeypatch: pytest.MonkeyPatch
) -> None:
    """One transaction for everything would meet the statement's time limit, again and again, and plan nothing ever."""
    monkeypatch.setattr("orchestrator.use_cases.plan_fires.FIRES_PER_STEP", 100)
    now = datetime(2026, 3, 10, 12, 30, tzinfo=UTC)
    protect(plane, HOURLY, since=now - timedelta(hours=60))
    for name in ("i2", "i3", "i4"):
        plane.item(name, policy="p")
    plane.sql("UPDATE item SET planned_through = :since", since=now - timedelta(hours=60))
    steps = []
    while True:
        with plane.uow() as uow:
            planned = plan_fires(uow, now=now)
        if not planned:
            break
        steps.append(planned)
    counted = plane.sql("SELECT count(*), count(DISTINCT item_id) FROM fire")
    assert (steps, counted) == ([2, 2], [(4 * 62, 4)])


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


def test_an_item_whose_backup_is_at_work_is_not_removed_and_the_refusal_names_the_way_out(plane: ControlPlane) -> None:
    plane.item()
    job = plane.backup()
    plane.admit()
    with plane.uow() as uow, pytest.raises(SkyharborError) as error:
        remove_item(uow, actor="test", ref="i1")
    assert error.value.code == "conflict"
    assert f"skyharbor job cancel {job.id}" in error.value.detail
    with plane.uow() as uow:
        assert get_item(uow, ref="i1").removed_at is None


def test_removing_an_item_cancels_its_waiting_backups(plane: ControlPlane) -> None:
    window = 'window: {start: "00:00", end: "00:01", zone: UTC}\n'
    protect(plane, HOURLY + window, since=utc(2026, 6, 1, 0, 30))
    plan(plane, utc(2026, 6, 1, 1, 0))
    file(plane, utc(2026, 6, 1, 1, 0))
    with plane.uow() as uow:
        remove_item(uow, actor="test", ref="i1")
    assert [job.state for job in jobs(plane)] == [JobState.CANCELLED]


def test_a_removed_or_paused_item_is_not_backed_up_once_more_by_a_fire_that_was_due(plane: ControlPlane) -> None:
    due = datetime.now(UTC) - timedelta(minutes=1)
    every_minute = HOURLY.replace("0 *", "* *")
    protect(plane, every_minute, since=due - timedelta(minutes=1))
    protect(plane, every_minute, since=due - timedelta(minutes=1), name="i2")
    plan(plane, due)
    with plane.uow() as uow:
        pause_item(uow, actor="test", ref="i1")
        remove_item(uow, actor="test", ref="i2")
    file(plane, datetime.now(UTC))
    with plane.uow() as uow:
        resume_item(uow, actor="test", ref="i1")
    file(plane, datetime.now(UTC))
    settled = plane.sql("SELECT DISTINCT state, reason FROM fire WHERE instant <= :due ORDER BY reason", due=due)
    assert settled == [("skipped", "the item was paused"), ("skipped", "the item was removed")]
    assert jobs(plane) == []


@pytest.mark.parametrize("ending", ["paused_at", "removed_at"])
def test_nobody_files_a_due_fire_of_an_item_that_was_just_paused_or_removed(plane: ControlPlane, ending: str) -> None:
    protect(plane, HOURLY, since=utc(2026, 6, 1, 0, 30))
    plan(plane, utc(2026, 6, 1, 0, 30))
    plane.sql(f"UPDATE item SET {ending} = clock_timestamp()")  # noqa: S608 - a column's name
    file(plane, utc(2026, 6, 1, 1, 0))
    assert jobs(plane) == []


def closed_window(moment: datetime) -> str:
    start, end = (moment + timedelta(hours=hours) for hours in (3, 5))
    return f'window: {{start: "{start:%H:%M}", end: "{end:%H:%M}", zone: UTC}}\n'


def test_correcting_a_window_frees_the_job_that_waits_for_it(plane: ControlPlane) -> None:
    moment = datetime.now(UTC)
    protect(plane, HOURLY + closed_window(moment), since=moment - timedelta(hours=2))
    plan(plane, moment)
    file(plane, moment)
    assert plane.admit() == 0
    with plane.uow() as uow:
        apply_policy(uow, actor="test", document=HOURLY)
        explain_waits(uow)
    assert [job.wait_reason for job in jobs(plane)] == ["admission"]
    assert plane.admit() == 1


def test_a_window_set_later_holds_for_a_job_that_waits_already(plane: ControlPlane) -> None:
    moment = datetime.now(UTC)
    protect(plane, HOURLY, since=moment - timedelta(hours=2))
    plan(plane, moment)
    file(plane, moment)
    with plane.uow() as uow:
        apply_policy(uow, actor="test", document=HOURLY + closed_window(moment))
    assert plane.admit() == 0


def test_a_scheduled_job_that_never_started_swallows_no_later_fire(plane: ControlPlane) -> None:
    document = (
        "name: p\nschedules:\n"
        '  - {cron: "0 1 * * *", zone: UTC, type: full}\n'
        '  - {cron: "0 2-23 * * *", zone: UTC, type: incremental}\n'
    )
    start = utc(2026, 6, 1, 0, 30)
    protect(plane, document, since=start)
    for hour in (1, 2, 3):
        plan(plane, utc(2026, 6, 1, hour, 0))
        file(plane, utc(2026, 6, 1, hour, 0))
    newest, second, first = jobs(plane)
    assert states(plane)[:3] == ["filed", "filed", "filed"]
    assert [job.state for job in (first, second, newest)] == [JobState.EXPIRED, JobState.EXPIRED, JobState.AVAILABLE]
    assert (newest.requested_type, newest.created_at) == (BackupType.FULL, first.created_at)
    with plane.uow() as uow:
        assert [line.target for line in list_audit(uow) if line.action == "job.supersede"] == [first.id, second.id]
    assert plane.admit() == 1
    plan(plane, utc(2026, 6, 1, 4, 0))
    file(plane, utc(2026, 6, 1, 4, 0))
    assert states(plane)[3] == "skipped"


@pytest.mark.parametrize(("rule", "filed"), [("run_all", 630), ("run_once", 1), ("skip", 0)])
def test_a_long_sleep_over_many_fires_follows_on_missed_as_a_short_one_does(
    plane: ControlPlane, rule: str, filed: int
) -> None:
    document = f'name: p\nschedule: {{cron: "* 0-9 * * *", zone: UTC}}\non_missed: {rule}\n'
    protect(plane, document, since=utc(2026, 5, 31, 9, 29))
    late = utc(2026, 6, 1, 10, 40)
    again = True
    while again:
        with plane.uow() as uow:
            planned = plan_fires(uow, now=late)
        with plane.uow() as uow:
            again = planned + file_fires(uow, now=late) > 0
    past = [row[2] for row in fires(plane) if row[1] <= late]  # type: ignore[operator]
    assert (len(past), past.count("filed")) == (630, filed)
    assert set(past) <= {"filed", "missed"}
    assert past[-1] == ("filed" if filed else "missed")


def test_the_same_local_time_in_another_zone_is_another_fire(plane: ControlPlane) -> None:
    now = datetime.now(UTC).replace(minute=0, second=0, microsecond=0)
    protect(plane, HOURLY, since=now - timedelta(hours=1, minutes=1))
    plan(plane, now)
    file(plane, now)
    with plane.uow() as uow:
        apply_policy(uow, actor="test", document=HOURLY.replace("UTC", "Atlantic/Azores"))
    plane.sql("UPDATE item SET planned_through = :since", since=now)
    plan(plane, now + timedelta(hours=12))
    azores = plane.sql("SELECT nominal FROM fire WHERE zone <> 'UTC' ORDER BY nominal")
    instants = plane.sql("SELECT count(DISTINCT instant) FROM fire WHERE zone <> 'UTC'")
    assert (len(azores), instants) == (14, [(14,)])


def test_outside_its_window_a_scheduled_job_waits_and_one_on_demand_does_not(plane: ControlPlane) -> None:
    moment = datetime.now(UTC)
    protect(plane, HOURLY + closed_window(moment), since=moment - timedelta(hours=2))
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


def test_an_item_shows_its_next_fire_however_far_away_it_is(plane: ControlPlane) -> None:
    now = utc(2026, 6, 1, 12, 0)
    protect(plane, 'name: p\nschedule: {cron: "30 2 1 1 *", zone: Europe/Berlin}\njitter: 10m\n', since=now)
    with plane.uow() as uow:
        item = get_item(uow, ref="i1")
        [shown] = with_next_fires(uow, [item], now=now)
    expected = utc(2027, 1, 1, 1, 30) + timedelta(seconds=jitter_seconds(item.id, 600))
    assert (item.next_fire_at, shown.next_fire_at) == (None, expected)


def test_a_preview_says_what_retention_would_keep_today_and_why(plane: ControlPlane) -> None:
    protect(plane, "name: p\nretention: {last: 1}\n", since=datetime.now(UTC))
    old, rotten, new = (plane.run("i1").point_id for _ in range(3))
    plane.sql("UPDATE recovery_point SET state = 'damaged' WHERE id = :id", id=rotten)
    with plane.uow() as uow:
        shown = preview_retention(uow, name="p", now=datetime.now(UTC))
    assert [(line.point, line.keep, line.reasons) for line in shown] == [
        (new, True, ("last 1 of 1",)),
        (rotten, True, ("damaged: kept until somebody has looked",)),
        (old, False, ("no rule keeps it",)),
    ]
