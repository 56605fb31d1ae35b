"""I6: every sealed point brings back what its oracle copy holds.

Rule of the file: points are restored by the independent reader, in a process of its own, and compared by the comparer
that shares no code with the engine.
"""

from __future__ import annotations

import shutil
import subprocess
import sys
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from tests.storm.checker.violation import Violation
from tests.support.compare import differences

_SECONDS_EACH = 60
_SHOWN = 5


@dataclass(frozen=True)
class Expected:
    """A point and what it must bring back: ``oracle`` is a copy of ``tree`` as it was when the point was made."""

    point: str
    tree: Path
    oracle: Path


@dataclass(frozen=True)
class Opened:
    """How the points of one machine in one vault are read."""

    vault: Path
    machine: str
    passphrase_file: Path


def unlike_oracle(opened: Opened, points: Sequence[Expected], place: Path) -> list[Violation]:
    """I6: the points that do not come back whole and identical. ``place`` is an empty folder to work in."""
    if not points:
        return []
    command = [sys.executable, "-m", "tests.storm.checker.reading", str(opened.vault), opened.machine]
    command += [str(opened.passphrase_file), str(place), *(expected.point for expected in points)]
    ran = subprocess.run(
        command, capture_output=True, text=True, check=False, timeout=120 + _SECONDS_EACH * len(points)
    )
    found = []
    if ran.returncode != 0:
        found.append(Violation("I6", f"points of {opened.machine} are not whole", ran.stderr[-2000:]))
    for expected in points:
        out = place / expected.point
        found += unlike(expected, out, by="the independent reader")
        shutil.rmtree(out, ignore_errors=True)
    return found


def unlike(expected: Expected, out: Path, *, by: str) -> list[Violation]:
    """I6: whether what was restored below ``out`` is the oracle's tree, holes aside."""
    tree = out / str(expected.tree).lstrip("/")
    if not tree.is_dir():
        return [Violation("I6", f"point {expected.point} brings nothing back by {by}")]
    lines = differences(str(expected.oracle), str(tree), ignore=["holes"])
    claim = f"point {expected.point} is not its oracle by {by}: {len(lines)} differences"
    return [Violation("I6", claim, lines[:_SHOWN])] if lines else []
