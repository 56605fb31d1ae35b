"""The collector's verbs on a real PostgreSQL: who may delete what, and when."""

from __future__ import annotations

import threading
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor

import pytest
from sqlalchemy import text
from sqlalchemy.exc import IntegrityError

from orchestrator.domain.paging import PageRequest
from orchestrator.domain.policy import RetentionSpec
from orchestrator.use_cases.admit import explain_waits
from orchestrator.use_cases.audit_log import list_audit
from orchestrator.use_cases.hold_point import hold_point, release_point
from orchestrator.use_cases.jobs import cancel_job, list_jobs, retry_job
from orchestrator.use_cases.request_collect import request_collect
from orchestrator.use_cases.request_restore import request_restore
from orchestrator.use_cases.request_verify import request_verify
from orchestrator.use_cases.rescue import rescue
from shared.contracts.work import BackupInstruction, Doorbell, Failed, Granted, VerifyDone
from shared.errors import SkyharborError
from shared.model.backup import BackupType, JobKind, VerifyStats
from tests.support.collecting import Collector, collector, expire, generation
from tests.support.control import ControlPlane
from tests.support.postgres import database_url, postgres_server  # noqa: F401


@pytest.fixture
def plane(database_url: str) -> Iterator[ControlPlane]:  # noqa: F811
    control = ControlPlane(database_url)
    control.machine()
    control.vault()
    control.item(retention=RetentionSpec(last=1))
    yield control
    control.close()


def refusal(call: object, *arguments: object, **named: object) -> str:
    assert callable(call)
    with pytest.raises(SkyharborError) as error:
        call(*arguments, **named)
    return error.value.code


def lose(plane: ControlPlane, granted: Granted) -> None:
    """Take a unit from its worker."""
    plane.expire_lease(granted.fence.job_id)
    with plane.uow() as uow:
        rescue(uow, storm_age=100, chance=lambda: 0.0)


def point_state(plane: ControlPlane, point: str) -> object:
    ((state,),) = plane.sql("SELECT state FROM recovery_point WHERE id = :id", id=point)
    return state


def restore(plane: ControlPlane, point: str) -> str:
    with plane.uow() as uow:
        return request_restore(uow, actor="test", point=point, target="/tmp/x").job.id


def hold(plane: ControlPlane, point: str) -> None:
    with plane.uow() as uow:
        hold_point(uow, actor="test", point=point)


def actions(plane: ControlPlane, prefix: str) -> list[tuple[str, str]]:
    with plane.uow() as uow:
        entries = list_audit(uow, after=0, limit=500)
    return [(entry.action, entry.target) for entry in entries if entry.action.startswith(prefix)]


# ── writers and packs ────────────────────────────────────────────────────────────────────────────────


def test_a_pack_waits_for_the_writers_that_are_older_than_its_condemnation_and_for_no_younger_one(
    plane: ControlPlane,
) -> None:
    old = plane.start()
    collect = collector(plane)
    collect.condemn("packs/d/aa", "packs/d/bb")
    assert [(pack.name, pack.ripe) for pack in collect.condemned().packs] == [
        ("packs/d/aa", False),
        ("packs/d/bb", False),
    ]
    assert collect.doom("packs/d/aa") == ()
    plane.complete(old)
    young = plane.start()
    assert young.condemned
    assert not old.condemned
    assert collect.doom("packs/d/aa", "packs/d/cc") == ("packs/d/aa",)
    assert [pack.name for pack in collect.condemned(fence=young.fence).packs] == ["packs/d/aa", "packs/d/bb"]


def test_a_writer_that_never_registered_is_older_than_everything(plane: ControlPlane) -> None:
    old = plane.start()
    plane.sql("UPDATE unit SET generation = NULL")
    collect = collector(plane)
    collect.condemn("a")
    assert collect.doom("a") == ()
    plane.complete(old)
    assert collect.doom("a") == ("a",)


def test_a_shard_registers_as_its_lead_does(plane: ControlPlane) -> None:
    lead = plane.start()
    collect = collector(plane)
    collect.condemn("a")
    plane.offer(lead, b"one")
    shard = plane.claim(worker="w2", session="s2")
    assert shard is not None
    assert shard.condemned
    assert [pack.name for pack in collect.condemned(fence=shard.fence).packs] == ["a"]
    rows = plane.sql("SELECT no, generation FROM unit WHERE job_id = :id ORDER BY no", id=lead.fence.job_id)
    assert rows == [(0, 1), (1, 2)]


