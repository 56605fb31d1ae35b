"""What the storm has asked for and was promised: the checker's word against the tower's.

Rule of the file: a job is written down once its promise (an answer with an id) has arrived.
"""

from __future__ import annotations

from collections import Counter
from dataclasses import dataclass, field
from pathlib import Path


@dataclass(frozen=True)
class Asked:
    """A job as it was asked for. ``version`` is that of the source; a restore has a point and a target.

    A collection has its vault for an item.
    """

    kind: str
    item: str
    version: int | None = None
    point: str | None = None
    target: Path | None = None


@dataclass
class Book:
    """Promises by job id, and counts.

    Faults by kind, points restored and expired, collections, doors knocked at, stale messages sent.
    """

    jobs: dict[str, Asked] = field(default_factory=dict)
    faults: Counter[str] = field(default_factory=Counter)
    points: int = 0
    expired: int = 0
    collections: int = 0
    knocks: int = 0
    stale: int = 0

    def promised(self, job: str, asked: Asked) -> None:
        """Write a promise down. The same key has to be answered by the same job."""
        assert self.jobs.setdefault(job, asked) == asked, f"job {job} was promised to two requests"
