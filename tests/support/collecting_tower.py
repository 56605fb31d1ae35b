"""A tower in memory that keeps decision 12 to the letter, for one vault: who may write, what is condemned, what may go.

Rule of the file: every method is one transaction; no database, no clock of its own, and no more knowledge of the vault
than the real tower has.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from enum import StrEnum

import msgspec

from shared.contracts.collect import (
    CondemnedPack,
    CondemnedPacks,
    DoomedPoints,
    GivenUp,
    PointIds,
    UnsettledPoints,
)
from shared.contracts.work import Progress
from shared.errors import SkyharborError

Hook = Callable[[str], None]


class State(StrEnum):
    """Of a point in the catalog."""

    SEALED = "sealed"
    EXPIRING = "expiring"
    DOOMED = "doomed"
    EXPIRED = "expired"


@dataclass
class Pack:
    """``may_delete`` are the claims of collectors that were ever told that it is doomed."""

    size: int
    generation: int
    at: float
    doomed: bool = False
    may_delete: set[int] = field(default_factory=set)


@dataclass
class Point:
    ids: PointIds
    state: State = State.SEALED
    generation: int = 0
    readers: int = 0


@dataclass
class Job:
    """A backup. ``units`` are the claimed ones, with the generation that each has registered with.

    ``first`` is the generation of the attempt that had leave to seal first, ``rejoined`` says that another one came
    after that. ``settled`` is sealed, found, given up (not fenced yet) or fenced, once that is decided.
    """

    ids: PointIds
    units: dict[int, int] = field(default_factory=dict)
    first: int | None = None
    rejoined: bool = False
    claim: int = 0
    over: bool = False
    settled: str = ""

    @property
    def writes(self) -> bool:
        """Whether an attempt that had leave to seal may still put a manifest that counts or must be fenced."""
        return self.first is not None and self.settled not in ("sealed", "found", "fenced")


class CollectingTower:
    """``grace`` and ``now`` are seconds; ``page`` is how many names go into one answer; ``hook`` hears every verb.

    With ``forgetful`` a job that has ended without a point is no writer any more, settled or not: the order in which a
    collector asks and settles must be enough then.
    """

    def __init__(self, *, grace: float = 0.0, page: int = 3) -> None:
        self.forgetful = False
        self.generation = 0
        self.now = 0.0
        self.jobs: dict[str, Job] = {}
        self.points: dict[str, Point] = {}
        self.packs: dict[str, Pack] = {}
        self.hook: Hook = lambda _: None
        self.collector = 0
        self._grace = grace
        self._page = page

    # ── backups ──────────────────────────────────────────────────────────────────────────────────────

    def claim(self, machine: str, item: str, point: str, *, unit: int = 0) -> Writer:
        """Claim a unit of the backup that makes this point: a new job, or another attempt, or a shard."""
        job = self.jobs.setdefault(point, Job(PointIds(machine, item, point)))
        if job.over:
            raise SkyharborError("stale-claim")
        if unit == 0:
            job.claim += 1
            job.units.clear()
            job.rejoined = job.rejoined or job.first is not None
        job.units[unit] = self.generation if job.first is None else job.first
        return Writer(self, job, unit, job.claim)

    def rescue(self, point: str) -> None:
        """Take the job's workers for dead; it waits for another attempt."""
        self.jobs[point].units.clear()
        self.jobs[point].claim += 1

    def give_up(self, point: str) -> None:
        """End the job without a point."""
        self.rescue(point)
        self.jobs[point].over = True

    def busy(self, machine: str) -> bool:
        return any(job.ids.machine == machine and not job.over for job in self.jobs.values())

    # ── retention ────────────────────────────────────────────────────────────────────────────────────

    def expire(self, *points: str) -> None:
        """Retention does not keep these any more."""
        self.generation += 1
        for point in points:
            self.points[point].state = State.EXPIRING
            self.points[point].generation = self.generation

    def sealed(self) -> list[str]:
        """The points that a user may count on, or whose expiry is not final."""
        return sorted(i for i, point in self.points.items() if point.state in (State.SEALED, State.EXPIRING))

    def reference(self, item: str) -> str | None:
        """The point that the item's next backup may compare with."""
        last = [p.ids.point for p in self.points.values() if p.state is State.SEALED and p.ids.item == item]
        return max(last, default=None)

    # ── the collector ────────────────────────────────────────────────────────────────────────────────

    def desk(self) -> Desk:
        """Claim the collection: whoever had it before has it no more."""
        self.collector += 1
        return Desk(self, self.collector)

    def older(self, generation: int) -> bool:
        """Tell whether a writer is left that registered before this generation."""
        claimed = any(g < generation for job in self.jobs.values() if not job.over for g in job.units.values())
        sealing = any(
            job.first is not None and job.first < generation for job in self.jobs.values() if self._counts(job)
        )
        return claimed or sealing

    def _counts(self, job: Job) -> bool:
        return job.writes and not (self.forgetful and job.over)

    def ripe(self, pack: Pack) -> bool:
        return pack.doomed or (self.now - pack.at >= self._grace and not self.older(pack.generation))

    def page_of_packs(self, after: str, *, collector: int | None = None) -> CondemnedPacks:
        names = sorted(name for name in self.packs if name > after)
        rows = [(name, self.packs[name]) for name in names[: self._page]]
        for _, pack in rows:
            if pack.doomed and collector is not None:
                pack.may_delete.add(collector)
        packs = tuple(CondemnedPack(name, p.size, self.ripe(p) and not p.doomed, p.doomed) for name, p in rows)
        return CondemnedPacks(packs=packs, more=len(names) > self._page)

    def page_of_points(self, ids: list[PointIds], after: str) -> tuple[tuple[PointIds, ...], bool]:
        rest = sorted((one for one in ids if one.point > after), key=lambda one: one.point)
        return tuple(rest[: self._page]), len(rest) > self._page


