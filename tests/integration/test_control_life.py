"""The life of jobs on a real PostgreSQL: request, admission, claim, commit, completion, and every way to go wrong."""

from __future__ import annotations

from collections.abc import Iterator

import msgspec
import pytest
from sqlalchemy.exc import IntegrityError

from orchestrator.domain.job_states import JobState
from orchestrator.domain.paging import PageRequest
from orchestrator.store.schema import current, head
from orchestrator.use_cases.admit import explain_waits
from orchestrator.use_cases.audit_log import check_audit, list_audit
from orchestrator.use_cases.hello import hello
from orchestrator.use_cases.items import get_item
from orchestrator.use_cases.jobs import cancel_job, list_jobs, retry_job
from orchestrator.use_cases.points import find_point, list_points
from orchestrator.use_cases.relay import relay
from orchestrator.use_cases.release import release
from orchestrator.use_cases.renew import renew
from orchestrator.use_cases.request_backup import request_backup
from orchestrator.use_cases.request_restore import request_restore
from orchestrator.use_cases.request_verify import request_verify
from orchestrator.use_cases.rescue import rescue
from orchestrator.use_cases.system import metrics_numbers
from orchestrator.use_cases.vaults import create_vault
from shared.contracts.work import (
    BackupInstruction,
    Cancelled,
    Doorbell,
    Failed,
    Granted,
    Heartbeat,
    Hello,
    Progress,
    Release,
    Renew,
    RestoreInstruction,
    VerifyDone,
)
from shared.errors import SkyharborError
from shared.model.backup import BackupType, Notice, VerifyStats
from tests.support.control import ControlPlane, RecordingBell, sealed
from tests.support.postgres import database_url, postgres_server  # noqa: F401


@pytest.fixture
def plane(database_url: str) -> Iterator[ControlPlane]:  # noqa: F811
    control = ControlPlane(database_url)
    yield control
    control.close()


def code_of(error: pytest.ExceptionInfo[SkyharborError]) -> str:
    return error.value.code


def test_the_schema_of_a_fresh_database_is_the_newest(plane: ControlPlane) -> None:
    assert current(plane.url) == head()


def test_a_backup_goes_from_request_to_a_sealed_point_and_gives_its_slots_back(plane: ControlPlane) -> None:
    plane.one_item()
    job = plane.run()
    with plane.uow() as uow:
        point = find_point(uow, point="latest", item="i1")
    assert (job.state, job.point, point.job_id, job.attempt, job.type) == (
        JobState.COMPLETED, point.id, job.id, 1, BackupType.FULL,
    )  # fmt: skip
    assert set(plane.slots_in_use().values()) == {0}
    assert job.seconds is not None
    assert job.wait_reason is None


def test_reference_points_follow_the_three_backup_types(plane: ControlPlane) -> None:
    plane.one_item()
    first = plane.run(type=BackupType.INCREMENTAL)
    second = plane.run(type=BackupType.INCREMENTAL)
    third = plane.start(type=BackupType.DIFFERENTIAL).instruction
    assert isinstance(third, BackupInstruction)
    assert (first.type, second.type, third.type) == (BackupType.FULL, BackupType.INCREMENTAL, BackupType.DIFFERENTIAL)
    assert third.reference == first.point


def test_a_doorbell_rung_twice_is_claimed_once(plane: ControlPlane) -> None:
    plane.one_item()
    plane.backup()
    plane.admit()
    bell = RecordingBell()
    relay(plane.uow, bell=bell)
    assert relay(plane.uow, bell=bell).rung == 0
    assert plane.claim(bell.rings[0]) is not None
    assert plane.claim(bell.rings[0], worker="w2") is None


def test_a_forged_doorbell_claims_nothing(plane: ControlPlane) -> None:
    plane.one_item()
    job = plane.backup()
    assert plane.claim(Doorbell(job_id=job.id, epoch=job.epoch, unit=0)) is None
    plane.admit()
    assert plane.claim(Doorbell(job_id=job.id, epoch=99, unit=0)) is None
    assert plane.claim(Doorbell(job_id=job.id, epoch=plane.job(job.id).epoch, unit=7)) is None


