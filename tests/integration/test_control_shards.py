"""Shards on a real PostgreSQL: one attempt in several hands, and every way to lose one of them."""

from __future__ import annotations

from collections.abc import Iterator

import pytest

from orchestrator.use_cases.audit_log import list_audit
from orchestrator.use_cases.hello import hello
from orchestrator.use_cases.jobs import cancel_job
from orchestrator.use_cases.relay import relay
from orchestrator.use_cases.release import release
from orchestrator.use_cases.renew import renew
from orchestrator.use_cases.rescue import Rescued, rescue
from shared.contracts.work import (
    Attempt,
    BackupInstruction,
    Cancelled,
    Doorbell,
    Failed,
    Granted,
    Heartbeat,
    Hello,
    Outcome,
    Progress,
    Release,
    Renew,
    ShardDone,
    ShardInstruction,
)
from shared.errors import SkyharborError
from tests.support.control import ControlPlane, RecordingBell, sealed
from tests.support.postgres import database_url, postgres_server  # noqa: F401


@pytest.fixture
def plane(database_url: str) -> Iterator[ControlPlane]:  # noqa: F811
    control = ControlPlane(database_url)
    control.one_item()
    yield control
    control.close()


@pytest.fixture
def lead(plane: ControlPlane) -> Granted:
    """A running backup of worker w1, with two shards on offer."""
    granted = plane.start()
    plane.offer(granted, b"first", b"second")
    return granted


def help_out(plane: ControlPlane, *, worker: str = "w2", session: str = "s2") -> Granted:
    granted = plane.claim(worker=worker, session=session)
    assert granted is not None
    return granted


def rescued(plane: ControlPlane) -> Rescued:
    with plane.uow() as uow:
        return rescue(uow, storm_age=0, chance=lambda: 0.0)


def verdicts(
    plane: ControlPlane, *granted: Granted, worker: str = "w2", session: str = "s2", files: int = 0
) -> list[str]:
    progress = Progress(files_done=files, files_total=90, bytes_done=10 * files)
    beats = tuple(Heartbeat(fence=one.fence, progress=progress) for one in granted)
    with plane.uow() as uow:
        return [v.verdict for v in renew(uow, message=Renew(worker=worker, session=session, units=beats)).units]


def refusal(plane: ControlPlane, granted: Granted, outcome: Outcome) -> str:
    with pytest.raises(SkyharborError) as error:
        plane.complete(granted, outcome)
    return error.value.code


def test_offered_shards_are_rung_for_and_claimed_by_others(plane: ControlPlane, lead: Granted) -> None:
    bell = RecordingBell()
    relay(plane.uow, bell=bell)
    job, epoch = lead.fence.job_id, lead.fence.epoch
    assert bell.rings[-2:] == [Doorbell(job_id=job, epoch=epoch, unit=1), Doorbell(job_id=job, epoch=epoch, unit=2)]
    granted = plane.claim(bell.rings[-1], worker="w2", session="s2")
    assert granted is not None
    instruction = granted.instruction
    assert isinstance(instruction, ShardInstruction)
    assert (granted.fence.unit, granted.fence.epoch, instruction.payload) == (2, epoch, b"second")
    assert instruction.backup == lead.instruction
    assert plane.claim(bell.rings[-1], worker="w3", session="s3") is None


def test_an_offer_repeated_after_a_lost_reply_adds_nothing(plane: ControlPlane, lead: Granted) -> None:
    before = plane.sql("SELECT count(*) FROM outbox")
    plane.offer(lead, b"first", b"second")
    assert plane.sql("SELECT count(*) FROM outbox") == before
    assert plane.shards(lead).total == 2


def test_results_come_back_to_the_lead_in_order_and_once(plane: ControlPlane, lead: Granted) -> None:
    one, two = help_out(plane), help_out(plane, worker="w3", session="s3")
    plane.complete(two, ShardDone(result=b"of two"))
    plane.complete(two, ShardDone(result=b"of two"))  # the reply was lost
    plane.complete(one, ShardDone(result=b"of one"))
    told = plane.shards(lead)
    assert [(r.unit, r.result) for r in told.results] == [(1, b"of one"), (2, b"of two")]
    assert (told.total, told.done, told.free, told.lost) == (2, 2, 0, ())
    assert [r.unit for r in plane.shards(lead, have=[1]).results] == [2]
    plane.complete(lead)
    assert plane.job(lead.fence.job_id).state == "completed"


def test_one_answer_holds_so_many_bytes_of_results_and_at_least_one(plane: ControlPlane, lead: Granted) -> None:
    for size in (9, 11):
        plane.complete(help_out(plane), ShardDone(result=bytes(size * 1024 * 1024)))
    assert [r.unit for r in plane.shards(lead).results] == [1]
    assert [r.unit for r in plane.shards(lead, have=[1]).results] == [2]


