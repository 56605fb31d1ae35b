"""Admission alone: 10,000 jobs queued, 2,000 slots, five scopes each, until all have had their turn.

Rule of the file: only the admitting transactions are counted; what is admitted is ended by one statement in between.
"""

from __future__ import annotations

import time
from collections.abc import Iterator

from orchestrator.use_cases.admit import admit, explain_waits
from tests.benchmarks.tower.rows import Measured
from tests.benchmarks.tower.world import World

JOBS, SLOTS = 10_000, 2_000


def measure(world: World) -> Iterator[Measured]:
    """Yield admissions per second, and the longest tick."""
    world.fleet(items=JOBS)
    world.slots(everywhere=SLOTS, machine=10)
    world.queue(JOBS)
    world.plane.sql("ANALYZE")
    seconds, ticks, admitted = 0.0, list[float](), 0
    while admitted < JOBS:
        began = time.perf_counter()
        with world.plane.uow() as uow:
            count = admit(uow)
        ticks.append(time.perf_counter() - began)
        seconds += ticks[-1]
        admitted += count
        _end_admitted(world)
    yield Measured("admission, five scopes", admitted / seconds, "jobs/s", at_least=2000)
    yield Measured("longest tick of it", max(ticks), "s", at_most=1.0)


def explained(world: World) -> Iterator[Measured]:
    """Yield how long it takes to tell 10,000 waiting jobs why they wait."""
    began = time.perf_counter()
    with world.plane.uow() as uow:
        explain_waits(uow)
    yield Measured("reasons of all that wait", time.perf_counter() - began, "s", at_most=1.0)


def _end_admitted(world: World) -> None:
    world.plane.sql(
        "UPDATE job SET state = 'cancelled', finished_at = clock_timestamp(), epoch = epoch + 1"
        " WHERE state = 'available' AND admitted_at IS NOT NULL"
    )
    world.plane.sql("DELETE FROM slot_hold")
    world.plane.sql("UPDATE slot_scope SET in_use = 0 WHERE in_use > 0")
