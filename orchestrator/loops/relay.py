"""The relay: takes doorbells from the outbox to the broker.

Rule of the file: a broker that is down is said once when it goes and once when it comes back; nothing is lost
meanwhile.
"""

from __future__ import annotations

from collections.abc import Callable

import structlog

from orchestrator.use_cases.ports import Bell, UnitOfWork
from orchestrator.use_cases.relay import BATCH, relay

_log = structlog.get_logger(__name__)


class Relay:
    """Rings. Any number may run at once, leading or not."""

    def __init__(self, unit_of_work: Callable[[], UnitOfWork], *, bell: Bell) -> None:
        self._unit_of_work = unit_of_work
        self._bell = bell
        self._down: str | None = None

    def step(self) -> bool:
        """Ring one batch; True while there is more and the broker answers."""
        result = relay(self._unit_of_work, bell=self._bell)
        if result.error is not None and self._down is None:
            _log.warning("broker_unreachable", code=result.error.code, detail=result.error.detail)
            self._down = result.error.code
        elif result.error is None and result.rung and self._down is not None:
            _log.info("broker_back", rung=result.rung)
            self._down = None
        return result.error is None and result.rung == BATCH
