"""The tower as a collector sees it, and as a writer does that asks for condemned packs.

Rule of the file: calls are repeated while the tower is away, because all of them may be, and for as long as the unit
may go on; the unit's tenure decides that.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Protocol, TypeVar

from shared.clock import Clock
from shared.contracts.collect import (
    AskCondemned,
    AskDoomedPoints,
    AskUnsettled,
    Condemn,
    CondemnedPacks,
    Deleted,
    Doom,
    Doomed,
    DoomedPoints,
    Expired,
    GivenUp,
    Settled,
    UnsettledPoints,
)
from shared.contracts.work import Fence
from workers.engine.ports import Control
from workers.session.insisting import insist

_Answer = TypeVar("_Answer")


class Tower(Protocol):
    """What a desk asks of ``TowerClient``."""

    def condemned(self, message: AskCondemned) -> CondemnedPacks: ...  # noqa: D102
    def condemn(self, message: Condemn) -> None: ...  # noqa: D102
    def doom(self, message: Doom) -> Doomed: ...  # noqa: D102
    def deleted(self, message: Deleted) -> None: ...  # noqa: D102
    def doom_points(self, message: AskDoomedPoints) -> DoomedPoints: ...  # noqa: D102
    def expired(self, message: Expired) -> None: ...  # noqa: D102
    def unsettled(self, message: AskUnsettled) -> UnsettledPoints: ...  # noqa: D102
    def settled(self, message: Settled) -> None: ...  # noqa: D102


class TowerDesk:
    """The engine's ``CollectionDesk`` of one granted unit; ``tenure`` is that unit's tie to the tower."""

    def __init__(self, tower: Tower, fence: Fence, tenure: Control, *, clock: Clock) -> None:
        self._tower = tower
        self._fence = fence
        self._tenure = tenure
        self._clock = clock

    def condemned(self, after: str) -> CondemnedPacks:
        """See the port."""
        return self._insist(lambda: self._tower.condemned(AskCondemned(fence=self._fence, after=after)))

    def condemn(self, packs: Sequence[GivenUp], revive: Sequence[str]) -> None:
        """See the port."""
        message = Condemn(fence=self._fence, packs=tuple(packs), revive=tuple(revive))
        self._insist(lambda: self._tower.condemn(message))

    def doom(self, packs: Sequence[str]) -> Sequence[str]:
        """See the port."""
        message = Doom(fence=self._fence, packs=tuple(packs))
        return self._insist(lambda: self._tower.doom(message)).packs

    def deleted(self, packs: Sequence[str]) -> None:
        """See the port."""
        message = Deleted(fence=self._fence, packs=tuple(packs))
        self._insist(lambda: self._tower.deleted(message))

    def doomed_points(self, after: str) -> DoomedPoints:
        """See the port."""
        return self._insist(lambda: self._tower.doom_points(AskDoomedPoints(fence=self._fence, after=after)))

    def expired(self, points: Sequence[str]) -> None:
        """See the port."""
        message = Expired(fence=self._fence, points=tuple(points))
        self._insist(lambda: self._tower.expired(message))

    def unsettled(self, after: str) -> UnsettledPoints:
        """See the port."""
        return self._insist(lambda: self._tower.unsettled(AskUnsettled(fence=self._fence, after=after)))

    def settled(self, *, found: Sequence[str] = (), missing: Sequence[str] = (), fenced: Sequence[str] = ()) -> None:
        """See the port."""
        message = Settled(fence=self._fence, found=tuple(found), missing=tuple(missing), fenced=tuple(fenced))
        self._insist(lambda: self._tower.settled(message))

    def _insist(self, call: Callable[[], _Answer]) -> _Answer:
        return insist(call, check=self._tenure.check, clock=self._clock)
