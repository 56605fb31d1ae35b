"""Goals, and whether they are met: arithmetic on summaries of samples.

A run that was cut off is known to take longer than its value; what follows from such a value is a bound and is shown as
one, and a goal is only called met or missed when the bound proves it.

Rule of the file: pure; nothing is measured or printed here.
"""

from __future__ import annotations

import statistics
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from tests.benchmarks.measure import Sample
from tests.benchmarks.programs import OURS, PEERS


@dataclass(frozen=True)
class Summary:
    """Median, lowest and highest value of some runs, and the median of their CPU seconds."""

    median: float
    low: float
    high: float
    runs: int
    cpu: float | None
    cut_off: bool


def summarize(samples: Sequence[Sample]) -> Summary:
    """Summarize one program's samples of one row; at least one. One run that was cut off makes all a bound."""
    values = [sample.value for sample in samples]
    cpu = [sample.cpu for sample in samples if sample.cpu is not None]
    return Summary(
        statistics.median(values),
        min(values),
        max(values),
        len(values),
        statistics.median(cpu) if cpu else None,
        any(sample.cut_off for sample in samples),
    )


Summaries = Mapping[str, Summary]


@dataclass(frozen=True)
class Ratio:
    """Ours ÷ theirs. ``at_most``: theirs was cut off, it is less. ``at_least``: ours was cut off, it is more."""

    value: float
    at_most: bool = False
    at_least: bool = False

    def __str__(self) -> str:
        sign = "≤ " * self.at_most + "≥ " * self.at_least
        return f"{sign}{self.value:.2f}"


def ratio_of(summaries: Summaries, peers: Sequence[str] = PEERS) -> Ratio | None:
    """Return ours ÷ the best of the peers that ran; None when ours or all peers did not, or nothing follows."""
    ours = summaries.get(OURS)
    theirs = [summaries[name] for name in peers if name in summaries]
    if ours is None or not theirs:
        return None
    best = min(theirs, key=lambda summary: summary.median)
    if best.median == 0 or (ours.cut_off and best.cut_off):
        return None
    return Ratio(ours.median / best.median, at_most=best.cut_off, at_least=ours.cut_off)


def cpu_ratio_of(summaries: Summaries) -> float | None:
    """Return ours ÷ theirs in CPU seconds, against the peer that was best by the clock."""
    theirs = [summaries[name] for name in PEERS if name in summaries]
    ours = summaries.get(OURS)
    best = min(theirs, key=lambda summary: summary.median, default=None)
    if ours is None or best is None or ours.cpu is None or not best.cpu:
        return None
    return ours.cpu / best.cpu


@dataclass(frozen=True)
class AtMost:
    """Ours ÷ the best of the peers is at most ``ratio``."""

    ratio: float
    peers: tuple[str, ...] = PEERS

    def __str__(self) -> str:
        return f"≤ {self.ratio:.2f}" + ("" if self.peers == PEERS else f" of {'/'.join(self.peers)}")

    def is_met(self, summaries: Summaries) -> bool | None:
        """Return None when it cannot be told."""
        ratio = ratio_of(summaries, self.peers)
        if ratio is None:
            return None
        within = ratio.value <= self.ratio
        return None if (within and ratio.at_least) or (not within and ratio.at_most) else within


@dataclass(frozen=True)
class Limit:
    """Ours is at most ``value``, whatever the others need."""

    value: float
    unit: str

    def __str__(self) -> str:
        return f"≤ {self.value:g} {self.unit}"

    def is_met(self, summaries: Summaries) -> bool | None:
        """Return None when ours did not run."""
        ours = summaries.get(OURS)
        return None if ours is None else not ours.cut_off and ours.median <= self.value


@dataclass(frozen=True)
class Within:
    """Ours is at most one peer's value and ``extra`` bytes."""

    peer: str
    extra: int

    def __str__(self) -> str:
        return f"≤ {self.peer} + {self.extra >> 20} MiB"

    def is_met(self, summaries: Summaries) -> bool | None:
        """Return None when one of the two did not run to its end."""
        ours, theirs = summaries.get(OURS), summaries.get(self.peer)
        if ours is None or theirs is None or ours.cut_off or theirs.cut_off:
            return None
        return ours.median <= theirs.median + self.extra


Goal = AtMost | Limit | Within
