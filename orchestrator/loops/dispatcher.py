"""The dispatcher: admits what may start, explains what waits.

Rule of the file: admission comes first and alone; explaining is a second transaction that holds no slots.
"""

from __future__ import annotations

from collections.abc import Callable

from orchestrator.domain.system import Leadership
from orchestrator.use_cases.admit import admit, explain_waits
from orchestrator.use_cases.ports import UnitOfWork


class Dispatcher:
    """One admission per step. ``admitted`` is called after a step that admitted something: it wakes the relay."""

    def __init__(
        self,
        unit_of_work: Callable[[], UnitOfWork],
        *,
        leading: Callable[[], Leadership | None],
        admitted: Callable[[], None],
    ) -> None:
        self._unit_of_work = unit_of_work
        self._leading = leading
        self._admitted = admitted

    def step(self) -> bool:
        """Do one tick."""
        leadership = self._leading()
        if leadership is None:
            return False
        with self._unit_of_work() as uow:
            count = admit(uow, leadership=leadership)
        if count:
            self._admitted()
        with self._unit_of_work() as uow:
            explain_waits(uow)
        return False
