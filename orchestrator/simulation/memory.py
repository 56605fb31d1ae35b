"""The ports of the tower over the simulated world: what the planner, the dispatcher and the rescuer need of a database.

Rule of the file: a method means what its port says; what no simulated use case calls is absent, and calling it is a
defect that shows at once.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta
from itertools import islice
from types import TracebackType
from typing import Any, NoReturn, Self, cast

from orchestrator.domain.admission import Candidate, Holder, Needs
from orchestrator.domain.inventory import AuditLine, Named
from orchestrator.domain.job_states import JobState, PointState
from orchestrator.domain.jobs import Ending, Job, NewJob
from orchestrator.domain.policy import PolicySpec
from orchestrator.domain.retry import FINISH_BY
from orchestrator.domain.slots import GLOBAL, Room, Scope, ScopeKey, room_of
from orchestrator.domain.system import Numbers
from orchestrator.domain.work import LostShard
from orchestrator.simulation.ledger import MemoryLedger
from orchestrator.simulation.rows import JobRow
from orchestrator.simulation.waiting import Group, in_order
from orchestrator.simulation.world import World
from orchestrator.use_cases import ports
from shared.contracts.work import Fence
from shared.model.backup import JobKind

_OPEN = (JobState.SCHEDULED, JobState.AVAILABLE, JobState.RETRYABLE)


class _Absent:
    """A port, or the part of one, that no simulated use case touches."""

    def __getattr__(self, name: str) -> NoReturn:
        raise AssertionError(f"the simulation has no {type(self).__name__}.{name}")


class MemoryUnitOfWork:
    """The port ``UnitOfWork``. Everything is durable at once, and nothing is ever undone."""

    def __init__(self, world: World, ledger: MemoryLedger) -> None:
        self._world = world
        self.ledger = cast(ports.Ledger, ledger)
        self.jobs = cast(ports.Jobs, MemoryJobs(world))
        self.units = cast(ports.Units, MemoryUnits(world))
        self.shards = cast(ports.Shards, MemoryShards())
        self.admission = cast(ports.Admission, MemoryAdmission(world))
        self.policies = cast(ports.Policies, MemoryPolicies(world))
        self.audit = cast(ports.Audit, MemoryAudit())
        self.machines = cast(ports.Machines, _Absent())
        self.vaults = cast(ports.Vaults, _Absent())
        self.items = cast(ports.Items, MemoryItems(world))
        self.slots = cast(ports.Slots, _Absent())
        self.tenants = cast(ports.Tenants, _Absent())
        self.outbox = cast(ports.Outbox, _Absent())
        self.points = cast(ports.Points, MemoryPoints(world))
        self.retention = cast(ports.Retention, _Absent())
        self.collecting = cast(ports.Collecting, _Absent())
        self.keys = cast(ports.IdempotencyKeys, _Absent())
        self.workers = cast(ports.Workers, _Absent())
        self.leaders = cast(ports.Leaders, _Absent())
        self.objectives = cast(ports.Objectives, _Absent())
        self.sights = cast(ports.Sights, _Absent())
        self.alarms = cast(ports.Alarms, _Absent())
        self.messages = cast(ports.Messages, _Absent())

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        """Do nothing: there is nothing to give back."""

    def commit(self) -> None:
        """Do nothing: it is durable already."""

    def relax(self) -> None:
        """Do nothing: there is no disk to wait for."""

    def now(self) -> datetime:
        """Return the simulated time."""
        return self._world.now

    def wake(self) -> None:
        """Have the loops tick."""
        self._world.woken = True

    def schema(self) -> str:
        """Raise: there is no database."""
        raise AssertionError("the simulation has no schema")

    def numbers(self) -> Numbers:
        """Raise: the simulation has a report of its own."""
        raise AssertionError("the simulation has no metrics")

    def count_by_state(self) -> Mapping[str, int]:
        """Return the number of open jobs in every state."""
        counted = Counter(row.state for row in self._world.jobs.values())
        return {state: counted[state] for state in JobState}


class MemoryAudit:
    """The port ``Audit``: nobody reads what a simulation would write."""

    def append(self, **line: object) -> None:
        """Forget a line."""

    def append_all(self, lines: object) -> None:
        """Forget lines."""


class MemoryShards(_Absent):
    """The part of the port ``Shards`` that a rescue needs: simulated backups have none."""

    def free_expired(self, *, margin: float, limit: int) -> Sequence[LostShard]:  # noqa: ARG002 - the port's signature
        """Return no shards."""
        return []


class MemoryPolicies(_Absent):
    """The part of the port ``Policies`` that admission needs."""

    def __init__(self, world: World) -> None:
        self._world = world

    def waiting(self) -> Mapping[str, PolicySpec]:
        """Return the policies with a window or blackouts whose scheduled jobs wait."""
        names = {group.policy for group in self._world.waiting.groups() if group.policy is not None}
        specs = {name: self._world.policies[name].spec for name in sorted(names)}
        return {name: spec for name, spec in specs.items() if spec.window is not None or spec.blackouts}


class MemoryItems(_Absent):
    """The part of the port ``Items`` that a request needs."""

    def __init__(self, world: World) -> None:
        self._world = world

    def get(self, ref: str, *, removed: bool = False) -> Named:  # noqa: ARG002 - the port's signature
        """Return an item as far as a request for its newest point looks at it."""
        return Named(self._world.items[ref].id, ref)


@dataclass(frozen=True, slots=True)
class NewestPoint:
    """An item's newest point as far as a request looks at it."""

    id: str
    item: Named
    machine: Named
    vault: Named
    state: PointState = PointState.SEALED  # nothing expires in a simulation


