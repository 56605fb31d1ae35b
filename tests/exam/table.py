"""The exam's table: source by claim, made of the reports of its tests and printed at the end of a run.

Rule of the file: it shows what the tests of this run have said, and nothing else.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Callable
from typing import Any

from tests.exam.claims import Claim

_PROPERTY = "exam"
_WORDS = {"passed": "yes", "failed": "NO", "skipped": "-"}


def note(record: Callable[[str, object], None], *, row: str, claim: Claim) -> None:
    """Put the test that runs into the table; ``record`` is pytest's ``record_property``."""
    record(_PROPERTY, (row, str(claim)))


def print_table(terminalreporter: Any) -> None:
    """Print what the exam's tests have said (from a hook of pytest)."""
    cells: dict[tuple[str, str], set[str]] = defaultdict(set)
    for outcome in _WORDS:
        for report in terminalreporter.stats.get(outcome, ()):
            # A test is skipped in its set-up when its server cannot be had.
            if report.when == "call" or report.outcome != "passed":
                for key, value in report.user_properties:
                    if key == _PROPERTY:
                        cells[value[0], value[1]].add(report.outcome)
    if not cells:
        return
    terminalreporter.section("the exam of the sources")
    rows = sorted({row for row, _ in cells})
    width = max(map(len, rows))
    terminalreporter.write_line("  ".join([" " * width, *(str(claim) for claim in Claim)]))
    for row in rows:
        said = [_said(cells.get((row, str(claim)), set())).ljust(len(str(claim))) for claim in Claim]
        terminalreporter.write_line("  ".join([row.ljust(width), *said]).rstrip())


def _said(outcomes: set[str]) -> str:
    worst = next((one for one in ("failed", "passed", "skipped") if one in outcomes), None)
    return "" if worst is None else _WORDS[worst]
