"""The midnight herd: 50,000 fires due in the same minute, filed into jobs, none twice and none lost.

Rule of the file: planning ahead has its time before midnight; what counts is from the minute on.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator
from datetime import UTC, datetime, timedelta

from orchestrator.use_cases.plan_fires import file_fires, plan_fires
from orchestrator.use_cases.policies import apply_policy
from tests.benchmarks.tower.rows import Measured
from tests.benchmarks.tower.world import World

ITEMS = 50_000


def measure(world: World) -> Iterator[Measured]:
    """Yield the seconds from the minute to the last job, and how many jobs are not what they should be."""
    soon = (datetime.now(UTC) + timedelta(minutes=20)).replace(second=0, microsecond=0)
    with world.plane.uow() as uow:
        apply_policy(
            uow, actor="bench", document=f'name: herd\nschedule: {{cron: "{soon.minute} {soon.hour} * * *"}}\n'
        )
    world.fleet(items=ITEMS, policy="herd")
    world.plane.sql("UPDATE item SET planned_through = clock_timestamp() - interval '1 minute'")
    began = time.perf_counter()
    planned = _repeat(lambda: _plan(world, soon))
    yield Measured("planning them ahead", time.perf_counter() - began, "s")
    world.plane.sql("ANALYZE")
    began = time.perf_counter()
    _repeat(lambda: _file(world, soon))
    yield Measured(f"{ITEMS:,} fires of one minute, filed", time.perf_counter() - began, "s", at_most=20.0)
    [(fires, jobs, items)] = world.plane.sql(
        "SELECT (SELECT count(*) FROM fire WHERE state = 'filed'), (SELECT count(*) FROM job),"
        " (SELECT count(DISTINCT item_id) FROM job)"
    )
    wrong = abs(ITEMS - int(str(fires))) + abs(ITEMS - int(str(jobs))) + abs(ITEMS - int(str(items)))
    yield Measured("of them lost or twice", wrong + (planned != ITEMS), "jobs", at_most=0)


def _repeat(step: Callable[[], int]) -> int:
    total = 0
    while count := step():
        total += count
    return total


def _plan(world: World, soon: datetime) -> int:
    with world.plane.uow() as uow:
        return plan_fires(uow, now=soon - timedelta(minutes=15))


def _file(world: World, soon: datetime) -> int:
    with world.plane.uow() as uow:
        return file_fires(uow, now=soon + timedelta(seconds=1))
