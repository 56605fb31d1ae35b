"""The results as a table for people and as JSON for programs.

Rule of the file: the same numbers in both; a value nobody measured is absent, never zero.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from rich.table import Table

from tests.benchmarks.goals import Summaries, Summary, cpu_ratio_of, ratio_of
from tests.benchmarks.programs import BORG, FLOORS, OURS, RESTIC
from tests.benchmarks.results import BYTES, Line, Results, number_text, summaries_of, value_text

NOTHING = "–"
COLUMNS = ("row", "cache", "ours", "restic", "borg", "floor", "ratio", "goal", "met?")


def render(results: Results) -> Table:
    """Return the table: medians, lowest to highest of several runs, and CPU seconds below."""
    table = Table(title="ours ÷ the faster of restic and borg: below 1 is better; medians (lowest to highest)")
    for column in COLUMNS:
        table.add_column(column, justify="left" if column in ("row", "cache") else "right")
    for line, summaries in summaries_of(results).items():
        table.add_row(*cells(line, summaries), end_section=True)
    return table


def cells(line: Line, summaries: Summaries) -> tuple[str, ...]:
    """Return the cells of one line."""
    floor = next((name for name in FLOORS if name in summaries), None)
    ratio, cpu = ratio_of(summaries, _peers(line)), cpu_ratio_of(summaries)
    return (
        f"{line.data}: {line.title}",
        line.cache or NOTHING,
        *(_cell(summaries.get(name), line.unit) for name in (OURS, RESTIC, BORG)),
        f"{_cell(summaries[floor], line.unit)}\n{floor}" if floor else NOTHING,
        "\n".join([str(ratio or NOTHING), *([f"CPU {cpu:.2f}"] if cpu is not None else [])]),
        str(line.goal or NOTHING),
        _verdict(line, summaries),
    )


def document(results: Results, about: Mapping[str, Any]) -> dict[str, Any]:
    """Return everything as one JSON-able value; ``about`` says where and how it was measured."""
    return {
        **about,
        "data": {name: {"files": found.files, "bytes": found.bytes} for name, found in results.data.items()},
        "notes": results.notes,
        "rows": [_row(line, summaries, results) for line, summaries in summaries_of(results).items()],
    }


def _row(line: Line, summaries: Summaries, results: Results) -> dict[str, Any]:
    ratio = ratio_of(summaries, _peers(line))
    return {
        "row": line.row,
        "data": line.data,
        "title": line.title,
        "cache": line.cache,
        "unit": line.unit,
        "programs": {
            name: {
                "median": summary.median,
                "lowest": summary.low,
                "highest": summary.high,
                "cpu": summary.cpu,
                "cut_off": summary.cut_off,
                "values": [sample.value for sample in results.samples[line][name]],
            }
            for name, summary in summaries.items()
        },
        "ratio": None if ratio is None else ratio.value,
        "cpu_ratio": cpu_ratio_of(summaries),
        "goal": None if line.goal is None else str(line.goal),
        "met": None if line.goal is None else line.goal.is_met(summaries),
    }


def _peers(line: Line) -> tuple[str, ...]:
    return (RESTIC,) if line.unit == BYTES else (RESTIC, BORG)


def _verdict(line: Line, summaries: Summaries) -> str:
    met = line.goal.is_met(summaries) if line.goal else None
    return NOTHING if met is None else "[green]yes[/green]" if met else "[red]no[/red]"


def _cell(summary: Summary | None, unit: str) -> str:
    if summary is None:
        return NOTHING
    if summary.cut_off:
        return f"> {value_text(summary.median, unit)}"
    parts = [value_text(summary.median, unit)]
    if summary.runs > 1 and summary.low != summary.high:
        parts.append(f"({number_text(summary.low, unit)} to {number_text(summary.high, unit)})")
    if summary.cpu is not None:
        parts.append(f"{summary.cpu:.2f} s CPU")
    return "\n".join(parts)
