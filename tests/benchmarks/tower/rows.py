"""Rows of the tower's table: a value, its unit, and the goal that it is held against.

Rule of the file: values only.
"""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class Measured:
    """One measured value. Without a bound there is no goal."""

    name: str
    value: float
    unit: str
    at_most: float | None = None
    at_least: float | None = None

    @property
    def goal(self) -> str:
        """The goal in words; a dash when there is none."""
        if self.at_most is not None:
            return f"≤ {self.at_most:g} {self.unit}"
        return "–" if self.at_least is None else f"≥ {self.at_least:g} {self.unit}"

    @property
    def is_met(self) -> bool | None:
        """Whether the goal is met; None without one."""
        if self.at_most is not None:
            return self.value <= self.at_most
        return None if self.at_least is None else self.value >= self.at_least
