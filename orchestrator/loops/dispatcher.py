"""The dispatcher: admits what may start, explains what waits.

Rule of the file: admission comes first and alone; explaining is a second transaction that holds no slots.
"""

from __future__ import annotations

from collections.abc import Callable

from orchestrator.domain.system import Leadership
from orchestrator.use_cases.admit import admit, explain_waits
from orchestrator.use_cases.ports import UnitOfWork
from shared.clock import Clock

EXPLAIN_EVERY_SECONDS = 0.9
"""A little less than the rhythm of an idle tower, so that each of its ticks explains."""


class Dispatcher:
    """One admission per step, and reasons about every second.

    Under load a step follows the other, and reading all that waits each time would take from those who do the work.
    ``stepped`` is called after each admission: it wakes the relay, for these doorbells and those of offered shards.
    """

    def __init__(
        self,
        unit_of_work: Callable[[], UnitOfWork],
        *,
        clock: Clock,
        leading: Callable[[], Leadership | None],
        stepped: Callable[[], None],
    ) -> None:
        self._unit_of_work = unit_of_work
        self._clock = clock
        self._leading = leading
        self._stepped = stepped
        self._explain_at = 0.0

    def step(self) -> bool:
        """Do one tick."""
        leadership = self._leading()
        if leadership is None:
            return False
        with self._unit_of_work() as uow:
            admit(uow, leadership=leadership)
        self._stepped()
        if self._clock.monotonic() >= self._explain_at:
            with self._unit_of_work() as uow:
                explain_waits(uow)
            self._explain_at = self._clock.monotonic() + EXPLAIN_EVERY_SECONDS
        return False
