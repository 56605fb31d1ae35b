"""A collector for tests of the control plane: its verbs, and what it would find in a vault."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from orchestrator.use_cases.claim import claim
from orchestrator.use_cases.collecting.condemn import condemn
from orchestrator.use_cases.collecting.condemned import condemned
from orchestrator.use_cases.collecting.doom import deleted, doom
from orchestrator.use_cases.collecting.doom_points import doom_points, expired
from orchestrator.use_cases.collecting.settle import settled, unsettled
from orchestrator.use_cases.expire import expire_item
from orchestrator.use_cases.request_collect import request_collect
from shared.contracts.collect import (
    AskCondemned,
    AskDoomedPoints,
    AskUnsettled,
    Condemn,
    CondemnedPacks,
    Deleted,
    Doom,
    DoomedPoints,
    Expired,
    GivenUp,
    Settled,
    UnsettledPoints,
)
from shared.contracts.work import Claim, CollectDone, CollectInstruction, Doorbell, Fence, Granted
from shared.model.backup import CollectStats, JobKind
from tests.support.control import ControlPlane


@dataclass(frozen=True)
class Collector:
    """Speaks the collector's verbs with one fence."""

    plane: ControlPlane
    fence: Fence
    granted: Granted

    @property
    def instruction(self) -> CollectInstruction:
        """What it was told."""
        assert isinstance(self.granted.instruction, CollectInstruction)
        return self.granted.instruction

    def condemned(self, *, after: str = "", fence: Fence | None = None) -> CondemnedPacks:
        """Ask for condemned packs, also as somebody else."""
        with self.plane.uow() as uow:
            return condemned(uow, message=AskCondemned(fence=fence or self.fence, after=after))

    def condemn(self, *names: str, size: int = 10, revive: Sequence[str] = ()) -> None:
        """Condemn packs of one size, take others back."""
        packs = tuple(GivenUp(name, size) for name in names)
        with self.plane.uow() as uow:
            condemn(uow, message=Condemn(fence=self.fence, packs=packs, revive=tuple(revive)))

    def doom(self, *names: str) -> tuple[str, ...]:
        """Ask leave to delete."""
        with self.plane.uow() as uow:
            return doom(uow, message=Doom(fence=self.fence, packs=names)).packs

    def deleted(self, *names: str) -> None:
        """Say that packs are gone."""
        with self.plane.uow() as uow:
            deleted(uow, message=Deleted(fence=self.fence, packs=names))

    def doom_points(self, *, after: str = "") -> DoomedPoints:
        """Ask which points may go."""
        with self.plane.uow() as uow:
            return doom_points(uow, message=AskDoomedPoints(fence=self.fence, after=after))

    def doomed_ids(self) -> list[str]:
        """Ask which points may go, and return their ids."""
        return [point.point for point in self.doom_points().points]

    def expired(self, *points: str) -> None:
        """Say that manifests are gone."""
        with self.plane.uow() as uow:
            expired(uow, message=Expired(fence=self.fence, points=points))

    def unsettled(self, *, after: str = "") -> UnsettledPoints:
        """Ask which points may still be sealed by somebody whose job is over."""
        with self.plane.uow() as uow:
            return unsettled(uow, message=AskUnsettled(fence=self.fence, after=after))

    def settled(self, *, found: Sequence[str] = (), missing: Sequence[str] = (), fenced: Sequence[str] = ()) -> None:
        """Say what became of them."""
        with self.plane.uow() as uow:
            message = Settled(fence=self.fence, found=tuple(found), missing=tuple(missing), fenced=tuple(fenced))
            settled(uow, message=message)

    def end(self, **counts: int) -> None:
        """Come to the end with these counts."""
        self.plane.complete(self.granted, CollectDone(stats=CollectStats(**{"packs_condemned": 1, **counts})))


def collector(plane: ControlPlane, *, now: bool = True, vault: str = "v1", worker: str = "c1") -> Collector:
    """Ask for a collection, admit it and claim it; ``now``: without the grace."""
    with plane.uow() as uow:
        job = request_collect(uow, actor="test", vault=vault, hurried=now).job
    plane.admit()
    doorbell = Doorbell(job_id=job.id, epoch=plane.job(job.id).epoch, unit=0)
    with plane.uow() as uow:
        granted = claim(uow, message=Claim(worker=worker, session=f"s-{worker}", doorbell=doorbell))
    assert granted is not None
    assert job.kind is JobKind.COLLECT
    return Collector(plane, granted.fence, granted)


def expire(plane: ControlPlane, item: str = "i1", *, by_hand: bool = True) -> tuple[str, ...]:
    """Apply an item's retention and return the points that expire now."""
    with plane.uow() as uow:
        item_id = uow.items.get(item).id
        return expire_item(uow, item_id=item_id, actor="test", by_hand=by_hand).expired


def generation(plane: ControlPlane) -> int:
    """Return the generation of the only vault."""
    ((number,),) = plane.sql("SELECT generation FROM vault_generation")
    assert isinstance(number, int)
    return number