class Writer:
    """A claimed unit of a backup: what its worker asks the tower, and the engine's ``Control``."""

    def __init__(self, tower: CollectingTower, job: Job, unit: int, claim: int) -> None:
        self._tower, self._job, self._unit, self._claim = tower, job, unit, claim
        self.on_check: Callable[[], None] = lambda: None
        self.on_commit: Callable[[], None] = lambda: None

    @property
    def stale(self) -> bool:
        return self._job.over or self._job.claim != self._claim

    def condemned(self, after: str) -> CondemnedPacks:
        self._owned()
        return self._tower.page_of_packs(after)

    def check(self) -> None:
        """A worker does not know that it was taken for dead: it only stops when it is told to."""
        self.on_check()

    def progress(self, progress: Progress) -> None:
        pass

    def commit(self) -> None:
        self._owned()
        if self._job.first is None:
            self._job.first = self._job.units[self._unit]
        self.on_commit()

    def complete(self) -> None:
        self._owned()
        self._job.units.pop(self._unit, None)
        if self._unit == 0:
            self._job.over = True
            self._job.settled = "sealed"
            self._tower.points[self._job.ids.point] = Point(self._job.ids)

    def _owned(self) -> None:
        if self.stale:
            raise SkyharborError("stale-claim")


class Desk:
    """The engine's ``CollectionDesk`` of one claim."""

    def __init__(self, tower: CollectingTower, claim: int) -> None:
        self._tower, self._claim = tower, claim

    def condemned(self, after: str) -> CondemnedPacks:
        self._owned("condemned")
        return self._tower.page_of_packs(after, collector=self._claim)

    def condemn(self, packs: Sequence[GivenUp], revive: Sequence[str]) -> None:
        self._owned("condemn")
        tower = self._tower
        if any(name in tower.packs and tower.packs[name].doomed for name in revive):
            raise SkyharborError("conflict", "a doomed pack is not taken back")
        for name in revive:
            tower.packs.pop(name, None)
        if packs:
            tower.generation += 1
        for pack in packs:
            tower.packs.setdefault(pack.name, Pack(pack.size, tower.generation, tower.now))

    def doom(self, packs: Sequence[str]) -> Sequence[str]:
        self._owned("doom")
        allowed = [name for name in packs if name in self._tower.packs and self._tower.ripe(self._tower.packs[name])]
        for name in allowed:
            self._tower.packs[name].doomed = True
            self._tower.packs[name].may_delete.add(self._claim)
        return tuple(allowed)

    def deleted(self, packs: Sequence[str]) -> None:
        self._owned("deleted")
        for name in packs:
            # What an earlier collector may still delete is never forgotten: nobody may rely on that name again.
            if name in self._tower.packs and self._tower.packs[name].may_delete == {self._claim}:
                del self._tower.packs[name]

    def doomed_points(self, after: str) -> DoomedPoints:
        self._owned("doom-points")
        points = self._tower.points.values()
        for point in points:
            free = not self._tower.older(point.generation) and not point.readers
            if point.state is State.EXPIRING and free:
                point.state = State.DOOMED
        doomed = [self._fenced(p.ids) for p in points if p.state is State.DOOMED]
        page, more = self._tower.page_of_points(doomed, after)
        return DoomedPoints(points=page, more=more, waiting=sum(p.state is State.EXPIRING for p in points))

    def expired(self, points: Sequence[str]) -> None:
        self._owned("expired")
        for point in points:
            if self._tower.points[point].state is State.DOOMED:
                self._tower.points[point].state = State.EXPIRED

    def _fenced(self, ids: PointIds) -> PointIds:
        job = self._tower.jobs.get(ids.point)
        return msgspec.structs.replace(ids, fence=job is not None and (job.rejoined or job.settled == "found"))

    def unsettled(self, after: str) -> UnsettledPoints:
        self._owned("unsettled")
        jobs = [
            msgspec.structs.replace(job.ids, fence=job.settled == "given up")
            for job in self._tower.jobs.values()
            if job.over and job.writes
        ]
        page, more = self._tower.page_of_points(jobs, after)
        return UnsettledPoints(points=page, more=more)

    def settled(self, *, found: Sequence[str] = (), missing: Sequence[str] = (), fenced: Sequence[str] = ()) -> None:
        self._owned("settled")
        said = {
            **dict.fromkeys(found, "found"),
            **dict.fromkeys(missing, "given up"),
            **dict.fromkeys(fenced, "fenced"),
        }
        before = {"found": ("", "found"), "given up": ("", "given up"), "fenced": ("given up", "fenced")}
        jobs, going = self._tower.jobs, (State.DOOMED, State.EXPIRED)
        gone = [p for p in fenced if p in self._tower.points and self._tower.points[p].state in going]
        said = {point: how for point, how in said.items() if point not in gone}
        if any(point not in jobs or jobs[point].settled not in before[how] for point, how in said.items()):
            raise SkyharborError("conflict", "decided otherwise before, or not dead")
        for point, how in said.items():
            jobs[point].settled = how
            if how == "found":
                self._tower.points.setdefault(point, Point(jobs[point].ids))

    def _owned(self, verb: str) -> None:
        self._tower.hook(verb)
        if self._claim != self._tower.collector:
            raise SkyharborError("stale-claim")
