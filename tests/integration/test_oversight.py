"""Compliance, the auditor's rounds and their messages on a real PostgreSQL, delivered to a real HTTP server."""

from __future__ import annotations

import itertools
import random
from collections.abc import Iterator, Sequence
from datetime import UTC, datetime, timedelta
from typing import Any

import httpx
import pytest

from orchestrator.alarms.apprise_channels import open_channels
from orchestrator.alarms.dead_man import HttpDeadMan
from orchestrator.domain.alarms import AlarmKind
from orchestrator.domain.estimate import expected_seconds
from orchestrator.domain.objectives import Record, Verdict, judge, verdict
from orchestrator.domain.oversight import Patience
from orchestrator.domain.paging import PageRequest
from orchestrator.loops.auditor import Auditor
from orchestrator.store.schema import head
from orchestrator.use_cases.alarms import list_alarms
from orchestrator.use_cases.audit_fleet import Round, Telling, audit_fleet
from orchestrator.use_cases.audit_log import check_audit, list_audit
from orchestrator.use_cases.items import remove_item
from orchestrator.use_cases.policies import apply_policy
from shared.errors import SkyharborError
from shared.model.backup import JobKind
from shared.model.ids import new_id
from tests.integration.test_api_operators import application_of, ok
from tests.support.control import ControlPlane
from tests.support.postgres import database_url, postgres_server  # noqa: F401
from tests.support.sink import Sink, sink
from tests.unit.api.served import clients

DAY = 86400
DAILY = 'name: daily\nschedule: {cron: "0 2 * * *", zone: UTC}\nrpo: 24h\n'


@pytest.fixture
def plane(database_url: str) -> Iterator[ControlPlane]:  # noqa: F811
    control = ControlPlane(database_url)
    control.machine()
    control.vault()
    lead(control)
    yield control
    control.close()


@pytest.fixture
def webhook() -> Iterator[Sink]:
    with sink() as listening:
        yield listening


def lead(plane: ControlPlane) -> None:
    """Have somebody lead for longer than a test."""
    plane.sql(
        "INSERT INTO leader (name, holder, term, expires_at)"
        " VALUES ('tower', 'h', 1, clock_timestamp() + interval '1 hour')"
        " ON CONFLICT (name) DO UPDATE SET expires_at = excluded.expires_at"
    )


def points(plane: ControlPlane, item: str, *ages: float, state: str = "sealed", files: int = 100) -> None:
    """Give an item sealed points of these ages in seconds, by jobs that have ended."""
    for age in ages:
        plane.sql(
            """
            WITH i AS (SELECT * FROM item WHERE name = :item), j AS (
                INSERT INTO job (id, kind, state, trigger, rank, aged_rank, latest_start, item_id, machine_id, vault_id,
                                 point_id, due_at, finished_at, requested_by)
                SELECT :job, 'backup', 'completed', 'demand', 20, 20, now(), i.id, machine_id, vault_id, :point, now(),
                       now(), 'test' FROM i RETURNING *)
            INSERT INTO recovery_point (id, job_id, item_id, machine_id, vault_id, type, sealed_at, cataloged_at,
                                        files, bytes, bytes_transferred, bytes_stored, manifest, manifest_sha256,
                                        warnings, state)
            SELECT :point, j.id, j.item_id, j.machine_id, j.vault_id, 'incremental', now(),
                   clock_timestamp() - make_interval(secs => :age), :files, 0, 0, 0, '', '', 0, :state FROM j
            """,
            item=item,
            job=new_id(),
            point=new_id(),
            age=age,
            files=files,
            state=state,
        )
    plane.sql(
        "UPDATE item SET newest_point_at = (SELECT max(cataloged_at) FROM recovery_point r"
        " WHERE r.item_id = item.id AND r.state = 'sealed')"
    )


def policy(plane: ControlPlane, document: str) -> None:
    with plane.uow() as uow:
        apply_policy(uow, actor="test", document=document)


