"""Who waits for whom: telling an audit line and giving slots back wait for nobody, and nothing is lost by it."""

from __future__ import annotations

import threading
import time
from collections.abc import Iterator

import pytest
from sqlalchemy import text

from orchestrator.domain.inventory import AuditLine
from orchestrator.domain.job_states import JobState
from orchestrator.use_cases.audit_log import check_audit, count_unsealed, list_audit, seal_audit
from orchestrator.use_cases.slots import get_slots, remove_slots
from shared.contracts.work import Hello
from shared.errors import SkyharborError
from tests.support.control import ControlPlane
from tests.support.postgres import database_url, postgres_server  # noqa: F401

_TELL = "INSERT INTO audit_unsealed (actor, action, target, detail) VALUES ('test', :action, '', '{}')"


@pytest.fixture
def plane(database_url: str) -> Iterator[ControlPlane]:  # noqa: F811
    plane = ControlPlane(database_url)
    yield plane
    plane.close()


def until_somebody_waits(plane: ControlPlane) -> None:
    """Return once a transaction of this database waits for a lock."""
    waiting = "SELECT 1 FROM pg_stat_activity WHERE wait_event_type = 'Lock' AND datname = current_database()"
    deadline = time.monotonic() + 30
    while not plane.sql(waiting):
        assert time.monotonic() < deadline


def hello(session: str) -> Hello:
    return Hello(worker="w", session=session, version="0", concurrency=1, clock="2026-01-01T00:00:00Z")


def actions(plane: ControlPlane) -> list[str]:
    """What the chain tells, in order; sealed by reading."""
    with plane.uow() as uow:
        assert check_audit(uow) is None
        return [line.action for line in list_audit(uow, limit=500)]


def test_whoever_tells_a_line_waits_for_nobody_who_has_not_committed_his(plane: ControlPlane) -> None:
    with plane.engine.connect() as slow:
        slow.execute(text(_TELL), {"action": "slow"})
        plane.vault()
        assert actions(plane) == ["vault.create"]
        slow.commit()
    assert actions(plane) == ["vault.create", "slow"]


def test_lines_that_are_told_together_are_of_one_moment_and_keep_their_order(plane: ControlPlane) -> None:
    lines = [AuditLine("test", "told", str(number), {"number": number}) for number in range(300)]
    with plane.uow() as uow:
        uow.audit.append_all(lines)
        uow.audit.append_all([])
        uow.commit()
    with plane.uow() as uow:
        assert check_audit(uow) is None
        told = list_audit(uow, limit=500)
    assert [AuditLine(line.actor, line.action, line.target, line.detail) for line in told] == lines
    assert len({line.at for line in told}) == 1


def test_a_line_whose_transaction_is_undone_is_told_by_nobody(plane: ControlPlane) -> None:
    with plane.engine.connect() as undone:
        undone.execute(text(_TELL), {"action": "undone"})
    plane.vault()
    assert actions(plane) == ["vault.create"]


def test_a_sealer_that_dies_before_its_commit_has_moved_nothing(plane: ControlPlane) -> None:
    plane.vault()
    with plane.uow() as dying:
        assert dying.audit.seal(limit=10) == 1
    with plane.uow() as uow:
        assert (count_unsealed(uow), uow.audit.after(0, limit=10)) == (1, [])
    assert actions(plane) == ["vault.create"]


def test_sealers_at_once_make_one_chain_without_forks_or_holes(plane: ControlPlane) -> None:
    for number in range(300):
        plane.sql(_TELL, action=str(number))
    failures: list[BaseException] = []

    def seal() -> None:
        try:
            with plane.uow() as uow:
                while uow.audit.seal(limit=7):
                    uow.commit()
        except BaseException as error:
            failures.append(error)

    threads = [threading.Thread(target=seal) for _ in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(60)
    assert failures == []
    assert actions(plane) == [str(number) for number in range(300)]


def test_a_sealer_waits_for_another_ones_commit_and_goes_on_where_that_one_ended(plane: ControlPlane) -> None:
    for number in range(10):
        plane.sql(_TELL, action=str(number))
    sealed: list[int] = []

    def seal() -> None:
        with plane.uow() as uow:
            sealed.append(uow.audit.seal(limit=5))
            uow.commit()

    with plane.uow() as first:
        assert first.audit.seal(limit=5) == 5
        second = threading.Thread(target=seal)
        second.start()
        until_somebody_waits(plane)
        first.commit()
    second.join(30)
    assert sealed == [5]
    assert actions(plane) == [str(number) for number in range(10)]


def test_a_claim_waits_for_a_hello_that_takes_its_name_and_gets_nothing(plane: ControlPlane) -> None:
    plane.one_item()
    job = plane.backup()
    plane.admit()
    with plane.uow() as uow:
        uow.workers.introduce(hello("old"))
        uow.commit()
    refused: list[str] = []

    def claim() -> None:
        try:
            plane.claim(worker="w", session="old")
        except SkyharborError as error:
            refused.append(error.code)

    with plane.uow() as uow:
        uow.workers.introduce(hello("new"))
        late = threading.Thread(target=claim)
        late.start()
        until_somebody_waits(plane)
        uow.commit()
    late.join(30)
    assert (refused, plane.job(job.id).state) == (["stale-claim"], JobState.AVAILABLE)


def test_sealing_goes_on_from_batch_to_batch(plane: ControlPlane) -> None:
    plane.sql(
        "INSERT INTO audit_unsealed (actor, action, target, detail)"
        " SELECT 'test', n::text, '', '{\"x\": 1.5}' FROM generate_series(1, 1001) n"
    )
    with plane.uow() as uow:
        assert [seal_audit(uow), seal_audit(uow), seal_audit(uow)] == [1000, 1, 0]
        assert check_audit(uow) is None


def test_an_attempt_ends_while_somebody_holds_the_slots_it_gives_back(plane: ControlPlane) -> None:
    plane.one_item()
    granted = plane.start()
    with plane.engine.connect() as holder:
        holder.execute(text("SELECT 1 FROM slot_scope FOR UPDATE"))
        plane.complete(granted)
        assert plane.job(granted.fence.job_id).state is JobState.COMPLETED
        assert set(plane.slots_in_use().values()) == {0}


def test_slots_that_came_back_are_counted_once_and_given_out_again(plane: ControlPlane) -> None:
    plane.one_item()
    plane.slots("global", 1)
    for _ in range(2):
        granted = plane.start()
        plane.complete(granted)
        with plane.uow() as uow:
            assert get_slots(uow, ref="global").in_use == 0
    assert plane.admit() == 0
    assert plane.sql("SELECT count(*) FROM slot_return") == [(0,)]
    assert plane.sql("SELECT max(in_use) FROM slot_scope") == [(0,)]


def test_a_limit_is_lifted_as_soon_as_its_last_job_has_ended(plane: ControlPlane) -> None:
    plane.one_item()
    plane.slots("class/backup", 1)
    granted = plane.start()
    with plane.uow() as uow, pytest.raises(SkyharborError, match="jobs are running"):
        remove_slots(uow, actor="test", ref="class/backup")
    plane.complete(granted)
    with plane.uow() as uow:
        remove_slots(uow, actor="test", ref="class/backup")
        with pytest.raises(SkyharborError, match="nothing limits"):
            get_slots(uow, ref="class/backup")
