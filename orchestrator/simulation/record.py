"""What a simulation remembers of itself: counts, waits, and the use of every scope over time.

Rule of the file: it records and judges nothing; what the numbers mean is ``report``'s.
"""

from __future__ import annotations

from array import array
from collections import Counter, defaultdict
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from datetime import datetime, timedelta

from orchestrator.domain.job_states import TERMINAL, JobState
from orchestrator.domain.ledger import Settlement
from orchestrator.domain.slots import ScopeKey
from orchestrator.simulation.lines import Lines
from orchestrator.simulation.reasons import Reason, Reasons, speed_of
from orchestrator.simulation.rows import ItemRow, JobRow, Wish
from orchestrator.simulation.world import World
from shared.model.backup import JobKind

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


@dataclass(slots=True)
class WishCounts:
    """What became of the restores or the verifies of one name. ``ended`` is by state.

    ``waits`` are the seconds from when one was wanted to its first attempt, ``runs`` those of attempts that did it,
    ``took`` those from when it was wanted until it was done; ``late`` had not been done when it was promised. Of
    verifies ``in_period`` are asked for in every period.
    """

    kind: JobKind
    within: int | None = None
    asked: int = 0
    in_period: float = 0.0
    late: int = 0
    mib: float = 0.0
    ended: Counter[str] = field(default_factory=Counter)
    waits: array[float] = field(default_factory=lambda: array("f"))
    runs: array[float] = field(default_factory=lambda: array("f"))
    took: array[float] = field(default_factory=lambda: array("f"))


@dataclass(frozen=True, slots=True)
class Sample:
    """One stretch of time: means of the slots (or MiB/s) in use by scope, of the jobs that waited and that ran.

    ``reasons`` are why they waited.
    """

    at: datetime
    used: Mapping[ScopeKey, float]
    waiting: float
    running: float
    reasons: Mapping[str, float]


@dataclass(slots=True)
class ScopeUse:
    """How a scope was used from begin to end: slot-seconds (or MiB), seconds full, the peak.

    ``blocked`` are the job-seconds waited because of it, ``slowed`` those that its speed cost the jobs that ran.
    """

    capacity: float
    used: float = 0.0
    full: float = 0.0
    peak: float = 0.0
    blocked: float = 0.0
    slowed: float = 0.0


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
    wishes: dict[tuple[JobKind, str], WishCounts] = field(default_factory=dict)
    reasons: defaultdict[Reason, float] = field(default_factory=lambda: defaultdict(float))
    open_jobs: int = 0
    open_fires: int = 0
    mib: float = 0.0
    losses: int = 0
    ticks: int = 0


