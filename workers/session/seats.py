"""The seats of a worker process: how many units it flies at once, and what happens when a doorbell rings.

A doorbell that finds no free seat is dropped, and remembered: the moment a seat is free again the worker asks the
tower for whatever waits. An idle worker asks every ``poll_every`` seconds, so a flushed broker costs seconds.

Rule of the file: claims happen here and nowhere else.
"""

from __future__ import annotations

import threading
from collections.abc import Callable
from typing import Protocol

import structlog

from shared.clock import Clock
from shared.contracts.work import Claim, Doorbell, Granted
from shared.errors import SkyharborError

log = structlog.get_logger()


class ClaimCall(Protocol):
    """``TowerClient.claim``."""

    def __call__(self, message: Claim) -> Granted | None:
        """Ask for work."""
        ...


FlyCall = Callable[[Granted, float], None]
"""Runs one granted unit to its end; the second argument is the monotonic time before the claim. Never raises."""


class Seats:
    """``concurrency`` seats, filled by doorbells and by the idle poll."""

    def __init__(
        self, *, concurrency: int, worker: str, session: str, claim: ClaimCall, fly: FlyCall, clock: Clock
    ) -> None:
        self._free = threading.BoundedSemaphore(concurrency)
        self._worker = worker
        self._session = session
        self._claim = claim
        self._fly = fly
        self._clock = clock
        self._wanted = threading.Event()
        self._closed = threading.Event()
        self._poller: threading.Thread | None = None
        self._flights: list[threading.Thread] = []

    def answer(self, doorbell: Doorbell) -> bool:
        """Claim the doorbell's unit and fly it in the calling thread; False with no seat or nothing to claim."""
        if self._closed.is_set():
            return False
        if not self._free.acquire(blocking=False):
            self._wanted.set()
            return False
        try:
            return self._claim_and_fly(doorbell)
        finally:
            self._free.release()

    def start_polling(self, *, every: float) -> None:
        """Ask for forgotten work every ``every`` seconds while a seat is free, and at once after a dropped doorbell."""
        self._poller = threading.Thread(target=self._poll, args=(every,), name="idle-poll", daemon=True)
        self._poller.start()

    def close(self, *, patience: float) -> None:
        """Take no more work and wait up to ``patience`` seconds for polled flights to end."""
        self._closed.set()
        self._wanted.set()
        deadline = self._clock.monotonic() + patience
        for flight in list(self._flights):
            flight.join(max(0.0, deadline - self._clock.monotonic()))

    def _poll(self, every: float) -> None:
        while not self._closed.is_set():
            self._wanted.wait(every)
            self._wanted.clear()
            self._flights = [flight for flight in self._flights if flight.is_alive()]
            while not self._closed.is_set() and self._free.acquire(timeout=every):
                flight = self._polled_flight()
                if flight is None:
                    break
                self._flights.append(flight)

    def _polled_flight(self) -> threading.Thread | None:
        """Claim with the seat already taken; on a grant, fly it in a thread that gives the seat back."""
        asked_at = self._clock.monotonic()
        granted = self._ask(None)
        if granted is None:
            self._free.release()
            return None

        def fly() -> None:
            try:
                self._fly(granted, asked_at)
            finally:
                self._free.release()
                self._wanted.set()

        flight = threading.Thread(target=fly, name=f"unit-{granted.fence.job_id[-6:]}", daemon=True)
        flight.start()
        return flight

    def _claim_and_fly(self, doorbell: Doorbell) -> bool:
        asked_at = self._clock.monotonic()
        granted = self._ask(doorbell)
        if granted is None:
            return False
        self._fly(granted, asked_at)
        return True

    def _ask(self, doorbell: Doorbell | None) -> Granted | None:
        try:
            return self._claim(Claim(worker=self._worker, session=self._session, doorbell=doorbell))
        except SkyharborError as error:
            log.warning("claim-failed", code=error.code, detail=error.detail)
            return None
