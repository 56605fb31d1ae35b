"""Admission: which waiting jobs may start now, given the slots of the scarce things they touch.

A job takes its slots on every scope or on none. Within a class the tenant that uses the smallest share of its weight
goes first, and of a tenant's jobs the one with the least slack. The first jobs that do not fit keep what is left of
their scopes (a *reservation*): later ones may take it only if they will have given it back in time (*backfill*, after
Lifka's EASY scheduler, 1995), so a job of many scopes is not starved by jobs of few.

Rule of the file: pure; the same queue and the same room give the same choice.
"""

from __future__ import annotations

import heapq
from collections import Counter, defaultdict
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import datetime, timedelta

from orchestrator.domain.estimate import OVERDUE, frees_at
from orchestrator.domain.slots import Places, Room, ScopeKey
from shared.model.backup import JobKind

MOST_HEADS = 8
"""So many of the first jobs that do not fit get a reservation; EASY gives one, but scopes here are many and small."""

FARTHEST_START = timedelta(hours=1)
"""A job that cannot start within this reserves nothing yet: slots kept empty for longer cost more than they bring."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Candidate:
    """A waiting job that nothing but slots keeps from starting. ``rank`` is the aged one, ``estimate`` in seconds."""

    job_id: str
    epoch: int
    item_id: str
    places: Places
    rank: int
    latest_start: datetime
    estimate: float

    @property
    def kind(self) -> JobKind:
        """The kind of job."""
        return self.places.kind


@dataclass(frozen=True, slots=True)
class Needs:
    """A job that is to be admitted, and what it takes of which scopes."""

    job_id: str
    epoch: int
    slots: tuple[tuple[ScopeKey, int], ...]


@dataclass(frozen=True, slots=True)
class Holder:
    """A job that holds slots of a scope: how many, and when it should give them back."""

    ends_at: datetime
    slots: int


@dataclass(frozen=True, slots=True)
class Reservation:
    """What a job that does not fit yet keeps for itself, and when it will be able to start.

    ``gathered`` are those of its scopes that have something left and too little: what is given back there adds up.
    """

    job_id: str
    starts_at: datetime
    slots: Mapping[ScopeKey, int]
    gathered: frozenset[ScopeKey] = frozenset()

    def until(self, scope: ScopeKey, now: datetime) -> datetime:
        """Return when others have to have given back what they take of a scope meanwhile.

        Who waits for a job that is late does not stop everybody else: others have ``OVERDUE`` in any case. But not of
        what is gathered: short jobs would take their part of it again and again, and there would never be enough.
        """
        return self.starts_at if scope in self.gathered else max(self.starts_at, now + OVERDUE)


@dataclass(slots=True)
class _Account:
    """What is left while a choice is made. Scopes that do not exist are no limit.

    ``spent`` are scopes that have nothing left for a kind of jobs, as far as it was noticed: whoever touches one of
    them need not be looked at.
    """

    room: Mapping[ScopeKey, Room]
    taken: Counter[ScopeKey] = field(default_factory=Counter)
    spent: Mapping[JobKind, set[ScopeKey]] = field(default_factory=lambda: {kind: set() for kind in JobKind})

    def needs(self, candidate: Candidate) -> tuple[tuple[ScopeKey, int], ...]:
        """Return what a job takes of the scopes that exist: never more than there is in all."""
        return tuple(
            (scope, min(count, max(1, self.room[scope].capacity)))
            for scope, count in candidate.places.needs()
            if scope in self.room
        )

    def fitting(self, candidate: Candidate) -> tuple[tuple[ScopeKey, int], ...] | None:
        """Return the same when there is enough of all of it; None at the first scope that has too little left."""
        fits: list[tuple[ScopeKey, int]] = []
        restores = candidate.kind is JobKind.RESTORE
        for scope, count in candidate.places.needs():
            room = self.room.get(scope)
            if room is not None:
                taken = min(count, max(1, room.capacity))
                left = (room.free if restores else room.common) - self.taken.get(scope, 0)
                if left <= 0:
                    self.spent[candidate.kind].add(scope)
                if left < taken:
                    return None
                fits.append((scope, taken))
        return tuple(fits)

    def left(self, scope: ScopeKey, kind: JobKind) -> int:
        """Return what a scope has left for jobs of a kind."""
        return self.room[scope].for_kind(kind) - self.taken[scope]

    def take(self, slots: Iterable[tuple[ScopeKey, int]]) -> None:
        """Take slots."""
        for scope, count in slots:
            self.taken[scope] += count


def choose(
    queue: Iterable[Candidate],
    *,
    room: Mapping[ScopeKey, Room],
    in_use: Mapping[str, int],
    weights: Mapping[str, int],
    reservations: Sequence[Reservation] = (),
    now: datetime,
) -> list[Needs]:
    """Return the jobs to admit, in the order of admission; at most one backup per item.

    ``in_use`` and ``weights`` are by tenant: the jobs it has running, and how many of them are its share; one that is
    missing has none running and a weight of 1.
    """
    account, chosen, items = _Account(room), list[Needs](), set[str]()
    share = Share(in_use, weights)
    for candidate in share.in_turn(queue):
        if not account.spent[candidate.kind].isdisjoint(candidate.places.scopes):
            continue
        if candidate.kind is JobKind.BACKUP and candidate.item_id in items:
            continue
        slots = account.fitting(candidate)
        if slots is None:
            continue
        if not _leaves(slots, candidate, account, reservations, now):
            continue
        account.take(slots)
        share.took(candidate.places.tenant)
        if candidate.kind is JobKind.BACKUP:
            items.add(candidate.item_id)
        chosen.append(Needs(candidate.job_id, candidate.epoch, slots))
    return chosen


def _leaves(
    slots: Iterable[tuple[ScopeKey, int]],
    candidate: Candidate,
    account: _Account,
    reservations: Sequence[Reservation],
    now: datetime,
) -> bool:
    """Tell whether enough is left for those with a reservation, or will be there again in time."""
    if not reservations:
        return True
    ends = now + timedelta(seconds=candidate.estimate)
    for scope, count in slots:
        kept = sum(
            reservation.slots.get(scope, 0)
            for reservation in reservations
            if reservation.job_id != candidate.job_id and ends > reservation.until(scope, now)
        )
        if kept and account.left(scope, candidate.kind) - kept < count:
            return False
    return True


class Share:
    """Whose turn it is: the tenants' queues merged, by class, then by what each uses of its weight, then by slack."""

    def __init__(self, in_use: Mapping[str, int], weights: Mapping[str, int]) -> None:
        self._used = Counter(in_use)
        self._weights = weights

    def took(self, tenant: str) -> None:
        """Count one more running job of a tenant."""
        self._used[tenant] += 1

    def in_turn(self, queue: Iterable[Candidate]) -> Iterator[Candidate]:
        """Yield every candidate once. What ``took`` counts between two of them changes who comes next."""
        queues: defaultdict[str, list[Candidate]] = defaultdict(list)
        for candidate in queue:
            queues[candidate.places.tenant].append(candidate)
        for waiting in queues.values():
            waiting.sort(key=_urgency, reverse=True)
        # Only the tenant whose job has just been looked at may have another share than its key in the heap says.
        heap = [(self._turn(tenant, waiting[-1]), tenant) for tenant, waiting in queues.items()]
        heapq.heapify(heap)
        while heap:
            _, tenant = heapq.heappop(heap)
            waiting = queues[tenant]
            yield waiting.pop()
            if waiting:
                heapq.heappush(heap, (self._turn(tenant, waiting[-1]), tenant))

    def _turn(self, tenant: str, head: Candidate) -> tuple[int, float, datetime, str]:
        return (head.rank, self._used[tenant] / self._weights.get(tenant, 1), head.latest_start, head.job_id)


