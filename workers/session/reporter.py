"""Brings the end of a unit home, its outcome or the unit itself, through lost replies and short outages of the tower.

Rule of the file: a word is repeated until the tower has it, refuses it, or can no longer care (the lease is over).
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
    return _insist(lambda: complete(fence, outcome), fence, "outcome", clock=clock, patience=patience)


def give_back(release: Callable[[Fence], None], fence: Fence, *, clock: Clock, patience: float) -> bool:
    """Give an unfinished unit back; False when the tower refused that or stayed silent for ``patience`` seconds.

    A unit that was not given back is missed when its lease is over, and that burns an attempt of its job. After a lost
    reply the tower refuses what it has already; nothing is wrong then.
    """
    return _insist(lambda: release(fence), fence, "release", clock=clock, patience=patience)


def _insist(tell: Callable[[], None], fence: Fence, what: str, *, clock: Clock, patience: float) -> bool:
    """Tell until it is heard. One attempt is made however little patience there is; none begins after it."""
    told = log.bind(word=what, job=fence.job_id, unit=fence.unit)
    deadline = clock.monotonic() + patience
    pause = _PAUSE
    while True:
        try:
            tell()
        except SkyharborError as error:
            if error.code != "server-unreachable" or clock.monotonic() + pause > deadline:
                told.warning("word-not-taken", code=error.code, detail=error.detail)
                return False
            told.info("word-unanswered", detail=error.detail)
            clock.sleep(pause)
            pause = min(_LONGEST_PAUSE, pause * 2)
        else:
            return True
