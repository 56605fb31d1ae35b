"""Admission on a real PostgreSQL: never too many, never blocked by a wall, restores first, every wait explained."""

from __future__ import annotations

import threading
from collections.abc import Iterator

import pytest

from orchestrator.domain.jobs import Accepted
from orchestrator.use_cases.admit import admit, explain_waits
from orchestrator.use_cases.audit_log import check_audit
from orchestrator.use_cases.request_backup import request_backup
from orchestrator.use_cases.request_restore import request_restore
from orchestrator.use_cases.sweep import ring_again, sweep
from tests.support.control import ControlPlane
from tests.support.postgres import database_url, postgres_server  # noqa: F401


@pytest.fixture
def plane(database_url: str) -> Iterator[ControlPlane]:  # noqa: F811
    control = ControlPlane(database_url)
    yield control
    control.close()


def fleet(plane: ControlPlane, machines: int, items: int) -> None:
    plane.vault()
    for machine in range(machines):
        plane.machine(f"m{machine}")
        for item in range(items):
            plane.item(f"i{machine}-{item}", machine=f"m{machine}")


def test_four_threads_admitting_claiming_and_completing_never_oversubscribe(plane: ControlPlane) -> None:
    fleet(plane, 6, 4)
    names = [f"i{machine}-{item}" for machine in range(6) for item in range(4)]
    for name in names * 2:
        plane.backup(name)
    stop, most, failures = threading.Event(), [0], []

    def fly(number: int) -> None:
        try:
            while not stop.is_set():
                plane.admit()
                granted = plane.claim(worker=f"w{number}", session=f"s{number}")
                if granted is not None:
                    plane.complete(granted)
        except BaseException as error:
            failures.append(error)
            stop.set()

    def watch() -> None:
        while not stop.is_set():
            rows = plane.sql("SELECT count(*) FILTER (WHERE scope = 'machine'), count(DISTINCT key) FROM slot_hold")
            most[0] = max(most[0], int(str(rows[0][0])))
            left = plane.sql("SELECT count(*) FROM job WHERE finished_at IS NULL")
            if left == [(0,)]:
                stop.set()

    threads = [threading.Thread(target=fly, args=(number,)) for number in range(4)] + [threading.Thread(target=watch)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(120)
    assert failures == []
    assert plane.sql("SELECT state, count(*) FROM job GROUP BY state") == [("completed", 2 * len(names))]
    assert set(plane.slots_in_use().values()) == {0}
    assert 0 < most[0] <= 7
    with plane.uow() as uow:
        assert check_audit(uow) is None


def test_a_wall_of_blocked_jobs_hides_no_startable_one(plane: ControlPlane) -> None:
    fleet(plane, 2, 1)
    plane.sql("UPDATE slot_scope SET paused = true WHERE key = (SELECT id FROM machine WHERE name = 'm0')")
    first = plane.backup("i0-0")
    plane.sql(
        "INSERT INTO job (id, kind, state, trigger, rank, aged_rank, item_id, machine_id, vault_id, point_id, due_at,"
        " latest_start, requested_by) SELECT 'wall-' || n, 'backup', 'available', 'demand', 1, 1, item_id, machine_id,"
        " vault_id, 'p-' || n, due_at, due_at, 't' FROM job CROSS JOIN generate_series(1, 2000) n WHERE id = :id",
        id=first.id,
    )
    plane.sql("INSERT INTO unit (job_id, no) SELECT id, 0 FROM job WHERE id LIKE 'wall-%'")
    startable = plane.backup("i1-0")
    assert plane.admit() == 1
    with plane.uow() as uow:
        explain_waits(uow)
    assert plane.job(startable.id).wait_reason == "worker"
    assert plane.job(first.id).wait_reason == "paused"


def test_each_full_scope_is_named_as_the_reason(plane: ControlPlane) -> None:
    fleet(plane, 3, 3)
    jobs = {name: plane.backup(name) for name in ("i0-0", "i0-1", "i0-2")}
    plane.admit()
    plane.slots("vault/v1", 3, floor=1)
    vault_blocked = plane.backup("i1-0")
    with plane.uow() as uow:
        explain_waits(uow)
    machine_reason = plane.job(jobs["i0-2"].id).wait_reason
    vault_reason = plane.job(vault_blocked.id).wait_reason
    plane.slots("global", 4, floor=2)
    with plane.uow() as uow:
        explain_waits(uow)
    global_reason = plane.job(vault_blocked.id).wait_reason
    assert (machine_reason, vault_reason, global_reason) == ("slot:machine", "slot:vault", "slot:global")


def test_restores_have_a_floor_that_backups_never_take(plane: ControlPlane) -> None:
    fleet(plane, 12, 1)
    backup = plane.run("i0-0")
    for machine in range(1, 12):
        plane.backup(f"i{machine}-0")
    plane.admit()
    with plane.uow() as uow:
        restore = request_restore(uow, actor="test", point=str(backup.point), target="/tmp/x").job
    assert plane.admit() == 1
    assert plane.job(restore.id).wait_reason == "worker"


def test_a_restore_is_admitted_before_backups_that_came_first(plane: ControlPlane) -> None:
    plane.one_item()
    plane.item("i2")
    backup = plane.run()
    plane.sql("UPDATE slot_scope SET capacity = 1, wanted = 1 WHERE scope = 'machine'")
    waiting = plane.backup("i2")
    with plane.uow() as uow:
        restore = request_restore(uow, actor="test", point=str(backup.point), target="/tmp/x").job
    plane.admit()
    assert (plane.job(restore.id).wait_reason, plane.job(waiting.id).admitted_at) == ("worker", None)
    assert plane.seen(waiting.id).queue_position == 1


def test_two_requests_with_one_key_at_the_same_time_make_one_job(plane: ControlPlane) -> None:
    plane.one_item()
    answers: list[Accepted] = []
    barrier = threading.Barrier(4)

    def ask() -> None:
        barrier.wait()
        with plane.uow() as uow:
            answers.append(request_backup(uow, actor="test", item="i1", key="same"))

    threads = [threading.Thread(target=ask) for _ in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(30)
    assert len({answer.job.id for answer in answers}) == 1
    assert sorted(answer.replayed for answer in answers) == [False, True, True, True]


def test_only_one_transaction_admits_at_a_time(plane: ControlPlane) -> None:
    plane.one_item()
    plane.backup()
    with plane.uow() as first:
        assert first.admission.enter()
        with plane.uow() as second:
            assert admit(second) == 0
    assert plane.admit() == 1


def test_an_unanswered_doorbell_is_rung_again_but_never_piles_up(plane: ControlPlane) -> None:
    plane.one_item()
    plane.backup()
    plane.admit()

    def again() -> int:
        plane.sql("UPDATE job SET rung_at = clock_timestamp() - interval '21 seconds'")
        with plane.uow() as uow:
            return ring_again(uow)

    unpublished = again()
    plane.sql("UPDATE outbox SET published_at = clock_timestamp()")
    silent = again()
    with plane.uow() as uow:
        fresh = ring_again(uow)
    plane.claim()
    plane.sql("UPDATE outbox SET published_at = clock_timestamp() - interval '8 days'")
    with plane.uow() as uow:
        swept = sweep(uow)
    assert (unpublished, silent, fresh, swept) == (0, 1, 0, 2)
