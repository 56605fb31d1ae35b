"""What a matrix of faults has tried, counted in the tests and printed once at the end of the session.

Counts travel with the reports of the tests, so that they arrive from every worker of pytest-xdist.

Rule of the file: numbers only; what went wrong is the test's to say.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any

_PROPERTY = "matrix"
_SHOWN = 30


@dataclass
class Tally:
    """Counts of one test, under the name of its matrix. ``violations`` is counted even when there are none."""

    name: str
    counts: dict[str, int] = field(default_factory=lambda: {"violations": 0})

    def add(self, what: str, number: int = 1) -> None:
        """Count some more of something."""
        self.counts[what] = self.counts.get(what, 0) + number

    def judge(self, violations: list[str]) -> None:
        """Count the violations and fail with the first of them, if there are any."""
        self.add("violations", len(violations))
        assert not violations, "\n".join([f"{len(violations)} violations:", *violations[:_SHOWN]])


def new_tally(name: str, record: Callable[[str, object], None]) -> Tally:
    """Make a tally whose counts end up in the summary; ``record`` is pytest's ``record_property``."""
    tally = Tally(name)
    record(_PROPERTY, (name, tally.counts))
    return tally


def pytest_terminal_summary(terminalreporter: Any) -> None:
    """Print the sums of all tests of every matrix (a hook of pytest)."""
    sums: dict[str, dict[str, int]] = defaultdict(lambda: defaultdict(int))
    reports = [report for reports in terminalreporter.stats.values() for report in reports]
    for report in reports:
        if getattr(report, "when", None) != "call":
            continue
        for key, value in report.user_properties:
            if key == _PROPERTY:
                for what, number in value[1].items():
                    sums[value[0]][what] += number
                # A test that stopped at its first violation has not counted it.
                sums[value[0]]["violations"] += report.failed and not value[1]["violations"]
    if sums:
        terminalreporter.section("what the matrices of faults have tried")
    for name, counts in sorted(sums.items()):
        violations = counts.pop("violations")
        tried = ", ".join(f"{what} {number}" for what, number in sorted(counts.items()))
        terminalreporter.write_line(f"{name}: {tried}; violations {violations}")
