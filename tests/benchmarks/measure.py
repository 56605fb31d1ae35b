"""What a command costs: wall and CPU seconds in one kind of run, peak memory in another.

Looking at memory costs CPU, of which there may be little, so no run is both timed and weighed.

Rule of the file: a cost counts every process that worked for the command, ours and the peers' alike.
"""

from __future__ import annotations

import time
from dataclasses import dataclass

from tests.benchmarks.processes import cpu_of_tree, memory_of_tree
from tests.benchmarks.work import Work, started

LOOK_EVERY = 0.05
"""Seconds between two looks at memory. What comes and goes in between is not seen."""


@dataclass(frozen=True)
class Sample:
    """One measured value (seconds or bytes) and CPU seconds. ``cut_off``: it was ended at that value, unfinished."""

    value: float
    cpu: float | None = None
    cut_off: bool = False


def clock(work: Work, *, limit: float) -> Sample:
    """Run a command and time it; it is killed after ``limit`` seconds. Raises ``WorkFailed``."""
    before = cpu_of_tree(work.behind) if work.behind else 0.0
    began = time.perf_counter()
    with started(work) as running:
        usage = running.finish(limit)
        wall = time.perf_counter() - began
    if usage is None:
        return Sample(limit, cut_off=True)
    own = usage.ru_utime + usage.ru_stime
    behind = max(0.0, cpu_of_tree(work.behind) - before) if work.behind else 0.0
    return Sample(wall, own + behind)


def weigh(work: Work, *, limit: float) -> Sample:
    """Run a command and return the most bytes that its process tree occupied at any look. Raises ``WorkFailed``."""
    deadline = time.perf_counter() + limit
    most = 0
    with started(work) as running:
        while True:
            most = max(most, memory_of_tree(work.carries or running.pid))
            if running.is_over(within=LOOK_EVERY):
                return Sample(most)
            if time.perf_counter() > deadline:
                return Sample(most, cut_off=True)