def look(plane: ControlPlane, *, telling: bool = False, again: float = DAY, **patience: timedelta) -> Round:
    with plane.uow() as uow:
        done = audit_fleet(
            uow,
            patience=Patience(**patience),
            telling=Telling(anybody=telling, again=timedelta(seconds=again)),
            watched_since=None,
        )
    assert done is not None
    return done


def alarms(plane: ControlPlane, *, closed: bool = False) -> list[tuple[str, str]]:
    with plane.uow() as uow:
        page = list_alarms(uow, request=PageRequest(), closed=closed)
    return sorted((alarm.kind, alarm.subject) for alarm in page.items)


def auditor(plane: ControlPlane, *sinks: Sink, again: float = DAY, ping: Sink | None = None) -> Auditor:
    return Auditor(
        plane.uow,
        schema_head=head(),
        patience=Patience(),
        again=timedelta(seconds=again),
        channels=open_channels([f"json://127.0.0.1:{one.port}/" for one in sinks]),
        dead_man=None if ping is None else HttpDeadMan(ping.url),
    )


def retry_now(plane: ControlPlane) -> None:
    """Let the pause before the next attempt be over."""
    plane.sql("UPDATE alarm_message SET due_at = clock_timestamp()")


# ── compliance ───────────────────────────────────────────────────────────────────────────────────────


@pytest.fixture
def api(plane: ControlPlane) -> Iterator[httpx.Client]:
    with clients(application_of(plane)) as (operator, _):
        operator.base_url = f"{operator.base_url}/api/v1"
        yield operator


def test_the_view_says_what_was_promised_and_kept(plane: ControlPlane, api: httpx.Client) -> None:
    policy(plane, DAILY)
    plane.item("a", policy="daily")
    plane.item("b", policy="daily", rpo=3600)
    plane.item("c")
    plane.item("d", rpo=3600)
    # a: its largest gap began before the 30 days and ended in them; a damaged point closes no gap
    points(plane, "a", 33 * DAY, 29 * DAY, 28 * DAY)
    points(plane, "a", 31 * DAY, state="damaged")
    points(plane, "a", *(day * DAY + 60 for day in range(28)))
    points(plane, "b", 7200)
    points(plane, "c", 10)
    plane.sql(
        "UPDATE recovery_point SET verified_at = now(), verified_how = 'full' WHERE item_id IN"
        " (SELECT id FROM item WHERE name = 'b')"
    )
    listed = {item["name"]: item for item in ok(api.get("/compliance"))["items"]}
    assert [(name, item["verdict"], item["rpo"]) for name, item in listed.items()] == [
        ("a", "met", DAY),
        ("b", "missed", 3600),
        ("c", "unpromised", None),
        ("d", "never", 3600),
    ]
    assert listed["a"]["achieved"] == pytest.approx(4 * DAY, abs=5)
    assert listed["b"]["achieved"] == pytest.approx(7200, abs=5)
    assert listed["b"]["overdue"] == pytest.approx(3600, abs=5)
    assert [item["last_verified_at"] is not None for item in listed.values()] == [False, True, False, False]
    assert [item["next_fire_at"] is not None for item in listed.values()] == [True, True, False, False]
    assert (listed["d"]["achieved"], listed["d"]["overdue"], listed["d"]["last_success_at"]) == (None, None, None)


def test_a_newer_version_of_a_policy_promises_anew(plane: ControlPlane, api: httpx.Client) -> None:
    policy(plane, DAILY)
    plane.item("a", policy="daily")
    points(plane, "a", 3 * 3600)
    policy(plane, DAILY.replace("24h", "2h"))
    [item] = ok(api.get("/compliance"))["items"]
    assert (item["verdict"], item["rpo"]) == ("missed", 7200)