def test_a_dead_broker_keeps_the_doorbell_for_later(plane: ControlPlane) -> None:
    plane.one_item()
    plane.backup()
    plane.admit()
    bell = RecordingBell(broken=True)
    failed = relay(plane.uow, bell=bell)
    bell.broken = False
    again = relay(plane.uow, bell=bell)
    assert (failed.rung, failed.error is not None, again.rung) == (0, True, 1)


def test_a_second_backup_of_an_item_waits_for_the_first(plane: ControlPlane) -> None:
    plane.one_item()
    first = plane.start()
    second = plane.backup()
    assert plane.admit() == 0
    with plane.uow() as uow:
        explain_waits(uow)
    assert (plane.job(second.id).wait_reason, plane.seen(second.id).queue_position) == ("dependency", 1)
    plane.complete(first)
    assert plane.admit() == 1


def test_a_stale_worker_changes_nothing(plane: ControlPlane) -> None:
    plane.one_item()
    stale = plane.start()
    plane.expire_lease(stale.fence.job_id)
    with plane.uow() as uow:
        rescue(uow, storm_age=0, chance=lambda: 0.0)
    plane.admit()
    fresh = plane.claim(worker="w2", session="s2")
    assert fresh is not None
    before = plane.job(stale.fence.job_id)
    with pytest.raises(SkyharborError) as commit_error:
        plane.commit(stale)
    with pytest.raises(SkyharborError) as complete_error:
        plane.complete(stale)
    with plane.uow() as uow:
        verdicts = renew(uow, message=Renew(worker="w1", session="s1", units=(Heartbeat(fence=stale.fence),)))
    assert (code_of(commit_error), code_of(complete_error)) == ("stale-claim", "stale-claim")
    assert verdicts.units[0].verdict == "lost"
    assert plane.job(stale.fence.job_id) == before
    assert (before.losses, before.attempt, before.worker) == (1, 2, "w2")


def test_completing_twice_with_the_same_fence_is_answered_twice(plane: ControlPlane) -> None:
    plane.one_item()
    granted = plane.start()
    plane.commit(granted)
    plane.commit(granted)
    plane.complete(granted)
    done = plane.job(granted.fence.job_id)
    plane.complete(granted)
    assert plane.job(granted.fence.job_id) == done


def test_an_outcome_for_another_kind_or_point_is_refused_and_changes_nothing(plane: ControlPlane) -> None:
    plane.one_item()
    first = plane.start()
    plane.complete(first)
    second = plane.start()
    for outcome in (VerifyDone(stats=VerifyStats(), full=True), sealed(first)):
        with pytest.raises(SkyharborError) as error:
            plane.complete(second, outcome)
        assert code_of(error) == "bad-request"
    assert plane.job(second.fence.job_id).state is JobState.RUNNING


def test_failures_are_retried_by_their_class(plane: ControlPlane) -> None:
    plane.one_item()
    states = {}
    for code in ("store-unreachable", "source-failed", "store-full", "object-damaged", "no-such-code"):
        granted = plane.start()
        plane.complete(granted, Failed(code=code, message="because\0"))
        job = plane.job(granted.fence.job_id)
        states[code] = (job.state, job.wait_reason, job.error.code if job.error else None)
        if not job.terminal:
            with plane.uow() as uow:
                cancel_job(uow, actor="test", ref=job.id)
    assert states == {
        "store-unreachable": (JobState.RETRYABLE, "backoff", "store-unreachable"),
        "source-failed": (JobState.RETRYABLE, "backoff", "source-failed"),
        "store-full": (JobState.DISCARDED, None, "store-full"),
        "object-damaged": (JobState.DISCARDED, None, "object-damaged"),
        "no-such-code": (JobState.RETRYABLE, "backoff", "internal"),
    }
    assert set(plane.slots_in_use().values()) == {0}