def test_a_job_that_had_leave_to_seal_keeps_its_first_generation_whoever_has_it(plane: ControlPlane) -> None:
    first = plane.start()
    plane.commit(first)
    collect = collector(plane)
    collect.condemn("a")
    lose(plane, first)
    assert collect.doom("a") == ()  # nobody has it, and the lost worker may be sealing
    plane.sql("UPDATE job SET due_at = clock_timestamp() WHERE state = 'retryable'")
    plane.admit()
    second = plane.claim(worker="w2", session="s2")
    assert second is not None
    assert second.condemned
    assert collect.doom("a") == ()
    plane.complete(second)
    assert collect.doom("a") == ("a",)


def test_a_writer_that_had_no_leave_to_seal_is_no_writer_once_it_is_lost(plane: ControlPlane) -> None:
    old = plane.start()
    collect = collector(plane)
    collect.condemn("a")
    lose(plane, old)
    assert collect.doom("a") == ("a",)
    assert refusal(plane.commit, old) == "stale-claim"


@pytest.fixture
def unsettled(plane: ControlPlane) -> tuple[Collector, str]:
    """A collector with a condemned pack, and the point of an older job that had leave to seal and ended without it."""
    old = plane.start()
    plane.commit(old)
    collect = collector(plane)
    collect.condemn("a")
    plane.sql("UPDATE job SET max_attempts = 1")
    plane.complete(old, Failed(code="store-denied", message="no"))
    assert plane.job(old.fence.job_id).state == "discarded"
    return collect, plane.job(old.fence.job_id).point_id


def listed(collect: Collector) -> list[tuple[str, bool]]:
    return [(one.point, one.fence) for one in collect.unsettled().points]


def test_a_point_that_is_given_up_counts_as_a_writer_until_its_name_is_fenced(
    plane: ControlPlane, unsettled: tuple[Collector, str]
) -> None:
    collect, point = unsettled
    assert (collect.doom("a"), listed(collect)) == ((), [(point, False)])
    for _ in range(2):  # the reply was lost
        collect.settled(missing=[point])
        assert (collect.doom("a"), listed(collect)) == ((), [(point, True)])
    for _ in range(2):
        collect.settled(fenced=[point])
    assert listed(collect) == []
    assert collect.doom("a") == ("a",)
    assert refusal(collect.settled, found=[point]) == "conflict"
    assert actions(plane, "point.") == [("point.give-up", point), ("point.fence", point)]


def test_a_point_that_is_found_is_settled_and_never_given_up_or_fenced(unsettled: tuple[Collector, str]) -> None:
    collect, point = unsettled
    for _ in range(2):
        collect.settled(found=[point])
    assert (collect.doom("a"), listed(collect)) == (("a",), [])
    assert refusal(collect.settled, missing=[point]) == refusal(collect.settled, fenced=[point]) == "conflict"


def test_a_decision_is_final_in_the_table_too(plane: ControlPlane, unsettled: tuple[Collector, str]) -> None:
    collect, point = unsettled
    collect.settled(missing=[point])
    collect.settled(fenced=[point])
    for change in ("verdict = 'found', fenced_at = NULL", "fenced_at = NULL"):
        with pytest.raises(IntegrityError):
            plane.sql(f"UPDATE settled_point SET {change}")  # noqa: S608
    with pytest.raises(IntegrityError):
        plane.sql("DELETE FROM settled_point")


def test_only_dead_names_are_fenced(plane: ControlPlane, unsettled: tuple[Collector, str]) -> None:
    collect, point = unsettled
    good = plane.run().point_id
    for name in (point, good, "nobody's"):
        assert refusal(collect.settled, fenced=[name]) == "conflict"
    plane.run()
    expire(plane)
    assert refusal(collect.settled, fenced=[good]) == "conflict"
    collect.settled(missing=[point])
    collect.settled(fenced=[point])
    assert collect.doomed_ids() == [good]
    collect.settled(fenced=[good])
    collect.expired(good)
    collect.settled(fenced=[good])


