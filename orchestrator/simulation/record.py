"""What a simulation remembers of itself: counts, waits, and the use of every scope over time.

Rule of the file: it records and judges nothing; what the numbers mean is ``report``'s.
"""

from __future__ import annotations

from array import array
from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from datetime import datetime, timedelta

from orchestrator.domain.job_states import TERMINAL, JobState
from orchestrator.domain.ledger import Settlement
from orchestrator.domain.slots import ScopeKey
from orchestrator.simulation.rows import ItemRow, JobRow
from orchestrator.simulation.waiting import Group
from orchestrator.simulation.world import World

WORKERS: ScopeKey = ("workers", "")
"""The seats of all workers, measured beside the slot scopes: a job that nobody can fly waits for these."""


@dataclass(slots=True)
class PolicyCounts:
    """What became of a policy's fires and jobs. ``ended`` is by state, and the error's code where there is one.

    ``waits`` are the seconds from a job's making to its first attempt; ``runs`` those of attempts that made a point.
    """

    fires: Counter[str] = field(default_factory=Counter)
    ended: Counter[tuple[str, str]] = field(default_factory=Counter)
    filed: int = 0
    attempts: int = 0
    late_items: set[str] = field(default_factory=set)
    late_seconds: float = 0.0
    waits: array[float] = field(default_factory=lambda: array("f"))
    runs: array[float] = field(default_factory=lambda: array("f"))


@dataclass(frozen=True, slots=True)
class Sample:
    """One stretch of time: mean slots in use by scope, and the mean number of jobs that waited and that ran."""

    at: datetime
    used: Mapping[ScopeKey, float]
    waiting: float
    running: float


@dataclass(slots=True)
class ScopeUse:
    """How a scope was used from begin to end: slot-seconds, seconds full, the peak, job-seconds waited while full."""

    capacity: int
    used: float = 0.0
    full: float = 0.0
    peak: int = 0
    blocked: float = 0.0


@dataclass(slots=True)
class Record:
    """A whole simulation. ``open_jobs`` and ``open_fires`` are what its end found unfinished."""

    start: datetime
    end: datetime
    items: int
    step: int
    seed: int
    policies: dict[str, PolicyCounts] = field(default_factory=dict)
    policy_items: Counter[str] = field(default_factory=Counter)
    promised: Counter[str] = field(default_factory=Counter)
    scopes: dict[ScopeKey, ScopeUse] = field(default_factory=dict)
    samples: list[Sample] = field(default_factory=list)
    held_seconds: Counter[str] = field(default_factory=Counter)
    open_jobs: int = 0
    open_fires: int = 0
    mib: float = 0.0
    losses: int = 0
    ticks: int = 0


