"""Waiting for one's share of a vault's bandwidth, under a plan that may change while one waits.

Rule of the file: it lets bytes through or waits; what bytes they are is its caller's affair. Every wait is cut into
naps of half a second at most: after each, the caller is asked whether to go on and the plan is looked at again.
"""

from __future__ import annotations

from collections.abc import Callable

from shared.clock import Clock, SystemClock, since_boot
from shared.model.bandwidth import BandwidthPlan
from shared.storage.plan_file import FollowedPlan
from shared.storage.shared_bucket import SharedBucket

_LONGEST_NAP = 0.5


class Lane:
    """One direction. Any number of threads may use it at once; who comes first is left to chance."""

    def __init__(self, bucket: SharedBucket, rate: Callable[[], int], clock: Clock) -> None:
        self._bucket, self._rate, self._clock = bucket, rate, clock

    def pay(self, count: int, check: Callable[[], None]) -> None:
        """Return when ``count`` bytes may pass. Whatever ``check`` raises ends the waiting, and nothing was taken.

        ``count`` should be 1 MiB at most: it passes in one piece.
        """
        while True:
            rate = self._rate()
            pause = self._bucket.take(count, rate) if rate else 0.0
            if pause <= 0.0:
                return
            check()
            self._clock.sleep(min(_LONGEST_NAP, pause))

    def settle(self, count: int) -> None:
        """Book bytes that have passed already: whoever pays next waits for them. Negative ones are given back."""
        rate = self._rate()
        if rate and count:
            self._bucket.owe(count, rate)


class Throttle:
    """The bandwidth of one vault on this machine, shared by all processes that name the same ``path``.

    The two lanes keep a small file each, ``path`` with ``.up`` and with ``.down``; without limits they are not
    touched. ``current`` says what holds.
    """

    def __init__(
        self,
        path: str,
        current: Callable[[], BandwidthPlan],
        *,
        clock: Clock | None = None,
        now: Callable[[], float] = since_boot,
    ) -> None:
        self.path = path
        self._clock = clock or SystemClock()
        self._current = current
        self.up = self._lane(path + ".up", now, lambda: current().limits_at(self._clock.now()).upload)
        self.down = self._lane(path + ".down", now, lambda: current().limits_at(self._clock.now()).download)

    @classmethod
    def following(cls, path: str, plan: BandwidthPlan) -> Throttle:
        """Return the throttle of a process that the tower does not talk to: it begins with ``plan`` and follows."""
        return cls(path, FollowedPlan(plan_path(path), plan).current)

    @property
    def plan(self) -> BandwidthPlan:
        """What holds now."""
        return self._current()

    def _lane(self, path: str, now: Callable[[], float], rate: Callable[[], int]) -> Lane:
        return Lane(SharedBucket(path, now=now, clock=self._clock), rate, self._clock)


def plan_path(path: str) -> str:
    """Return where the plan of the throttle at ``path`` is kept."""
    return path + ".plan"