def test_a_message_that_is_refused_decides_nothing(plane: ControlPlane, unsettled: tuple[Collector, str]) -> None:
    collect, point = unsettled
    assert refusal(collect.settled, missing=[point], fenced=["nobody's"]) == "conflict"
    assert listed(collect) == [(point, False)]
    assert actions(plane, "point.") == []


def test_what_needs_no_settling_is_not_settled(plane: ControlPlane) -> None:
    job = plane.run()
    running = plane.start()
    plane.commit(running)
    collect = collector(plane)
    collect.settled(missing=[job.point_id, plane.job(running.fence.job_id).point_id], found=["nothing"])
    assert plane.sql("SELECT * FROM settled_point") == []


def test_condemning_again_changes_nothing_not_even_the_generation(plane: ControlPlane) -> None:
    collect = collector(plane)
    collect.condemn("a")
    before = (generation(plane), plane.sql("SELECT * FROM condemned_pack"))
    collect.condemn("a")
    assert (generation(plane), plane.sql("SELECT * FROM condemned_pack")) == before
    assert actions(plane, "packs.") == [("packs.condemn", collect.fence.job_id)]


def test_a_revived_pack_is_relied_on_again_and_a_doomed_one_is_gone_for_good(plane: ControlPlane) -> None:
    collect = collector(plane)
    collect.condemn("a", "b")
    collect.condemn(revive=["a", "never condemned"])
    assert [pack.name for pack in collect.condemned().packs] == ["b"]
    assert collect.doom("a", "b") == ("b",)
    assert refusal(collect.condemn, "c", revive=["b"]) == "conflict"
    assert [(pack.name, pack.ripe, pack.doomed) for pack in collect.condemned().packs] == [("b", False, True)]
    with pytest.raises(IntegrityError):
        plane.sql("UPDATE condemned_pack SET doomed_at = NULL")


def test_a_collector_that_died_after_dooming_leaves_its_packs_to_the_next_one(plane: ControlPlane) -> None:
    first = collector(plane)
    first.condemn("a", "b")
    assert first.doom("a") == ("a",)
    plane.complete(first.granted, Failed(code="store-denied", message="no"))
    second = collector(plane, now=False, worker="c2")
    assert second.doom("a", "b") == ("a",)  # doomed already; the other one has its grace
    second.deleted("a", "b")
    second.deleted("a", "b")
    # The first one may wake up and delete whatever has that name: nobody may ever rely on it.
    assert [(pack.name, pack.doomed) for pack in second.condemned().packs] == [("a", True), ("b", False)]
    assert plane.sql("SELECT condemned_packs, condemned_bytes FROM vault_generation") == [(2, 10)]
    assert second.doom("a") == ("a",)


def test_a_collector_that_deleted_what_it_doomed_is_the_last_to_know(plane: ControlPlane) -> None:
    collect = collector(plane)
    collect.condemn("a", "b")
    collect.doom("a")
    collect.deleted("a", "b")
    assert [pack.name for pack in collect.condemned().packs] == ["b"]
    assert plane.sql("SELECT condemned_packs, condemned_bytes FROM vault_generation") == [(1, 10)]


def test_the_name_of_a_point_that_another_attempt_may_put_again_is_to_be_fenced(plane: ControlPlane) -> None:
    once = plane.run().point_id
    first = plane.start()
    plane.commit(first)
    lose(plane, first)
    plane.sql("UPDATE job SET due_at = clock_timestamp() WHERE state = 'retryable'")
    plane.admit()
    second = plane.claim(worker="w2", session="s2")
    assert second is not None
    plane.complete(second)
    twice = plane.job(first.fence.job_id).point_id
    plane.run()
    assert set(expire(plane)) == {once, twice}
    told = {point.point: point.fence for point in collector(plane).doom_points().points}
    assert told == {once: False, twice: True}


def test_the_grace_holds_unless_somebody_is_in_a_hurry(plane: ControlPlane) -> None:
    patient = collector(plane, now=False)
    assert not patient.instruction.again
    patient.condemn("a")
    assert patient.doom("a") == ()
    plane.sql("UPDATE condemned_pack SET condemned_at = condemned_at - interval '25 hours'")
    assert patient.doom("a") == ("a",)