def test_a_source_that_failed_twice_is_discarded(plane: ControlPlane) -> None:
    plane.one_item()
    granted = plane.start()
    for _ in range(2):
        plane.complete(granted, Failed(code="source-failed", message="EIO"))
        plane.sql("UPDATE job SET due_at = clock_timestamp() WHERE state = 'retryable'")
        plane.admit()
        granted = plane.claim() or granted
    assert (plane.job(granted.fence.job_id).state, plane.job(granted.fence.job_id).attempt) == (JobState.DISCARDED, 2)


def test_three_lost_workers_put_a_job_aside(plane: ControlPlane) -> None:
    plane.one_item()
    granted = plane.start()
    for _ in range(3):
        plane.expire_lease(granted.fence.job_id)
        with plane.uow() as uow:
            assert rescue(uow, storm_age=0, chance=lambda: 0.0).jobs == 1
        plane.sql("UPDATE job SET due_at = clock_timestamp() WHERE state = 'retryable'")
        plane.admit()
        granted = plane.claim() or granted
    job = plane.job(granted.fence.job_id)
    assert (job.state, job.error.code if job.error else None, job.losses) == (JobState.DISCARDED, "quarantined", 3)


def test_a_lease_within_its_margin_is_left_alone(plane: ControlPlane) -> None:
    plane.one_item()
    granted = plane.start()
    plane.expire_lease(granted.fence.job_id, 3)
    with plane.uow() as uow:
        assert rescue(uow, storm_age=0, chance=lambda: 0.0).jobs == 0


def test_many_leases_ending_at_once_are_held_back_until_the_storm_is_old(plane: ControlPlane) -> None:
    plane.vault()
    plane.sql("UPDATE slot_scope SET capacity = 100, wanted = 100")
    for number in range(10):
        plane.machine(f"m{number}")
        plane.item(f"i{number}", machine=f"m{number}")
        plane.backup(f"i{number}")
    plane.sql("UPDATE slot_scope SET capacity = 100, wanted = 100")
    assert plane.admit() == 10
    for _ in range(10):
        plane.claim()
    plane.sql("UPDATE unit SET lease_expires_at = clock_timestamp() - interval '1 minute'")
    with plane.uow() as uow:
        young = rescue(uow, storm_age=10, chance=lambda: 0.0)
    with plane.uow() as uow:
        old = rescue(uow, storm_age=200, chance=lambda: 0.0)
    assert (young.jobs, young.held_back, old.jobs) == (0, 10, 10)


def test_hello_of_a_new_session_gives_up_the_leases_of_the_dead_one_at_once(plane: ControlPlane) -> None:
    plane.one_item()
    granted = plane.start()
    message = Hello(worker="w1", session="s2", version="1", concurrency=2, clock="2026-11-22T00:00:00Z")
    with plane.uow() as uow:
        first = hello(uow, message=message, chance=0.5)
    with plane.uow() as uow:
        second = hello(uow, message=message, chance=0.5)
    assert (first.released, second.released, plane.job(granted.fence.job_id).state) == (1, 0, JobState.RETRYABLE)
    with pytest.raises(SkyharborError) as error:
        plane.claim(session="s1")
    assert code_of(error) == "stale-claim"