class MemoryPoints(_Absent):
    """The part of the port ``Points`` that a request needs: of every item there is its newest point."""

    def __init__(self, world: World) -> None:
        self._world = world

    def newest(self, item_id: str) -> NewestPoint | None:
        """Return the item's newest point."""
        item = self._world.items[item_id]
        return None if item.newest_point_at is None else self.share(f"{item.id}@{item.newest_point_at:%Y%m%dT%H%M%S}")

    def share(self, point_id: str) -> NewestPoint:
        """Return a point by its id, which names its item."""
        item = self._world.items[point_id.rpartition("@")[0]]
        named, machine, vault = (Named(name, name) for name in (item.id, item.machine_id, item.vault_id))
        return NewestPoint(point_id, named, machine, vault)


class MemoryJobs(_Absent):
    """The part of the port ``Jobs`` that the planner and the dispatcher need."""

    def __init__(self, world: World) -> None:
        self._world = world

    def add(self, jobs: Sequence[NewJob]) -> None:
        """Keep jobs."""
        for job in jobs:
            self._world.add_job(job)

    def get(self, ref: str) -> Job:
        """Return an open job."""
        return self._world.jobs[ref].as_job()

    def lock(self, ref: str) -> Job:
        """Return an open job."""
        return self._world.jobs[ref].as_job()

    def end_attempt(
        self,
        job: Job,
        ending: Ending,
        *,
        completed: Fence | None = None,  # noqa: ARG002 - the port's signature
        told: AuditLine | None = None,  # noqa: ARG002 - the port's signature
    ) -> None:
        """Apply an ending; ``stale-claim``."""
        self._world.end_attempt(job, ending)

    def waiting_backups(self, item_ids: Sequence[str]) -> Mapping[str, Sequence[Job]]:
        """Return the backups of these items that hold no slots, by item, in the order of the queue."""
        found: dict[str, Sequence[Job]] = {}
        for item_id in item_ids:
            rows = [
                row
                for row in self._world.items[item_id].open_jobs
                if row.kind is JobKind.BACKUP and row.state in _OPEN and row.admitted_at is None
            ]
            if rows:
                rows.sort(key=lambda row: (row.aged_rank, row.latest_start, row.id))
                found[item_id] = [row.as_job() for row in rows]
        return found

    def active_backups(self, item_ids: Sequence[str]) -> Mapping[str, Sequence[str]]:
        """Return the ids of the backups of these items that have not ended, by item."""
        found: dict[str, Sequence[str]] = {}
        for item_id in item_ids:
            ids = sorted(row.id for row in self._world.items[item_id].open_jobs if row.kind is JobKind.BACKUP)
            if ids:
                found[item_id] = ids
        return found


