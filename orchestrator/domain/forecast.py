"""When waiting jobs will start, as far as one can say: the queue played forward with everybody's expected durations.

Every scope is a number of slots that become free at known times; in the order of the queue every job takes the first
time at which all its scopes have enough, and gives its slots back after its estimate.

Rule of the file: pure, an estimate and no promise: it knows of no job that comes, no window and no failure.
"""

from __future__ import annotations

import heapq
from collections.abc import Iterable, Mapping, Sequence
from datetime import datetime, timedelta

from orchestrator.domain.admission import Candidate, Holder
from orchestrator.domain.estimate import OVERDUE
from orchestrator.domain.slots import Room, ScopeKey

LONGEST_QUEUE = 500
"""Jobs for which a start is forecast; farther back an answer would be a guess, and cost more than it is worth."""


class _Slots:
    """The slots of one scope, in groups by the time at which they are free."""

    def __init__(self, room: Room, holders: Iterable[Holder], now: datetime) -> None:
        # What is given back under a pause, or a capacity of nothing, is given to nobody.
        groups = [(max(holder.ends_at, now + OVERDUE), holder.slots) for holder in holders if room.capacity]
        free = max(0, room.capacity - sum(slots for _, slots in groups))
        self._groups = [*groups, *([(now, free)] if free else [])]
        heapq.heapify(self._groups)
        self._held: list[tuple[datetime, int]] = []

    def when(self, count: int) -> datetime | None:
        """Set so many of the first free slots aside and return when the last of them is free; None: never."""
        self._held, missing = [], count
        while missing > 0:
            if not self._groups:
                self.put_back()
                return None
            free_at, slots = heapq.heappop(self._groups)
            used = min(slots, missing)
            self._held.append((free_at, used))
            if slots > used:
                heapq.heappush(self._groups, (free_at, slots - used))
            missing -= used
        return self._held[-1][0]

    def put_back(self) -> None:
        """Undo ``when``."""
        for group in self._held:
            heapq.heappush(self._groups, group)
        self._held = []

    def take(self, until: datetime) -> None:
        """Have what ``when`` set aside taken until then."""
        count = sum(slots for _, slots in self._held)
        if count:
            heapq.heappush(self._groups, (until, count))
        self._held = []


def forecast_starts(
    queue: Sequence[Candidate],
    *,
    room: Mapping[ScopeKey, Room],
    holders: Mapping[ScopeKey, Sequence[Holder]],
    now: datetime,
) -> dict[str, datetime]:
    """Return the expected start of every job of the queue (in order), by id; without those that cannot start at all."""
    scopes = {scope: _Slots(left, holders.get(scope, ()), now) for scope, left in room.items()}
    starts: dict[str, datetime] = {}
    for job in queue:
        mine = [
            (scopes[scope], min(count, max(1, room[scope].capacity)))
            for scope, count in job.places.needs()
            if scope in scopes
        ]
        times = [slots.when(count) for slots, count in mine]
        if any(moment is None for moment in times):
            for slots, _ in mine:
                slots.put_back()
            continue
        start = max([now, *(moment for moment in times if moment is not None)])
        for slots, _ in mine:
            slots.take(start + timedelta(seconds=job.estimate))
        starts[job.job_id] = start
    return starts
