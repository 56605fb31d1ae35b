"""The tower as a lead sees it: shards offered, asked for, taken and reported.

Rule of the file: calls are repeated while the tower is away, because all of them may be, and for as long as the unit
may go on; the unit's tenure decides that.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from typing import Protocol, TypeVar

from shared.clock import Clock
from shared.contracts.work import Claim, Fence, Granted, Outcome, Progress, ShardDone, ShardInstruction, Shards
from workers.engine.ports import Control, Leg
from workers.session.insisting import insist
from workers.session.lease_keeper import LeaseKeeper, Tenure

_Answer = TypeVar("_Answer")


class Tower(Protocol):
    """What a lead asks of ``TowerClient``."""

    def claim(self, message: Claim) -> Granted | None: ...  # noqa: D102
    def commit(self, fence: Fence) -> None: ...  # noqa: D102
    def complete(self, fence: Fence, outcome: Outcome) -> None: ...  # noqa: D102
    def offer(self, fence: Fence, shards: Sequence[bytes]) -> None: ...  # noqa: D102
    def shards(self, fence: Fence, have: Sequence[int]) -> Shards: ...  # noqa: D102


class TowerFormation:
    """The engine's ``Formation`` of one granted backup; ``lead`` is that unit's tie to the tower."""

    def __init__(
        self,
        tower: Tower,
        keeper: LeaseKeeper,
        granted: Granted,
        lead: Tenure,
        *,
        worker: str,
        session: str,
        clock: Clock,
    ) -> None:
        self.helpers = granted.helpers
        self._tower = tower
        self._keeper = keeper
        self._fence = granted.fence
        self._lead = lead
        self._worker = worker
        self._session = session
        self._clock = clock
        self._tenures: dict[int, Tenure] = {}

    def offer(self, payloads: Sequence[bytes]) -> None:
        """See the port."""
        self._insist(lambda: self._tower.offer(self._fence, payloads))

    def ask(self, have: Iterable[int]) -> Shards:
        """See the port."""
        held = tuple(have)
        return self._insist(lambda: self._tower.shards(self._fence, held))

    def take(self) -> Leg | None:
        """See the port. A shard whose grant was lost on the way waits until its lease is over."""
        asked_at = self._clock.monotonic()
        message = Claim(worker=self._worker, session=self._session, lead=self._fence)
        granted = self._insist(lambda: self._tower.claim(message))
        if granted is None or not isinstance(granted.instruction, ShardInstruction):
            return None
        tenure = self._keeper.hold(granted, asked_at=asked_at, commit=self._tower.commit)
        unit = granted.fence.unit
        self._tenures[unit] = tenure
        return Leg(unit, granted.instruction.payload, _Both(self._lead, tenure))

    def finish(self, leg: Leg, result: bytes) -> None:
        """See the port."""
        fence = self._tenures[leg.unit].fence
        self._insist(lambda: self._tower.complete(fence, ShardDone(result=result)))

    def drop(self, leg: Leg) -> None:
        """See the port."""
        tenure = self._tenures.pop(leg.unit, None)
        if tenure is not None:
            self._keeper.drop(tenure)

    def _insist(self, call: Callable[[], _Answer]) -> _Answer:
        return insist(call, check=self._lead.check, clock=self._clock)


class _Both:
    """The ``Control`` of a shard that its lead flies: whatever ends the lead ends it too."""

    def __init__(self, lead: Control, shard: Control) -> None:
        self._lead = lead
        self._shard = shard

    def check(self) -> None:
        self._lead.check()
        self._shard.check()

    def progress(self, progress: Progress) -> None:
        self._shard.progress(progress)

    def commit(self) -> None:
        self._lead.commit()
