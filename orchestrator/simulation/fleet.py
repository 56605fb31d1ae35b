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


@dataclass(frozen=True, slots=True)
class Outage:
    """Something that does not answer: ``tower`` or a vault's name, from and until seconds after the start."""

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
