"""The seats of a worker process: how many units it flies at once, and what happens when a doorbell rings.

A doorbell that finds no free seat is dropped, and remembered: the moment a seat is free again the worker asks the
tower for whatever waits. An idle worker asks every ``poll_every`` seconds, so a flushed broker costs seconds.

Shards never take a worker's last free seat, unless it has but one: a job waits for a slot before it waits for a seat,
shards do not, and a restore must not find every seat taken by parts of somebody's backup.

A worker that has given a shard back because it cannot read what the backup is of asks for no other one of that attempt:
all of them are of the same.

Rule of the file: claims happen here and nowhere else.
"""

from __future__ import annotations

import threading
from collections import deque
from collections.abc import Callable
from typing import Protocol

import structlog

from shared.clock import Clock
from shared.contracts.work import Attempt, Claim, Doorbell, Fence, Granted
from shared.errors import SkyharborError

log = structlog.get_logger()


class ClaimCall(Protocol):
    """``TowerClient.claim``."""

    def __call__(self, message: Claim) -> Granted | None:
        """Ask for work."""
        ...


BeatCall = Callable[[float], None]
"""Hears that the poll goes on, and after how many seconds it will say so again if nothing takes long."""

_MOST_PASSED_OVER = 64

FlyCall = Callable[[Granted, float], None]
"""Runs one granted unit to its end; the second argument is the monotonic time before the claim. Never raises."""


class Seats:
    """``concurrency`` seats, filled by doorbells and by the idle poll."""

    def __init__(
        self,
        *,
        concurrency: int,
        worker: str,
        session: str,
        claim: ClaimCall,
        fly: FlyCall,
        clock: Clock,
        beat: BeatCall = lambda _: None,
    ) -> None:
        self._concurrency = concurrency
        self._worker = worker
        self._session = session
        self._claim = claim
        self._fly = fly
        self._clock = clock
        self._beat = beat
        self._changed = threading.Condition()
        self._taken = 0
        self._closed = False
        self._missed = False  # a doorbell found no seat, so work may wait
        self._ask_now = threading.Event()
        self._passed_over: deque[Attempt] = deque(maxlen=_MOST_PASSED_OVER)

    def pass_over(self, fence: Fence) -> None:
        """Ask for no more shards of this attempt. Any thread."""
        attempt = Attempt(fence.job_id, fence.epoch)
        with self._changed:
            if attempt not in self._passed_over:
                self._passed_over.append(attempt)

    def answer(self, doorbell: Doorbell) -> bool:
        """Claim the doorbell's unit and fly it in the calling thread; False with no seat or nothing to claim."""
        if doorbell.unit > 0 and Attempt(doorbell.job_id, doorbell.epoch) in self._besides():
            return False
        if not self._take(shard=doorbell.unit > 0):
            return False
        try:
            return self._claim_and_fly(doorbell)
        finally:
            self._give_back()

    def start_polling(self, *, every: float) -> None:
        """Ask for forgotten work every ``every`` seconds while a seat is free, and at once after a dropped doorbell."""
        threading.Thread(target=self._poll, args=(every,), name="idle-poll", daemon=True).start()

    def close(self) -> None:
        """Take no more work. A claim under way may still be granted; its unit flies, and must be told to stop."""
        with self._changed:
            self._closed = True
        self._ask_now.set()

    def wait_until_empty(self, *, patience: float) -> bool:
        """Wait up to ``patience`` seconds for every flight to end; whether all did."""
        with self._changed:
            return self._changed.wait_for(lambda: self._taken == 0, timeout=patience)

    def _take(self, *, shard: bool = False) -> bool:
        with self._changed:
            if self._closed:
                return False
            if self._taken >= self._concurrency or (shard and not self._leaves_a_seat(self._taken + 1)):
                self._missed = True
                return False
            self._taken += 1
            return True

    def _leaves_a_seat(self, taken: int) -> bool:
        """Tell whether a shard may be among so many units."""
        return taken < self._concurrency or self._concurrency == 1

    def _give_back(self) -> None:
        with self._changed:
            self._taken -= 1
            missed, self._missed = self._missed, False
            self._changed.notify_all()
        if missed:
            self._ask_now.set()

    def _poll(self, every: float) -> None:
        while not self._closed:
            self._beat(every)
            self._ask_now.wait(every)
            self._ask_now.clear()
            while self._take():
                if not self._fly_aside():
                    break

    def _fly_aside(self) -> bool:
        """With a seat taken: claim whatever waits and fly it in a thread of its own; False when nothing did."""
        asked_at = self._clock.monotonic()
        granted = self._ask(None, shards=self._leaves_a_seat(self._taken))
        if granted is None:
            self._give_back()
            return False
        threading.Thread(target=self._fly_and_leave, args=(granted, asked_at), name="polled-unit", daemon=True).start()
        return True

    def _fly_and_leave(self, granted: Granted, asked_at: float) -> None:
        try:
            self._fly(granted, asked_at)
            if granted.fence.unit > 0:
                self._look_for_more(Attempt(granted.fence.job_id, granted.fence.epoch))
        finally:
            self._give_back()

    def _claim_and_fly(self, doorbell: Doorbell) -> bool:
        asked_at = self._clock.monotonic()
        granted = self._ask(doorbell)
        if granted is not None:
            self._fly(granted, asked_at)
        if doorbell.unit > 0:
            self._look_for_more(Attempt(doorbell.job_id, doorbell.epoch))
        return granted is not None

    def _look_for_more(self, attempt: Attempt) -> None:
        """Shards seldom come alone, and somebody else may have taken the one that was rung for: ask at once.

        Not after one that was given back, or a tower that does not know of that would hand out one after the other.
        """
        with self._changed:
            self._missed = self._missed or attempt not in self._passed_over

    def _besides(self) -> tuple[Attempt, ...]:
        with self._changed:
            return tuple(self._passed_over)

    def _ask(self, doorbell: Doorbell | None, *, shards: bool = True) -> Granted | None:
        message = Claim(
            worker=self._worker, session=self._session, doorbell=doorbell, shards=shards, besides=self._besides()
        )
        try:
            return self._claim(message)
        except SkyharborError as error:
            log.warning("claim-failed", code=error.code, detail=error.detail)
        except Exception:  # the poll must outlive whatever one answer brings
            log.exception("claim-crashed")
        return None
