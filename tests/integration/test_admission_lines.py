"""Lines on a real PostgreSQL: jobs that need more of a line than is left of it stand in nobody's way."""

from __future__ import annotations

from collections.abc import Iterator

import pytest

from orchestrator.use_cases.admit import PAGE
from tests.support.control import ControlPlane
from tests.support.postgres import database_url, postgres_server  # noqa: F401


@pytest.fixture
def plane(database_url: str) -> Iterator[ControlPlane]:  # noqa: F811
    control = ControlPlane(database_url)
    yield control
    control.close()


def test_a_wall_of_jobs_that_their_line_is_too_full_for_hides_no_job_of_another_location(plane: ControlPlane) -> None:
    plane.vault()
    plane.machine("m0", location="berlin")
    plane.machine("m1", location="oslo")
    first, wall = plane.item("first", machine="m0"), plane.item("wall", machine="m0")
    plane.item("other", machine="m1")
    with plane.uow() as uow:
        uow.slots.set("bandwidth", "berlin", capacity=12, floor=0)  # type: ignore[arg-type]
        uow.commit()
    plane.start(first.name)  # takes 10 of the line's 12 MiB/s
    plane.sql(
        "INSERT INTO job (id, kind, state, trigger, rank, aged_rank, latest_start, item_id, machine_id, vault_id,"
        " point_id, tenant, location, mib_per_second, due_at, requested_by)"
        " SELECT 'wall-' || n, 'backup', 'available', 'demand', 1, 1, clock_timestamp() - interval '1 day', id,"
        " machine_id, vault_id, 'point-' || n, 'default', 'berlin', 10, clock_timestamp(), 'test'"
        " FROM item, generate_series(1, :jobs) n WHERE id = :item",
        item=wall.id,
        jobs=PAGE + 1,
    )
    other = plane.backup("other")
    assert plane.admit() == 1
    assert plane.job(other.id).admitted_at is not None
