"""``python -m tests.benchmarks.tower``: what we promise about the tower, measured on this machine, as one table.

Rule of the file: which measurements there are, each in a world of its own, and the table.
"""

from __future__ import annotations

import argparse
import json
from collections.abc import Callable, Iterator
from dataclasses import asdict
from pathlib import Path

from rich.console import Console
from rich.table import Table

from tests.benchmarks.tower import admission, herd, lists, running
from tests.benchmarks.tower.rows import Measured
from tests.benchmarks.tower.world import World, new_world

console = Console(width=120, highlight=False)

TABLES: dict[str, Callable[[World], Iterator[Measured]]] = {
    "admission": admission.measure,
    "herd": herd.measure,
    "lists": lists.measure,
}
"""What is measured on the tables alone."""

PARTS = (*TABLES, "running")


def main() -> int:
    """Measure and print; 0 when everything was measured, whatever came out."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--only", metavar="PARTS", default=",".join(PARTS), help=f"of: {', '.join(PARTS)}")
    parser.add_argument("--json", metavar="FILE", help="write the results there as well")
    options = parser.parse_args()
    rows: list[Measured] = []
    for part in options.only.split(","):
        if part not in PARTS:
            parser.error(f"{part!r} is none of {', '.join(PARTS)}")
        for row in _measure(part):
            console.print(f"  {row.name}: {row.value:,.3f} {row.unit}")
            rows.append(row)
    console.print(_table(rows))
    if options.json:
        Path(options.json).write_text(json.dumps([asdict(row) for row in rows], indent=1) + "\n", encoding="utf-8")
    return 0


def _measure(part: str) -> Iterator[Measured]:
    if part == "running":
        yield from running.measure()
        return
    with new_world() as world:
        yield from TABLES[part](world)


def _table(rows: list[Measured]) -> Table:
    table = Table(title="the tower")
    for column in ("what", "ours", "goal", "met?"):
        table.add_column(column)
    for row in rows:
        met = {True: "yes", False: "no", None: "–"}[row.is_met]
        table.add_row(row.name, f"{row.value:,.3f} {row.unit}", row.goal, met)
    return table


if __name__ == "__main__":
    raise SystemExit(main())
