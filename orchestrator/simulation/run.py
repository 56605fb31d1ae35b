"""Runs a fleet: the tower's own use cases, tick by tick, between what the model has happen.

The clock jumps to the next thing that can happen: the end of an attempt, a fire to plan or to file, something that
becomes due, older or too late. Ticks stand on a grid of the fleet's rhythm; while jobs wait there is one a minute at
least, because windows open and reservations move by time alone.

Rule of the file: it calls ``plan_fires``, ``file_fires``, ``rescue`` and ``admit`` and decides nothing itself.
"""

from __future__ import annotations

import gc
import math
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from datetime import datetime, timedelta

from orchestrator.domain.work import RESCUE_MARGIN_SECONDS
from orchestrator.simulation.fleet import Fleet
from orchestrator.simulation.flying import Flying
from orchestrator.simulation.ledger import MemoryLedger
from orchestrator.simulation.memory import MemoryUnitOfWork
from orchestrator.simulation.population import populate
from orchestrator.simulation.record import Record, Recorder
from orchestrator.simulation.wishes import Wishes
from orchestrator.simulation.world import World
from orchestrator.use_cases.admit import admit
from orchestrator.use_cases.plan_fires import file_fires, plan_fires
from orchestrator.use_cases.rescue import BATCH, rescue

LOOK_EVERY = 60.0
"""Seconds between two looks at what waits for what, and between two ticks at most while something waits."""

_SAMPLES = 336
"""Stretches of time that a report shows: half hours of a week."""


def simulate(fleet: Fleet, *, days: int | None = None, seed: int = 0) -> Record:
    """Run a fleet for so many days (the fleet's own without) and return what happened; the same for the same seed."""
    with _uncollected():
        return Simulation(fleet, days=days or fleet.days, seed=seed).run()


class Simulation:
    """One run. ``on_tick`` is called after every tick of the tower, for whoever watches."""

    def __init__(self, fleet: Fleet, *, days: int, seed: int) -> None:
        self._fleet = fleet
        self._length = days * 86400.0
        self.world = World(fleet.start)
        loads = populate(self.world, fleet, seed)
        end = fleet.start + timedelta(days=days)
        record = Record(fleet.start, end, items=fleet.items, step=fleet.rhythm, seed=seed)
        self._recorder = Recorder(self.world, record)
        self.world.on_end = self._recorder.ended
        self.ledger = MemoryLedger(self.world, self._recorder.settled)
        for item in self.world.items.values():
            self.ledger.follow(item)
        self._flying = Flying(self.world, fleet, loads, self._recorder, seed)
        self._uow = MemoryUnitOfWork(self.world, self.ledger)
        ids = _ids()
        self._next_id = ids.__next__
        self._wishes = Wishes(self.world, self._uow, loads, self._next_id, self._recorder)
        self._wishes.begin(fleet, seed)
        self.on_tick: Callable[[], None] | None = None
        self._now = 0.0
        self._ticked = -math.inf
        self._storm_since: float | None = None

    def run(self) -> Record:
        """Run to the end."""
        stretch = max(LOOK_EVERY, self._length / _SAMPLES)
        look, sample = LOOK_EVERY, stretch
        while True:
            tick = self._next_tick()
            happens, wanted = _or_never(self._flying.next_at()), self._next_wish()
            now = min(look, sample, tick, happens, wanted, self._length)
            self._now, self.world.now = now, self._fleet.start + timedelta(seconds=now)
            if happens <= now < self._length:
                self._flying.happen(now)
                if self.world.unclaimed():
                    self._flying.take_off(now)
                continue
            if wanted <= now < self._length:
                self._wishes.happen()
                continue
            if tick <= now < self._length:
                self._tick(now)
            if look <= now:
                self._recorder.look()
                look += LOOK_EVERY
            if sample <= now:
                self._recorder.sample()
                sample += stretch
            if now >= self._length:
                break
        self._recorder.close(self.ledger.unsettled())
        return self._recorder.record

    def _next_wish(self) -> float:
        """Return when somebody asks for something next: with the tower down nobody is answered."""
        at = self._wishes.next_at()
        if at is None or self._flying.tower_down:
            return math.inf
        return max(at, self._now)

    def _next_tick(self) -> float:
        """Return when the tower has to look next, on the grid."""
        if self._flying.tower_down:
            return math.inf
        world, rhythm = self.world, self._fleet.rhythm
        earliest = 0.0 if self._ticked < 0 else self._ticked + rhythm
        if world.woken or self._ticked < 0:
            wanted = self._now
        else:
            times = [self.ledger.next_at(), world.next_by_time(), self._next_rescue()]
            wanted = min((self._seconds(at) for at in times if at is not None), default=math.inf)
            if any(True for _ in world.waiting.groups()):
                wanted = min(wanted, self._ticked + LOOK_EVERY)
        if wanted == math.inf:
            return wanted
        return max(earliest, math.ceil(wanted / rhythm) * rhythm)

    def _tick(self, now: float) -> None:
        self._ticked, self.world.woken = now, False
        self._recorder.record.ticks += 1
        moment = self.world.now
        planning = self.ledger.next_at()
        if planning is not None and planning <= moment:
            while plan_fires(self._uow, now=moment):
                pass
            while file_fires(self._uow, now=moment, ids=self._next_id):
                pass
        if self._next_rescue() is not None:
            self._rescue(now)
        admit(self._uow)
        self.world.woken = False
        if self.on_tick is not None:
            self.on_tick()
        self._flying.take_off(now)

    def _rescue(self, now: float) -> None:
        """Rescue as the rescuer does, who remembers only since when it holds its hand."""
        again = True
        while again:
            age = 0.0 if self._storm_since is None else now - self._storm_since
            result = rescue(self._uow, storm_age=age, chance=self._flying.chance.random)
            if result.held_back and self._storm_since is None:
                self._storm_since = now
            elif not result.held_back and not result.jobs:
                self._storm_since = None
            again = result.jobs == BATCH

    def _next_rescue(self) -> datetime | None:
        if not self.world.lease_ends:
            return None
        first = min(self.world.lease_ends.values()) + timedelta(seconds=RESCUE_MARGIN_SECONDS)
        return max(first, self.world.now) if self._storm_since is not None else first

    def _seconds(self, moment: datetime) -> float:
        return (moment - self._fleet.start).total_seconds()


def _or_never(at: float | None) -> float:
    return math.inf if at is None else at


@contextmanager
def _uncollected() -> Iterator[None]:
    """Have no garbage be looked for: a run leaves none in circles, and looking takes a third of a large one's time."""
    was_enabled = gc.isenabled()
    gc.disable()
    try:
        yield
    finally:
        if was_enabled:
            gc.enable()


def _ids() -> Iterator[str]:
    """Yield ids that sort in the order in which they are made, as those of the tower do."""
    number = 0
    while True:
        number += 1
        yield f"{number:012d}"
