"""Retention applied on a real PostgreSQL: the expirer, its brake, holds, and what is filed to be collected."""

from __future__ import annotations

from collections.abc import Iterator
from datetime import UTC, datetime, timedelta

import pytest
from sqlalchemy import event
from sqlalchemy.exc import IntegrityError

from orchestrator.domain.alarms import AlarmKind
from orchestrator.domain.oversight import Patience
from orchestrator.domain.paging import PageRequest
from orchestrator.domain.policy import RetentionSpec
from orchestrator.loops.expirer import Expirer
from orchestrator.use_cases.audit_fleet import Telling, audit_fleet
from orchestrator.use_cases.audit_log import list_audit
from orchestrator.use_cases.expire import Looked, expire_due
from orchestrator.use_cases.hold_point import hold_point, release_point
from orchestrator.use_cases.items import remove_item
from orchestrator.use_cases.plan_expiry import apply_retention, explain_point, plan_expiry
from orchestrator.use_cases.points import list_points
from orchestrator.use_cases.policies import apply_policy
from orchestrator.use_cases.request_collect import file_collections
from shared.contracts.work import CollectDone, Failed
from shared.errors import SkyharborError
from shared.model.backup import CollectStats
from tests.support.collecting import collector, expire, generation
from tests.support.control import ControlPlane
from tests.support.postgres import database_url, postgres_server  # noqa: F401

POLICY = 'name: p\nschedule: {cron: "0 3 * * *", zone: UTC}\nretention: {last: 2}\n'


@pytest.fixture
def plane(database_url: str) -> Iterator[ControlPlane]:  # noqa: F811
    control = ControlPlane(database_url)
    control.machine()
    control.vault()
    yield control
    control.close()


def follow(plane: ControlPlane, name: str = "i1") -> None:
    with plane.uow() as uow:
        apply_policy(uow, actor="test", document=POLICY)
    plane.item(name, policy="p")


def many_points(plane: ControlPlane, item: str, count: int) -> list[str]:
    """Make points of an item without their backups' work: copies of a real one, an hour older each."""
    job = plane.run(item)
    plane.sql(
        "INSERT INTO job (id, kind, state, trigger, rank, aged_rank, latest_start, item_id, machine_id, vault_id,"
        " point_id, due_at, finished_at, requested_by) SELECT 'j-' || :item || n, kind, state, trigger, rank, rank,"
        " latest_start, item_id, machine_id, vault_id, :item || '-' || n, due_at, finished_at, 'x'"
        " FROM job, generate_series(1, :count) n WHERE id = :id",
        item=item,
        count=count - 1,
        id=job.id,
    )
    plane.sql(
        "INSERT INTO recovery_point (id, job_id, item_id, machine_id, vault_id, type, sealed_at, cataloged_at, files,"
        " bytes, bytes_transferred, bytes_stored, manifest, manifest_sha256, warnings)"
        " SELECT :item || '-' || n, 'j-' || :item || n, item_id, machine_id, vault_id, type,"
        " sealed_at - make_interval(hours => n), cataloged_at - make_interval(hours => n), 1, 1, 1, 1, 'm', 's', 0"
        " FROM recovery_point, generate_series(1, :count) n WHERE id = :id",
        item=item,
        count=count - 1,
        id=job.point_id,
    )
    return [job.point_id, *(f"{item}-{number}" for number in range(1, count))]


def look(plane: ControlPlane) -> Looked:
    return expire_due(plane.uow)


def due_again(plane: ControlPlane) -> None:
    plane.sql("UPDATE item SET retention_due_at = clock_timestamp()")


def states(plane: ControlPlane) -> dict[object, object]:
    return {row[0]: row[1] for row in plane.sql("SELECT id, state FROM recovery_point")}


def collects(plane: ControlPlane) -> int:
    with plane.uow() as uow:
        return file_collections(uow)


def alarms(plane: ControlPlane) -> set[str]:
    with plane.uow() as uow:
        audit_fleet(uow, patience=Patience(), telling=Telling(anybody=False), watched_since=datetime.now(UTC))
    with plane.uow() as uow:
        kinds = {alarm.kind for alarm in uow.alarms.all_open()}
    return {str(kind) for kind in kinds & {AlarmKind.RETENTION_HELD, AlarmKind.COLLECT_FAILED}}


# ── the expirer ──────────────────────────────────────────────────────────────────────────────────────


