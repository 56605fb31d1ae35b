"""Has the parts of a backup flown: the first by the lead itself, the others by whoever has time.

The first part is the lead's own and needs nobody. The others are offered; whoever has time claims them, and the lead
itself takes what is free whenever it has nothing else to do, so that with no helper at all everything is still done,
one after the other. The join is the tower's row count.

What happens when it dies: the attempt is over and its shards with it; parts that were finished are found again by the
next attempt through the index segments that they wrote.

Rule of the file: order of events; what a part is about, and what becomes of all of them, is the lead's.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence

import msgspec

from shared.contracts.work import MOST_PAYLOAD, Fence
from shared.errors import SkyharborError
from workers.engine.part import Gear
from workers.engine.ports import Control, Formation, Leg
from workers.engine.pulse import Pulse
from workers.engine.shard_messages import PartReport, ShardOrder, open_report, seal_order

_ASK_EVERY = 1.0

Fly = Callable[[int, Control], PartReport]
"""Flies a part, by its number, in this process."""


class Sharing:
    """The parts of one attempt. ``fly`` is how the lead flies one itself, the first (number 0) before all others."""

    def __init__(
        self,
        gear: Gear,
        orders: Sequence[ShardOrder],
        fence: Fence,
        *,
        fly: Fly,
        control: Control,
        formation: Formation,
    ) -> None:
        self._gear = gear
        self._parts = len(orders)
        self._fence = fence
        self._fly = fly
        self._control = control
        self._formation = formation
        self._orders = [
            seal_order(order, keys=gear.keys, fence=self._name(unit)) for unit, order in enumerate(orders[1:], 1)
        ]
        self._machine = orders[0].backup.machine.id if orders else ""

    @property
    def worth_while(self) -> bool:
        """Whether there are parts for others, and what has to be said of them fits into what the tower takes."""
        return len(self._orders) > 0 and max(map(len, self._orders)) <= MOST_PAYLOAD

    def fly(self) -> list[PartReport]:
        """Have all parts flown and return what became of them, in order.

        Raises what ``run_backup`` raises, ``worker-lost`` besides.
        """
        self._formation.offer(self._orders)
        reports = {0: self._fly(0, self._control)}
        self._gather(reports)
        return [reports[unit] for unit in range(self._parts)]

    def _gather(self, reports: dict[int, PartReport]) -> None:
        """Collect the reports of all shards, and fly those that nobody has."""
        while len(reports) < self._parts:
            told = self._formation.ask([unit for unit in reports if unit])
            for one in told.results:
                reports[one.unit] = open_report(one.result, keys=self._gear.keys, fence=self._name(one.unit))
            if told.lost:
                raise SkyharborError("worker-lost", f"shard {told.lost[0]} was lost with three workers")
            leg = self._formation.take() if told.free else None
            if leg is not None:
                reports[leg.unit] = self._fly_leg(leg)
            elif not told.results:
                self._wait()

    def _wait(self) -> None:
        until = self._gear.clock.monotonic() + _ASK_EVERY
        while self._gear.clock.monotonic() < until:
            self._control.check()
            self._gear.clock.sleep(Pulse.PATIENCE)

    def _fly_leg(self, leg: Leg) -> PartReport:
        try:
            # Perhaps somebody else has begun it, and is dead: what was written down of that is not stored again.
            self._gear.index.catch_up(self._gear.vault, self._machine, self._gear.keys)
            report = self._fly(leg.unit, leg.control)
            self._formation.finish(leg, b"")  # nobody but the lead will ask, and the lead has it
            return report
        finally:
            self._formation.drop(leg)

    def _name(self, unit: int) -> Fence:
        return msgspec.structs.replace(self._fence, unit=unit)
