"""A fleet to simulate: what is protected, who works, what is scarce, what goes wrong.

Rule of the file: values only; reading them from YAML is ``fleet_text``. Sizes are in MiB, times in seconds, shares
between 0 and 1.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import UTC, datetime

from orchestrator.domain.policy import PolicySpec
from orchestrator.domain.slots import MACHINE_CAPACITY, ScopeKey

TOWER = "tower"
"""What an outage of the tower itself is called."""

WORKERS = "workers"
"""What an outage of all workers of a kind begins with."""

USUAL_START = datetime(2026, 1, 5, tzinfo=UTC)
"""A Monday: the same file and seed give the same answer on every day."""


@dataclass(frozen=True, slots=True)
class Spread:
    """A quantity that differs between items: drawn between two values, evenly in its logarithm."""

    low: float
    high: float


@dataclass(frozen=True, slots=True, kw_only=True)
class ItemGroup:
    """Items of a kind. ``size`` is in MiB as they cross the line, ``change`` the share of it that is new every day.

    ``machines`` and ``hypervisors`` are shared evenly; 0 hypervisors for none.
    """

    name: str
    count: int
    machines: int
    policy: str
    tenant: str
    location: str
    vault: str
    hypervisors: int
    size: Spread
    change: Spread
    rpo: int | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class WorkerKind:
    """Workers of a kind: how many, how many jobs each takes at once, how fast one job reads (MiB/s)."""

    name: str
    count: int
    slots: int
    mib_per_second: float


@dataclass(frozen=True, slots=True, kw_only=True)
class Restores:
    """Restores that people ask for: ``per_day``, at any time, or ``count`` at once, ``at`` seconds after the start.

    Of the items of a ``group``, ``location`` and ``vault`` (empty: of any). ``share`` is how much of an item is read
    back, ``within`` how many seconds after it was wanted each is promised to be done.
    """

    name: str
    group: str = ""
    location: str = ""
    vault: str = ""
    per_day: float = 0.0
    at: float | None = None
    count: int = 0
    share: Spread = Spread(1.0, 1.0)
    within: int | None = None

    def is_of(self, group: ItemGroup) -> bool:
        """Tell whether a group's items may be restored by it."""
        return (
            self.group in ("", group.name) and self.location in ("", group.location) and self.vault in ("", group.vault)
        )


@dataclass(frozen=True, slots=True, kw_only=True)
class Verifies:
    """Proofs of newest points: a ``part`` of a group's items (empty: of all) in every period of ``every`` seconds.

    They come evenly and go round the items. ``share`` is how much of an item is read.
    """

    name: str
    group: str = ""
    part: float
    every: int
    share: Spread = Spread(1.0, 1.0)

    def is_of(self, group: ItemGroup) -> bool:
        """Tell whether a group's items are verified by it."""
        return self.group in ("", group.name)


@dataclass(frozen=True, slots=True)
class Outage:
    """Something that does not answer, from and until seconds after the start.

    ``tower``, a vault's name, or ``workers/KIND``.
    """

    what: str
    begins: float
    ends: float


@dataclass(frozen=True, slots=True, kw_only=True)
class Fleet:
    """A whole fleet. ``step`` is the rhythm of the tower's loops, None to have it follow from the number of items.

    ``lines`` and ``vaults`` are the MiB/s of locations and vaults, None for no limit; ``failures`` which share of
    attempts fails, by error code. ``losses_per_day`` workers die in the whole fleet and are back after ``back_after``.
    ``empty``: nothing has a recovery point at the start.
    """

    start: datetime = USUAL_START
    days: int = 7
    step: int | None = None
    empty: bool = False
    overhead: float = 10.0
    policies: Mapping[str, PolicySpec]
    groups: tuple[ItemGroup, ...]
    workers: tuple[WorkerKind, ...]
    vaults: Mapping[str, float | None]
    lines: Mapping[str, float | None] = field(default_factory=dict)
    slots: Mapping[ScopeKey, int] = field(default_factory=dict)
    machine_slots: int = MACHINE_CAPACITY
    weights: Mapping[str, int] = field(default_factory=dict)
    restores: tuple[Restores, ...] = ()
    verifies: tuple[Verifies, ...] = ()
    failures: Mapping[str, float] = field(default_factory=dict)
    losses_per_day: float = 0.0
    back_after: float = 300.0
    outages: tuple[Outage, ...] = ()

    @property
    def items(self) -> int:
        """How many items there are."""
        return sum(group.count for group in self.groups)

    @property
    def rhythm(self) -> int:
        """Seconds between two ticks: the tower's own second, or coarser where a second would change nothing."""
        if self.step is not None:
            return self.step
        return 1 if self.items <= 2_000 else 5 if self.items <= 20_000 else 10