def test_pages_of_one_verdict_hold_all_of_it_and_nothing_else(plane: ControlPlane, api: httpx.Client) -> None:
    for number in range(9):
        plane.item(f"i{number}", rpo=3600)
        points(plane, f"i{number}", 7200 if number % 3 else 60)
    seen: list[str] = []
    cursor = None
    while True:
        page = ok(
            api.get("/compliance", params={"verdict": "missed", "limit": 2} | ({"cursor": cursor} if cursor else {}))
        )
        assert {item["verdict"] for item in page["items"]} == {"missed"}
        seen += [item["name"] for item in page["items"]]
        cursor = page["next"]
        if cursor is None:
            break
    assert seen == ["i1", "i2", "i4", "i5", "i7", "i8"]
    assert api.get("/compliance", params={"verdict": "fine"}).status_code == 422


def test_the_database_judges_as_the_domain_does(plane: ControlPlane) -> None:
    """Hundreds of random items: verdict, estimate and largest gap of the SQL against the rules in Python."""
    rng = random.Random(20260301)
    plane.sql("UPDATE slot_scope SET wanted = 100, capacity = 100 WHERE scope = 'global'")
    names = [f"i{number:03}" for number in range(200)]
    for name in names:
        plane.item(name, rpo=rng.choice([None, 60, 3600, DAY]))
        runs = [float(rng.randrange(1, 4000)) for _ in range(rng.randrange(11))]
        plane.sql("UPDATE item SET recent_seconds = CAST(:runs AS real[]) WHERE name = :name", runs=runs, name=name)
        points(
            plane, name, *(rng.choice([30, 1800, 5000, DAY, 40 * DAY]) * rng.random() for _ in range(rng.randrange(4)))
        )
    with plane.uow() as uow:
        now = uow.now()
        records: list[Record] = list(uow.objectives.page(PageRequest(500), verdict=None, now=now).items)
        by_verdict = {
            one: [record.name for record in uow.objectives.page(PageRequest(500), verdict=one, now=now).items]
            for one in Verdict
        }
        counted = uow.objectives.count_by_verdict(now=now)
    expected = {one: [r.name for r in records if judge(r, now=now).verdict is one] for one in Verdict}
    assert by_verdict == expected
    assert counted == {one: len(found) for one, found in expected.items()}
    assert all(len(found) > 3 for found in expected.values()), "the random fleet has some of each"
    for record in records:
        runs, rows = (
            plane.sql("SELECT recent_seconds FROM item WHERE name = :n", n=record.name)[0][0],
            plane.sql("SELECT cataloged_at FROM recovery_point WHERE item_id = :i ORDER BY 1", i=record.item_id),
        )
        assert isinstance(runs, list)
        assert record.estimate == expected_seconds(JobKind.BACKUP, runs)
        assert record.longest_gap == pytest.approx(longest_gap([row[0] for row in rows], now), abs=0.001)
    assert verdict(rpo=1, newest=now, estimate=0.0, now=now) is Verdict.MET


def longest_gap(moments: Sequence[Any], now: datetime) -> float | None:
    """The same by hand: gaps that ended in the last 30 days."""
    gaps = [
        (later - sooner).total_seconds()
        for sooner, later in itertools.pairwise(moments)
        if later >= now - timedelta(days=30)
    ]
    return max(gaps, default=None)


# ── rounds ───────────────────────────────────────────────────────────────────────────────────────────


def test_a_quiet_fleet_has_no_alarms(plane: ControlPlane) -> None:
    policy(plane, DAILY)
    plane.item("a", policy="daily")
    points(plane, "a", 60)
    assert look(plane) == Round(0, 0, 0)


