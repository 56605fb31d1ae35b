"""A formation without a tower: helpers that fly shards whenever the lead asks, each as a worker of its own.

Rule of the file: it keeps the tower's promises (a shard is in one pair of hands, results by number) and no clock.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence

import msgspec

from shared.contracts.work import BackupInstruction, Fence, ShardInstruction, ShardResult, Shards
from shared.crypto.domain_keys import DomainKeys
from tests.support.uncontrolled import Uncontrolled
from workers.engine.part import Gear
from workers.engine.ports import Leg
from workers.engine.shard import run_shard, shard_order


class Wing:
    """Of the shards, in order, helpers fly those for which ``helped`` says so; the lead may take the others."""

    def __init__(self, *, helpers: int = 1, helped: Callable[[int], bool] = lambda _: True) -> None:
        self.helpers = helpers
        self.offered: list[bytes] = []
        self.flown_by_lead: list[int] = []
        self.flown_by_helpers: list[int] = []
        self.lost: tuple[int, ...] = ()
        self._helped = helped
        self._results: dict[int, bytes] = {}

    def join(self, instruction: BackupInstruction, fence: Fence, gear: Callable[[], Gear], keys: DomainKeys) -> None:
        """Say whose backup it is and what a helper works with."""
        self._instruction, self._fence, self._gear, self._keys = instruction, fence, gear, keys

    def offer(self, payloads: Sequence[bytes]) -> None:
        """See the port."""
        self.offered = list(payloads)

    def ask(self, have: Iterable[int]) -> Shards:
        """See the port; a helper flies one shard first."""
        waiting = [unit for unit in self._units() if unit not in self._results and self._helped(unit)]
        if waiting and not self.lost:
            self._fly(waiting[0])
        held = set(have)
        results = tuple(ShardResult(unit=u, result=r) for u, r in sorted(self._results.items()) if u not in held)
        free = len([unit for unit in self._units() if unit not in self._results and not self._helped(unit)])
        return Shards(total=len(self.offered), done=len(self._results), free=free, results=results, lost=self.lost)

    def take(self) -> Leg | None:
        """See the port."""
        free = [unit for unit in self._units() if unit not in self._results and not self._helped(unit)]
        return Leg(free[0], self.offered[free[0] - 1], Uncontrolled()) if free else None

    def finish(self, leg: Leg, result: bytes) -> None:
        """See the port."""
        self.flown_by_lead.append(leg.unit)
        self._results[leg.unit] = result

    def drop(self, leg: Leg) -> None:
        """See the port."""

    def _units(self) -> range:
        return range(1, len(self.offered) + 1)

    def _fly(self, unit: int) -> None:
        gear, fence = self._gear(), msgspec.structs.replace(self._fence, unit=unit, claim_id=f"helper-{unit}")
        instruction = ShardInstruction(backup=self._instruction, payload=self.offered[unit - 1])
        order = shard_order(instruction, fence, self._keys)
        self._results[unit] = run_shard(gear, order, fence, control=Uncontrolled())
        self.flown_by_helpers.append(unit)
