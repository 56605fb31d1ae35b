"""A checker that cannot fail is a defect: every violation that tables can hold is planted, and has to be found.

Rule of the file: a sound tower first, in which nothing is found; then one thing is broken by plain SQL, past every
trigger and constraint that would forbid it.
"""

# ruff: noqa: S608 - what is planted is ours

from __future__ import annotations

import base64
from collections.abc import Callable, Iterator
from datetime import UTC, datetime, timedelta
from typing import Any

import psycopg
import pytest
from psycopg.conninfo import make_conninfo
from sqlalchemy.engine import make_url

from orchestrator.use_cases.admit import explain_waits
from orchestrator.use_cases.audit_log import seal_audit
from orchestrator.use_cases.jobs import cancel_job
from orchestrator.use_cases.plan_fires import file_fires, plan_fires
from orchestrator.use_cases.policies import apply_policy
from orchestrator.use_cases.rescue import rescue
from shared.contracts.work import Granted
from tests.storm.checker import catalog, chain, leaves, lives, slots
from tests.storm.checker.canaries import Canaries
from tests.storm.checker.database import Look, look
from tests.storm.checker.fences import changed, picture
from tests.storm.checker.violation import Violation
from tests.storm.checker.waiting import Silence
from tests.support.control import ControlPlane
from tests.support.postgres import database_url, postgres_server  # noqa: F401 - fixtures

SECRET = b"0123456789 a canary of bytes"


class Tower:
    """A database with a job that completed, one that was cancelled while it waited, and an item due every minute."""

    def __init__(self, url: str) -> None:
        self.plane = ControlPlane(url)
        parts = make_url(url)
        host = str(parts.query["host"])
        self.dsn = make_conninfo(
            host=host, port=5432, user=parts.username, password=parts.password, dbname=parts.database
        )
        with psycopg.connect(self.dsn, autocommit=True) as connection:
            leaves.keep_ledger(connection)
        plane = self.plane
        plane.one_item()
        self.completed = plane.run().id
        self.cancelled = plane.backup().id
        with plane.uow() as uow:
            cancel_job(uow, actor="test", ref=self.cancelled)
            apply_policy(uow, actor="test", document='name: p\nschedule: {cron: "* * * * *", zone: UTC}\n')
        self.minutely = plane.item("minutely", policy="p").name
        self.at = datetime.now(UTC)
        ago = self.at - timedelta(minutes=3)
        plane.sql("UPDATE item SET created_at = :at, planned_through = :at WHERE name = 'minutely'", at=ago)
        with plane.uow() as uow:
            plan_fires(uow, now=self.at)
            file_fires(uow, now=self.at)
        for _ in range(2):
            plane.admit()
            while (granted := plane.claim()) is not None:
                plane.commit(granted)
                plane.complete(granted)
        plane.admit()  # counts the slots that came back
        with plane.uow() as uow:
            seal_audit(uow)

    def start(self) -> str:
        """Have one more job under way, and return its id."""
        granted = self.plane.start()
        with self.plane.uow() as uow:
            explain_waits(uow)
        return granted.fence.job_id

    def plant(self, *statements: str) -> None:
        """Change what nothing may change."""
        with psycopg.connect(self.dsn, autocommit=True) as connection:
            connection.execute("SET session_replication_role = replica")
            for statement in statements:
                connection.execute(statement)

    def ask(self, question: Callable[[Look], list[Violation]]) -> list[str]:
        """Return what a question finds, in words."""
        with look(self.dsn) as db:
            return [str(violation) for violation in question(db)]


@pytest.fixture
def tower(database_url: str) -> Iterator[Tower]:  # noqa: F811
    tower = Tower(database_url)
    yield tower
    tower.plane.close()


def all_at_rest(tower: Tower) -> Callable[[Look], list[Violation]]:
    def question(db: Look) -> list[Violation]:
        return [
            *lives.unended_jobs(db, [tower.completed, tower.cancelled]),
            *lives.several_ends(db),
            *lives.unsettled_fires(db, at=tower.at),
            *lives.doubled_fires(db),
            *lives.missing_minutes(db, "minutely", at=tower.at),
            *catalog.points_of_jobs(db),
            *chain.broken_links(db),
            *chain.forgotten_lines(db),
            *Canaries({"the secret": SECRET}).in_tables(db),
        ]

    return question


def test_a_sound_tower_has_no_violation(tower: Tower) -> None:
    assert tower.ask(all_at_rest(tower)) == []


