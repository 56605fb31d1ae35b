"""The modelled outside: workers that fly admitted jobs, vaults that may be down, attempts that fail.

The model, in whole: a free seat takes the job that was admitted first. Its attempt moves the item's MiB through the
shared lines (``lines``) and then needs the fleet's ``overhead`` to seal. A share of attempts fails on the way. A worker
that dies takes its attempts with it and their leases run out; so does one that can't reach the tower for 40 s. What
touches a vault that is down fails a minute later. A worker hears at its next renewal that its job is to stop.

Rule of the file: what an end means for a job is the domain's (``retry``); here is only when and how attempts end.
"""

from __future__ import annotations

import heapq
import random
from collections import deque
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from datetime import timedelta
from functools import partial

from orchestrator.domain.estimate import with_run
from orchestrator.domain.job_states import JobState
from orchestrator.domain.jobs import Ending
from orchestrator.domain.retry import after_cancel, after_failure
from orchestrator.domain.work import LEASE_SECONDS, RENEW_EVERY_SECONDS, STOP_AFTER_SECONDS
from orchestrator.simulation.fleet import TOWER, WORKERS, Fleet
from orchestrator.simulation.lines import Lines
from orchestrator.simulation.population import Load
from orchestrator.simulation.record import Recorder
from orchestrator.simulation.rows import JobRow
from orchestrator.simulation.world import World
from shared.model.backup import BackupType, JobKind

VAULT_PATIENCE = 60.0
"""Seconds after which a worker gives up on a vault that does not answer."""


@dataclass(slots=True, eq=False)
class Worker:
    """A worker process. ``life`` counts its restarts: seats of an earlier life are nobody's."""

    name: str
    kind: str
    slots: int
    mib_per_second: float
    life: int = 0
    up: bool = True
    flights: dict[str, Flight] = field(default_factory=dict)


@dataclass(slots=True, eq=False)
class Flight:
    """An attempt on its way. ``fails_with`` is the code with which it will end, if it will."""

    row: JobRow
    worker: Worker
    life: int
    mib: float
    fails_with: str | None
    ticket: int | None = None
    over: bool = False