def test_the_lead_takes_what_nobody_has(plane: ControlPlane, lead: Granted) -> None:
    help_out(plane)
    assert plane.shards(lead).free == 1
    own = plane.claim_own(lead)
    assert own is not None
    assert own.fence.unit == 2
    assert plane.claim_own(lead) is None
    assert verdicts(plane, lead, own, worker="w1", session="s1") == ["keep", "keep"]


def test_a_job_is_handed_out_before_a_shard(plane: ControlPlane, lead: Granted) -> None:
    plane.item("i2")
    plane.backup("i2")
    plane.admit()
    first, second = help_out(plane), help_out(plane)
    assert isinstance(first.instruction, BackupInstruction)
    assert isinstance(second.instruction, ShardInstruction)


def test_who_asks_for_whole_jobs_gets_no_shard(plane: ControlPlane, lead: Granted) -> None:
    assert plane.claim(worker="w2", session="s2", shards=False) is None
    assert plane.shards(lead).free == 2


def test_the_lead_hears_how_many_others_live(plane: ControlPlane) -> None:
    for worker in ("w1", "w2", "w3"):
        plane.claim(worker=worker, session=f"s-{worker}")
    plane.sql("UPDATE worker SET last_seen_at = clock_timestamp() - interval '2 minutes' WHERE name = 'w3'")
    plane.backup()
    plane.admit()
    granted = plane.claim(session="s-w1")
    assert granted is not None
    assert granted.helpers == 1


def test_a_shard_never_ends_or_seals_its_job(plane: ControlPlane, lead: Granted) -> None:
    shard = help_out(plane)
    before = plane.job(lead.fence.job_id)
    assert refusal(plane, shard, sealed(lead)) == "bad-request"
    with pytest.raises(SkyharborError) as error:
        plane.commit(shard)
    assert error.value.code == "stale-claim"
    with pytest.raises(SkyharborError):
        plane.offer(shard, b"more")
    plane.complete(shard, Failed(code="key-missing", message="not here"))
    assert plane.job(lead.fence.job_id) == before


def test_the_lead_of_a_backup_cannot_end_like_a_shard(plane: ControlPlane, lead: Granted) -> None:
    assert refusal(plane, lead, ShardDone(result=b"")) == "bad-request"


def test_a_shard_that_failed_elsewhere_waits_for_its_lead(plane: ControlPlane, lead: Granted) -> None:
    shard = help_out(plane)
    plane.complete(shard, Failed(code="key-missing", message="not here"))
    plane.complete(shard, Failed(code="key-missing", message="not here"))  # the reply was lost
    assert help_out(plane).fence.unit == 2
    assert plane.claim(worker="w3", session="s3") is None
    own = plane.claim_own(lead)
    assert own is not None
    assert own.fence.unit == 1
    plane.complete(own, ShardDone(result=b"of one"))
    assert plane.shards(lead).done == 1


def test_a_shard_given_back_goes_to_the_next_worker(plane: ControlPlane, lead: Granted) -> None:
    shard = help_out(plane)
    with plane.uow() as uow:
        release(uow, message=Release(fence=shard.fence))
    again = help_out(plane, worker="w3", session="s3")
    assert again.fence.unit == shard.fence.unit
    assert refusal(plane, shard, ShardDone(result=b"late")) == "stale-claim"
    assert (plane.job(lead.fence.job_id).state, plane.job(lead.fence.job_id).attempt) == ("running", 1)


def test_who_cannot_help_with_an_attempt_gets_none_of_its_shards_and_others_do(
    plane: ControlPlane, lead: Granted
) -> None:
    bell = RecordingBell()
    relay(plane.uow, bell=bell)
    mine = Attempt(lead.fence.job_id, lead.fence.epoch)
    for doorbell in (None, bell.rings[-1]):
        assert plane.claim(doorbell, worker="w2", session="s2", besides=(mine,)) is None
    others = (Attempt(lead.fence.job_id, lead.fence.epoch + 1), Attempt("another job", lead.fence.epoch))
    granted = plane.claim(worker="w2", session="s2", besides=others)
    assert granted is not None
    assert granted.fence.unit == 1
    assert help_out(plane, worker="w3", session="s3").fence.unit == 2


def test_a_lost_wingman_costs_its_shard_a_new_worker_and_the_job_nothing(plane: ControlPlane, lead: Granted) -> None:
    shard = help_out(plane)
    before = plane.job(lead.fence.job_id)
    plane.expire_lease(lead.fence.job_id, unit=1)
    assert rescued(plane) == Rescued(0, shards=1)
    assert plane.job(lead.fence.job_id) == before
    assert verdicts(plane, shard) == ["lost"]
    bell = RecordingBell()
    relay(plane.uow, bell=bell)
    assert bell.rings[-1].unit == 1
    again = plane.claim(bell.rings[-1], worker="w3", session="s3")
    assert again is not None
    assert refusal(plane, shard, ShardDone(result=b"of the dead")) == "stale-claim"