def test_the_audit_log_tells_of_every_end_that_a_lost_or_leaving_worker_brings(plane: ControlPlane) -> None:
    """It said 'orphaned' and 'release' only: a quarantined job had ended, and nobody could read that it had."""
    plane.one_item()
    lost = plane.start().fence.job_id
    for number in range(2, 5):
        plane.sql("UPDATE job SET due_at = clock_timestamp() WHERE state = 'retryable'")
        plane.admit()
        plane.claim(session=f"s{number - 1}")
        message = Hello(worker="w1", session=f"s{number}", version="1", concurrency=2, clock="2026-11-22T00:00:00Z")
        with plane.uow() as uow:
            hello(uow, message=message, chance=0.5)
    plane.backup()
    plane.admit()
    left = plane.claim(session="s4")
    assert left is not None
    with plane.uow() as uow:
        cancel_job(uow, actor="test", ref=left.fence.job_id)
    with plane.uow() as uow:
        release(uow, message=Release(fence=left.fence))
    with plane.uow() as uow:
        lines = list_audit(uow)
    told = {(line.target, line.action, line.detail.get("state")) for line in lines}
    assert (plane.job(lost).state, plane.job(left.fence.job_id).state) == (JobState.DISCARDED, JobState.CANCELLED)
    assert told >= {(lost, "job.orphaned", "discarded"), (left.fence.job_id, "job.release", "cancelled")}


def test_progress_and_cancel_travel_by_renewal(plane: ControlPlane) -> None:
    plane.one_item()
    granted = plane.start()
    beat = Heartbeat(fence=granted.fence, progress=Progress(phase="reading", files_done=7))
    with plane.uow() as uow:
        kept = renew(uow, message=Renew(worker="w1", session="s1", units=(beat,)))
    with plane.uow() as uow:
        asked = cancel_job(uow, actor="test", ref=granted.fence.job_id)
    with plane.uow() as uow:
        told = renew(uow, message=Renew(worker="w1", session="s1", units=(beat,)))
    with pytest.raises(SkyharborError) as error:
        plane.commit(granted)
    plane.complete(granted, Cancelled())
    assert [kept.units[0].verdict, told.units[0].verdict, code_of(error)] == ["keep", "cancel", "cancelled"]
    assert (asked.progress or {})["files_done"] == 7
    assert plane.job(granted.fence.job_id).state is JobState.CANCELLED


def test_a_waiting_job_is_cancelled_at_once_and_gives_its_slots_back(plane: ControlPlane) -> None:
    plane.one_item()
    job = plane.backup()
    plane.admit()
    with plane.uow() as uow:
        cancelled = cancel_job(uow, actor="test", ref=job.id)
    with plane.uow() as uow:
        again = cancel_job(uow, actor="test", ref=job.id)
    assert (cancelled.state, again, plane.claim()) == (JobState.CANCELLED, cancelled, None)
    assert set(plane.slots_in_use().values()) == {0}


def test_the_death_of_a_worker_finishes_a_cancel_unless_it_was_committing(plane: ControlPlane) -> None:
    plane.one_item()
    running = plane.start()
    with plane.uow() as uow:
        cancel_job(uow, actor="test", ref=running.fence.job_id)
    plane.expire_lease(running.fence.job_id)
    with plane.uow() as uow:
        rescue(uow, storm_age=0, chance=lambda: 0.0)
    committing = plane.start()
    plane.commit(committing)
    with plane.uow() as uow, pytest.raises(SkyharborError) as error:
        cancel_job(uow, actor="test", ref=committing.fence.job_id)
    plane.expire_lease(committing.fence.job_id)
    with plane.uow() as uow:
        rescue(uow, storm_age=0, chance=lambda: 0.0)
    assert code_of(error) == "conflict"
    assert plane.job(running.fence.job_id).state is JobState.CANCELLED
    assert plane.job(committing.fence.job_id).state is JobState.RETRYABLE


def lose(plane: ControlPlane, granted: Granted) -> None:
    plane.expire_lease(granted.fence.job_id)
    with plane.uow() as uow:
        assert rescue(uow, storm_age=0, chance=lambda: 0.0).jobs == 1


def claim_again(plane: ControlPlane) -> Granted:
    plane.sql("UPDATE job SET due_at = clock_timestamp() WHERE state = 'retryable'")
    plane.admit()
    granted = plane.claim()
    assert granted is not None
    return granted


