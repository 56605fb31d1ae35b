"""The items of a fleet, drawn from its distributions, in a world that has their scopes.

Rule of the file: everything follows from the fleet and the seed; a group draws from a source of its own, so that a
changed group leaves the others as they were.
"""

from __future__ import annotations

import math
import random
from bisect import bisect_right
from dataclasses import dataclass
from datetime import datetime, timedelta
from itertools import takewhile

from orchestrator.domain.policy import PolicySpec
from orchestrator.domain.schedule import fires_after, jitter_seconds
from orchestrator.domain.slots import GLOBAL, VAULT_CAPACITY, VAULT_RESTORE_FLOOR, Scope
from orchestrator.simulation.fleet import Fleet, Spread
from orchestrator.simulation.rows import ItemRow, PolicyRow, ScopeRow
from orchestrator.simulation.world import World

_LOOK_BACK = (timedelta(days=1), timedelta(days=8), timedelta(days=32), timedelta(days=367))


@dataclass(slots=True, eq=False)
class Load:
    """What backing up an item means: its MiB, the MiB that are new per second, when its last points were made."""

    mib: float
    new_per_second: float
    last: datetime | None
    last_full: datetime | None

    def to_move(self, *, since: datetime | None, now: datetime) -> float:
        """Return the MiB that a backup moves that reads what is new since then; everything for None."""
        if since is None:
            return self.mib
        return min(self.mib, self.new_per_second * (now - since).total_seconds())


def populate(world: World, fleet: Fleet, seed: int) -> dict[str, Load]:
    """Put the fleet's policies, scopes and items into an empty world; returns the items' loads by id."""
    _scopes(world, fleet)
    world.weights.update(fleet.weights)
    for name, spec in fleet.policies.items():
        world.policies[name] = PolicyRow(name, f"{name}@1", spec)
    loads: dict[str, Load] = {}
    for group in fleet.groups:
        chance = random.Random(f"{seed}/{group.name}")  # noqa: S311 - drawn to be repeated, not to be secret
        policy = world.policies[group.policy]
        past = _past_fires(policy.spec, world.now)
        world.weights.setdefault(group.tenant, 1)
        for number in range(group.count):
            machine = f"{group.name}-m{number % group.machines}"
            item_id = f"{group.name}-{number:06d}"
            # What is due from now on was planned before, at its time without the item's own delay.
            delay = timedelta(seconds=jitter_seconds(item_id, policy.spec.jitter))
            item = ItemRow(
                id=item_id,
                machine_id=machine,
                vault_id=group.vault,
                tenant=group.tenant,
                location=group.location,
                hypervisor=f"{group.name}-h{number % group.hypervisors}" if group.hypervisors else "",
                policy=policy,
                created_at=world.now,
                planned_through=world.now - delay,
                group=group.name,
                rpo=group.rpo,
            )
            if number < group.machines:
                world.add_scope(ScopeRow((Scope.MACHINE, machine), fleet.machine_slots, watched=False))
            mib = draw(chance, group.size)
            last = None if fleet.empty else _last_fire(past, delay, world.now)
            item.newest_point_at = last
            loads[item.id] = Load(mib, mib * draw(chance, group.change) / 86400, last, last)
            world.items[item.id] = item
    return loads


def _scopes(world: World, fleet: Fleet) -> None:
    for name in fleet.vaults:
        world.add_scope(ScopeRow((Scope.VAULT, name), VAULT_CAPACITY, VAULT_RESTORE_FLOOR, since=world.now))
    for key, capacity in fleet.slots.items():
        floor = world.scopes[key].floor if key in world.scopes else 0
        world.add_scope(ScopeRow(key, capacity, min(floor, capacity), since=world.now))
    world.scopes[GLOBAL].measure(world.now)


def draw(chance: random.Random, spread: Spread) -> float:
    """Return a quantity of a spread."""
    if spread.low == spread.high:
        return spread.low
    return math.exp(chance.uniform(math.log(spread.low), math.log(spread.high)))


def _past_fires(spec: PolicySpec, now: datetime) -> list[datetime]:
    """Return the times of a policy before now, as far back as it takes to have one for every item's delay."""
    longest, found = timedelta(seconds=spec.jitter), list[datetime]()
    for back in _LOOK_BACK:
        for schedule in spec.schedules:
            fires = fires_after(schedule, now - back - longest)
            found += [fire.instant for fire in takewhile(lambda fire: fire.instant <= now, fires)]
        if found and min(found) <= now - longest:
            break
    return sorted(found)


def _last_fire(past: list[datetime], delay: timedelta, now: datetime) -> datetime:
    """Return when a fleet that has run for long has made the item's last point: at its last fire before now."""
    place = bisect_right(past, now - delay)
    return past[place - 1] + delay if place else now