def test_a_stale_collector_may_say_nothing(plane: ControlPlane) -> None:
    stale = collector(plane)
    stale.condemn("a")
    plane.complete(stale.granted, Failed(code="store-denied", message="no"))
    calls = (stale.condemned, stale.doom_points, stale.unsettled, lambda: stale.doom("a"), lambda: stale.condemn("b"))
    more = (lambda: stale.deleted("a"), lambda: stale.expired("p"), lambda: stale.settled(fenced=["p"]))
    assert {refusal(call) for call in (*calls, *more)} == {"stale-claim"}
    assert [name for (name,) in plane.sql("SELECT name FROM condemned_pack")] == ["a"]


def test_only_a_collector_speaks_for_the_garbage(plane: ControlPlane) -> None:
    backup = plane.start()
    pretender = Collector(plane, backup.fence, backup)
    assert refusal(pretender.condemn, "a") == refusal(pretender.doom, "a") == "bad-request"
    assert refusal(pretender.condemn, *(str(n) for n in range(10_001))) == "bad-request"


def test_a_hundred_thousand_condemned_packs_are_read_in_pages(plane: ControlPlane) -> None:
    collect = collector(plane)
    names = [f"packs/d/{number:06}" for number in range(100_000)]
    for start in range(0, len(names), 10_000):
        collect.condemn(*names[start : start + 10_000])
    assert collect.doom(*names[5:10]) == tuple(names[5:10])
    read, after, more = list[str](), "", True
    while more:
        page = collect.condemned(after=after)
        read += [pack.name for pack in page.packs]
        after, more = page.packs[-1].name, page.more
    assert read == names
    plan = plane.sql(
        "EXPLAIN SELECT name FROM condemned_pack WHERE vault_id = 'x' AND name > 'y' ORDER BY name LIMIT 10001"
    )
    assert not any("Seq Scan" in str(line) for (line,) in plan)


# ── races ────────────────────────────────────────────────────────────────────────────────────────────


def waits_for_a_lock(plane: ControlPlane) -> None:
    """Return once somebody waits for a lock."""
    sql = "SELECT 1 FROM pg_stat_activity WHERE wait_event_type = 'Lock' AND datname = current_database()"
    while not plane.sql(sql):
        pass


def test_a_claim_that_is_not_committed_makes_a_condemnation_wait_and_is_older_than_it(plane: ControlPlane) -> None:
    collect = collector(plane)
    job = plane.backup()
    plane.admit()
    with ThreadPoolExecutor(1) as pool, plane.uow() as uow:
        uow.workers.seen("w1", "s1")
        assert uow.units.claim(None, worker="w1", session="s1", claim_id="claim").taken is not None
        waiting = pool.submit(collect.condemn, "a")
        waits_for_a_lock(plane)
        uow.commit()
        waiting.result(timeout=10)
    assert plane.sql("SELECT generation FROM unit WHERE job_id = :id", id=job.id) == [(1,)]
    assert plane.sql("SELECT generation FROM condemned_pack") == [(2,)]
    assert collect.doom("a") == ()


def test_a_claim_that_waited_for_a_condemnation_knows_it(plane: ControlPlane) -> None:
    collect = collector(plane)
    plane.backup()
    plane.admit()
    with ThreadPoolExecutor(1) as pool, plane.uow() as uow:
        uow.collecting.condemn(uow.vaults.get("v1").id, [("a", 1)])
        waiting = pool.submit(plane.claim)
        waits_for_a_lock(plane)
        uow.commit()
        granted = waiting.result(timeout=10)
    assert granted is not None
    assert granted.condemned
    assert plane.sql("SELECT generation FROM unit WHERE job_id = :id", id=granted.fence.job_id) == [(2,)]
    assert collect.doom("a") == ("a",)