class MemoryUnits(_Absent):
    """The part of the port ``Units`` that the rescuer needs. A lease ends only when its worker is gone."""

    def __init__(self, world: World) -> None:
        self._world = world

    def lease_count(self) -> int:
        """Return how many leases exist."""
        return len(self._world.leased)

    def expired_count(self, *, margin: float) -> int:
        """Return how many leases ended more than ``margin`` seconds ago."""
        return len(self._expired(margin))

    def lock_expired(self, *, margin: float, limit: int) -> Sequence[Job]:
        """Return owned jobs whose lease is over: those that ended first, by id."""
        first = sorted(self._expired(margin))[:limit]
        return [self._world.jobs[job_id].as_job() for job_id in sorted(job_id for _, job_id in first)]

    def _expired(self, margin: float) -> list[tuple[datetime, str]]:
        before = self._world.now - timedelta(seconds=margin)
        return [(end, job_id) for job_id, end in self._world.lease_ends.items() if end < before]


class MemoryAdmission(_Absent):
    """The part of the port ``Admission`` that a tick needs."""

    def __init__(self, world: World) -> None:
        self._world = world

    def enter(self) -> bool:
        """Return True: nobody else admits."""
        return True

    def count_returns(self) -> int:
        """Nothing waits to be counted: here a slot is back the moment its job ends."""
        return 0

    def promote_due(self, *, limit: int, retries: int, tripped: Sequence[str]) -> int:
        """Move due jobs to available."""
        due = [*self._world.ripe_fresh(limit), *self._world.ripe_again(retries, tripped)]
        for row in due:
            self._world.promote(row)
        return len(due)

    def recent_ends(self, *, seconds: float) -> Mapping[str, int]:
        """Return how attempts have ended lately."""
        return self._world.recent_ends(seconds)

    def retries_running(self) -> int:
        """Return how many jobs have a second attempt, or a later one, running or ready to run."""
        return self._world.retries

    def slots_in_all(self) -> int:
        """Return the capacity of the whole installation."""
        return self._world.scopes[GLOBAL].capacity

    def age(self, *, limit: int) -> int:
        """Move jobs that have waited long enough up a class."""
        ripe = list(self._world.ripe_for_age(limit))
        for row in ripe:
            self._world.age(row)
        return len(ripe)

    def overdue_starts(self, *, limit: int) -> Sequence[str]:
        """Return the jobs whose time to start is over."""
        return [row.id for row in self._world.overdue_starts(limit)]

    def stop_overdue(self, *, limit: int) -> Sequence[str]:
        """Ask running jobs whose time to finish is over to stop."""
        late = list(self._world.overdue_finishes(limit))
        for row in late:
            self._world.ask_to_stop(row, FINISH_BY)
        return [row.id for row in late]

    def room(self, candidates: Sequence[Candidate]) -> Mapping[ScopeKey, Room]:
        """Return what is left on the scopes that these candidates touch."""
        return _Rooms(self._world, candidates)

    def holders(self, candidates: Sequence[Candidate]) -> Mapping[ScopeKey, Sequence[Holder]]:
        """Return who holds slots of the scopes that these candidates touch."""
        touched = _Rooms(self._world, candidates)
        return {key: list(self._world.scopes[key].holders.values()) for key in touched}

    def tenants(self) -> tuple[Mapping[str, int], Mapping[str, int]]:
        """Return the weights of the tenants, and how many admitted jobs each has."""
        return self._world.weights, {name: count for name, count in self._world.tenants_running.items() if count}

    def candidates(
        self, *, closed_policies: Sequence[str], besides: Sequence[ScopeKey] = (), limit: int
    ) -> Sequence[Candidate]:
        """Return startable jobs, so many of each tenant (``candidates``)."""
        closed = _Closed(self._world, besides)
        found: list[Candidate] = []
        open_groups: dict[str, list[Group]] = {}
        for group in self._world.waiting.groups():
            if group.policy not in closed_policies and closed.leaves(group):
                open_groups.setdefault(group.tenant, []).append(group)
        for groups in open_groups.values():
            startable = (row.candidate() for row in in_order(groups) if self._may_start(row, besides))
            found.extend(islice(startable, limit))
        return found

    def heads(self, *, closed_policies: Sequence[str], limit: int) -> Sequence[Candidate]:
        """Return the first jobs that at most slots keep from starting, in order (``heads``)."""
        paused = {scope.key for scope in self._world.shared.values() if scope.paused}
        groups = [
            group
            for group in self._world.waiting.groups()
            if group.policy not in closed_policies and paused.isdisjoint(group.touched)
        ]
        startable = (row.candidate() for row in in_order(groups) if not _is_busy(row) and not self._is_paused(row))
        return list(islice(startable, limit))

    def admit(self, needs: Sequence[Needs]) -> None:
        """Take the slots of jobs; all or nothing."""
        self._world.admit(needs)

    def _may_start(self, row: JobRow, besides: Sequence[ScopeKey]) -> bool:
        places = row.places
        if _is_busy(row):
            return False
        machine = self._world.scopes.get((Scope.MACHINE, places.machine_id))
        if machine is not None and (machine.closed_to(row.kind) or machine.key in besides):
            return False
        line = None if row.queued_in is None else row.queued_in.line
        return line is None or not self._world.scopes[line].closed_to(row.kind, places.mib_per_second)

    def _is_paused(self, row: JobRow) -> bool:
        machine = self._world.scopes.get((Scope.MACHINE, row.places.machine_id))
        return machine is not None and machine.paused


