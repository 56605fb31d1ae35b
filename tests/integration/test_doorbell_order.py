"""Doorbells on a real PostgreSQL: who was chosen first is rung for first, so few workers fly what is most urgent."""

from __future__ import annotations

from collections.abc import Iterator

import pytest

from orchestrator.use_cases.relay import relay
from tests.support.control import ControlPlane, RecordingBell
from tests.support.postgres import database_url, postgres_server  # noqa: F401

JOBS = 12


@pytest.fixture
def plane(database_url: str) -> Iterator[ControlPlane]:  # noqa: F811
    control = ControlPlane(database_url)
    yield control
    control.close()


def test_doorbells_are_rung_in_the_order_in_which_jobs_were_chosen(plane: ControlPlane) -> None:
    for number in range(JOBS):
        plane.machine(f"m{number}")
        plane.vault(f"v{number}")
        plane.item(f"i{number}", machine=f"m{number}", vault=f"v{number}")
    asked = [plane.backup(f"i{number}").id for number in range(JOBS)]
    # The last one that was asked for is the most urgent.
    plane.sql("UPDATE job SET aged_rank = 19 - array_position(CAST(:ids AS text[]), id)", ids=asked)
    # The order of a join is the planner's choice: have it read the jobs as they lie in the table.
    plane.sql(
        "INSERT INTO job (id, kind, state, trigger, rank, aged_rank, latest_start, item_id, machine_id, vault_id,"
        " point_id, due_at, finished_at, requested_by)"
        " SELECT 'old-' || n, kind, 'expired', trigger, rank, rank, latest_start, item_id, machine_id, vault_id,"
        " 'p-' || n, due_at, due_at, 'test' FROM job, generate_series(1, 2000) n WHERE id = :id",
        id=asked[0],
    )
    plane.sql("ANALYZE job")
    for kind in ("nestloop", "mergejoin", "indexscan"):
        plane.sql(f'ALTER DATABASE "{plane.engine.url.database}" SET enable_{kind} = off')
    plane.engine.dispose()
    assert plane.admit() == JOBS
    bell = RecordingBell()
    relay(plane.uow, bell=bell)
    assert [ring.job_id for ring in bell.rings] == asked[::-1]
