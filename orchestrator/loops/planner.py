"""The planner: fires into the ledger, due fires into jobs.

Rule of the file: rhythm only; the rules are ``plan_fires`` and the domain's ledger.
"""

from __future__ import annotations

from collections.abc import Callable

from orchestrator.domain.system import Leadership
from orchestrator.use_cases.plan_fires import file_fires, plan_fires
from orchestrator.use_cases.ports import UnitOfWork
from shared.clock import Clock


class Planner:
    """Plans ahead and files what is due."""

    def __init__(
        self, unit_of_work: Callable[[], UnitOfWork], *, clock: Clock, leading: Callable[[], Leadership | None]
    ) -> None:
        self._unit_of_work = unit_of_work
        self._clock = clock
        self._leading = leading

    def step(self) -> bool:
        """Do one round; True while there is more."""
        leadership = self._leading()
        if leadership is None:
            return False
        with self._unit_of_work() as uow:
            planned = plan_fires(uow, now=self._clock.now(), leadership=leadership)
        with self._unit_of_work() as uow:
            filed = file_fires(uow, now=self._clock.now(), leadership=leadership)
        return planned > 0 or filed > 0
