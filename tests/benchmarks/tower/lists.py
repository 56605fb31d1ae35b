"""A large installation: 100,000 items and 1,000,000 past jobs in the tables, and a person who looks at lists.

Rule of the file: whole requests through the API's own code (routing, use case, SQL, JSON), one after the other.
"""

from __future__ import annotations

import time
from collections.abc import Iterator
from datetime import UTC, datetime
from statistics import quantiles

from fastapi.testclient import TestClient

from orchestrator.api.app import create_app
from orchestrator.use_cases.admit import admit
from orchestrator.use_cases.application import Application
from orchestrator.use_cases.sweep import sweep
from shared.clock import SystemClock
from tests.benchmarks.tower.rows import Measured
from tests.benchmarks.tower.world import World
from tests.support.control import MemoryVaults

ITEMS, JOBS, WAITING = 100_000, 1_000_000, 10_000
ROUNDS = 100
LISTS = (
    "/items?limit=50",
    "/items?limit=200",
    "/jobs?limit=50",
    "/jobs?limit=200&state=completed",
    "/jobs?limit=50&state=available",
    "/jobs?limit=50&item=i77",
    "/points?limit=50",
    "/points?limit=50&item=i77",
    "/machines?limit=50",
    "/vaults?limit=50",
    "/policies?limit=50",
    "/slots",
    "/tenants",
    "/system",
)


def measure(world: World) -> Iterator[Measured]:
    """Yield p99 of every list, and the ticks."""
    world.fleet(items=ITEMS)
    world.history(JOBS)
    world.queue(WAITING)
    with world.plane.uow() as uow:
        sweep(uow)
    world.plane.sql("UPDATE slot_scope SET capacity = 0, wanted = 0 WHERE scope = 'global'")
    world.plane.sql("ANALYZE")
    application = Application(
        unit_of_work=world.plane.uow,
        clock=SystemClock(),
        vaults=MemoryVaults(),
        schema_head="",
        version="bench",
        started_at=datetime.now(UTC),
    )
    with TestClient(create_app(application, token="operator", worker_token="worker")) as http:
        for path in LISTS:
            taken = [_request(http, path) for _ in range(ROUNDS)]
            yield Measured(f"GET {path}, p99", quantiles(taken, n=100)[98] * 1000, "ms", at_most=100)
    began = time.perf_counter()
    with world.plane.uow() as uow:
        admit(uow)
    yield Measured("a tick with nothing to admit", time.perf_counter() - began, "s", at_most=1.0)


def _request(http: TestClient, path: str) -> float:
    began = time.perf_counter()
    reply = http.get(f"/api/v1{path}", headers={"Authorization": "Bearer operator"})
    taken = time.perf_counter() - began
    reply.raise_for_status()
    return taken
