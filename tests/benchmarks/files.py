"""``make bench``: first backup, unchanged incremental and restore of one tree, ours beside the peers installed here.

Medians over interleaved runs (ours, restic, borg, ours, …) on one copy of one tree, whole commands, with the page
cache set the same way before each: warm (the tree is read first) or ``--cold`` (caches dropped; root). Ratios are
ours ÷ theirs: below 1 is better.

Rule of the file: it prints what it measured and judges nothing.
"""

from __future__ import annotations

import argparse
import statistics
import subprocess
import tempfile
from collections import defaultdict
from pathlib import Path

from rich.console import Console
from rich.table import Table

from tests.benchmarks.measure import Cost, drop_caches, stored, warm
from tests.benchmarks.peers import Program, Skyharbor, installed_peers
from tools.demo import find_tree

console = Console(width=150)
STEPS = ("first backup", "unchanged incremental", "restore")
Results = dict[tuple[str, str], list[Cost]]


def main() -> None:
    """Measure and print."""
    options = argparse.ArgumentParser(description=__doc__)
    options.add_argument("--tree", help="the tree to use a copy of (default: a real one of 20,000 files or more)")
    options.add_argument("--runs", type=int, default=3)
    options.add_argument(
        "--cold", action="store_true", help="drop the page cache before each run instead of warming it"
    )
    arguments = options.parse_args()
    with tempfile.TemporaryDirectory(prefix="skyharbor-bench-") as name:
        folder = Path(name)
        tree = folder / "tree"
        subprocess.run(["cp", "-a", arguments.tree or find_tree(), str(tree)], check=False, capture_output=True)
        ours = Skyharbor(home=folder / "home")
        ours.up()
        try:
            results, sizes = _measure([ours, *installed_peers()], tree, folder, arguments.runs, cold=arguments.cold)
        finally:
            ours.down()
        _print(results, sizes, tree, cold=arguments.cold, runs=arguments.runs)


def _measure(
    programs: list[Program], tree: Path, folder: Path, runs: int, *, cold: bool
) -> tuple[Results, dict[str, int]]:
    results: Results = defaultdict(list)
    sizes: dict[str, int] = {}
    for number in range(runs):
        place = folder / f"run{number}"
        place.mkdir()
        for program in programs:
            program.fresh(place, tree)
        for step in STEPS:
            for program in programs:
                _set_cache(tree, cold=cold)
                results[step, program.name].append(_step(program, step, place))
        for program in programs:
            sizes[program.name] = stored(program.store())
        console.print(f"run {number + 1} of {runs} done")
    return results, sizes


def _step(program: Program, step: str, place: Path) -> Cost:
    if step != "restore":
        return program.backup()
    target = place / f"out-{program.name}"
    target.mkdir()
    # Nothing is deleted before the end: file systems reuse freed inodes slowly, which would burden the next run.
    return program.restore(target)


def _set_cache(tree: Path, *, cold: bool) -> None:
    if cold:
        drop_caches()
    else:
        warm(tree)


def _print(results: Results, sizes: dict[str, int], tree: Path, *, cold: bool, runs: int) -> None:
    files = sum(1 for path in tree.rglob("*") if path.is_symlink() or not path.is_dir())
    cache = "cold" if cold else "warm"
    table = Table(title=f"{files:,} files, {stored(tree) / 1e6:,.0f} MB, cache {cache}, medians of {runs} runs")
    table.add_column("step")
    table.add_column("program")
    for column in ("wall s", "CPU s", "peak MiB", "wall ratio", "CPU ratio", "peak ratio"):
        table.add_column(column, justify="right")
    for step in STEPS:
        mine = _median(results[step, "skyharbor"])
        for name in sizes:
            theirs = _median(results[step, name])
            ratios = ("", "", "") if name == "skyharbor" else _ratios(mine, theirs)
            table.add_row(
                step, name, f"{theirs.wall:.2f}", f"{theirs.cpu:.2f}", f"{theirs.peak / 2**20:.0f}", *ratios
            )  # fmt: skip
    console.print(table)
    for name, size in sizes.items():
        console.print(f"stored by {name}: {size / 1e6:,.1f} MB ({size / sizes['skyharbor']:.2f} of ours)")


def _median(costs: list[Cost]) -> Cost:
    return Cost(
        statistics.median(cost.wall for cost in costs),
        statistics.median(cost.cpu for cost in costs),
        int(statistics.median(cost.peak for cost in costs)),
    )


def _ratios(mine: Cost, theirs: Cost) -> tuple[str, str, str]:
    return f"{mine.wall / theirs.wall:.2f}", f"{mine.cpu / theirs.cpu:.2f}", f"{mine.peak / theirs.peak:.2f}"


if __name__ == "__main__":
    main()