COMPLETED = "(SELECT id FROM job WHERE state = 'completed' AND trigger = 'demand')"

PLANTS = {
    "a job that never ends": (
        ["UPDATE job SET state = 'available', finished_at = NULL WHERE state = 'cancelled'"],
        "has not ended",
    ),
    "a state that is none": (
        [
            "ALTER TABLE job DROP CONSTRAINT job_state_check, DROP CONSTRAINT job_check",
            "UPDATE job SET state = 'limbo' WHERE state = 'cancelled'",
        ],
        "has not ended",
    ),
    "a job that is gone": (["DELETE FROM job WHERE state = 'cancelled'"], "was accepted and is gone"),
    "a job whose end the log does not tell": (
        ["UPDATE job SET state = 'discarded' WHERE state = 'cancelled'"],
        "is discarded, the audit log tells of the ends []",
    ),
    "a job that ended twice": (
        [
            "INSERT INTO audit SELECT seq + 1000, at, actor, action, target, detail, 'p', 'h' FROM audit"
            " WHERE action = 'job.end' LIMIT 1"
        ],
        "the audit log tells of the ends ['completed', 'completed']",
    ),
    "a fire that nothing became of": (
        [
            "ALTER TABLE fire DROP CONSTRAINT fire_check1",
            "UPDATE fire SET state = 'planned' WHERE state = 'missed' OR state = 'skipped'",
        ],
        "is planned",
    ),
    "a filed fire without its job": (
        ["ALTER TABLE fire DROP CONSTRAINT fire_check", "UPDATE fire SET job_id = NULL WHERE state = 'filed'"],
        "a filed fire and its job do not fit",
    ),
    "two fires of one minute": (
        [
            "ALTER TABLE fire DROP CONSTRAINT fire_pkey",
            "INSERT INTO fire SELECT * FROM fire WHERE state <> 'filed' LIMIT 1",
        ],
        "2 fires of one nominal time",
    ),
    "two fires with one job": (
        [
            "ALTER TABLE fire DROP CONSTRAINT fire_job_id_key",
            "UPDATE fire SET state = 'filed', job_id = (SELECT max(job_id) FROM fire)"
            " WHERE state IN ('missed', 'skipped')",
        ],
        "fires [",
    ),
    "a scheduled job of no fire": (
        ["UPDATE fire SET state = 'missed', job_id = NULL WHERE state = 'filed'"],
        "has 0 fires",
    ),
    "a minute that was forgotten": (
        ["DELETE FROM fire WHERE instant = (SELECT min(instant) FROM fire)"],
        "item minutely has no fire of",
    ),
    "a job with two points": (
        [
            "ALTER TABLE recovery_point DROP CONSTRAINT recovery_point_job_id_key",
            "INSERT INTO recovery_point SELECT (jsonb_populate_record(p, jsonb_build_object('id', 'another'))).*"
            f" FROM recovery_point p WHERE job_id = {COMPLETED}",
        ],
        "has 2 points",
    ),
    "a completed backup without a point": ([f"DELETE FROM recovery_point WHERE job_id = {COMPLETED}"], "point is None"),
    "a cancelled backup with a point": (
        ["UPDATE job SET state = 'cancelled' WHERE state = 'completed' AND trigger = 'demand'"],
        "is cancelled and its point is",
    ),
    "a changed line of the audit log": (
        ["UPDATE audit SET actor = 'nobody' WHERE seq = 3"],
        "line 3 of the audit log does not follow",
    ),
    "a line of the audit log that nobody chains": (
        [
            "INSERT INTO audit_unsealed (at, actor, action, target, detail)"
            " VALUES (clock_timestamp() - interval '21 s', 'a', 'b', 'c', '{}')"
        ],
        "was told and is not in the chain",
    ),
    "a removed line of the audit log": (["DELETE FROM audit WHERE seq = 3"], "line 3 is missing"),
    "a secret in a text": ([f"UPDATE job SET error_message = '{SECRET.decode()}' WHERE state = 'cancelled'"], "I11"),
    "a secret as hex": (
        [f"UPDATE job SET warnings = jsonb_build_array('{SECRET.hex()}') WHERE state = 'cancelled'"],
        "the secret is in table job",
    ),
    "a secret as bytes": (
        [f"UPDATE unit SET payload = '\\x00{SECRET.hex()}', no = 5, stage = 'shard', epoch = 1 WHERE no = 0"],
        "the secret is in table unit",
    ),
}