def test_a_missed_promise_opens_one_alarm_and_a_new_point_closes_it(plane: ControlPlane) -> None:
    plane.item("a", rpo=3600)
    plane.item("fresh", rpo=3600)
    points(plane, "a", 7200)
    assert look(plane) == Round(1, 0, 0)
    assert [look(plane) for _ in range(3)] == [Round(0, 0, 1)] * 3
    assert alarms(plane) == [("rpo-missed", "a")]
    points(plane, "a", 1)
    assert look(plane) == Round(0, 1, 0)
    assert (alarms(plane), alarms(plane, closed=True)) == ([], [("rpo-missed", "a")])
    points(plane, "fresh", 7200)
    plane.sql("UPDATE item SET created_at = created_at - interval '1 day'")
    assert look(plane) == Round(1, 0, 0)
    with plane.uow() as uow:
        lines = [line for line in list_audit(uow, limit=500) if line.actor == "auditor"]
        assert check_audit(uow) is None
    assert [(line.action, line.detail["subject"]) for line in lines] == [
        ("alarm.open", "a"),
        ("alarm.close", "a"),
        ("alarm.open", "fresh"),
    ]


def test_a_removed_item_is_nobodys_alarm(plane: ControlPlane) -> None:
    plane.item("a", rpo=3600)
    points(plane, "a", 7200)
    look(plane)
    with plane.uow() as uow:
        remove_item(uow, actor="test", ref="a")
    assert look(plane) == Round(0, 1, 0)


def test_a_dead_planner_is_found_by_what_it_leaves_undone(plane: ControlPlane) -> None:
    policy(plane, DAILY)
    plane.item("a", policy="daily")
    plane.sql("UPDATE item SET planned_through = clock_timestamp() - interval '14 minutes'")
    assert look(plane) == Round(0, 0, 0)
    plane.sql("UPDATE item SET planned_through = clock_timestamp() - interval '16 minutes'")
    look(plane)
    assert alarms(plane) == [("planner-behind", "tower")]
    plane.sql("UPDATE item SET planned_through = clock_timestamp()")
    plane.sql(
        "INSERT INTO fire (item_id, schedule_no, nominal, zone, instant, due_at, version_id)"
        " SELECT i.id, 0, now(), 'UTC', now(), now() - interval '16 minutes', v.id FROM item i, policy_version v"
    )
    assert look(plane) == Round(0, 0, 1)
    plane.sql("UPDATE fire SET state = 'missed', settled_at = now()")
    assert look(plane) == Round(0, 1, 0)


def test_a_filed_job_that_never_ends_is_found(plane: ControlPlane) -> None:
    policy(plane, DAILY)
    plane.item("a", policy="daily")
    job = plane.backup("a")
    plane.claim() if plane.admit() else None
    plane.sql(
        "INSERT INTO fire (item_id, schedule_no, nominal, zone, instant, due_at, version_id, state, job_id, settled_at)"
        " SELECT i.id, 0, now(), 'UTC', now(), now(), v.id, 'filed', :job, now() - interval '25 hours'"
        " FROM item i, policy_version v",
        job=job.id,
    )
    look(plane)
    assert alarms(plane) == [("job-endless", "a")]
    assert look(plane, job=timedelta(hours=26)) == Round(0, 1, 0)


def test_an_emptied_folder_is_found_once_and_forgotten_when_it_is_back(plane: ControlPlane) -> None:
    plane.item("a")
    plane.item("b")
    for name in "ab":
        points(plane, name, 400, 300, 200, 100)
    assert look(plane) == Round(0, 0, 0)
    points(plane, "a", 0, files=3)
    assert look(plane) == Round(1, 0, 0)
    plane.sql("UPDATE auditor SET looked_through = clock_timestamp() + interval '1 hour'")
    assert look(plane) == Round(0, 0, 1)  # nothing new to be looked at, and still not as usual
    points(plane, "a", 0, files=99)
    assert look(plane) == Round(0, 1, 0)


def test_a_damaged_point_is_found_and_a_proof_closes_it(plane: ControlPlane) -> None:
    plane.item("a")
    points(plane, "a", 60)
    plane.sql("UPDATE recovery_point SET state = 'damaged'")
    look(plane)
    assert alarms(plane) == [("point-damaged", "a")]
    plane.sql("UPDATE recovery_point SET state = 'sealed'")
    assert look(plane) == Round(0, 1, 0)


