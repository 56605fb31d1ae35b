"""What was measured, line by line.

Rule of the file: values as they came; nothing is judged here.
"""

from __future__ import annotations

from collections import defaultdict
from dataclasses import dataclass, field

from tests.benchmarks.caches import Cache
from tests.benchmarks.datasets import Found
from tests.benchmarks.goals import Goal, Summary, summarize
from tests.benchmarks.measure import Sample
from tests.benchmarks.plan import ROWS

SECONDS, BYTES, MICROSECONDS = "s", "bytes", "µs"


@dataclass(frozen=True)
class Line:
    """What one line of the table is about; ``cache`` None where it makes no difference."""

    row: str
    data: str
    title: str
    cache: Cache | None
    unit: str
    goal: Goal | None = None


@dataclass
class Results:
    """Samples by line and program in the order of measuring, the data sets' sizes, and what a reader has to know."""

    samples: dict[Line, dict[str, list[Sample]]] = field(default_factory=lambda: defaultdict(lambda: defaultdict(list)))
    data: dict[str, Found] = field(default_factory=dict)
    notes: list[str] = field(default_factory=list)


def summaries_of(results: Results) -> dict[Line, dict[str, Summary]]:
    """Summarize all samples, by line and program; data sets in the order of measuring, rows in that of the plan."""
    data = list(dict.fromkeys(line.data for line in results.samples))
    lines = sorted(results.samples, key=lambda line: (data.index(line.data), ROWS.index(line.row)))
    return {line: {name: summarize(samples) for name, samples in results.samples[line].items()} for line in lines}


def value_text(value: float, unit: str) -> str:
    """Return a value as people read it."""
    return f"{number_text(value, unit)} {'MiB' if unit == BYTES else unit}"


def number_text(value: float, unit: str) -> str:
    """Return the same without its unit."""
    if unit == BYTES:
        return f"{value / (1 << 20):,.1f}"
    return f"{value:,.2f}" if unit == SECONDS else f"{value:,.1f}"
