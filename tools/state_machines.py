"""Writes ``docs/state-machines.md`` from the transition table: ``python -m tools.state_machines``.

Rule of the file: nothing is said here that the table does not say.
"""

from __future__ import annotations

import sys
from collections.abc import Iterator
from pathlib import Path

from orchestrator.domain.job_states import (
    OWNED,
    POINT_TRANSITIONS,
    TERMINAL,
    TRANSITIONS,
    WAITING,
    JobState,
    PointState,
)

PLACE = Path(__file__).resolve().parents[1] / "docs" / "state-machines.md"


def document() -> str:
    """Return the document's text."""
    return "\n".join([*_head(), *_picture(), "", *_table(), "", *_points(), ""])


def _head() -> Iterator[str]:
    yield "# State machines"
    yield ""
    yield "Made from `orchestrator/domain/job_states.py` by `python -m tools.state_machines`. The SQL CHECK, the"
    yield "trigger that guards every transition and the tests come from the same table. What may be true beside a state"
    yield "(admitted, cancel requested, was committing once) is a fact: a nullable time of the row."
    yield ""
    yield "## Job"
    yield ""


def _picture() -> Iterator[str]:
    yield "```mermaid"
    yield "stateDiagram-v2"
    yield f"    [*] --> {JobState.SCHEDULED}"
    yield f"    [*] --> {JobState.AVAILABLE}"
    for before, row in TRANSITIONS.items():
        for after in sorted(row.to):
            yield f"    {before} --> {after}"
    for state in TRANSITIONS:
        if state in TERMINAL:
            yield f"    {state} --> [*]"
    yield "```"


def _table() -> Iterator[str]:
    yield "| state | kind | means | moved on by | may become |"
    yield "|---|---|---|---|---|"
    for state, row in TRANSITIONS.items():
        kind = "waits" if state in WAITING else "owned by a lease" if state in OWNED else "ended"
        after = ", ".join(f"`{to}`" for to in sorted(row.to)) or "–"
        yield f"| `{state}` | {kind} | {row.means} | {row.moved_by} | {after} |"


def _points() -> Iterator[str]:
    yield "## Recovery point"
    yield ""
    yield "```mermaid"
    yield "stateDiagram-v2"
    yield f"    [*] --> {PointState.SEALED}"
    for before, row in POINT_TRANSITIONS.items():
        for after in sorted(row.to):
            yield f"    {before} --> {after}"
    yield f"    {PointState.EXPIRED} --> [*]"
    yield "```"
    yield ""
    yield "| state | means | moved on by | may become |"
    yield "|---|---|---|---|"
    for state, row in POINT_TRANSITIONS.items():
        after = ", ".join(f"`{to}`" for to in sorted(row.to)) or "–"
        yield f"| `{state}` | {row.means} | {row.moved_by} | {after} |"


if __name__ == "__main__":
    PLACE.write_text(document(), encoding="utf-8")
    sys.stdout.write(f"{PLACE}\n")
