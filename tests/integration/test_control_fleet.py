"""A fleet on a real PostgreSQL: tenants and their shares, limits of every kind, order by promise, windows, retries."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator
from datetime import UTC, datetime, timedelta

import pytest

from orchestrator.domain.job_states import JobState
from orchestrator.domain.jobs import Job
from orchestrator.use_cases.admit import explain_waits
from orchestrator.use_cases.items import change_item, with_next_fires
from orchestrator.use_cases.plan_fires import file_fires, plan_fires
from orchestrator.use_cases.policies import apply_policy
from orchestrator.use_cases.request_restore import request_restore
from orchestrator.use_cases.slots import get_slots, pause_slots, remove_slots, set_slots, set_tenant
from shared.contracts.work import Failed
from shared.errors import SkyharborError
from tests.support.control import ControlPlane
from tests.support.postgres import database_url, postgres_server  # noqa: F401


@pytest.fixture
def plane(database_url: str) -> Iterator[ControlPlane]:  # noqa: F811
    control = ControlPlane(database_url)
    yield control
    control.close()


def explain(plane: ControlPlane) -> None:
    with plane.uow() as uow:
        explain_waits(uow)


def apply(plane: ControlPlane, document: str) -> None:
    with plane.uow() as uow:
        apply_policy(uow, actor="test", document=document)


def file_due(plane: ControlPlane, *, at: datetime | None = None) -> list[Job]:
    """Plan and file what is due at a time, and return the jobs that were made."""
    now = at or datetime.now(UTC)
    plane.sql("UPDATE item SET planned_through = planned_through - interval '1 hour'")
    known = {row[0] for row in plane.sql("SELECT id FROM job")}
    with plane.uow() as uow:
        plan_fires(uow, now=now)
    with plane.uow() as uow:
        file_fires(uow, now=now)
    return [plane.job(str(row[0])) for row in plane.sql("SELECT id FROM job ORDER BY item_id") if row[0] not in known]


# Whose turn it is


def test_tenants_share_the_slots_by_weight_whatever_one_throws_into_the_queue(plane: ControlPlane) -> None:
    plane.vault()
    plane.slots("vault/v1", 100)
    plane.slots("global", 8)
    for tenant, machines in (("flood", 12), ("small", 12)):
        for number in range(machines):
            plane.machine(f"{tenant}{number}", tenant=tenant)
            plane.item(f"{tenant}{number}", machine=f"{tenant}{number}")
            plane.backup(f"{tenant}{number}")
    with plane.uow() as uow:
        set_tenant(uow, actor="test", name="small", weight=3)
    assert plane.admit() == 8
    held = Counter(row[0] for row in plane.sql("SELECT tenant FROM job WHERE admitted_at IS NOT NULL"))
    assert held == {"flood": 2, "small": 6}


def test_the_item_that_would_break_its_promise_first_goes_first(plane: ControlPlane) -> None:
    minute = datetime.now(UTC).minute
    apply(plane, f"name: p\nschedule: {{cron: '{minute} * * * *'}}\nrpo: 24h")
    plane.vault()
    for number, rpo in enumerate((None, 3 * 3600, 40 * 3600)):
        plane.machine(f"m{number}")
        plane.item(f"i{number}", machine=f"m{number}", policy="p", rpo=rpo)
    jobs = file_due(plane)
    by_promise = sorted(jobs, key=lambda job: job.latest_start or datetime.max.replace(tzinfo=UTC))
    assert [job.item for job in by_promise] == ["i1", "i0", "i2"]
    plane.slots("global", 1)
    admitted = []
    for _ in jobs:
        plane.admit()
        granted = plane.claim()
        assert granted is not None
        admitted.append(plane.job(granted.fence.job_id).item)
        plane.complete(granted)
    assert admitted == ["i1", "i0", "i2"]


def test_waiting_moves_a_job_up_a_class_but_never_before_a_restore(plane: ControlPlane) -> None:
    plane.one_item()
    backup = plane.run()
    plane.slots("global", 0)
    with plane.uow() as uow:
        restore = request_restore(uow, actor="test", point=str(backup.point), target="/tmp/x").job
    plane.item("i2")
    old, new = plane.backup("i1"), plane.backup("i2")
    plane.sql(
        "UPDATE job SET created_at = created_at - interval '5 hours', ages_at = clock_timestamp() WHERE id = :id",
        id=old.id,
    )
    plane.sql("UPDATE job SET latest_start = latest_start + interval '1 day' WHERE id = :id", id=old.id)
    plane.admit()
    assert [plane.seen(job.id).queue_position for job in (restore, old, new)] == [1, 2, 3]
    assert plane.sql("SELECT aged_rank, ages_at IS NULL FROM job WHERE id = :id", id=old.id) == [(15, True)]


def test_a_waiting_job_knows_when_it_should_start(plane: ControlPlane) -> None:
    plane.one_item()
    plane.item("i2")
    plane.item("i3")
    plane.slots("machine/m1", 1)
    plane.start("i1")
    second, third = plane.backup("i2"), plane.backup("i3")
    plane.sql("UPDATE job SET estimate = 1200")
    expected = [plane.seen(job.id).expected_start_at for job in (second, third)]
    now = datetime.now(UTC)
    assert [round((moment - now) / timedelta(minutes=1)) for moment in expected if moment is not None] == [20, 40]


# Limits


def test_limits_of_every_kind_are_kept_and_named(plane: ControlPlane) -> None:
    plane.vault()
    for number in range(4):
        plane.machine(f"m{number}", tenant="acme", location="berlin")
        plane.item(f"i{number}", machine=f"m{number}", hypervisor="h1")
    jobs = [plane.backup(f"i{number}") for number in range(4)]
    for ref, reason in (
        ("class/backup", "slot:class"),
        ("tenant/acme", "slot:tenant"),
        ("location/berlin", "slot:location"),
        ("hypervisor/h1", "slot:hypervisor"),
        ("bandwidth/berlin", "slot:bandwidth"),
    ):
        plane.slots(ref, 0)
        assert plane.admit() == 0
        explain(plane)
        assert {plane.job(job.id).wait_reason for job in jobs} == {reason}
        plane.slots(ref, 100)
    plane.slots("bandwidth/berlin", 25)  # of jobs that need 10 MiB/s each, as nobody knows better
    assert plane.admit() == 2
    assert plane.sql("SELECT in_use FROM slot_scope WHERE scope = 'bandwidth'") == [(20,)]


def test_fewer_slots_take_nothing_from_anybody_and_the_rest_follows(plane: ControlPlane) -> None:
    plane.vault()
    granted = []
    for number in range(3):
        plane.machine(f"m{number}")
        plane.item(f"i{number}", machine=f"m{number}")
        granted.append(plane.start(f"i{number}"))
    plane.slots("global", 1)
    seen = []
    for one in granted:
        with plane.uow() as uow:
            scope = get_slots(uow, ref="global")
        plane.backup("i0")
        assert plane.admit() == 0
        [(capacity,)] = plane.sql("SELECT capacity FROM slot_scope WHERE scope = 'global'")
        seen.append((scope.capacity, scope.in_use, capacity))
        plane.complete(one)
    assert seen == [(1, 3, 3), (1, 2, 2), (1, 1, 1)]
    assert plane.admit() == 1


def test_a_floor_stays_but_leaves_a_slot_for_others(plane: ControlPlane) -> None:
    floors = []
    for capacity in (30, 1, 30):
        with plane.uow() as uow:
            floors.append(set_slots(uow, actor="test", ref="global", capacity=capacity).floor)
    assert floors == [2, 0, 0]


def test_a_paused_scope_starts_nothing_and_stops_nothing(plane: ControlPlane) -> None:
    plane.one_item()
    plane.item("i2")
    running = plane.start("i1")
    with plane.uow() as uow:
        pause_slots(uow, actor="test", ref="vault/v1", paused=True)
    waiting = plane.backup("i2")
    assert plane.admit() == 0
    explain(plane)
    plane.complete(running)
    assert (plane.job(waiting.id).wait_reason, plane.job(running.fence.job_id).state) == ("paused", JobState.COMPLETED)
    with plane.uow() as uow:
        pause_slots(uow, actor="test", ref="vault/v1", paused=False)
    assert plane.admit() == 1


def test_a_limit_goes_when_nobody_is_under_it_and_what_always_has_one_keeps_it(plane: ControlPlane) -> None:
    plane.one_item()
    plane.slots("class/backup", 3)
    granted = plane.start()
    for ref in ("class/backup", "global", "vault/v1"):
        with plane.uow() as uow, pytest.raises(SkyharborError) as error:
            remove_slots(uow, actor="test", ref=ref)
        assert error.value.code == "conflict"
    plane.complete(granted)
    with plane.uow() as uow:
        remove_slots(uow, actor="test", ref="class/backup")
    with plane.uow() as uow, pytest.raises(SkyharborError, match="nothing limits"):
        get_slots(uow, ref="class/backup")


@pytest.mark.parametrize("ref", ["", "globe", "global/x", "vault", "class/nap", "machine/none"])
def test_what_is_no_scope_is_refused(plane: ControlPlane, ref: str) -> None:
    with plane.uow() as uow, pytest.raises(SkyharborError) as error:
        set_slots(uow, actor="test", ref=ref, capacity=1)
    assert error.value.code in ("bad-request", "not-found")


def test_a_job_of_many_scopes_starts_although_others_keep_coming(plane: ControlPlane) -> None:
    """Fault F40: without a reservation the one that needs the busy machine and the vault would wait for ever."""
    plane.vault()
    plane.vault("v2")
    plane.slots("vault/v1", 1)
    for number in range(4):
        plane.machine(f"m{number}")
        plane.item(f"i{number}", machine=f"m{number}", vault="v1" if number else "v2")
    plane.slots("machine/m0", 1)
    plane.item("wide", machine="m0")
    busy = plane.start("i0")
    wide = plane.backup("wide")
    plane.sql(
        "UPDATE job SET estimate = 600, latest_start = clock_timestamp() - interval '1 day' WHERE id = :id", id=wide.id
    )
    for number in range(1, 4):
        plane.backup(f"i{number}")
    plane.sql(
        "UPDATE job SET estimate = 3000 WHERE id <> :id AND state = 'available' AND admitted_at IS NULL", id=wide.id
    )
    assert plane.admit() == 0  # the vault's slot is kept: who takes it would not be back in time
    plane.sql("UPDATE job SET estimate = 60 WHERE item_id = (SELECT id FROM item WHERE name = 'i3')")
    assert plane.admit() == 1  # who is back in time may take it
    short = plane.claim()
    assert short is not None
    plane.complete(short)
    plane.complete(busy)
    assert (plane.admit(), plane.job(wide.id).admitted_at is not None) == (1, True)


def test_a_paused_tenant_hides_no_location_of_its_name(plane: ControlPlane) -> None:
    plane.vault()
    plane.machine("m1", location="x")
    plane.item("i1")
    plane.slots("tenant/x", 9)
    with plane.uow() as uow:
        pause_slots(uow, actor="test", ref="tenant/x", paused=True)
    job = plane.backup("i1")
    with plane.uow() as uow:
        assert [head.job_id for head in uow.admission.heads(closed_policies=[], limit=8)] == [job.id]
    with plane.uow() as uow:
        set_slots(uow, actor="test", ref="location/x", capacity=9)
        pause_slots(uow, actor="test", ref="location/x", paused=True)
    with plane.uow() as uow:
        assert uow.admission.heads(closed_policies=[], limit=8) == []


def test_a_worker_that_asks_gets_a_restore_before_backups_of_the_same_tick(plane: ControlPlane) -> None:
    plane.one_item()
    plane.slots("machine/m1", 9)
    backup = plane.run()
    for name in ("i2", "i3", "i4"):
        plane.item(name)
        plane.backup(name)
    with plane.uow() as uow:
        restore = request_restore(uow, actor="test", point=str(backup.point), target="/tmp/x").job
    assert plane.admit() == 4
    plane.sql("UPDATE job SET admitted_at = clock_timestamp() WHERE id = :id", id=restore.id)
    granted = plane.claim()
    assert granted is not None
    assert granted.fence.job_id == restore.id


# Time


def test_a_job_that_could_not_start_in_its_time_expires_and_says_why(plane: ControlPlane) -> None:
    minute = datetime.now(UTC).minute
    apply(plane, f"name: p\nschedule: {{cron: '{minute} * * * *'}}\nstart_within: 1h")
    plane.one_item()
    plane.item("i2", policy="p")
    plane.slots("global", 0)
    [job] = file_due(plane)
    plane.admit()
    explain(plane)
    assert plane.job(job.id).state is JobState.AVAILABLE
    plane.sql("UPDATE job SET start_by = clock_timestamp() - interval '1 second' WHERE id = :id", id=job.id)
    plane.admit()
    ended = plane.job(job.id)
    assert (ended.state, ended.error and ended.error.code) == (JobState.EXPIRED, "start-missed")
    assert ended.error is not None
    assert "slot:global" in ended.error.message


def test_a_job_that_is_not_done_in_its_time_is_stopped(plane: ControlPlane) -> None:
    plane.one_item()
    granted = plane.start()
    plane.sql("UPDATE job SET finish_by = clock_timestamp() - interval '1 second' WHERE finished_at IS NULL")
    plane.admit()
    stopped = plane.job(granted.fence.job_id)
    assert (stopped.state, stopped.cancel_reason) == (JobState.RUNNING, "finish-by")
    plane.complete(granted, Failed(code="cancelled", message=""))
    ended = plane.job(granted.fence.job_id)
    assert (ended.state, ended.error and ended.error.code) == (JobState.CANCELLED, "finish-missed")


def test_a_blackout_holds_scheduled_backups_back_and_nobody_else(plane: ControlPlane) -> None:
    minute = datetime.now(UTC).minute
    apply(plane, f"name: p\nschedule: {{cron: '{minute} * * * *'}}\nblackouts: [{{days: daily}}]")
    plane.one_item()
    plane.item("i2", policy="p")
    [job] = file_due(plane)
    demanded = plane.backup("i1")
    assert plane.admit() == 1
    explain(plane)
    assert (plane.job(job.id).wait_reason, plane.job(demanded.id).wait_reason) == ("blackout", "worker")


def test_an_estimate_is_learned_from_what_backups_took(plane: ControlPlane) -> None:
    plane.one_item()
    first = plane.start()
    plane.sql("UPDATE job SET attempt_started_at = clock_timestamp() - interval '100 seconds'")
    plane.complete(first)
    assert (round(plane.backup().estimate), plane.job(first.fence.job_id).estimate) == (100, 600)


# Retries


def test_retries_wait_while_their_error_is_everywhere_and_take_a_fifth_of_the_slots(plane: ControlPlane) -> None:
    plane.vault()
    plane.slots("vault/v1", 100)
    plane.slots("global", 20)
    for number in range(15):
        plane.machine(f"m{number}")
        plane.item(f"i{number}", machine=f"m{number}")
        plane.complete(plane.start(f"i{number}"), Failed(code="store-unreachable", message="away"))
    plane.sql("UPDATE job SET due_at = clock_timestamp() WHERE state = 'retryable'")
    assert plane.admit() == 0
    explain(plane)
    assert plane.sql("SELECT DISTINCT wait_reason FROM job") == [("breaker",)]
    plane.sql("UPDATE job SET failed_at = clock_timestamp() - interval '6 minutes'")
    assert plane.admit() == 4  # a fifth of twenty


def test_a_policy_says_how_often_and_how_patiently_its_backups_are_tried(plane: ControlPlane) -> None:
    minute = datetime.now(UTC).minute
    apply(plane, f"name: p\nschedule: {{cron: '{minute} * * * *'}}\nretry: {{attempts: 2, longest_pause: 7s}}")
    plane.one_item()
    plane.item("i2", policy="p")
    [job] = file_due(plane)
    states = []
    for _ in range(2):
        plane.sql("UPDATE job SET due_at = clock_timestamp() WHERE finished_at IS NULL")
        plane.admit()
        granted = plane.claim()
        assert granted is not None
        plane.complete(granted, Failed(code="store-unreachable", message="away"))
        states.append((plane.job(job.id).state, plane.job(job.id).backoff_seconds <= 7))
    assert states == [(JobState.RETRYABLE, True), (JobState.DISCARDED, True)]


# Tags


def test_tags_choose_the_policy_of_items_that_name_none(plane: ControlPlane) -> None:
    plane.one_item()
    apply(plane, "name: own\nschedule: '@daily'")
    before = plane.item("before", tags=("db", "berlin"))
    named = plane.item("named", policy="own", tags=("db",))
    apply(plane, "name: databases\nschedule: '@daily'\nitems: {tags: [db]}")
    after = plane.item("after", tags=("db",))
    with plane.uow() as uow:
        found = {
            item.name: (uow.items.get(item.id).policy, uow.items.get(item.id).by_tags)
            for item in (before, named, after)
        }
    assert found == {"before": ("databases", True), "named": ("own", False), "after": ("databases", True)}
    apply(plane, "name: databases\nschedule: '@daily'\nitems: {tags: [db, berlin]}")
    with plane.uow() as uow:
        left = {item.name: uow.items.get(item.id).policy for item in (before, named, after)}
    assert left == {"before": "databases", "named": "own", "after": None}


def test_two_policies_never_fight_over_an_item(plane: ControlPlane) -> None:
    plane.one_item()
    apply(plane, "name: a\nschedule: '@daily'\nitems: {tags: [x]}")
    apply(plane, "name: b\nschedule: '@daily'\nitems: {tags: [y]}")
    with pytest.raises(SkyharborError, match="several policies"):
        plane.item("both", tags=("x", "y"))
    plane.item("one", tags=("x",))
    with pytest.raises(SkyharborError, match="one follows a"):
        apply(plane, "name: c\nschedule: '@daily'\nitems: {tags: [x]}")
    with plane.uow() as uow:
        assert uow.policies.newest("c") is None


def test_an_item_is_changed_and_planned_anew(plane: ControlPlane) -> None:
    plane.one_item()
    apply(plane, "name: a\nschedule: '0 1 * * *'")
    apply(plane, "name: b\nschedule: '0 2 * * *'")
    item = plane.item("i2", policy="a")
    with plane.uow() as uow:
        change_item(uow, actor="test", ref="i2", care=lambda now: type(now)(policy="b", rpo=7200, tags=("t",)))
    with plane.uow() as uow:
        [changed] = with_next_fires(uow, [uow.items.get("i2")], now=datetime.now(UTC))
    assert (changed.id, changed.policy, changed.rpo, changed.tags) == (item.id, "b", 7200, ("t",))
    assert changed.next_fire_at is not None
    assert changed.next_fire_at.hour == 2