@pytest.mark.parametrize("name", PLANTS)
def test_what_is_planted_is_found(tower: Tower, name: str) -> None:
    statements, said = PLANTS[name]
    question = all_at_rest(tower)
    tower.plant(*statements)
    found = tower.ask(question)
    assert any(said in line for line in found), found


def test_a_job_that_changes_after_its_end_is_found(tower: Tower) -> None:
    seen = {job: (state, at) for job, state, at in tower.plane.sql("SELECT id, state, finished_at FROM job")}
    assert tower.ask(lambda db: lives.changed_after_end(seen, db)) == []  # type: ignore[arg-type]
    tower.plant("UPDATE job SET finished_at = finished_at + interval '1 s' WHERE state = 'cancelled'")
    assert len(tower.ask(lambda db: lives.changed_after_end(seen, db))) == 1  # type: ignore[arg-type]


def test_a_log_that_was_cut_off_and_chained_anew_is_found(tower: Tower) -> None:
    seen = dict(tower.plane.sql("SELECT seq, hash FROM audit"))
    assert tower.ask(lambda db: chain.lost_lines(db, seen)) == []  # type: ignore[arg-type]
    tower.plant("DELETE FROM audit WHERE seq = (SELECT max(seq) FROM audit)")
    assert tower.ask(chain.broken_links) == []
    assert len(tower.ask(lambda db: chain.lost_lines(db, seen))) == 1  # type: ignore[arg-type]


# ── moments ──────────────────────────────────────────────────────────────────────────────────────


MOMENTS = {
    "slots counted wrongly": (
        "UPDATE slot_scope SET in_use = in_use + 1, capacity = capacity + 1 WHERE scope = 'global'",
        "counts 2 in use, held are 1",
    ),
    "more held than there is": (
        "UPDATE slot_hold SET n = 1000 WHERE scope = 'vault'",
        "holds 1000 of",
    ),
    "slots of a job that has ended": (
        "INSERT INTO slot_hold (job_id, scope, key, epoch)"
        " SELECT id, 'global', '', 1 FROM job WHERE state = 'cancelled'",
        "holds slots and is not under way",
    ),
    "a job without a slot": ("DELETE FROM slot_hold", "is under way without a slot"),
}


def moment(tower: Tower) -> slots.SlotSample:
    with psycopg.connect(tower.dsn, autocommit=True) as connection:
        return slots.take_sample(connection)


@pytest.mark.parametrize("name", MOMENTS)
def test_slots_that_are_wrong_at_one_moment_are_found(tower: Tower, name: str) -> None:
    statement, said = MOMENTS[name]
    assert slots.judge_idle(moment(tower)) == []
    tower.start()
    assert slots.judge(moment(tower)) == []
    assert slots.judge_idle(moment(tower)) != []
    tower.plant(statement)
    assert any(said in str(violation) for violation in slots.judge(moment(tower)))


def test_two_backups_of_one_item_at_once_are_found(tower: Tower) -> None:
    tower.start()
    other = tower.plane.backup().id
    tower.plant(
        "DROP INDEX job_one_active_backup",
        f"UPDATE job SET state = 'running', admitted_at = clock_timestamp() WHERE id = '{other}'",
    )
    assert any("2 backups of item" in str(violation) for violation in slots.judge(moment(tower)))


@pytest.mark.parametrize(
    ("limit", "said"),
    [("paused = true", "is paused and was given"), ("wanted = 0", "grew to 1, wanted are 0")],
    ids=["a pause", "a lowered capacity"],
)
def test_slots_given_out_against_an_operators_will_are_found(tower: Tower, limit: str, said: str) -> None:
    def set_limit(what: str) -> None:
        tower.plant(f"UPDATE slot_scope SET {what} WHERE scope = 'vault'")

    ((wanted,),) = tower.plane.sql("SELECT wanted FROM slot_scope WHERE scope = 'vault'")
    set_limit(limit)
    before = moment(tower)
    set_limit(f"paused = false, wanted = {wanted}")
    tower.start()
    set_limit(limit)
    after = moment(tower)
    assert slots.judge_step(after, after) == []
    assert any(said in str(violation) for violation in slots.judge_step(before, after))


