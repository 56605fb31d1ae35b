"""Leadership: one tower of several acts, by a lease in the database and a deadline of its own.

Rule of the file: the deadline is monotonic, counted from before the call that renewed the lease, and one second
shorter than the lease: a tower that was asleep knows before anybody else can have taken over.
"""

from __future__ import annotations

import threading
from collections.abc import Callable

import structlog

from orchestrator.domain.system import Leadership
from orchestrator.use_cases.ports import UnitOfWork
from shared.clock import Clock

_log = structlog.get_logger(__name__)

TTL_SECONDS = 15.0
RENEW_SECONDS = 4.0

TRY_SECONDS = 1.0
"""How often a standby asks: a dead leader is followed after a lease and this, at worst."""

DEADLINE_SECONDS = 14.0


class Leader:
    """Keeps, loses and regains the lease. ``step`` belongs to one loop; ``current`` may be asked by any thread."""

    def __init__(self, unit_of_work: Callable[[], UnitOfWork], *, clock: Clock, holder: str) -> None:
        self._unit_of_work = unit_of_work
        self._clock = clock
        self._holder = holder
        self._lock = threading.Lock()
        self._leadership: Leadership | None = None
        self._deadline = 0.0
        self._renew_at = 0.0

    def current(self) -> Leadership | None:
        """Return the term that this process leads in, or None when it must not act."""
        with self._lock:
            return self._leadership if self._clock.monotonic() < self._deadline else None

    def step(self) -> bool:
        """Renew the lease when it is time, or try to get it; True when leadership has just begun.

        To be called every ``TRY_SECONDS``.
        """
        before = self._clock.monotonic()
        held = self._leadership
        if held is not None and before < self._renew_at:
            return False
        with self._unit_of_work() as uow:
            renewed = held is not None and uow.leaders.renew(held, ttl=TTL_SECONDS)
            now = held if renewed else uow.leaders.acquire(self._holder, ttl=TTL_SECONDS)
            uow.commit()
        with self._lock:
            self._leadership, self._deadline = now, (before + DEADLINE_SECONDS if now is not None else 0.0)
        self._renew_at = before + RENEW_SECONDS
        if now != held:
            _log.info("leadership_changed", holder=self._holder, term=None if now is None else now.term)
        return now is not None and now != held

    def resign(self) -> None:
        """Stop acting, and let the next one in at once."""
        with self._lock:
            held, self._leadership, self._deadline = self._leadership, None, 0.0
        if held is not None:
            with self._unit_of_work() as uow:
                uow.leaders.resign(held)
                uow.commit()