def test_a_job_that_was_committing_once_can_be_cancelled_and_looks_for_its_point_first(plane: ControlPlane) -> None:
    plane.one_item()
    for outcome, state in ((Cancelled(), JobState.CANCELLED), (None, JobState.COMPLETED)):
        granted = plane.start()
        plane.commit(granted)
        plane.complete(granted, Failed(code="store-unreachable", message="no reply to the put"))
        with plane.uow() as uow:
            asked = cancel_job(uow, actor="test", ref=granted.fence.job_id)
        assert asked.state is JobState.RETRYABLE  # not ended: its point may be there
        assert asked.cancel_requested_at is not None
        plane.admit()  # nor does it wait for its back-off
        again = plane.claim()
        assert again is not None
        beats = (Heartbeat(fence=again.fence),)
        with plane.uow() as uow:
            assert renew(uow, message=Renew(worker="w1", session="s1", units=beats)).units[0].verdict == "cancel"
        with pytest.raises(SkyharborError) as error:
            plane.commit(again)
        assert code_of(error) == "cancelled"
        plane.complete(again, outcome)
        assert plane.job(granted.fence.job_id).state is state


def test_a_cancel_while_the_point_is_being_sealed_is_refused_and_a_later_attempt_takes_it(plane: ControlPlane) -> None:
    plane.one_item()
    granted = plane.start()
    plane.commit(granted)
    with plane.uow() as uow, pytest.raises(SkyharborError) as error:
        cancel_job(uow, actor="test", ref=granted.fence.job_id)
    lose(plane, granted)
    again = claim_again(plane)
    with plane.uow() as uow:
        cancel_job(uow, actor="test", ref=again.fence.job_id)
    lose(plane, again)
    job = plane.job(granted.fence.job_id)
    assert code_of(error) == "conflict"
    assert (job.state, job.cancel_requested_at is not None) == (JobState.RETRYABLE, True)


def test_a_point_whose_seal_was_never_answered_is_found_however_many_attempts_it_takes(plane: ControlPlane) -> None:
    plane.one_item()
    granted = plane.start()
    for _ in range(2):
        plane.complete(granted, Failed(code="store-unreachable", message="x"))
        granted = claim_again(plane)
    assert granted.attempt == 3  # the last of max_attempts
    plane.commit(granted)
    for ending in ("fail", "lose", "fail", "lose", "lose"):
        if ending == "lose":
            lose(plane, granted)
        else:
            plane.complete(granted, Failed(code="store-unreachable", message="the reply to the put was lost"))
        assert plane.job(granted.fence.job_id).state is JobState.RETRYABLE
        granted = claim_again(plane)
    plane.complete(granted)
    with plane.uow() as uow:
        assert find_point(uow, point="latest", item="i1").job_id == granted.fence.job_id


def test_finding_out_ends_some_day_and_says_that_a_point_may_exist(plane: ControlPlane) -> None:
    plane.one_item()
    granted = plane.start()
    plane.commit(granted)
    job, attempts = plane.job(granted.fence.job_id), 1
    while not job.terminal:
        plane.complete(granted, Failed(code="store-unreachable", message="x"))
        job = plane.job(granted.fence.job_id)
        if not job.terminal:
            granted, attempts = claim_again(plane), attempts + 1
    assert (job.state, attempts) == (JobState.DISCARDED, 8)
    assert job.error is not None
    assert "may have sealed its point" in job.error.message


def test_a_path_that_is_missing_costs_a_person_one_attempt(plane: ControlPlane) -> None:
    plane.one_item()
    granted = plane.start()
    plane.complete(granted, Failed(code="source-missing", message="/etc"))
    job = plane.job(granted.fence.job_id)
    assert (job.state, job.attempt) == (JobState.DISCARDED, 1)


def test_a_job_that_nobody_works_on_shows_no_progress(plane: ControlPlane) -> None:
    plane.one_item()
    granted = plane.start()
    beat = Heartbeat(fence=granted.fence, progress=Progress(phase="reading", files_done=7))
    with plane.uow() as uow:
        renew(uow, message=Renew(worker="w1", session="s1", units=(beat,)))
    assert plane.job(granted.fence.job_id).progress is not None
    plane.complete(granted, Failed(code="store-unreachable", message="x"))
    assert plane.job(granted.fence.job_id).progress is None