def test_a_job_that_does_not_say_why_it_waits_is_found(tower: Tower) -> None:
    silence = Silence(patience=5)
    assert silence.judge(100.0, {"job": "available"}) == []
    assert silence.judge(104.0, {"job": "available"}) == []
    assert len(silence.judge(106.0, {"job": "available"})) == 1
    assert silence.judge(107.0, {}) == []
    tower.start()
    waiting = tower.plane.backup().id
    tower.plant(f"UPDATE job SET wait_reason = NULL WHERE id = '{waiting}'")
    impatient = Silence(patience=-1)
    with psycopg.connect(tower.dsn, autocommit=True) as connection:
        assert [violation.invariant for violation in impatient.look(connection)] == ["I9"]


@pytest.mark.parametrize(
    "statement",
    [
        "UPDATE job SET attempt = attempt + 1 WHERE id = '{job}'",
        "UPDATE unit SET lease_expires_at = clock_timestamp() WHERE job_id = '{job}'",
        "DELETE FROM slot_hold WHERE job_id = '{job}'",
        "INSERT INTO outbox (job_id, epoch, unit) VALUES ('{job}', 1, 0)",
    ],
)
def test_anything_that_a_stale_message_changes_is_found(tower: Tower, statement: str) -> None:
    job = tower.start()
    with look(tower.dsn) as db:
        before = picture(db, job)
    tower.plant(statement.format(job=job))
    with look(tower.dsn) as db:
        after = picture(db, job)
    assert changed(before, before, "complete") == []
    assert len(changed(before, after, "complete")) == 1


def test_a_point_that_retention_lets_go_meanwhile_is_not_the_messages_doing(tower: Tower) -> None:
    job = tower.completed
    with look(tower.dsn) as db:
        before = picture(db, job)
    tower.plant(
        "UPDATE recovery_point SET state = 'expiring', expiring_at = clock_timestamp(), expiring_generation = 1,"
        f" expiry_reason = 'no rule keeps it' WHERE job_id = '{job}'"
    )
    with look(tower.dsn) as db:
        after = picture(db, job)
    assert after["recovery_point"]
    assert changed(before, after, "complete") == []


def test_a_short_canary_is_refused() -> None:
    with pytest.raises(AssertionError):
        Canaries({"short": b"tiny"})


@pytest.mark.parametrize("offset", range(4))
def test_a_secret_inside_of_base64_is_found_wherever_it_begins(offset: int) -> None:
    data: Any = base64.b64encode(b"x" * offset + SECRET + b"yz")
    assert Canaries({"the secret": SECRET}).within(b'{"body": "' + data + b'"}') == ["the secret"]
    assert Canaries({"the secret": SECRET}).within(data[: len(data) // 2]) == []


# ── leaves to seal ───────────────────────────────────────────────────────────────────────────────


def seal_of(granted: Granted, *, at: datetime | None = None) -> leaves.Seal:
    """What the manifest of a worker says that has sealed now."""
    fence = granted.fence
    return leaves.Seal("p", fence.job_id, fence.epoch, at or datetime.now(UTC))


def test_a_worker_that_asked_and_then_sealed_is_within_its_rights(tower: Tower) -> None:
    granted = tower.plane.start()
    tower.plane.commit(granted)
    seal = seal_of(granted)
    tower.plane.complete(granted)
    assert tower.ask(lambda db: leaves.unasked(db, [seal])) == []


def test_a_worker_that_seals_without_asking_is_found(tower: Tower) -> None:
    granted = tower.plane.start()
    seal = seal_of(granted)
    tower.plane.complete(granted)
    assert any("had not asked" in line for line in tower.ask(lambda db: leaves.unasked(db, [seal])))


def test_a_worker_that_seals_before_it_is_allowed_is_found(tower: Tower) -> None:
    granted = tower.plane.start()
    seal = seal_of(granted, at=datetime.now(UTC) - timedelta(seconds=1))
    tower.plane.commit(granted)
    assert any("before it was allowed" in line for line in tower.ask(lambda db: leaves.unasked(db, [seal])))


def test_the_leave_of_an_earlier_attempt_is_none_for_the_next_one(tower: Tower) -> None:
    first = tower.plane.start()
    tower.plane.commit(first)
    tower.plane.expire_lease(first.fence.job_id, 90)
    with tower.plane.uow() as uow:
        rescue(uow, storm_age=0, chance=lambda: 0.5)
    tower.plane.sql("UPDATE job SET due_at = clock_timestamp() WHERE id = :id", id=first.fence.job_id)
    tower.plane.admit()
    second = tower.plane.claim()
    assert second is not None
    assert (second.fence.job_id, second.fence.epoch > first.fence.epoch) == (first.fence.job_id, True)
    assert any("had not asked" in line for line in tower.ask(lambda db: leaves.unasked(db, [seal_of(second)])))