def test_a_new_point_makes_the_oldest_one_expire_and_nothing_else_does(plane: ControlPlane) -> None:
    follow(plane)
    first, second, third = (plane.run().point_id for _ in range(3))
    before = generation(plane)
    assert look(plane) == Looked(items=1, points=1)
    assert states(plane) == {first: "expiring", second: "sealed", third: "sealed"}
    assert generation(plane) == before + 1
    assert look(plane) == Looked(items=0)
    due_again(plane)
    assert look(plane) == Looked(items=1)


def test_expiring_points_are_listed_and_expired_ones_are_not(plane: ControlPlane) -> None:
    follow(plane)
    first, *_ = (plane.run().point_id for _ in range(3))
    look(plane)
    with plane.uow() as uow:
        assert first in [point.id for point in list_points(uow, request=PageRequest(), item="i1").items]
    collect = collector(plane)
    collect.expired(*collect.doomed_ids())
    with plane.uow() as uow:
        assert first not in [point.id for point in list_points(uow, request=PageRequest(), item="i1").items]


def test_idle_items_cost_a_look_a_day_and_no_statement_of_their_own(plane: ControlPlane) -> None:
    follow(plane)
    plane.run()
    for number in range(40):
        plane.item(f"idle{number}")
    statements = list[str]()
    event.listen(plane.engine, "before_cursor_execute", lambda *seen: statements.append(seen[2]))
    assert look(plane) == Looked(items=41)
    assert len(statements) < 10
    assert look(plane) == Looked(items=0)


def test_the_expirer_looks_page_by_page(plane: ControlPlane, monkeypatch: pytest.MonkeyPatch) -> None:
    for module in ("orchestrator.use_cases.expire", "orchestrator.loops.expirer"):
        monkeypatch.setattr(f"{module}.ITEMS_PER_STEP", 2)
    for number in range(5):
        plane.item(f"i{number}")
    with plane.uow() as uow:
        leadership = uow.leaders.acquire("me", ttl=60)
        uow.commit()
    expirer = Expirer(plane.uow, leading=lambda: leadership)
    assert [expirer.step() for _ in range(3)] == [True, True, False]
    assert Expirer(plane.uow, leading=lambda: None).step() is False


def test_a_removed_item_keeps_its_points(plane: ControlPlane) -> None:
    follow(plane)
    points = [plane.run().point_id for _ in range(3)]
    with plane.uow() as uow:
        remove_item(uow, actor="test", ref="i1")
    due_again(plane)
    assert look(plane) == Looked(items=0)
    with plane.uow() as uow:
        assert apply_retention(uow, actor="test", item="i1") == []
    assert set(states(plane).values()) == {"sealed"}
    assert len(points) == 3


# ── the brake ────────────────────────────────────────────────────────────────────────────────────────


def test_a_policy_that_would_let_too_much_go_at_once_waits_for_a_person_and_an_alarm_says_so(
    plane: ControlPlane,
) -> None:
    follow(plane)
    points = many_points(plane, "i1", 20)
    assert look(plane) == Looked(items=1, held_back=1)
    due_again(plane)
    assert look(plane) == Looked(items=1, held_back=1)
    assert set(states(plane).values()) == {"sealed"}
    assert alarms(plane) == {"retention-held"}
    with plane.uow() as uow:
        planned = plan_expiry(uow, now=datetime.now(UTC), item="i1")
        assert sum(one.held_back for one in planned) == 18
        (applied,) = apply_retention(uow, actor="test", item="i1")
    assert set(applied.points) == set(points[2:])
    assert alarms(plane) == set()
    with plane.uow() as uow:
        told = [line.action for line in list_audit(uow) if line.action.startswith("retention")]
    assert told == ["retention.hold-back"]


def test_a_policy_that_is_mended_ends_the_alarm_by_itself(plane: ControlPlane) -> None:
    follow(plane)
    many_points(plane, "i1", 20)
    look(plane)
    assert alarms(plane) == {"retention-held"}
    with plane.uow() as uow:
        apply_policy(uow, actor="test", document=POLICY.replace("last: 2", "last: 20"))
    due_again(plane)
    look(plane)
    assert alarms(plane) == set()


# ── holds ────────────────────────────────────────────────────────────────────────────────────────────


def hold(plane: ControlPlane, point: str, until: datetime | None = None) -> None:
    with plane.uow() as uow:
        hold_point(uow, actor="test", point=point, until=until)