def test_a_claim_that_waits_for_its_job_does_not_hold_up_a_condemnation(plane: ControlPlane) -> None:
    collect = collector(plane)
    job = plane.backup()
    plane.admit()
    doorbell = Doorbell(job_id=job.id, epoch=plane.job(job.id).epoch, unit=0)
    with ThreadPoolExecutor(1) as pool, plane.uow() as uow:
        uow.jobs.lock(job.id)
        waiting = pool.submit(plane.claim, doorbell)
        waits_for_a_lock(plane)
        collect.condemn("a")
        uow.commit()
        granted = waiting.result(timeout=10)
    assert granted is not None
    assert granted.condemned
    assert plane.sql("SELECT generation FROM unit WHERE job_id = :id", id=job.id) == [(2,)]


def test_two_claims_of_one_vault_do_not_wait_for_each_other(plane: ControlPlane) -> None:
    plane.item("i2")
    plane.backup()
    plane.backup("i2")
    plane.admit()
    with plane.uow() as uow:
        uow.workers.seen("w1", "s1")
        assert uow.units.claim(None, worker="w1", session="s1", claim_id="claim").taken is not None
        with ThreadPoolExecutor(1) as pool:
            assert pool.submit(plane.claim, None, worker="w2", session="s2").result(timeout=10) is not None


def test_a_hold_that_waits_for_the_doom_is_refused_and_a_doom_that_waits_for_a_hold_lets_the_point_be(
    plane: ControlPlane,
) -> None:
    first, second = plane.run(), plane.run()
    plane.run()
    assert set(expire(plane)) == {first.point_id, second.point_id}
    collect = collector(plane)
    with ThreadPoolExecutor(1) as pool, plane.uow() as uow:
        uow.points.lock(first.point_id)
        uow.points.hold(first.point_id, until=None)
        waiting = pool.submit(collect.doomed_ids)
        waits_for_a_lock(plane)
        uow.commit()
        assert waiting.result(timeout=10) == [second.point_id]
    assert point_state(plane, first.point_id) == "sealed"
    assert refusal(hold, plane, second.point_id) == "conflict"


def test_a_restore_that_is_being_accepted_keeps_its_point_from_being_doomed(plane: ControlPlane) -> None:
    first = plane.run()
    plane.run()
    job = restore(plane, first.point_id)
    with plane.uow() as uow:
        cancel_job(uow, actor="test", ref=job)
    collect = collector(plane)
    with ThreadPoolExecutor(1) as pool, plane.uow() as uow:
        uow.points.share(first.point_id)  # a request has looked at the point, which is sealed
        expiring = pool.submit(expire, plane)
        waits_for_a_lock(plane)
        # What the request keeps in the same transaction:
        uow._db.execute(
            text(
                "INSERT INTO job (id, kind, state, trigger, rank, aged_rank, latest_start, item_id, machine_id,"
                " vault_id, point_id, due_at, requested_by) SELECT 'r', kind, 'available', trigger, rank, rank,"
                " latest_start, item_id, machine_id, vault_id, point_id, due_at, 'x' FROM job WHERE id = :id"
            ),
            {"id": job},
        )
        uow.commit()
        expiring.result(timeout=10)
    assert collect.doomed_ids() == []
    assert point_state(plane, first.point_id) in ("sealed", "expiring")


# ── points ───────────────────────────────────────────────────────────────────────────────────────────


def test_a_point_goes_from_sealed_to_expired_and_every_step_names_it(plane: ControlPlane) -> None:
    old, new = plane.run(), plane.run()
    assert expire(plane) == (old.point_id,)
    assert expire(plane) == ()
    collect = collector(plane)
    assert collect.doomed_ids() == [old.point_id]
    assert collect.doomed_ids() == [old.point_id]  # the reply was lost
    collect.expired(old.point_id, new.point_id)
    collect.expired(old.point_id, new.point_id)
    assert [point_state(plane, job.point_id) for job in (old, new)] == ["expired", "sealed"]
    assert actions(plane, "point.") == [
        ("point.expire", old.point_id),
        ("point.doom", old.point_id),
        ("point.delete", old.point_id),
    ]
    with plane.uow() as uow:
        assert uow.vaults.get("v1").points == 1


def test_an_expiring_point_waits_for_the_writer_that_may_compare_with_it(plane: ControlPlane) -> None:
    old = plane.run()
    plane.run()
    writer = plane.start()
    expire(plane)
    collect = collector(plane)
    told = collect.doom_points()
    assert (told.points, told.waiting) == ((), 1)
    plane.complete(writer)
    assert collect.doomed_ids() == [old.point_id]


