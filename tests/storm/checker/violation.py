"""What the checker finds.

Rule of the file: a violation carries what a person needs to believe it, without a second look at the database.
"""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True)
class Violation:
    """An invariant that does not hold: its number, such as ``I3``, the sentence, and the rows that prove it."""

    invariant: str
    claim: str
    evidence: object = None

    def __str__(self) -> str:
        return f"{self.invariant}: {self.claim}" + ("" if self.evidence is None else f" [{self.evidence}]")
