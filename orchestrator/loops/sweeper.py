"""The sweeper: rings again where nobody came, and clears out old doorbells and keys now and then.

Rule of the file: rhythm only.
"""

from __future__ import annotations

from collections.abc import Callable

from orchestrator.domain.system import Leadership
from orchestrator.use_cases.ports import UnitOfWork
from orchestrator.use_cases.sweep import ring_again, sweep
from shared.clock import Clock

CLEAR_EVERY_SECONDS = 3600.0


class Sweeper:
    """Rings again every step, clears out every hour."""

    def __init__(
        self, unit_of_work: Callable[[], UnitOfWork], *, clock: Clock, leading: Callable[[], Leadership | None]
    ) -> None:
        self._unit_of_work = unit_of_work
        self._clock = clock
        self._leading = leading
        self._cleared_at: float | None = None

    def step(self) -> bool:
        """Do one round."""
        leadership = self._leading()
        if leadership is None:
            return False
        with self._unit_of_work() as uow:
            ring_again(uow, leadership=leadership)
        now = self._clock.monotonic()
        if self._cleared_at is None or now - self._cleared_at >= CLEAR_EVERY_SECONDS:
            with self._unit_of_work() as uow:
                sweep(uow, leadership=leadership)
            self._cleared_at = now
        return False