def test_a_point_that_expires_after_the_look_at_writers_waits_for_who_came_between(
    plane: ControlPlane,
) -> None:
    old = plane.run()
    plane.run()
    vault = collector(plane).instruction.vault.id
    with plane.uow() as uow:
        through = uow.collecting.ripe_through(vault)  # no writer is there
        plane.start()
        expire(plane)
        doomed = uow.collecting.doom_points(vault, through=through, after="", limit=10)
    assert (doomed.ids, point_state(plane, old.point_id)) == ((), "expiring")


def test_an_expiring_point_is_nobodys_reference_and_nothing_new_is_done_with_it(plane: ControlPlane) -> None:
    full = plane.run(type=BackupType.FULL)
    plane.run()
    expire(plane)
    granted = plane.start(type=BackupType.DIFFERENTIAL)
    assert isinstance(granted.instruction, BackupInstruction)
    assert granted.instruction.type is BackupType.FULL
    assert granted.instruction.reference is None
    assert refusal(restore, plane, full.point_id) == "conflict"
    with plane.uow() as uow:
        assert refusal(request_verify, uow, actor="test", point=full.point_id) == "conflict"


def test_an_old_restore_is_not_retried_on_a_point_that_is_on_its_way_out(plane: ControlPlane) -> None:
    old = plane.run()
    job = restore(plane, old.point_id)
    with plane.uow() as uow:
        cancel_job(uow, actor="test", ref=job)
    plane.run()
    expire(plane)
    with plane.uow() as uow:
        assert refusal(retry_job, uow, actor="test", ref=job) == "conflict"


def test_a_shard_is_told_the_reference_of_its_lead_although_that_is_expiring_now(plane: ControlPlane) -> None:
    full = plane.run(type=BackupType.FULL)
    plane.run()
    lead = plane.start(type=BackupType.DIFFERENTIAL)
    plane.offer(lead, b"one")
    assert expire(plane) == (full.point_id,)
    shard = plane.claim(worker="w2", session="s2")
    assert shard is not None
    assert shard.instruction.backup == lead.instruction  # type: ignore[union-attr]


@pytest.mark.parametrize("kind", ["restore", "verify"])
def test_a_point_that_a_job_works_on_is_not_doomed(plane: ControlPlane, kind: str) -> None:
    old = plane.run()
    plane.run()
    expire(plane)
    hold(plane, old.point_id)
    with plane.uow() as uow:
        if kind == "restore":
            job = request_restore(uow, actor="test", point=old.point_id, target="/tmp/x").job
        else:
            job = request_verify(uow, actor="test", point=old.point_id).job
    # The hold ends and retention comes again: the job keeps it; made to expire all the same it is not doomed.
    with plane.uow() as uow:
        release_point(uow, actor="test", point=old.point_id)
    assert expire(plane) == ()
    plane.sql(
        "UPDATE recovery_point SET state = 'expiring', expiring_at = now(), expiring_generation = 1, expiry_reason = ''"
        " WHERE id = :id",
        id=old.point_id,
    )
    collect = collector(plane)
    assert (collect.doomed_ids(), collect.doom_points().waiting) == ([], 1)
    with plane.uow() as uow:
        cancel_job(uow, actor="test", ref=job.id)
    assert collect.doomed_ids() == [old.point_id]


def test_a_verify_that_finds_an_expiring_point_damaged_keeps_it_until_somebody_has_looked(plane: ControlPlane) -> None:
    old = plane.run()
    with plane.uow() as uow:
        request_verify(uow, actor="test", point=old.point_id)
    plane.admit()
    verify = plane.claim()
    assert verify is not None
    plane.run()
    plane.sql(
        "UPDATE recovery_point SET state = 'expiring', expiring_at = now(), expiring_generation = 1, expiry_reason = ''"
        " WHERE id = :id",
        id=old.point_id,
    )
    plane.complete(verify, VerifyDone(stats=VerifyStats(problems=1), full=True))
    assert point_state(plane, old.point_id) == "damaged"
    assert expire(plane) == ()
    with plane.uow() as uow:
        release_point(uow, actor="test", point=old.point_id)
    assert expire(plane) == (old.point_id,)
    hold(plane, old.point_id)
    assert point_state(plane, old.point_id) == "damaged"