class Recorder:
    """Fills a record while the world goes on."""

    def __init__(self, world: World, record: Record) -> None:
        self._world = world
        self.record = record
        self._before: dict[ScopeKey, float] = {}
        self._sampled = record.start
        self._looked = record.start
        self._waited = self._ran = 0.0
        self.workers = ScopeUse(0)
        self._watched = [scope for scope in world.scopes.values() if scope.watched]
        self.flying = 0
        for item in world.items.values():
            name = "" if item.policy is None else item.policy.name
            record.policies.setdefault(name, PolicyCounts())
            record.policy_items[name] += 1
            record.promised[name] += self._rpo(item) is not None

    def settled(self, settlements: Sequence[Settlement]) -> None:
        """Count what became of fires."""
        for settlement in settlements:
            counts = self.record.policies[settlement.fire.spec.name]
            counts.fires[settlement.state] += 1
            counts.filed += settlement.job_id is not None

    def started(self, row: JobRow) -> None:
        """Count an attempt, and the wait of a job that begins its first."""
        counts = self._counts(row.item)
        counts.attempts += 1
        if row.attempt == 1 and row.started_at is not None:
            counts.waits.append((row.started_at - row.created_at).total_seconds())

    def ended(self, row: JobRow, before: JobState) -> None:
        """Count the end of a job. One that ends without an error has made a point or has been replaced."""
        if row.state in TERMINAL:
            code = row.error.code if row.error is not None else ""
            self._counts(row.item).ended[row.state, code] += 1
        if before is JobState.RUNNING and row.error is not None and row.error.code in ("worker-lost", "quarantined"):
            self.record.losses += 1

    def sealed(self, row: JobRow, previous: datetime, seconds: float, mib: float) -> None:
        """Count a point: how long its attempt took, what it moved, and how much too late it came."""
        self._counts(row.item).runs.append(seconds)
        self.record.mib += mib
        self._judge(row.item, previous)

    def look(self) -> None:
        """Add the time since the last look to what waited for what. Call it before what waits changes for long."""
        now = self._world.now
        seconds = (now - self._looked).total_seconds()
        self._looked = now
        if seconds <= 0:
            return
        for group in self._world.waiting.groups():
            self._waited += seconds * len(group.rows)
            for key in self._why(group):
                use = self.record.scopes.setdefault(key, ScopeUse(self._world.scopes[key].capacity))
                use.blocked += seconds * len(group.rows)
        self.workers.blocked += seconds * self._world.unclaimed()
        self.workers.used += seconds * self.flying
        self.workers.full += seconds * (self.flying >= self.workers.capacity)
        self.workers.peak = max(self.workers.peak, self.flying)
        self._ran += seconds * self.flying

    def sample(self) -> None:
        """Close a stretch of time."""
        now = self._world.now
        seconds = (now - self._sampled).total_seconds()
        if seconds <= 0:
            return
        used: dict[ScopeKey, float] = {}
        for scope in self._watched:
            scope.measure(now)
            used[scope.key] = (scope.used - self._before.get(scope.key, 0.0)) / seconds
            self._before[scope.key] = scope.used
        used[WORKERS] = (self.workers.used - self._before.get(WORKERS, 0.0)) / seconds
        self._before[WORKERS] = self.workers.used
        self.record.samples.append(Sample(self._sampled, used, self._waited / seconds, self._ran / seconds))
        self._sampled, self._waited, self._ran = now, 0.0, 0.0

    def close(self, open_fires: int) -> None:
        """Take stock at the end."""
        self.look()
        self.sample()
        record = self.record
        record.open_jobs, record.open_fires = len(self._world.jobs), open_fires
        for item in self._world.items.values():
            self._judge(item, item.newest_point_at or item.created_at)
        for scope in self._watched:
            use = record.scopes.setdefault(scope.key, ScopeUse(scope.capacity))
            use.used, use.full, use.peak = scope.used, scope.full, scope.peak
        record.scopes[WORKERS] = self.workers

    def _judge(self, item: ItemRow, previous: datetime) -> None:
        """Count by how much the point before now was older than promised, now that it is replaced or all is over."""
        rpo = self._rpo(item)
        late = 0.0 if rpo is None else (self._world.now - previous - timedelta(seconds=rpo)).total_seconds()
        if late > 0:
            counts = self._counts(item)
            counts.late_items.add(item.id)
            counts.late_seconds += late

    def _why(self, group: Group) -> list[ScopeKey]:
        """Return the scopes that keep a group waiting; none and a note when it is a closed window or its turn."""
        scopes = self._world.scopes
        full = [key for key in group.touched if scopes[key].closed_to(group.kind)]
        if group.line is not None and group.line not in full:
            first = next(iter(group.rows))
            if scopes[group.line].closed_to(group.kind, first.places.mib_per_second):
                full.append(group.line)
        return full

    def _counts(self, item: ItemRow) -> PolicyCounts:
        return self.record.policies["" if item.policy is None else item.policy.name]

    @staticmethod
    def _rpo(item: ItemRow) -> int | None:
        return item.rpo if item.rpo is not None or item.policy is None else item.policy.spec.rpo
