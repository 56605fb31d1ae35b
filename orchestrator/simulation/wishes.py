"""What people ask of the tower while it plans and admits: restores, one by one or in masses, and verifies.

Rule of the file: when somebody asks for what; the asking itself is done by the use cases that the API calls.
"""

from __future__ import annotations

import heapq
import random
from collections.abc import Callable, Mapping, Sequence
from itertools import cycle, islice
from typing import cast

from orchestrator.domain.jobs import Accepted
from orchestrator.simulation.fleet import Fleet, ItemGroup, Restores, Verifies
from orchestrator.simulation.memory import MemoryUnitOfWork
from orchestrator.simulation.population import Load, draw
from orchestrator.simulation.record import Recorder, WishCounts
from orchestrator.simulation.rows import ItemRow, Wish
from orchestrator.simulation.world import World
from orchestrator.use_cases.ports import UnitOfWork
from orchestrator.use_cases.request_restore import request_restore
from orchestrator.use_cases.request_verify import request_verify
from shared.model.backup import JobKind

_MOST_TRIES = 100
"""So many items are drawn until one has a point to be restored; then nobody asks."""


class Wishes:
    """Asks when it is time, in seconds after the start. While the tower is down the caller does not let it ask."""

    def __init__(
        self, world: World, uow: MemoryUnitOfWork, loads: Mapping[str, Load], ids: Callable[[], str], recorder: Recorder
    ) -> None:
        self._world = world
        self._uow = cast(UnitOfWork, uow)
        self._loads = loads
        self._ids = ids
        self._recorder = recorder
        self._timed: list[tuple[float, int, Callable[[float], None]]] = []
        self._numbers = 0

    def begin(self, fleet: Fleet, seed: int) -> None:
        """Have the fleet's restores and verifies be asked for from now on."""
        counts = self._recorder.record.wishes
        for restores in fleet.restores:
            counts[JobKind.RESTORE, restores.name] = WishCounts(JobKind.RESTORE, within=restores.within)
            chance = random.Random(f"{seed}/restores/{restores.name}")  # noqa: S311 - drawn to be repeated
            self._begin_restores(restores, self._items(fleet, restores.is_of), chance)
        for verifies in fleet.verifies:
            counts[JobKind.VERIFY, verifies.name] = WishCounts(JobKind.VERIFY)
            chance = random.Random(f"{seed}/verifies/{verifies.name}")  # noqa: S311 - drawn to be repeated
            self._begin_verifies(verifies, self._items(fleet, verifies.is_of), chance)

    def next_at(self) -> float | None:
        """Return when somebody asks next."""
        return self._timed[0][0] if self._timed else None

    def happen(self) -> None:
        """Have the next one ask."""
        wanted_at, _, ask = heapq.heappop(self._timed)
        ask(wanted_at)

    def _begin_restores(self, restores: Restores, items: Sequence[ItemRow], chance: random.Random) -> None:
        def all_at_once(wanted_at: float) -> None:
            ready = [item for item in items if item.newest_point_at is not None]
            for item in chance.sample(ready, min(restores.count, len(ready))):
                self._restore(restores, item, chance, wanted_at)

        def one(wanted_at: float) -> None:
            self._at(wanted_at + chance.expovariate(restores.per_day / 86400), one)
            drawn = (chance.choice(items) for _ in range(_MOST_TRIES))
            item = next((item for item in drawn if item.newest_point_at is not None), None)
            if item is not None:
                self._restore(restores, item, chance, wanted_at)

        if restores.at is not None:
            self._at(restores.at, all_at_once)
        else:
            self._at(chance.expovariate(restores.per_day / 86400), one)

    def _restore(self, restores: Restores, item: ItemRow, chance: random.Random, wanted_at: float) -> None:
        wish = Wish(restores.name, wanted_at, self._loads[item.id].mib * draw(chance, restores.share))
        asked = request_restore(
            self._uow, actor=wish.name, point="latest", item=item.id, target="/restored", ids=self._ids
        )
        self._keep(asked, wish)

    def _begin_verifies(self, verifies: Verifies, items: Sequence[ItemRow], chance: random.Random) -> None:
        in_period = verifies.part * len(items)
        self._recorder.record.wishes[JobKind.VERIFY, verifies.name].in_period = in_period
        pause = verifies.every / in_period if in_period else 0.0
        order = list(items)
        chance.shuffle(order)
        round_and_round = cycle(order)

        def one(wanted_at: float) -> None:
            self._at(wanted_at + pause, one)
            following = islice(round_and_round, len(order))
            item = next((item for item in following if item.newest_point_at is not None), None)
            if item is not None:
                wish = Wish(verifies.name, wanted_at, self._loads[item.id].mib * draw(chance, verifies.share))
                self._keep(
                    request_verify(self._uow, actor=wish.name, point="latest", item=item.id, ids=self._ids), wish
                )

        if in_period:
            self._at(chance.uniform(0, pause), one)

    def _keep(self, asked: Accepted, wish: Wish) -> None:
        row = self._world.jobs[asked.job.id]
        row.wish = wish
        self._recorder.asked(row)

    def _items(self, fleet: Fleet, is_of: Callable[[ItemGroup], bool]) -> list[ItemRow]:
        named = {group.name for group in fleet.groups if is_of(group)}
        return [item for item in self._world.items.values() if item.group in named]

    def _at(self, when: float, ask: Callable[[float], None]) -> None:
        self._numbers += 1
        heapq.heappush(self._timed, (when, self._numbers, ask))