def test_a_hold_keeps_a_point_and_its_end_lets_it_go(plane: ControlPlane) -> None:
    follow(plane)
    first, *_ = (plane.run().point_id for _ in range(3))
    hold(plane, first)
    assert look(plane).points == 0
    with plane.uow() as uow:
        release_point(uow, actor="test", point=first)
        release_point(uow, actor="test", point=first)
    assert look(plane).points == 1  # the release made retention look at once


def test_a_hold_brings_an_expiring_point_back_until_it_is_doomed(plane: ControlPlane) -> None:
    follow(plane)
    first, *_ = (plane.run().point_id for _ in range(3))
    look(plane)
    hold(plane, first, datetime.now(UTC) + timedelta(days=1))
    assert states(plane)[first] == "sealed"
    assert plane.sql(
        "SELECT expiring_at, expiring_generation, expiry_reason FROM recovery_point WHERE id = :id", id=first
    ) == [(None, None, None)]
    with plane.uow() as uow:
        release_point(uow, actor="test", point=first)
    look(plane)
    collect = collector(plane)
    assert collect.doomed_ids() == [first]
    for verb in (hold_point, release_point):
        with plane.uow() as uow, pytest.raises(SkyharborError) as error:
            verb(uow, actor="test", point=first)
        assert error.value.code == "conflict"
    with pytest.raises(IntegrityError):
        plane.sql("UPDATE recovery_point SET doomed_at = NULL WHERE id = :id", id=first)


def test_a_hold_that_is_over_at_once_is_refused(plane: ControlPlane) -> None:
    plane.item()
    point = plane.run().point_id
    with pytest.raises(SkyharborError) as error:
        hold(plane, point, datetime.now(UTC) - timedelta(seconds=5))
    assert error.value.code == "bad-request"


def test_a_point_says_why_it_is_kept_and_when_it_will_go(plane: ControlPlane) -> None:
    follow(plane)
    first, second = (plane.run().point_id for _ in range(2))
    now = datetime.now(UTC)
    with plane.uow() as uow:
        shown = explain_point(uow, uow.points.get(first), now=now)
    assert shown is not None
    assert (shown.keep, shown.reasons) == (True, ("last 2 of 2",))
    assert shown.expires_on is not None
    assert (shown.expires_on.hour, shown.expires_on > now, shown.expires_on - now < timedelta(days=1)) == (
        3,
        True,
        True,
    )
    plane.run()
    look(plane)
    with plane.uow() as uow:
        assert explain_point(uow, uow.points.get(first), now=now) is None
        assert [one.point for one in plan_expiry(uow, now=now, policy="p") if one.point == second] == [second]


# ── what is filed ────────────────────────────────────────────────────────────────────────────────────


def test_a_vault_is_collected_when_there_is_something_to_do_and_then_rests_a_day(plane: ControlPlane) -> None:
    plane.item(retention=RetentionSpec(last=1))
    plane.run()
    assert collects(plane) == 0
    plane.run()
    expire(plane)
    assert collects(plane) == 1
    assert collects(plane) == 0
    plane.admit()
    granted = plane.claim()
    assert granted is not None
    plane.complete(granted, CollectDone(stats=CollectStats()))
    assert collects(plane) == 0
    age(plane, hours=25)
    assert collects(plane) == 1


def age(plane: ControlPlane, *, hours: int) -> None:
    """Make what has ended look older."""
    plane.sql("ALTER TABLE job DISABLE TRIGGER guard_job")
    plane.sql("UPDATE job SET finished_at = finished_at - make_interval(hours => :hours)", hours=hours)
    plane.sql("ALTER TABLE job ENABLE TRIGGER guard_job")


def test_an_attempt_that_left_something_behind_is_something_to_do(plane: ControlPlane) -> None:
    plane.item()
    plane.complete(plane.start(), Failed(code="store-denied", message="no"))
    assert collects(plane) == 1


def test_a_collection_that_fails_opens_an_alarm_and_the_next_good_one_closes_it(plane: ControlPlane) -> None:
    plane.item(retention=RetentionSpec(last=1))
    for _ in range(2):
        plane.run()
    expire(plane)
    failing = collector(plane)
    plane.complete(failing.granted, Failed(code="store-denied", message="the bucket's policy"))
    assert plane.job(failing.fence.job_id).state == "discarded"
    assert alarms(plane) == {"collect-failed"}
    assert collects(plane) == 0
    age(plane, hours=2)
    assert collects(plane) == 1  # an hour after a failure, not a day
    plane.admit()
    granted = plane.claim()
    assert granted is not None
    plane.complete(granted, CollectDone(stats=CollectStats()))
    assert alarms(plane) == set()
