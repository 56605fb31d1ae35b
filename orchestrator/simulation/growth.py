"""What if the fleet grows: the same fleet with more data or more items, and the size at which it stops fitting.

Rule of the file: it makes fleets and asks a caller's question about each; how one is run is not its business.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, replace
from enum import StrEnum

from orchestrator.simulation.fleet import Fleet, ItemGroup, Spread

MOST_GROWTH = 64.0
"""A fleet that fits at 64 times its size is not asked any more."""

PRECISION = 0.05
"""The answer lies between two sizes this share of the fleet's own size apart, or of the smaller of the two."""


class Grows(StrEnum):
    """What of a fleet grows."""

    DATA = "data"
    ITEMS = "items"


@dataclass(frozen=True, slots=True)
class Limit:
    """Up to which size a fleet fits, in parts of its own; from which on it does not, None when none was found.

    ``fits`` is 0 when it does not fit as it is.
    """

    fits: float
    fails: float | None


def grown(fleet: Fleet, what: Grows, times: float) -> Fleet:
    """Return a fleet of so many times the data, or the items with their machines and hypervisors."""
    return replace(fleet, groups=tuple(_grown(group, what, times) for group in fleet.groups))


def limit_of(fits: Callable[[float], bool]) -> Limit:
    """Search the size at which a fleet stops fitting: doubling, then halving what is between."""
    if not fits(1.0):
        return Limit(0.0, 1.0)
    low, high = 1.0, 2.0
    while fits(high):
        low, high = high, 2 * high
        if low >= MOST_GROWTH:
            return Limit(low, None)
    while high - low > PRECISION * low:
        middle = round((low + high) / 2, 3)
        if fits(middle):
            low = middle
        else:
            high = middle
    return Limit(low, high)


def _grown(group: ItemGroup, what: Grows, times: float) -> ItemGroup:
    if what is Grows.DATA:
        return replace(group, size=Spread(group.size.low * times, group.size.high * times))
    count, machines = max(1, round(group.count * times)), max(1, round(group.machines * times))
    hypervisors = max(1, round(group.hypervisors * times)) if group.hypervisors else 0
    return replace(group, count=count, machines=machines, hypervisors=hypervisors)