def _urgency(candidate: Candidate) -> tuple[int, datetime, str]:
    return candidate.rank, candidate.latest_start, candidate.job_id


def reserve(
    heads: Iterable[Candidate],
    *,
    room: Mapping[ScopeKey, Room],
    holders: Mapping[ScopeKey, Sequence[Holder]],
    now: datetime,
) -> list[Reservation]:
    """Return the reservations of the first jobs of the queue, of those that do not fit now and will within the hour.

    Each keeps what its scopes have left, up to what it needs, after what the ones before it keep; but not what others
    will have given back before it starts (EASY's extra nodes). What they wait for is theirs first and free again once
    they have run: of many jobs that wait for one line only those that it will have room for within the hour keep slots
    of a vault that others could use meanwhile.
    """
    account, made = _Account(room), list[Reservation]()
    held = {scope: [(holder.ends_at, holder.slots) for holder in holders.get(scope, ())] for scope in room}
    for head in heads:
        if len(made) == MOST_HEADS:
            break
        slots = account.needs(head)
        missing = [
            (scope, count - account.left(scope, head.kind))
            for scope, count in slots
            if account.left(scope, head.kind) < count
        ]
        if not missing:  # it starts in this very tick
            account.take(slots)
            for scope, count in slots:
                held[scope].append((now + timedelta(seconds=head.estimate), count))
            continue
        frees = [frees_at(held[scope], wanted=wanted, now=now) for scope, wanted in missing]
        known = [moment for moment in frees if moment is not None]
        if len(known) < len(missing) or max(known) - now > FARTHEST_START:
            continue
        starts_at = max(known)
        kept: dict[ScopeKey, int] = {}
        for scope, count in slots:
            given_back = sum(number for end, number in held[scope] if now < end <= starts_at)
            least = min(count - given_back, account.left(scope, head.kind))
            if least > 0:
                kept[scope] = least
        gathered = frozenset(scope for scope, _ in missing if scope in kept)
        made.append(Reservation(head.job_id, starts_at, kept, gathered))
        account.take(kept.items())
        ends = starts_at + timedelta(seconds=head.estimate)
        for scope, count in slots:
            held[scope] = _passed_on(held[scope], count - kept.get(scope, 0), count=count, until=ends)
    return made


def all_fit(heads: Iterable[Candidate], *, room: Mapping[ScopeKey, Room]) -> bool:
    """Tell whether all of these jobs fit at once, so that none of them needs a reservation."""
    account = _Account(room)
    for head in heads:
        slots = account.fitting(head)
        if slots is None:
            return False
        account.take(slots)
    return True


def _passed_on(
    holders: Iterable[tuple[datetime, int]], wanted: int, *, count: int, until: datetime
) -> list[tuple[datetime, int]]:
    """Return who holds slots once the first ``wanted`` to get free have gone to a job that has ``count`` until then."""
    left: list[tuple[datetime, int]] = [(until, count)]
    for end, number in sorted(holders):
        used = min(wanted, number)
        wanted -= used
        if number > used:
            left.append((end, number - used))
    return left
