"""The waiting jobs, in groups that are blocked or free as a whole.

All jobs of a group touch the same scopes but for their machine's, and follow the same policy: a full vault, a closed
window or a blackout takes a group out of the walk without looking at any of its jobs, however many there are. A place
whose scope does not exist limits nobody and makes no group: six hundred hypervisors without a limit are one.

Rule of the file: order and grouping; what is full and what is closed comes in as a question to the group.
"""

from __future__ import annotations

import heapq
from collections import Counter
from collections.abc import Container, Iterator, Sequence
from dataclasses import dataclass, field

from orchestrator.domain.jobs import Trigger
from orchestrator.domain.slots import Scope, ScopeKey
from orchestrator.simulation.rows import JobRow
from orchestrator.simulation.sorted_rows import SortedRows
from shared.model.backup import JobKind


@dataclass(slots=True, eq=False)
class Group:
    """Jobs that wait for the same things. ``policy`` is the one that may hold them back; ``line`` their bandwidth's.

    ``touched`` are the scopes that exist, with the line.
    """

    tenant: str
    policy: str | None
    kind: JobKind
    line: ScopeKey | None
    touched: frozenset[ScopeKey]
    rows: SortedRows[JobRow] = field(default_factory=SortedRows)
    needs: Counter[int] = field(default_factory=Counter)

    def least_need(self) -> int:
        """Return how many MiB/s of the line the most modest of its jobs takes."""
        return min(self.needs, default=1)


def in_order(groups: Sequence[Group]) -> Iterator[JobRow]:
    """Yield the jobs of some groups, in the order of the queue. A group whose turn does not come is not walked."""
    if len(groups) == 1:
        yield from groups[0].rows
        return
    heap = [(group.rows.first_key(), number) for number, group in enumerate(groups)]
    heapq.heapify(heap)
    walks: dict[int, Iterator[JobRow]] = {}
    ahead: dict[int, JobRow] = {}
    while heap:
        _, number = heap[0]
        if number not in walks:
            walks[number] = iter(groups[number].rows)
            ahead[number] = next(walks[number])
        yield ahead[number]
        following = next(walks[number], None)
        if following is None or following.queued_as is None:
            heapq.heappop(heap)
        else:
            ahead[number] = following
            heapq.heapreplace(heap, (following.queued_as, number))


class Waiting:
    """Every job that is available and not admitted. ``scopes`` are those that exist: all of them, before jobs wait."""

    def __init__(self, scopes: Container[ScopeKey]) -> None:
        self._scopes = scopes
        self._groups: dict[tuple[str, ...], Group] = {}

    def __len__(self) -> int:
        return sum(len(group.rows) for group in self._groups.values())

    def groups(self) -> Iterator[Group]:
        """Yield the groups in which jobs wait."""
        return (group for group in self._groups.values() if len(group.rows))

    def add(self, row: JobRow) -> None:
        """Have a job wait."""
        row.queued_as = (row.aged_rank, row.latest_start, row.id)
        group = row.queued_in = self._group_of(row)
        group.rows.add(row.queued_as, row)
        group.needs[row.places.mib_per_second] += 1

    def remove(self, row: JobRow) -> None:
        """Have it wait no longer; nothing happens when it does not."""
        group = row.queued_in
        if row.queued_as is not None and group is not None:
            group.rows.remove(row.queued_as)
            row.queued_as = row.queued_in = None
            need = row.places.mib_per_second
            group.needs[need] -= 1
            if not group.needs[need]:
                del group.needs[need]

    def _group_of(self, row: JobRow) -> Group:
        places = row.places
        held = row.trigger is Trigger.SCHEDULE and row.cancel_requested_at is None and row.item.policy is not None
        policy = row.item.policy.name if held and row.item.policy is not None else ""
        hypervisor = places.hypervisor if (Scope.HYPERVISOR, places.hypervisor) in self._scopes else ""
        key = (places.tenant, policy, row.kind, places.vault_id, places.location, hypervisor)
        group = self._groups.get(key)
        if group is None:
            line = (Scope.BANDWIDTH, places.location)
            touched = frozenset(scope for scope in places.scopes if scope[0] != Scope.MACHINE and scope in self._scopes)
            group = Group(places.tenant, policy or None, row.kind, line if line in touched else None, touched)
            self._groups[key] = group
        return group