def test_waiting_jobs_without_a_worker_are_found(plane: ControlPlane) -> None:
    plane.item("a")
    plane.backup("a")
    assert look(plane) == Round(0, 0, 0)
    plane.sql("UPDATE job SET due_at = due_at - interval '2 minutes'")
    look(plane)
    assert alarms(plane) == [("no-worker", "fleet")]
    plane.admit()
    assert plane.claim() is not None
    assert look(plane) == Round(0, 1, 0)


def test_a_tower_that_nobody_leads_is_found(plane: ControlPlane) -> None:
    plane.sql("UPDATE leader SET expires_at = clock_timestamp() - interval '59 seconds'")
    assert look(plane) == Round(0, 0, 0)
    plane.sql("UPDATE leader SET expires_at = clock_timestamp() - interval '61 seconds'")
    look(plane)
    assert alarms(plane) == [("no-leader", "tower")]
    lead(plane)
    assert look(plane) == Round(0, 1, 0)


def test_two_auditors_do_one_round_at_a_time(plane: ControlPlane) -> None:
    with plane.uow() as busy:
        assert busy.sights.enter()
        with plane.uow() as uow:
            assert audit_fleet(uow, patience=Patience(), telling=Telling(anybody=False), watched_since=None) is None


def test_many_changes_are_few_audit_lines(plane: ControlPlane) -> None:
    for number in range(30):
        plane.item(f"i{number}", rpo=60)
    plane.sql("UPDATE item SET created_at = created_at - interval '1 day'")
    assert look(plane) == Round(30, 0, 0)
    with plane.uow() as uow:
        lines = [(line.target, line.detail) for line in list_audit(uow, limit=500) if line.actor == "auditor"]
    assert lines == [("rpo-missed", {"count": 30})]


# ── messages ─────────────────────────────────────────────────────────────────────────────────────────


def test_a_change_is_one_message_and_silence_is_none(plane: ControlPlane, webhook: Sink) -> None:
    plane.item("docs", rpo=3600)
    points(plane, "docs", 26 * 3600)
    watching = auditor(plane, webhook, ping=webhook)
    for _ in range(3):
        watching.step()
    points(plane, "docs", 1)
    watching.step()
    watching.step()
    assert [message["title"] for message in webhook.messages] == [
        "Skyharbor rpo-missed docs",
        "Skyharbor over: rpo-missed docs",
    ]
    assert "26 h old, promised are 1 h" in webhook.messages[0]["message"]
    assert len(webhook.pings) == 5


def test_a_first_round_with_many_findings_is_one_digest(plane: ControlPlane, webhook: Sink) -> None:
    for number in range(40):
        plane.item(f"i{number:02}", rpo=60)
    plane.sql("UPDATE item SET created_at = created_at - interval '1 day'")
    watching = auditor(plane, webhook)
    watching.step()
    watching.step()
    [message] = webhook.messages
    assert message["title"] == "Skyharbor alarms: 40 new"


def test_what_is_still_open_is_told_again_after_its_time_and_not_before(plane: ControlPlane, webhook: Sink) -> None:
    plane.item("docs", rpo=3600)
    points(plane, "docs", 7200)
    watching = auditor(plane, webhook, again=3600)
    watching.step()
    plane.sql("UPDATE alarm SET told_at = told_at - interval '59 minutes'")
    watching.step()
    assert len(webhook.messages) == 1
    plane.sql("UPDATE alarm SET told_at = told_at - interval '2 minutes'")
    watching.step()
    watching.step()
    assert [message["title"] for message in webhook.messages[1:]] == ["Skyharbor still: rpo-missed docs"]


