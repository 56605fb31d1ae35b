"""The ledger of fires in memory: what is to be planned, what is due.

Rule of the file: an item whose policy has no time within the horizon is as good as planned through it; such items are
not handed to the planner one by one, which is what makes a daily fleet of a hundred thousand cheap.
"""

from __future__ import annotations

import heapq
from collections.abc import Callable, Sequence
from datetime import datetime

from orchestrator.domain.job_states import FireState
from orchestrator.domain.ledger import HORIZON, DueFire, ItemPlan, ItemSchedule, PlannedFire, Settlement
from orchestrator.domain.schedule import fires_after
from orchestrator.simulation.rows import ItemRow, PolicyRow
from orchestrator.simulation.world import World


class _Followers:
    """The items of one policy by how far they are planned. Through ``quiet`` none of them lacks a fire."""

    def __init__(self, policy: PolicyRow) -> None:
        self.policy = policy
        self.heap: list[tuple[datetime, str, ItemRow]] = []
        self.quiet: datetime | None = None
        self._next: datetime | None = None

    def reached(self) -> datetime:
        """Return through when the item that lags most is planned."""
        first = self.heap[0][0]
        return first if self.quiet is None else max(first, self.quiet)

    def next_fire(self) -> datetime | None:
        """Return the first fire after that; None when there is no schedule."""
        reached = self.reached()
        if self._next is None or self._next <= reached:
            firsts = [next(fires_after(schedule, reached)).instant for schedule in self.policy.spec.schedules]
            self._next = min(firsts, default=None)
        return self._next


class MemoryLedger:
    """The port ``Ledger``. ``on_settle`` hears what became of fires."""

    def __init__(self, world: World, on_settle: Callable[[Sequence[Settlement]], None] | None = None) -> None:
        self._world = world
        self._followers: dict[str, _Followers] = {}
        self._coming: list[tuple[datetime, str, int, PlannedFire]] = []
        self._ripe: dict[str, list[PlannedFire]] = {}
        self.on_settle = on_settle

    def follow(self, item: ItemRow) -> None:
        """Have an item's fires planned from ``planned_through`` on. Call it once per item that has a policy."""
        if item.policy is None:
            return
        group = self._followers.setdefault(item.policy.name, _Followers(item.policy))
        heapq.heappush(group.heap, (item.planned_through, item.id, item))

    def to_plan(self, *, before: datetime, limit: int) -> Sequence[ItemSchedule]:
        """Return items that are planned through less than ``before`` and have a fire to plan."""
        found: list[ItemSchedule] = []
        for group in self._followers.values():
            if self._is_quiet(group, before):
                continue
            while group.heap and len(found) < limit and self.through(group.heap[0][2]) < before:
                item = heapq.heappop(group.heap)[2]
                found.append(ItemSchedule(item.id, self.through(item), group.policy.version_id, group.policy.spec))
        return found

    def plan(self, plans: Sequence[ItemPlan]) -> int:
        """Keep fires, remember how far planning of each item went."""
        return sum(self._plan(plan) for plan in plans)

    def _plan(self, plan: ItemPlan) -> int:
        item = self._world.items[plan.item_id]
        new = plan.fires
        if item.fires:
            known = {(fire.schedule_no, fire.zone, fire.nominal) for fire in item.fires}
            new = [fire for fire in new if (fire.schedule_no, fire.zone, fire.nominal) not in known]
        for fire in new:
            item.fires.append(fire)
            heapq.heappush(self._coming, (fire.due_at, plan.item_id, fire.schedule_no, fire))
        item.planned_through = max(item.planned_through, plan.through)
        self.follow(item)
        return len(new)

    def through(self, item: ItemRow) -> datetime:
        """Return how far planning of an item has reached."""
        quiet = None if item.policy is None else self._followers[item.policy.name].quiet
        return item.planned_through if quiet is None else max(item.planned_through, quiet)

    def due(self, *, now: datetime, limit: int) -> Sequence[DueFire]:
        """Return the due fires of up to ``limit`` items, by item, time and schedule."""
        while self._coming and self._coming[0][0] <= now:
            _, item_id, _, fire = heapq.heappop(self._coming)
            self._ripe.setdefault(item_id, []).append(fire)
        found: list[DueFire] = []
        for item_id in heapq.nsmallest(limit, self._ripe):
            item = self._world.items[item_id]
            fires = self._ripe[item_id]
            if len(fires) > 1:
                fires = sorted(fires, key=lambda fire: (fire.due_at, fire.schedule_no))
            found += [self._due(item, fire) for fire in fires]
        return found

    def settle(self, settlements: Sequence[Settlement]) -> None:
        """Settle planned fires; each once."""
        for settlement in settlements:
            fire = settlement.fire
            item = self._world.items[fire.item_id]
            item.fires = _without(item.fires, fire)
            ripe = _without(self._ripe[fire.item_id], fire)
            if ripe:
                self._ripe[fire.item_id] = ripe
            else:
                del self._ripe[fire.item_id]
            if settlement.state is FireState.PLANNED:
                raise AssertionError("a fire is settled as something else than planned")
        if self.on_settle is not None:
            self.on_settle(settlements)

    def unsettled(self) -> int:
        """Return how many fires are planned and not settled."""
        return len(self._coming) + sum(len(fires) for fires in self._ripe.values())

    def next_at(self) -> datetime | None:
        """Return when there is something to plan or to settle next."""
        times = [self._coming[0][0]] if self._coming else []
        for group in self._followers.values():
            first = group.next_fire() if group.heap else None
            if first is not None:
                times.append(first - HORIZON / 2)
        return min(times, default=None)

    def _is_quiet(self, group: _Followers, before: datetime) -> bool:
        """Tell whether nothing is to be planned; items that have no fire within the horizon are planned by that."""
        if not group.heap or group.reached() >= before:
            return True
        until, first = before + HORIZON / 2, group.next_fire()
        if first is not None and first <= until:
            return False
        group.quiet = until if group.quiet is None else max(group.quiet, until)
        return True

    def _due(self, item: ItemRow, fire: PlannedFire) -> DueFire:
        if item.policy is None:
            raise AssertionError("a fire without a policy")
        return DueFire(
            item_id=item.id,
            schedule_no=fire.schedule_no,
            nominal=fire.nominal,
            zone=fire.zone,
            due_at=fire.due_at,
            version_id=fire.version_id,
            spec=item.policy.spec,
            machine_id=item.machine_id,
            vault_id=item.vault_id,
            planned_through=self.through(item),
            newest=item.newest_point_at or item.created_at,
            rpo=item.rpo,
            runs=item.runs,
            rates=item.rates,
        )


def _without(fires: list[PlannedFire], settled: DueFire) -> list[PlannedFire]:
    if len(fires) == 1:  # and it is the one: only a planned fire is settled
        return []
    key = (settled.schedule_no, settled.zone, settled.nominal)
    return [each for each in fires if (each.schedule_no, each.zone, each.nominal) != key]