def test_a_shard_that_loses_three_workers_is_told_to_the_lead_and_to_nobody_else(
    plane: ControlPlane, lead: Granted
) -> None:
    for number in range(3):
        assert help_out(plane, worker=f"w{number + 2}", session=f"s{number + 2}").fence.unit == 1
        plane.expire_lease(lead.fence.job_id, unit=1)
        rescued(plane)
    assert plane.shards(lead).lost == (1,)
    assert help_out(plane).fence.unit == 2
    assert plane.claim_own(lead) is None


def test_a_restarted_wingman_gives_its_shards_up_at_once(plane: ControlPlane, lead: Granted) -> None:
    shard = help_out(plane)
    message = Hello(worker="w2", session="s2b", version="1", concurrency=1, clock="2026-01-01T00:00:00Z")
    with plane.uow() as uow:
        assert hello(uow, message=message, chance=0.5).released == 1
    assert plane.shards(lead).free == 2
    assert refusal(plane, shard, ShardDone(result=b"late")) == "stale-claim"


def test_shards_end_with_the_attempt_of_their_lead(plane: ControlPlane, lead: Granted) -> None:
    shard = help_out(plane)
    plane.expire_lease(lead.fence.job_id)
    assert rescued(plane) == Rescued(1)
    assert verdicts(plane, shard) == ["lost"]
    assert refusal(plane, shard, ShardDone(result=b"late")) == "stale-claim"
    bell = Doorbell(job_id=lead.fence.job_id, epoch=lead.fence.epoch, unit=2)
    assert plane.claim(bell, worker="w2", session="s2") is None
    with pytest.raises(SkyharborError) as error:
        plane.shards(lead)
    assert error.value.code == "stale-claim"
    assert plane.sql("SELECT no FROM unit") == [(0,)]


def test_a_new_attempt_shares_anew(plane: ControlPlane, lead: Granted) -> None:
    old = help_out(plane)
    plane.expire_lease(lead.fence.job_id)
    rescued(plane)
    plane.sql("UPDATE job SET due_at = clock_timestamp()")
    plane.admit()
    new_lead = plane.claim(worker="w2", session="s2")
    assert new_lead is not None
    plane.offer(new_lead, b"other")
    shard = help_out(plane, worker="w3", session="s3")
    assert refusal(plane, old, ShardDone(result=b"late")) == "stale-claim"
    assert verdicts(plane, old) == ["lost"]
    assert verdicts(plane, shard, worker="w3", session="s3") == ["keep"]
    assert plane.shards(new_lead).total == 1


def test_a_cancel_reaches_every_unit(plane: ControlPlane, lead: Granted) -> None:
    shard = help_out(plane)
    with plane.uow() as uow:
        cancel_job(uow, actor="test", ref=lead.fence.job_id)
    assert verdicts(plane, lead, worker="w1", session="s1") == ["cancel"]
    assert verdicts(plane, shard) == ["cancel"]
    assert plane.claim(worker="w3", session="s3") is None
    plane.complete(shard, Cancelled())
    assert plane.claim(worker="w3", session="s3") is None
    plane.complete(lead, Cancelled())
    assert plane.job(lead.fence.job_id).state == "cancelled"
    assert set(plane.slots_in_use().values()) == {0}


def test_a_job_in_shards_holds_its_slots_once(plane: ControlPlane, lead: Granted) -> None:
    before = plane.slots_in_use()
    help_out(plane)
    help_out(plane)
    assert plane.slots_in_use() == before
    assert max(int(str(used)) for used in before.values()) == 1


def test_the_progress_of_a_job_is_that_of_all_its_units(plane: ControlPlane, lead: Granted) -> None:
    one, two = help_out(plane), help_out(plane)
    verdicts(plane, lead, worker="w1", session="s1", files=30)
    verdicts(plane, one, files=7)
    verdicts(plane, two, files=5)
    plane.complete(one, ShardDone(result=b"of one"))
    progress = plane.job(lead.fence.job_id).progress
    assert progress is not None
    assert (progress["files_done"], progress["files_total"], progress["bytes_done"]) == (42, 90, 420)


def test_nothing_is_offered_any_more_once_the_job_is_committing(plane: ControlPlane, lead: Granted) -> None:
    plane.commit(lead)
    with pytest.raises(SkyharborError) as late:
        plane.offer(lead, b"late")
    assert late.value.code == "conflict"


def test_the_audit_log_tells_who_flew_what(plane: ControlPlane, lead: Granted) -> None:
    plane.complete(help_out(plane), ShardDone(result=b"of one"))
    with plane.uow() as uow:
        rows = [(row.actor, row.action) for row in list_audit(uow)]
    assert rows[-3:] == [("worker:w1", "job.offer"), ("worker:w2", "shard.claim"), ("worker:w2", "shard.end")]