def test_what_cannot_be_delivered_is_kept_and_nothing_that_happened_meanwhile_is_lost(
    plane: ControlPlane, webhook: Sink
) -> None:
    for name in ("docs", "mail"):
        plane.item(name, rpo=3600)
    points(plane, "docs", 7200)
    webhook.status = 500
    watching = auditor(plane, webhook)
    watching.step()
    points(plane, "docs", 1)  # over before anybody could be told
    points(plane, "mail", 7200)
    plane.sql("UPDATE item SET newest_point_at = clock_timestamp() - interval '2 hours' WHERE name = 'mail'")
    watching.step()
    assert len(webhook.messages) == 1  # the pause before the next attempt is kept
    webhook.status, webhook.requests[:] = 200, []
    retry_now(plane)
    auditor(plane, webhook).step()  # another process: nothing was kept in memory
    assert [message["title"] for message in webhook.messages] == ["Skyharbor rpo-missed docs"]
    auditor(plane, webhook).step()
    assert sorted(message["title"] for message in webhook.messages[1:]) == [
        "Skyharbor over: rpo-missed docs",
        "Skyharbor rpo-missed mail",
    ]


def test_one_dead_channel_of_two_costs_the_other_no_repetitions(plane: ControlPlane, webhook: Sink) -> None:
    plane.item("docs", rpo=3600)
    points(plane, "docs", 7200)
    with sink() as dead:
        dead.status = 500
        watching = auditor(plane, dead, webhook)
        for _ in range(3):
            watching.step()
            retry_now(plane)
        assert (len(dead.messages), len(webhook.messages)) == (3, 1)
        dead.status = 200
        watching.step()
        watching.step()
        assert (len(dead.messages), len(webhook.messages)) == (4, 1)


def test_alarms_of_a_time_without_channels_are_told_once_there_is_one(plane: ControlPlane, webhook: Sink) -> None:
    plane.item("old", rpo=3600)
    points(plane, "old", 7200)
    auditor(plane).step()
    points(plane, "old", 1)
    plane.item("docs", rpo=3600)
    points(plane, "docs", 7200)
    auditor(plane).step()
    auditor(plane, webhook).step()
    assert [message["title"] for message in webhook.messages] == ["Skyharbor rpo-missed docs"]


def test_there_is_no_ping_for_a_round_that_could_not_be_done(plane: ControlPlane, webhook: Sink) -> None:
    plane.item("docs", rpo=3600)
    watching = auditor(plane, ping=webhook)
    plane.sql("ALTER TABLE alarm RENAME TO gone")
    with pytest.raises(Exception, match="alarm"):
        watching.step()
    plane.sql("ALTER TABLE gone RENAME TO alarm")
    plane.sql("UPDATE alembic_version SET version_num = 'newer'")
    with pytest.raises(SkyharborError, match="schema"):
        watching.step()
    assert webhook.pings == []
    plane.sql("UPDATE alembic_version SET version_num = :head", head=head())
    watching.step()
    assert len(webhook.pings) == 1


def test_an_auditor_that_nobody_hears_stops_pinging(plane: ControlPlane, webhook: Sink) -> None:
    plane.item("docs", rpo=3600)
    points(plane, "docs", 7200)
    with sink() as dead:
        dead.status = 500
        watching = auditor(plane, dead, ping=webhook)
        watching.step()
        assert len(webhook.pings) == 1
        plane.sql("UPDATE alarm_message SET created_at = created_at - interval '6 minutes'")
        watching.step()
        assert len(webhook.pings) == 1
        dead.status = 200
        retry_now(plane)
        watching.step()
        assert len(webhook.pings) == 2


def test_kinds_in_the_api_are_those_of_the_domain(plane: ControlPlane, api: httpx.Client) -> None:
    plane.item("docs", rpo=3600)
    points(plane, "docs", 7200)
    look(plane)
    [alarm] = ok(api.get("/alarms"))["items"]
    assert (alarm["kind"], alarm["subject"], alarm["closed_at"]) == (AlarmKind.RPO_MISSED, "docs", None)
    assert datetime.fromisoformat(alarm["opened_at"]).tzinfo == UTC
    points(plane, "docs", 1)
    look(plane)
    assert ok(api.get("/alarms"))["items"] == []
    assert [one["id"] for one in ok(api.get("/alarms", params={"closed": True}))["items"]] == [alarm["id"]]
