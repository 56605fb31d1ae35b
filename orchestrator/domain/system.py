"""What an operator sees of the tower itself: workers, queue, slots, numbers.

Rule of the file: values only.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime


@dataclass(frozen=True, slots=True, kw_only=True)
class Worker:
    """A worker process as last heard of. ``running`` counts the leases of its present session."""

    name: str
    session: str
    version: str
    concurrency: int
    running: int
    last_seen_at: datetime


@dataclass(frozen=True, slots=True, kw_only=True)
class SlotScope:
    """A scarce thing and how much of it is in use. ``floor`` is for restores only.

    ``name`` is what people call it: for a machine or vault its name, otherwise the key. ``in_use`` may be more than
    ``capacity`` for a while after that was lowered.
    """

    scope: str
    key: str
    capacity: int
    in_use: int
    paused: bool = False
    floor: int = 0
    name: str = ""


@dataclass(frozen=True, slots=True, kw_only=True)
class SystemStatus:
    """The tower at one moment. ``queue`` counts the jobs by state (terminal states included).

    ``slots`` are those in use or paused, and all that are not of a machine.
    """

    schema: str
    workers: Sequence[Worker]
    queue: Mapping[str, int]
    slots: Sequence[SlotScope]


@dataclass(frozen=True, slots=True, kw_only=True)
class Numbers:
    """What /metrics shows. Ages are seconds by the database's clock; times of points are kept per item id."""

    jobs_by_state: Mapping[str, int]
    waiting_by_reason: Mapping[str, int]
    slots: Sequence[SlotScope]
    workers_alive: int
    outbox_pending: int
    oldest_waiting_seconds: float
    last_point_at: Mapping[str, datetime]
    points: int
    fires_missed: int
    alarms_open: Mapping[str, int]
    items_by_verdict: Mapping[str, int]
    auditor_round_at: datetime | None = None
    audit_unsealed: int = 0


@dataclass(frozen=True, slots=True)
class Leadership:
    """A term of the tower's leader; terms only grow."""

    holder: str
    term: int