class _Closed:
    """The scopes that have nothing left, those of machines apart: for restores, and for all other jobs."""

    def __init__(self, world: World, besides: Sequence[ScopeKey]) -> None:
        self._scopes = world.scopes
        shared = world.shared.values()
        self._to_restores = {scope.key for scope in shared if scope.closed_to(JobKind.RESTORE)}.union(besides)
        self._to_others = {scope.key for scope in shared if scope.closed_to(JobKind.BACKUP)}.union(besides)

    def leaves(self, group: Group) -> bool:
        """Tell whether jobs of a group may start."""
        if not (self._to_restores if group.kind is JobKind.RESTORE else self._to_others).isdisjoint(group.touched):
            return False
        return group.line is None or not self._scopes[group.line].closed_to(group.kind, group.least_need())


def _is_busy(row: JobRow) -> bool:
    return row.kind is JobKind.BACKUP and row.item.busy > 0


class _Rooms(Mapping[ScopeKey, Room]):
    """What is left on the scopes that candidates touch, as it is when it is first asked for."""

    def __init__(self, world: World, candidates: Sequence[Candidate]) -> None:
        self._scopes = world.scopes
        self._candidates = candidates
        self._known: dict[ScopeKey, Room] = {}

    def __getitem__(self, key: ScopeKey) -> Room:
        room = self._known.get(key)
        if room is None:
            scope = self._scopes[key]
            room = self._known[key] = room_of(
                capacity=scope.capacity, in_use=scope.in_use, floor=scope.floor, paused=scope.paused
            )
        return room

    def get(self, key: ScopeKey, default: Any = None) -> Any:
        """Return the room of a scope that exists, else the default."""
        return self._known.get(key) or (self[key] if key in self._scopes else default)

    def __contains__(self, key: object) -> bool:
        return key in self._scopes

    def __iter__(self) -> Iterator[ScopeKey]:
        touched = {key: None for candidate in self._candidates for key, _ in candidate.places.needs()}
        return (key for key in touched if key in self._scopes)

    def __len__(self) -> int:
        return sum(1 for _ in self)
