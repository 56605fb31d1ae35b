"""The rescuer: takes jobs from workers whose lease is over, unless so many end at once that the fault is elsewhere.

Rule of the file: it remembers only since when it holds its hand.
"""

from __future__ import annotations

from collections.abc import Callable

import structlog

from orchestrator.domain.system import Leadership
from orchestrator.use_cases.ports import UnitOfWork
from orchestrator.use_cases.rescue import BATCH, rescue
from shared.clock import Clock

_log = structlog.get_logger(__name__)


class Rescuer:
    """Looks for leases that are over."""

    def __init__(
        self,
        unit_of_work: Callable[[], UnitOfWork],
        *,
        clock: Clock,
        chance: Callable[[], float],
        leading: Callable[[], Leadership | None],
    ) -> None:
        self._unit_of_work = unit_of_work
        self._clock = clock
        self._chance = chance
        self._leading = leading
        self._storm_since: float | None = None

    def step(self) -> bool:
        """Do one round; True while there is more."""
        leadership = self._leading()
        if leadership is None:
            self._storm_since = None
            return False
        now = self._clock.monotonic()
        age = 0.0 if self._storm_since is None else now - self._storm_since
        with self._unit_of_work() as uow:
            result = rescue(uow, storm_age=age, chance=self._chance, leadership=leadership)
        if result.held_back and self._storm_since is None:
            _log.error("rescuer_paused", expired=result.held_back)
            self._storm_since = now
        elif not result.held_back and self._storm_since is not None and not (result.jobs or result.shards):
            _log.info("rescuer_resumed")
            self._storm_since = None
        if result.jobs:
            _log.warning("jobs_rescued", count=result.jobs)
        if result.shards:
            _log.warning("shards_rescued", count=result.shards)
        return BATCH in (result.jobs, result.shards)