def test_points_to_doom_come_in_pages_that_are_never_empty_before_the_last(
    plane: ControlPlane, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("orchestrator.use_cases.collecting.doom_points.POINTS_AT_ONCE", 2)
    made = sorted(plane.run().point_id for _ in range(6))
    gone = sorted(expire(plane))
    assert len(gone) == 5
    collect = collector(plane)
    read, after, more = list[str](), "", True
    while more:
        page = collect.doom_points(after=after)
        assert page.points or not page.more
        read += [point.point for point in page.points]
        after, more = (read[-1] if read else ""), page.more
    assert read == gone
    assert len(made) == 6


# ── jobs that collect ────────────────────────────────────────────────────────────────────────────────


def ask(plane: ControlPlane, key: str | None = None) -> str:
    with plane.uow() as uow:
        return request_collect(uow, actor="test", vault="v1", key=key).job.id


def test_a_vault_is_collected_by_one_job_at_a_time(plane: ControlPlane) -> None:
    first = ask(plane, "key")
    assert ask(plane, "key") == first
    assert refusal(ask, plane) == "conflict"
    with plane.uow() as uow:
        cancel_job(uow, actor="test", ref=first)
    assert ask(plane) != first


def test_two_requests_at_once_make_one_collection(plane: ControlPlane) -> None:
    barrier = threading.Barrier(2)

    def race() -> str:
        barrier.wait()
        try:
            return ask(plane)
        except SkyharborError as error:
            return error.code

    with ThreadPoolExecutor(2) as pool:
        answers = [pool.submit(race) for _ in range(2)]
        assert sorted(answer.result() == "conflict" for answer in answers) == [False, True]


def test_a_collection_takes_slots_of_the_installation_its_class_and_its_vault_alone(plane: ControlPlane) -> None:
    plane.slots("class/collect", 1)
    plane.slots("tenant/default", 0)  # what its tenant has left does not matter
    collect = collector(plane)
    used = {scope for (scope, _), count in plane.slots_in_use().items() if count}
    assert used == {"global", "class", "vault"}
    assert [(one.machine.name, one.busy) for one in collect.instruction.machines] == [("m1", False)]
    collect.end()
    assert not any(plane.slots_in_use().values())
    job = plane.job(collect.fence.job_id)
    assert (job.state, job.item, job.vault, job.point) == ("completed", "", "v1", None)
    assert job.stats is not None
    assert job.stats["packs_condemned"] == 1


def test_a_waiting_collection_says_why_and_is_listed_cancelled_and_retried_like_any_job(plane: ControlPlane) -> None:
    plane.slots("class/collect", 0)
    job = ask(plane)
    assert plane.admit() == 0
    with plane.uow() as uow:
        explain_waits(uow)
    assert plane.job(job).wait_reason == "slot:class"
    assert plane.seen(job).queue_position == 1
    with plane.uow() as uow:
        cancel_job(uow, actor="test", ref=job)
        again = retry_job(uow, actor="test", ref=job).job
    with plane.uow() as uow:
        listed = list_jobs(uow, request=PageRequest(), kind=JobKind.COLLECT).items
    assert [(one.id, one.state) for one in listed] == [(again.id, "available"), (job, "cancelled")]


def test_paused_things_of_others_do_not_hide_a_collection(plane: ControlPlane) -> None:
    plane.sql("UPDATE slot_scope SET paused = true WHERE scope = 'machine'")
    plane.sql("UPDATE item SET paused_at = clock_timestamp()")
    ask(plane)
    assert plane.admit() == 1


def test_a_machine_is_busy_while_a_backup_of_it_has_not_ended(plane: ControlPlane) -> None:
    plane.backup()
    first = collector(plane)
    assert [one.busy for one in first.instruction.machines] == [False]
    first.end()
    granted = plane.claim()
    assert granted is not None
    assert [one.busy for one in collector(plane, worker="c2").instruction.machines] == [True]


def test_only_a_collection_ends_as_one(plane: ControlPlane) -> None:
    collect = collector(plane)
    assert refusal(plane.complete, collect.granted, VerifyDone(stats=VerifyStats(), full=False)) == "bad-request"
