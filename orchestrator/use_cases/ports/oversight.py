"""What looks after the promises: the record of every item, what the auditor sees, alarms and the messages about them.

Rule of the file: nothing here decides what is backed up. Time is the database's.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from datetime import datetime
from typing import Protocol

from orchestrator.domain.alarm_text import Message
from orchestrator.domain.alarms import Alarm, Finding
from orchestrator.domain.objectives import Record, Verdict
from orchestrator.domain.oversight import (
    DamagedPoint,
    EndlessJob,
    FailedCollect,
    HeldBack,
    OverdueItem,
    PlannerLag,
    PointHistory,
)
from orchestrator.domain.paging import Page, PageRequest


class Objectives(Protocol):
    """What was promised of the living items, and what is known of their points."""

    def page(self, request: PageRequest, *, verdict: Verdict | None, now: datetime) -> Page[Record]:
        """Return records by name; only of items with this verdict, when there is one."""
        ...

    def count_by_verdict(self, *, now: datetime) -> Mapping[Verdict, int]:
        """Return the number of living items by verdict; verdicts of none are 0."""
        ...


class Sights(Protocol):
    """What the auditor looks at, and how far it has looked."""

    def enter(self) -> bool:
        """Try to be the only auditor at work; held until the commit."""
        ...

    def looked_through(self) -> datetime | None:
        """Return up to when new points have been looked at; None before the first round."""
        ...

    def note_round(self, *, through: datetime) -> None:
        """Remember that a round was done, and how far it looked."""
        ...

    def overdue(self, *, now: datetime) -> Sequence[OverdueItem]:
        """Return the living items whose promise is broken."""
        ...

    def lag(self, *, before: datetime) -> PlannerLag:
        """Return what the planner has left undone since ``before``."""
        ...

    def endless(self, *, before: datetime) -> Sequence[EndlessJob]:
        """Return scheduled jobs that were filed before then and have not ended."""
        ...

    def histories(self, *, since: datetime) -> Sequence[PointHistory]:
        """Return the points of items that have a new one since then, and of those with an open alarm about sizes."""
        ...

    def damaged(self) -> Sequence[DamagedPoint]:
        """Return the damaged points."""
        ...

    def held_back(self) -> Sequence[HeldBack]:
        """Return the living items of which retention holds points back."""
        ...

    def failed_collects(self) -> Sequence[FailedCollect]:
        """Return the vaults whose last collection that ended failed for good."""
        ...

    def waiting(self, *, before: datetime) -> int:
        """Return how many jobs have been ready to start since before then."""
        ...

    def workers(self, *, since: datetime) -> int:
        """Return how many workers have given a sign of life since then."""
        ...

    def led_until(self) -> datetime | None:
        """Return when the leader's lease ends or ended; None when nobody has ever led."""
        ...


class Alarms(Protocol):
    """The alarms. At most one of a kind and target is open."""

    def all_open(self) -> Sequence[Alarm]:
        """Return the open ones."""
        ...

    def open(self, findings: Sequence[Finding]) -> None:
        """Remember findings as open alarms that nobody has been told of."""
        ...

    def close(self, alarms: Sequence[Alarm], *, telling: bool) -> None:
        """Close alarms; without ``telling`` that is no news."""
        ...

    def remind(self, *, told_before: datetime) -> None:
        """Make news again of what is open and was last told of before then."""
        ...

    def news(self) -> Sequence[Alarm]:
        """Return what is to be told, oldest first."""
        ...

    def told(self, alarms: Sequence[Alarm]) -> None:
        """Remember that messages about these were made."""
        ...

    def page(self, request: PageRequest, *, closed: bool) -> Page[Alarm]:
        """Return alarms, newest first; the closed ones too when asked."""
        ...


class Messages(Protocol):
    """Messages that were decided and are delivered after the commit, at least once each."""

    def add(self, messages: Sequence[Message]) -> None:
        """Keep messages to be delivered."""
        ...

    def pending_since(self) -> datetime | None:
        """Return when the oldest message was made that is not delivered yet; None when all are."""
        ...

    def take(self, *, seconds: float) -> tuple[int, int, Message] | None:
        """Reserve the oldest message whose time has come for so long: its number, how often it was tried, itself."""
        ...

    def delivered(self, number: int) -> None:
        """Note that every channel has taken a message."""
        ...

    def postpone(self, number: int, *, seconds: float) -> None:
        """Have a message tried again after so long."""
        ...

    def sweep(self, *, days: int) -> int:
        """Delete messages delivered more than so many days ago; returns how many."""
        ...