class Recorder:
    """Fills a record while the world goes on. ``lines`` are looked at once there are some."""

    def __init__(self, world: World, record: Record) -> None:
        self._world = world
        self._reasons = Reasons(world)
        self.record = record
        self.lines: Lines | None = None
        self._before: dict[ScopeKey, float] = {}
        self._sampled = record.start
        self._looked = record.start
        self._ran = 0.0
        self._waited: defaultdict[str, float] = defaultdict(float)
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

    def asked(self, row: JobRow) -> None:
        """Count a restore or a verify that somebody asks for."""
        self._wished(row).asked += 1

    def started(self, row: JobRow) -> None:
        """Count an attempt, and the wait of a job that begins its first."""
        first = row.attempt == 1 and row.started_at is not None
        if row.wish is not None:
            if first:
                self._wished(row).waits.append(self._since(row.wish))
            return
        counts = self._counts(row.item)
        counts.attempts += 1
        if first and row.started_at is not None:
            counts.waits.append((row.started_at - row.created_at).total_seconds())

    def ended(self, row: JobRow, before: JobState) -> None:
        """Count the end of a job. One that ends without an error has made a point or has been replaced."""
        if row.state in TERMINAL and row.wish is not None:
            self._wished(row).ended[row.state] += 1
        elif row.state in TERMINAL:
            code = row.error.code if row.error is not None else ""
            self._counts(row.item).ended[row.state, code] += 1
        if before is JobState.RUNNING and row.error is not None and row.error.code in ("worker-lost", "quarantined"):
            self.record.losses += 1

    def sealed(self, row: JobRow, previous: datetime, seconds: float, mib: float) -> None:
        """Count a point: how long its attempt took, what it moved, and how much too late it came."""
        self._counts(row.item).runs.append(seconds)
        self.record.mib += mib
        self._judge(row.item, previous)

    def granted(self, row: JobRow, seconds: float, mib: float) -> None:
        """Count a restore or a verify that is done."""
        counts, took = self._wished(row), 0.0 if row.wish is None else self._since(row.wish)
        counts.runs.append(seconds)
        counts.took.append(took)
        counts.mib += mib
        counts.late += counts.within is not None and took > counts.within

    def look(self) -> None:
        """Add the time since the last look to what waited for what. Call it before what waits changes for long."""
        now = self._world.now
        seconds = (now - self._looked).total_seconds()
        self._looked = now
        if seconds <= 0:
            return
        uses = {} if self.lines is None else self.lines.uses()
        for reason, number in self._reasons.now().items():
            self._waited[reason[0]] += seconds * number
            self.record.reasons[reason] += seconds * number
        taken = self.flying >= self.workers.capacity
        for key, number in self._reasons.blame(uses, seats=WORKERS, seats_taken=taken).items():
            self._use(key).blocked += seconds * number
        for thing, use in uses.items():
            line = self._use(speed_of(thing), use.limit)
            line.used += seconds * use.used
            line.full += seconds * use.saturated
            line.peak = max(line.peak, use.used)
            line.slowed += seconds * use.slowed
        self.workers.used += seconds * self.flying
        self.workers.full += seconds * (self.flying >= self.workers.capacity)
        self.workers.peak = max(self.workers.peak, float(self.flying))
        self._ran += seconds * self.flying

    def sample(self) -> None:
        """Close a stretch of time."""
        now = self._world.now
        seconds = (now - self._sampled).total_seconds()
        if seconds <= 0:
            return
        for scope in self._watched:
            scope.measure(now)
            self._use(scope.key).used = scope.used
        used: dict[ScopeKey, float] = {}
        for key, use in {**self.record.scopes, WORKERS: self.workers}.items():
            used[key] = (use.used - self._before.get(key, 0.0)) / seconds
            self._before[key] = use.used
        reasons = {reason: waited / seconds for reason, waited in self._waited.items() if waited}
        self.record.samples.append(
            Sample(self._sampled, used, sum(reasons.values()), self._ran / seconds, dict(sorted(reasons.items())))
        )
        self._sampled, self._ran = now, 0.0
        self._waited.clear()

    def close(self, open_fires: int) -> None:
        """Take stock at the end."""
        self.look()
        self.sample()
        record = self.record
        record.open_fires = open_fires
        record.open_jobs = sum(row.wish is None for row in self._world.jobs.values())
        for item in self._world.items.values():
            self._judge(item, item.newest_point_at or item.created_at)
        for row in self._world.jobs.values():
            if row.wish is not None:
                counts = self._wished(row)
                counts.late += counts.within is not None and self._since(row.wish) > counts.within
        for scope in self._watched:
            use = self._use(scope.key)
            use.used, use.full, use.peak = scope.used, scope.full, float(scope.peak)
        record.scopes[WORKERS] = self.workers

    def _use(self, key: ScopeKey, capacity: float = 0) -> ScopeUse:
        if key == WORKERS:
            return self.workers
        use = self.record.scopes.get(key)
        if use is None:
            scope = self._world.scopes.get(key)
            use = self.record.scopes[key] = ScopeUse(capacity if scope is None else scope.capacity)
        return use

    def _judge(self, item: ItemRow, previous: datetime) -> None:
        """Count by how much the point before now was older than promised, now that it is replaced or all is over."""
        rpo = self._rpo(item)
        late = 0.0 if rpo is None else (self._world.now - previous - timedelta(seconds=rpo)).total_seconds()
        if late > 0:
            counts = self._counts(item)
            counts.late_items.add(item.id)
            counts.late_seconds += late

    def _since(self, wish: Wish) -> float:
        return (self._world.now - self.record.start).total_seconds() - wish.wanted_at

    def _wished(self, row: JobRow) -> WishCounts:
        return self.record.wishes[row.kind, "" if row.wish is None else row.wish.name]

    def _counts(self, item: ItemRow) -> PolicyCounts:
        return self.record.policies["" if item.policy is None else item.policy.name]

    @staticmethod
    def _rpo(item: ItemRow) -> int | None:
        return item.rpo if item.rpo is not None or item.policy is None else item.policy.spec.rpo
