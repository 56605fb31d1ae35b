"""What a matrix of faults has tried, counted in the tests and printed once at the end of the session.

Counts travel with the reports of the tests, so that they arrive from every worker of pytest-xdist.

Rule of the file: numbers only; what went wrong is the test's to say.
"""

from __future__ import annotations

import traceback
from collections import defaultdict
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from typing import Any

_PROPERTY = "matrix"
_SHOWN = 30


@dataclass
class Tally:
    """Counts of one test, under the name of its matrix. ``violations`` is counted even when there are none."""

    name: str
    counts: dict[str, int] = field(default_factory=lambda: {"violations": 0})
    violations: list[str] = field(default_factory=list)

    def add(self, what: str, number: int = 1) -> None:
        """Count some more of something."""
        self.counts[what] = self.counts.get(what, 0) + number

    @contextmanager
    def cell(self, where: str) -> Iterator[list[str]]:
        """Take what is found wrong in one cell of the matrix, and any exception for one more thing that is wrong."""
        found: list[str] = []
        try:
            yield found
        except Exception as error:
            steps = traceback.extract_tb(error.__traceback__)
            found.append(f"{type(error).__name__}: {error} ({steps[-1].filename}:{steps[-1].lineno})")
        self.violations += [f"{where}: {line}" for line in found]

    def judge(self, *, least: int) -> None:
        """Fail with the first violations, if there are any.

        Fails as well when nothing was counted ``least`` times: a matrix that tried little proves nothing.
        """
        violations = self.violations
        self.add("violations", len(violations))
        assert not violations, "\n".join([f"{len(violations)} violations:", *violations[:_SHOWN]])
        assert max(self.counts.values()) >= least, f"only this was tried: {self.counts}"


def new_tally(name: str, record: Callable[[str, object], None]) -> Tally:
    """Make a tally whose counts end up in the summary; ``record`` is pytest's ``record_property``."""
    tally = Tally(name)
    record(_PROPERTY, (name, tally.counts))
    return tally


def print_counts(terminalreporter: Any) -> None:
    """Print the sums of all tests of every matrix (from a hook of pytest)."""
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
