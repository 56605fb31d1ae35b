"""Brings an outcome home, through lost replies and short outages of the tower.

Rule of the file: an outcome is repeated until the tower has it, refuses it, or can no longer care (the lease is over).
"""

from __future__ import annotations

from collections.abc import Callable

import structlog

from shared.clock import Clock
from shared.contracts.work import Fence, Outcome
from shared.errors import SkyharborError

log = structlog.get_logger()

_PAUSE = 1.0
_LONGEST_PAUSE = 5.0


def report(
    complete: Callable[[Fence, Outcome], None], fence: Fence, outcome: Outcome, *, clock: Clock, patience: float
) -> bool:
    """Deliver ``outcome``; False when the tower refused it or stayed silent for ``patience`` seconds.

    Refused means that somebody else owns the unit now. A silent tower costs no data: a sealed point is found
    again by the next attempt, which reports it.
    """
    deadline = clock.monotonic() + patience
    pause = _PAUSE
    while True:
        try:
            complete(fence, outcome)
        except SkyharborError as error:
            if error.code != "server-unreachable" or clock.monotonic() + pause > deadline:
                log.warning(
                    "outcome-not-taken", job=fence.job_id, unit=fence.unit, code=error.code, detail=error.detail
                )
                return False
            clock.sleep(pause)
            pause = min(_LONGEST_PAUSE, pause * 2)
        else:
            return True