def test_a_worker_whose_clock_is_a_year_ahead_does_not_own_latest_for_a_year(plane: ControlPlane) -> None:
    plane.one_item()
    early = plane.start()
    done = sealed(early)
    ahead = msgspec.structs.replace(done.point, sealed_at="2099-01-01T00:00:00Z")
    plane.complete(early, msgspec.structs.replace(done, point=ahead))
    newer = plane.run()
    with plane.uow() as uow:
        listed = list_points(uow, request=PageRequest(limit=1))
        rest = list_points(uow, request=PageRequest(limit=1, cursor=listed.next))
        assert find_point(uow, point="latest", item="i1").job_id == newer.id
        assert (listed.items[0].job_id, rest.items[0].job_id) == (newer.id, early.fence.job_id)
        last = get_item(uow, ref="i1").last_point
    following = plane.start().instruction
    assert isinstance(following, BackupInstruction)
    assert (following.reference, last.id if last else None) == (newer.point, newer.point)


def test_the_numbers_that_need_no_token_name_no_item(plane: ControlPlane) -> None:
    item = plane.one_item("payroll")
    plane.run("payroll")
    with plane.uow() as uow:
        assert set(metrics_numbers(uow).last_point_at) == {item.id}


def test_a_vault_whose_row_was_lost_to_a_crash_is_taken_by_the_same_request_again(plane: ControlPlane) -> None:
    header = plane.vaults.create("memory://v1", name="v1")  # and killed before the row
    with plane.uow() as uow, pytest.raises(SkyharborError) as other:
        create_vault(uow, vaults=plane.vaults, actor="test", name="another", url="memory://v1")
    vault = plane.vault()
    with plane.uow() as uow:
        actions = [line.action for line in list_audit(uow)]
    with pytest.raises(SkyharborError) as repeated:
        plane.vault()
    assert (vault.id, actions) == (header.id, ["vault.adopt"])
    assert (code_of(other), code_of(repeated)) == ("vault-exists", "already-exists")


def test_a_released_unit_burns_no_attempt(plane: ControlPlane) -> None:
    plane.one_item()
    granted = plane.start()
    with plane.uow() as uow:
        release(uow, message=Release(fence=granted.fence))
    plane.admit()
    again = plane.claim()
    assert again is not None
    assert (again.attempt, again.fence.job_id) == (1, granted.fence.job_id)


def test_an_idempotency_key_makes_one_job(plane: ControlPlane) -> None:
    plane.one_item()
    with plane.uow() as uow:
        first = request_backup(uow, actor="test", item="i1", key="k")
    with plane.uow() as uow:
        second = request_backup(uow, actor="test", item="i1", key="k")
    with plane.uow() as uow, pytest.raises(SkyharborError) as error:
        request_backup(uow, actor="test", item="i1", type=BackupType.FULL, key="k")
    plane.sql("UPDATE idempotency_key SET created_at = clock_timestamp() - interval '8 days'")
    with plane.uow() as uow:
        later = request_backup(uow, actor="test", item="i1", key="k")
    assert (second.replayed, second.job.id, code_of(error)) == (True, first.job.id, "idempotency-mismatch")
    assert (later.replayed, later.job.id == first.job.id) == (False, False)


