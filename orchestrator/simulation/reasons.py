"""Why the waiting jobs of a simulation wait, in the tower's own words, and which scarce thing that blames.

The reason of a job is the one that ``explain_waits`` would set. What is to blame goes one step further: a job that
waits for a slot while its line or its vault moves all it can, or while no worker has a seat free, would gain nothing
from another slot.

Rule of the file: it looks and counts, by the moment; what adds up over time is ``record``'s.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping, Sequence

from orchestrator.domain.jobs import WaitReason
from orchestrator.domain.slots import Scope, ScopeKey
from orchestrator.domain.window import why_closed
from orchestrator.simulation.lines import LineUse, Thing
from orchestrator.simulation.rows import JobRow
from orchestrator.simulation.waiting import Group
from orchestrator.simulation.world import World
from shared.model.backup import JobKind

Reason = tuple[str, JobKind]
"""Why, with the name of the scope where there is one; and the kind of job that waits."""

SPEED = "speed"
"""What the MiB/s of a vault or a location are called beside the slot scopes."""

_ORDER = (
    Scope.GLOBAL, Scope.CLASS, Scope.TENANT, Scope.LOCATION, Scope.HYPERVISOR, Scope.VAULT, Scope.BANDWIDTH,
)  # fmt: skip
"""The order in which the tower looks for a full scope to name."""


def name_of(key: ScopeKey) -> str:
    """Return a scope as people write it."""
    return f"{key[0]}/{key[1]}" if key[1] else str(key[0])


def speed_of(thing: Thing) -> ScopeKey:
    """Return under which key the speed of a line or a vault is remembered."""
    kind, name = thing
    return SPEED, f"{'location' if kind == 'line' else kind}/{name}"


class Reasons:
    """Looks at a world."""

    def __init__(self, world: World) -> None:
        self._world = world

    def now(self) -> Counter[Reason]:
        """Return how many jobs wait for what, at this moment."""
        world, found = self._world, Counter[Reason]()
        dependent = self._dependent()
        for group in world.waiting.groups():
            self._count(group, dependent[id(group)], found)
        for row in world.admitted():
            found[WaitReason.WORKER, row.kind] += 1
        for kind, number in world.backing_off.items():
            found[WaitReason.BACKOFF, kind] += number
        return found

    def blame(self, uses: Mapping[Thing, LineUse], *, seats: ScopeKey, seats_taken: bool) -> Counter[ScopeKey]:
        """Return how many jobs wait because of which scope or speed; a job of two full scopes counts for both.

        With all ``seats`` of the workers taken, slots are held by jobs that nobody flies: the seats are to blame.
        """
        found = Counter[ScopeKey]()
        for group in self._world.waiting.groups():
            full = self.full(group)
            if full:
                row = next(iter(group.rows))
                for key in _saturated(row, uses) or ([seats] if seats_taken else full):
                    found[key] += len(group.rows)
        for row in self._world.admitted():
            for key in _saturated(row, uses) or [seats]:
                found[key] += 1
        return found

    def full(self, group: Group) -> Sequence[ScopeKey]:
        """Return the scopes that keep all of a group waiting."""
        scopes = self._world.scopes
        full = [key for key in sorted(group.touched) if scopes[key].closed_to(group.kind)]
        if group.line is not None and group.line not in full:
            first = next(iter(group.rows))
            if scopes[group.line].closed_to(group.kind, first.places.mib_per_second):
                full.append(group.line)
        return full

    def _dependent(self) -> Counter[int]:
        """Return how many waiting backups of each group wait for another backup of their item."""
        return Counter(
            id(row.queued_in)
            for item in self._world.busy_items.values()
            if len(item.open_jobs) > 1
            for row in item.open_jobs
            if row.kind is JobKind.BACKUP and row.queued_in is not None
        )

    def _count(self, group: Group, dependent: int, found: Counter[Reason]) -> None:
        world = self._world
        closed = None
        if any(world.scopes[key].paused for key in group.touched):
            closed = WaitReason.PAUSED
        elif group.policy is not None and (why := why_closed(world.policies[group.policy].spec, world.now)):
            closed = WaitReason(why.value)
        if closed is not None:
            found[closed, group.kind] += len(group.rows)
            return
        left = len(group.rows) - dependent
        found[WaitReason.DEPENDENCY, group.kind] += dependent
        by_kind = {key[0]: key for key in group.touched if world.scopes[key].closed_to(group.kind)}
        if group.line is not None and world.scopes[group.line].closed_to(group.kind, group.least_need()):
            by_kind[Scope.BANDWIDTH] = group.line
        # A tower names a full machine before a vault or a line; the machines of a group that is walled are not read.
        wall = next((by_kind[scope] for scope in _ORDER if scope in by_kind), None)
        if wall is not None:
            found[f"slot:{name_of(wall)}", group.kind] += left
            return
        for row in group.rows:
            if not (row.kind is JobKind.BACKUP and row.item.busy):
                found[self._of_one(row, group), group.kind] += 1

    def _of_one(self, row: JobRow, group: Group) -> str:
        machine = self._world.scopes.get((Scope.MACHINE, row.places.machine_id))
        if machine is not None and (machine.paused or machine.closed_to(row.kind)):
            return WaitReason.PAUSED if machine.paused else WaitReason.SLOT_MACHINE
        line = None if group.line is None else self._world.scopes[group.line]
        if line is not None and line.closed_to(row.kind, row.places.mib_per_second):
            return f"slot:{name_of(line.key)}"
        return WaitReason.ADMISSION


def _saturated(row: JobRow, uses: Mapping[Thing, LineUse]) -> list[ScopeKey]:
    things = (("line", row.places.location), ("vault", row.places.vault_id))
    return [speed_of(thing) for thing in things if thing in uses and uses[thing].saturated]
