"""The waiting jobs, in groups that are blocked or free as a whole.

All jobs of a group touch the same scopes but for their machine's, and follow the same policy: a full vault, a closed
window or a blackout takes a group out of the walk without looking at any of its jobs, however many there are.

Rule of the file: order and grouping; what is full and what is closed comes in as a question to the group.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from heapq import merge
from operator import attrgetter

from orchestrator.domain.jobs import Trigger
from orchestrator.domain.slots import GLOBAL, Scope, ScopeKey
from orchestrator.simulation.rows import JobRow
from orchestrator.simulation.sorted_rows import SortedRows
from shared.model.backup import JobKind

_order = attrgetter("queued_as")


@dataclass(slots=True, eq=False)
class Group:
    """Jobs that wait for the same things. ``policy`` is the one that may hold them back; ``line`` their bandwidth's."""

    tenant: str
    policy: str | None
    kind: JobKind
    scopes: tuple[ScopeKey, ...]
    line: ScopeKey | None
    rows: SortedRows[JobRow] = field(default_factory=SortedRows)
    needs: Counter[int] = field(default_factory=Counter)

    @property
    def touched(self) -> tuple[ScopeKey, ...]:
        """The scopes with the line."""
        return self.scopes if self.line is None else (*self.scopes, self.line)

    def least_need(self) -> int:
        """Return how many MiB/s of the line the most modest of its jobs takes."""
        return min(self.needs, default=1)


def in_order(groups: Sequence[Group]) -> Iterator[JobRow]:
    """Yield the jobs of some groups, in the order of the queue."""
    if len(groups) == 1:
        return iter(groups[0].rows)
    return merge(*(group.rows for group in groups), key=_order)


class Waiting:
    """Every job that is available and not admitted."""

    def __init__(self) -> None:
        self._groups: dict[tuple[str, ...], Group] = {}

    def __len__(self) -> int:
        return sum(len(group.rows) for group in self._groups.values())

    def groups(self) -> Iterator[Group]:
        """Yield the groups in which jobs wait."""
        return (group for group in self._groups.values() if len(group.rows))

    def add(self, row: JobRow) -> None:
        """Have a job wait."""
        row.queued_as = (row.aged_rank, row.latest_start, row.id)
        group = self._group_of(row)
        group.rows.add(row.queued_as, row)
        group.needs[row.places.mib_per_second] += 1

    def remove(self, row: JobRow) -> None:
        """Have it wait no longer; nothing happens when it does not."""
        if row.queued_as is not None:
            group, need = self._group_of(row), row.places.mib_per_second
            group.rows.remove(row.queued_as)
            row.queued_as = None
            group.needs[need] -= 1
            if not group.needs[need]:
                del group.needs[need]

    def _group_of(self, row: JobRow) -> Group:
        places = row.places
        held = row.trigger is Trigger.SCHEDULE and row.cancel_requested_at is None and row.item.policy is not None
        policy = row.item.policy.name if held and row.item.policy is not None else ""
        key = (places.tenant, policy, row.kind, places.vault_id, places.location, places.hypervisor)
        group = self._groups.get(key)
        if group is None:
            scopes = [GLOBAL, (Scope.CLASS, row.kind), (Scope.TENANT, places.tenant), (Scope.VAULT, places.vault_id)]
            if places.location:
                scopes.append((Scope.LOCATION, places.location))
            if places.hypervisor:
                scopes.append((Scope.HYPERVISOR, places.hypervisor))
            line = (Scope.BANDWIDTH, places.location) if places.location else None
            group = self._groups[key] = Group(places.tenant, policy or None, row.kind, tuple(scopes), line)
        return group
