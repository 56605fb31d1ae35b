"""What is counted once and not again: vaults' points, and jobs that have ended."""

from __future__ import annotations

from collections.abc import Iterator

import pytest

from orchestrator.use_cases.sweep import sweep
from tests.support.collecting import collector
from tests.support.control import ControlPlane
from tests.support.postgres import database_url, postgres_server  # noqa: F401


@pytest.fixture
def plane(database_url: str) -> Iterator[ControlPlane]:  # noqa: F811
    control = ControlPlane(database_url)
    yield control
    control.close()


def held(plane: ControlPlane) -> tuple[int, int]:
    with plane.uow() as uow:
        vault = uow.vaults.get("v1")
    return vault.points, vault.bytes_stored


def test_a_vault_knows_what_it_holds_as_points_come_and_go(plane: ControlPlane) -> None:
    plane.one_item()
    seen = [held(plane)]
    points = [plane.run().point for _ in range(2)]
    seen.append(held(plane))
    with plane.uow() as uow:
        uow.points.damaged(str(points[0]))
        uow.commit()
    seen.append(held(plane))
    plane.sql(
        "UPDATE recovery_point SET state = 'expired', expiring_at = now(), expiring_generation = 1, expiry_reason = '',"
        " doomed_at = now(), expired_at = now() WHERE id = :id",
        id=points[0],
    )
    seen.append(held(plane))
    collector(plane).end(bytes_needed=100, bytes_waiting=20)
    seen.append(held(plane))
    plane.run()
    seen.append(held(plane))
    collector(plane).end(bytes_needed=7, bytes_deleted=30, machines_skipped=1)
    seen.append(held(plane))
    # What an expired point alone needed is stored until a collection has deleted it.
    assert seen == [(0, 0), (2, 180), (2, 180), (1, 180), (1, 120), (2, 210), (2, 180)]


def test_jobs_that_have_ended_are_counted_once_and_never_twice_or_not_at_all(plane: ControlPlane) -> None:
    plane.one_item()
    for _ in range(3):
        plane.run()
    plane.backup()
    plane.sql("ALTER TABLE job DISABLE TRIGGER guard_job")
    plane.sql(
        "UPDATE job SET finished_at = finished_at - interval '2 hours'"
        " WHERE id IN (SELECT id FROM job WHERE state = 'completed' LIMIT 2)"
    )
    seen = []
    for _ in range(3):
        with plane.uow() as uow:
            counted = uow.count_by_state()
            sweep(uow)
        seen.append((counted["completed"], counted["available"], counted["cancelled"]))
    tallied = plane.sql("SELECT n FROM job_tally WHERE state = 'completed'")
    assert (seen, tallied) == ([(3, 1, 0)] * 3, [(2,)])