class Flying:
    """Who works on what. ``now`` is in seconds after the start; the caller moves the world's clock with it."""

    def __init__(self, world: World, fleet: Fleet, loads: Mapping[str, Load], recorder: Recorder, seed: int) -> None:
        self._world = world
        self._fleet = fleet
        self._loads = loads
        self._recorder = recorder
        self.chance = random.Random(f"{seed}/flying")  # noqa: S311 - drawn to be repeated, not to be secret
        self.lines = Lines(fleet.lines, fleet.vaults)
        self._workers = [
            Worker(f"{kind.name}-{number}", kind.name, kind.slots, kind.mib_per_second)
            for kind in fleet.workers
            for number in range(kind.count)
        ]
        self._free = deque(
            (worker, 0)
            for seat in range(max(w.slots for w in self._workers))
            for worker in self._workers
            if seat < worker.slots
        )
        recorder.workers.capacity, recorder.lines = len(self._free), self.lines
        self._by_ticket: dict[int, Flight] = {}
        self._by_job: dict[str, Flight] = {}
        self._timed: list[tuple[float, int, Callable[[float], None]]] = []
        self._numbers = 0
        self._down: set[str] = set()
        self._shares = list(fleet.failures.items())
        world.on_stop = self._asked_to_stop
        for outage in fleet.outages:
            self._at(outage.begins, partial(self._fails, outage.what))
            self._at(outage.ends, partial(self._comes_up, outage.what))
        self._plan_loss(0.0)

    @property
    def tower_down(self) -> bool:
        """Whether no loop of the tower runs."""
        return TOWER in self._down

    def next_at(self) -> float | None:
        """Return when something happens next."""
        times = [at for at in (self._timed[0][0] if self._timed else None, self.lines.next_end()) if at is not None]
        return min(times, default=None)

    def happen(self, now: float) -> None:
        """Have the next thing happen, whose time is now."""
        if self._timed and self._timed[0][0] <= now:
            heapq.heappop(self._timed)[2](now)
            return
        ticket = self.lines.take_done(now)
        if ticket is not None:
            flight = self._by_ticket.pop(ticket)
            flight.ticket = None
            if flight.fails_with is not None:
                self._report(flight, now, lambda: self._fail(flight, flight.fails_with or ""))
            else:
                self._at(now + self._fleet.overhead, lambda at: self._report(flight, at, lambda: self._finish(flight)))

    def take_off(self, now: float) -> None:
        """Have free seats claim what is admitted."""
        while self._free and not self.tower_down:
            worker, life = self._free[0]
            if life != worker.life:
                self._free.popleft()
                continue
            row = self._world.claim(worker.name)
            if row is None:
                return
            self._free.popleft()
            self._begin(Flight(row, worker, life, self._to_move(row), self._draw_failure()), now)

    def _begin(self, flight: Flight, now: float) -> None:
        row = flight.row
        self._recorder.flying += 1
        self._recorder.started(row)
        self._by_job[row.id] = flight
        flight.worker.flights[row.id] = flight
        if row.item.vault_id in self._down:
            self._gives_up(flight, now)
            return
        share = 1.0 if flight.fails_with is None else self.chance.random()
        key = (row.item.location, row.item.vault_id, flight.worker.mib_per_second)
        flight.ticket = self.lines.start(key, flight.mib * share, now=now)
        self._by_ticket[flight.ticket] = flight

    def _to_move(self, row: JobRow) -> float:
        if row.wish is not None:
            return row.wish.mib
        load = self._loads[row.item.id]
        since = {BackupType.FULL: None, BackupType.DIFFERENTIAL: load.last_full}.get(
            row.requested_type or BackupType.INCREMENTAL, load.last
        )
        row.type = BackupType.FULL if since is None else row.requested_type
        return load.to_move(since=since, now=self._world.now)

    def _draw_failure(self) -> str | None:
        if not self._shares:
            return None
        drawn = self.chance.random()
        for code, share in self._shares:
            drawn -= share
            if drawn < 0:
                return code
        return None

    def _report(self, flight: Flight, now: float, end: Callable[[], None]) -> None:
        """Have an attempt end, once the tower listens; until then it is told again every second."""
        if flight.over:
            return
        if self.tower_down:
            self._at(now + 1.0, lambda at: self._report(flight, at, end))
        else:
            end()

    def _gives_up(self, flight: Flight, now: float) -> None:
        later = now + VAULT_PATIENCE
        self._at(later, lambda at: self._report(flight, at, lambda: self._fail(flight, "store-unreachable")))

    def _finish(self, flight: Flight) -> None:
        row = flight.row
        seconds = max(1.0, (self._world.now - (row.attempt_started_at or self._world.now)).total_seconds())
        if row.kind is JobKind.BACKUP:
            self._seal(flight, seconds)
            return
        self._land(flight)
        self._world.end(row, Ending(state=JobState.COMPLETED, losses=row.losses, attempt=row.attempt))
        self._recorder.granted(row, seconds, flight.mib)

    def _seal(self, flight: Flight, seconds: float) -> None:
        row, load = flight.row, self._loads[flight.row.item.id]
        previous = row.item.newest_point_at or row.item.created_at
        row.item.runs = tuple(with_run(row.item.runs, seconds))
        row.item.rates = tuple(with_run(row.item.rates, flight.mib / seconds))
        row.item.newest_point_at = load.last = self._world.now
        if row.type is BackupType.FULL:
            load.last_full = self._world.now
        self._land(flight)
        done = Ending(state=JobState.COMPLETED, losses=row.losses, attempt=row.attempt, type=row.type)
        self._world.end(row, done)
        self._recorder.sealed(row, previous, seconds, flight.mib)

    def _fail(self, flight: Flight, code: str) -> None:
        self._land(flight)
        row = flight.row
        message = "the model has it fail"
        self._world.end(row, after_failure(row.as_job(), code=code, message=message, chance=self.chance.random()))

    def _asked_to_stop(self, row: JobRow) -> None:
        flight = self._by_job.get(row.id)
        if flight is not None:
            now = (self._world.now - self._fleet.start).total_seconds()
            heard = now + self.chance.uniform(0, RENEW_EVERY_SECONDS)
            self._at(heard, lambda at: self._report(flight, at, lambda: self._stop(flight)))

    def _stop(self, flight: Flight) -> None:
        self._land(flight)
        self._world.end(flight.row, after_cancel(flight.row.as_job()))

    def _fails(self, what: str, now: float) -> None:
        """Have the tower or a vault be down from now on."""
        self._down.add(what)
        if what == TOWER:
            self._at(now + STOP_AFTER_SECONDS, lambda _: self._all_out_of_touch())
            return
        if what.startswith(f"{WORKERS}/"):
            for worker in self._workers:
                if f"{WORKERS}/{worker.kind}" == what and worker.up:
                    self._die(worker)
            return
        for flight in list(self._by_job.values()):
            if flight.row.item.vault_id == what and flight.ticket is not None:
                self.lines.stop(flight.ticket, now=now)
                del self._by_ticket[flight.ticket]
                flight.ticket = None
                self._gives_up(flight, now)

    def _comes_up(self, what: str, _: float) -> None:
        self._down.discard(what)
        self._world.woken = True
        for worker in self._workers:
            if f"{WORKERS}/{worker.kind}" == what:
                self._comes_back(worker)

    def _all_out_of_touch(self) -> None:
        if self.tower_down:
            for flight in list(self._by_job.values()):
                self._lose(flight)
                self._free.append((flight.worker, flight.life))

    def _plan_loss(self, now: float) -> None:
        if self._fleet.losses_per_day > 0:
            self._at(now + self.chance.expovariate(self._fleet.losses_per_day / 86400), self._worker_dies)

    def _worker_dies(self, now: float) -> None:
        self._plan_loss(now)
        worker = self.chance.choice(self._workers)
        if worker.up:
            self._die(worker)
            self._at(now + self._fleet.back_after, lambda _: self._comes_back(worker))

    def _die(self, worker: Worker) -> None:
        worker.up, worker.life = False, worker.life + 1
        for flight in list(worker.flights.values()):
            self._lose(flight)

    def _comes_back(self, worker: Worker) -> None:
        if worker.up or f"{WORKERS}/{worker.kind}" in self._down:
            return
        worker.up = True
        self._free.extend((worker, worker.life) for _ in range(worker.slots))
        self._world.woken = True

    def _lose(self, flight: Flight) -> None:
        """Have nobody renew an attempt's lease any more: it was renewed less than 15 s ago."""
        self._depart(flight)
        left = LEASE_SECONDS - self.chance.uniform(0, RENEW_EVERY_SECONDS)
        self._world.lease_ends[flight.row.id] = self._world.now + timedelta(seconds=left)

    def _land(self, flight: Flight) -> None:
        self._depart(flight)
        self._free.append((flight.worker, flight.life))

    def _depart(self, flight: Flight) -> None:
        flight.over = True
        self._recorder.flying -= 1
        del self._by_job[flight.row.id], flight.worker.flights[flight.row.id]
        if flight.ticket is not None:
            now = (self._world.now - self._fleet.start).total_seconds()
            self.lines.stop(flight.ticket, now=now)
            del self._by_ticket[flight.ticket]
            flight.ticket = None

    def _at(self, when: float, what: Callable[[float], None]) -> None:
        self._numbers += 1
        heapq.heappush(self._timed, (when, self._numbers, what))