def test_restore_and_verify_carry_what_was_asked(plane: ControlPlane) -> None:
    plane.one_item()
    backup = plane.run()
    with plane.uow() as uow:
        request_restore(uow, actor="test", point="latest", item="i1", target="/tmp/x/", paths=["/etc/hosts"])
    plane.admit()
    restore = plane.claim()
    assert restore is not None
    assert isinstance(restore.instruction, RestoreInstruction)
    assert (restore.instruction.point.point_id, restore.instruction.target) == (backup.point, "/tmp/x")
    assert restore.instruction.point.machine.key_slots[0]["kind"] == "passphrase"
    with plane.uow() as uow:
        request_verify(uow, actor="test", point=str(backup.point), full=True)
    plane.admit()
    verify = plane.claim()
    assert verify is not None
    plane.complete(verify, VerifyDone(stats=VerifyStats(problems=1), full=True, warnings=(Notice("a", "b", "c"),)))
    with plane.uow() as uow:
        assert find_point(uow, point=str(backup.point)).state == "damaged"


def test_latest_is_the_newest_point_though_it_is_damaged_and_an_older_one_never_takes_its_place_unsaid(
    plane: ControlPlane,
) -> None:
    plane.one_item()
    older, newest = plane.run(), plane.run()
    with plane.uow() as uow:
        uow.points.damaged(str(newest.point))
        uow.commit()
    with plane.uow() as uow:
        assert find_point(uow, point="latest", item="i1").id == newest.point
    with plane.uow() as uow:
        uow.points.damaged(str(older.point))
        uow.commit()
    granted = plane.start()
    with plane.uow() as uow:
        assert find_point(uow, point="latest", item="i1").id == newest.point  # it was: "has no recovery point yet"
    assert isinstance(granted.instruction, BackupInstruction)
    assert granted.instruction.reference is None, "a backup compares with sound points only"


def test_retry_makes_a_new_job_of_an_ended_one_only(plane: ControlPlane) -> None:
    plane.one_item()
    granted = plane.start(type=BackupType.FULL)
    with plane.uow() as uow, pytest.raises(SkyharborError) as error:
        retry_job(uow, actor="test", ref=granted.fence.job_id)
    plane.complete(granted, Failed(code="store-full", message="full"))
    with plane.uow() as uow:
        retried = retry_job(uow, actor="test", ref=granted.fence.job_id).job
    assert (code_of(error), retried.retry_of, retried.requested_type) == (
        "conflict", granted.fence.job_id, BackupType.FULL,
    )  # fmt: skip


@pytest.mark.parametrize(
    "statement",
    [
        "UPDATE job SET state = 'available', finished_at = NULL",
        "UPDATE job SET wait_reason = 'x'",
        "DELETE FROM job",
        "UPDATE audit SET actor = 'x'",
        "UPDATE audit_unsealed SET actor = 'x'",
        "TRUNCATE audit_unsealed",
        "DELETE FROM audit",
        "TRUNCATE audit",
        "UPDATE slot_scope SET in_use = capacity + 1",
        "UPDATE slot_scope SET in_use = -1",
    ],
)
def test_the_database_itself_refuses(plane: ControlPlane, statement: str) -> None:
    plane.one_item()
    plane.run()
    with plane.uow() as uow:
        list_audit(uow)
    plane.run()  # some lines are sealed, some are not
    with pytest.raises(IntegrityError):
        plane.sql(statement)


def test_the_audit_chain_is_whole_and_shows_tampering(plane: ControlPlane) -> None:
    plane.one_item()
    plane.run()
    with plane.uow() as uow:
        assert check_audit(uow) is None
        assert list_audit(uow)[-1].action == "job.end"
    plane.sql("ALTER TABLE audit DISABLE TRIGGER insert_only")
    plane.sql("UPDATE audit SET detail = '{}' WHERE seq = 3")
    with plane.uow() as uow:
        assert check_audit(uow) == 3


def test_pages_of_jobs_go_on_where_they_ended(plane: ControlPlane) -> None:
    plane.one_item()
    made = [plane.backup().id for _ in range(5)]
    with plane.uow() as uow:
        first = list_jobs(uow, request=PageRequest(limit=3))
        second = list_jobs(uow, request=PageRequest(limit=3, cursor=first.next))
    assert [job.id for job in (*first.items, *second.items)] == sorted(made, reverse=True)
    assert second.next is None
