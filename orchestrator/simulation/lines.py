"""Bandwidth that running jobs share: at every moment each gets an equal part of its location's line and of its vault.

Jobs of one location, vault and kind of worker always run equally fast. So there is one sum per such stream, the MiB
that a job in it has moved since the beginning of time, and a job is done when the sum has grown by the job's own MiB. A
start or an end changes the speed of whole streams and touches no other job (virtual time, as in fair queueing).

Rule of the file: arithmetic over seconds and MiB; it knows no jobs, only tickets.
"""

from __future__ import annotations

import heapq
from collections import Counter
from collections.abc import Mapping
from dataclasses import dataclass, field

Thing = tuple[str, str]
"""What is shared: ``line`` and a location, or ``vault`` and its name."""

StreamKey = tuple[str, str, float]
"""Location (empty for none), vault, MiB/s that one job of this kind of worker reads at most."""


@dataclass(slots=True)
class LineUse:
    """How a line or a vault is used at a moment, in MiB/s.

    ``slowed`` is how many jobs' worth of time it costs: two jobs at half their speed are one.
    """

    limit: float
    used: float = 0.0
    slowed: float = 0.0

    @property
    def saturated(self) -> bool:
        """Whether one job more would only take from the others."""
        return self.used > 0.999 * self.limit


@dataclass(slots=True, eq=False)
class _Stream:
    key: StreamKey
    moved: float = 0.0
    at: float = 0.0
    speed: float = 0.0
    version: int = 0
    running: int = 0
    things: tuple[Thing, Thing] = ("line", ""), ("vault", "")
    ends: list[tuple[float, int]] = field(default_factory=list)

    def advance(self, now: float) -> None:
        self.moved += self.speed * (now - self.at)
        self.at = now


class Lines:
    """The transfers that run. Times only grow from call to call."""

    def __init__(self, lines: Mapping[str, float | None], vaults: Mapping[str, float | None]) -> None:
        self._limits = {("line", name): speed for name, speed in lines.items()}
        self._limits |= {("vault", name): speed for name, speed in vaults.items()}
        self._sharing: Counter[tuple[str, str]] = Counter()
        self._streams: dict[StreamKey, _Stream] = {}
        self._touching: dict[tuple[str, str], list[_Stream]] = {}
        self._next: list[tuple[float, int, int, _Stream]] = []
        self._live: dict[int, _Stream] = {}
        self._tickets = 0
        self._pushes = 0

    def start(self, key: StreamKey, mib: float, *, now: float) -> int:
        """Begin to move so many MiB; returns the transfer's ticket."""
        stream = self._streams.get(key)
        if stream is None:
            stream = self._streams[key] = _Stream(key, at=now, things=_things(key))
            for thing in stream.things:
                self._touching.setdefault(thing, []).append(stream)
        stream.advance(now)
        self._tickets += 1
        heapq.heappush(stream.ends, (stream.moved + mib, self._tickets))
        self._live[self._tickets] = stream
        self._count(stream, +1, now)
        return self._tickets

    def stop(self, ticket: int, *, now: float) -> None:
        """End a transfer, done or not. Idempotent."""
        stream = self._live.pop(ticket, None)
        if stream is not None:
            self._count(stream, -1, now)

    def next_end(self) -> float | None:
        """Return when the next transfer is done if nothing else begins or ends before; None when none runs."""
        while self._next:
            at, _, version, stream = self._next[0]
            if version == stream.version and stream.running:
                return at
            heapq.heappop(self._next)
        return None

    def take_done(self, now: float) -> int | None:
        """End the next transfer that is done by now and return its ticket; None when there is none."""
        at = self.next_end()
        if at is None or at > now:
            return None
        stream = self._next[0][3]
        ticket = stream.ends[0][1]
        self.stop(ticket, now=at)
        return ticket

    def uses(self) -> dict[Thing, LineUse]:
        """Return how everything that has a limit is used now."""
        uses = {thing: LineUse(limit) for thing, limit in self._limits.items() if limit is not None}
        for stream in self._streams.values():
            if not stream.running:
                continue
            parts = {thing: uses[thing].limit / self._sharing[thing] for thing in stream.things if thing in uses}
            for thing in parts:
                uses[thing].used += stream.running * stream.speed
            if parts and stream.speed < stream.key[2]:
                narrowest = min(parts, key=parts.__getitem__)
                uses[narrowest].slowed += stream.running * (1 - stream.speed / stream.key[2])
        return uses

    def _count(self, stream: _Stream, change: int, now: float) -> None:
        stream.running += change
        affected = [stream]
        for thing in stream.things:
            self._sharing[thing] += change
            if self._limits.get(thing) is not None:
                affected += [other for other in self._touching[thing] if other not in affected]
        for other in affected:
            other.advance(now)
            other.speed = self._speed(other)
            other.version += 1
            while other.ends and other.ends[0][1] not in self._live:
                heapq.heappop(other.ends)
            if other.ends:
                self._pushes += 1
                left = max(0.0, other.ends[0][0] - other.moved)
                heapq.heappush(self._next, (now + left / other.speed, self._pushes, other.version, other))

    def _speed(self, stream: _Stream) -> float:
        speed = stream.key[2]
        for thing in stream.things:
            limit = self._limits.get(thing)
            if limit is not None:
                part = limit / (self._sharing[thing] or 1)
                if part < speed:
                    speed = part
        return speed


def _things(key: StreamKey) -> tuple[tuple[str, str], tuple[str, str]]:
    return ("line", key[0]), ("vault", key[1])
