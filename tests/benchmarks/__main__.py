"""``make bench``: what we promise about speed, measured beside restic and borg on this machine, as one table.

Every run is a whole command on the same data in the same state of the page cache: warm (read just before) or cold
(caches dropped; root only). The programs take turns, and medians are compared. Memory is measured in runs of its own.

Rule of the file: options, order of business, and leaving nothing behind; it measures nothing itself.
"""

from __future__ import annotations

import argparse
import contextlib
import json
import os
import platform
import shutil
import signal
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator, Sequence
from pathlib import Path

from rich.console import Console

from tests.benchmarks.caches import Cache, may_drop
from tests.benchmarks.plan import EXPERIMENTS, FULL, QUICK, QUICK_ROWS, ROWS, USUAL_ROWS, Experiment, Material
from tests.benchmarks.programs import Skyharbor, installed_peers, versions
from tests.benchmarks.rounds import Bench, Orders
from tests.benchmarks.table import document, render
from tests.benchmarks.work import WorkFailed
from tools.trees import find_trees

console = Console(width=max(150, Console().width), highlight=False)
_INTERRUPTED = 130


def main() -> int:
    """Measure and print; 0 when everything was measured, whatever came out."""
    options = _options().parse_args()
    orders = _orders(options)
    experiments = [experiment for experiment in EXPERIMENTS if experiment.is_wanted(orders.rows)]
    about = _about(orders, quick=options.quick)
    _announce(orders, experiments, about, quick=options.quick)
    status = 0
    place = options.place or _disk()
    if (free := shutil.disk_usage(place).free) < orders.sizes.room:
        raise SystemExit(
            f"{free >> 30} GiB are free in {place}, {orders.sizes.room >> 30} are needed: --place names another folder"
        )
    with _workplace(place) as folder:
        ours = Skyharbor(folder / "home")
        bench = Bench(folder, ours, installed_peers(), orders, _say)
        try:
            ours.up()
            for experiment in experiments:
                status = max(status, _conduct(bench, experiment))
        except KeyboardInterrupt:
            status = _INTERRUPTED
        finally:
            with _undisturbed():
                _say("cleaning up")
                ours.down()
    about["load_after"] = os.getloadavg()[0]
    console.print(render(bench.results))
    for note in [*bench.results.notes, *(["the table is not complete"] if status else [])]:
        console.print(note, style="bold red", markup=False)
    if options.json:
        Path(options.json).write_text(json.dumps(document(bench.results, about), indent=1) + "\n")
    return status


def _conduct(bench: Bench, experiment: Experiment) -> int:
    """Run one experiment; a program that fails ends it, and not the others."""
    try:
        bench.conduct(experiment)
    except WorkFailed as failure:
        _say(str(failure))
        bench.results.notes.append(f"{experiment.name}: {failure}")
        return 1
    return 0


def _options() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(prog="python -m tests.benchmarks", description=__doc__)
    parser.add_argument("--only", metavar="ROWS", help=f"comma-separated, of: {', '.join(ROWS)}")
    parser.add_argument("--million", action="store_true", help="the folder of a million files too, unless --only")
    parser.add_argument("--runs", type=int, default=3, help="rounds of each row; extremes are run once")
    caches = parser.add_mutually_exclusive_group()
    for name in ("cold", "warm", "both"):
        caches.add_argument(f"--{name}", dest="cache", action="store_const", const=name, help=f"{name} for all rows")
    parser.add_argument("--tree", metavar="DIR", help="the small files: a copy of this, whole (default: found)")
    parser.add_argument("--quick", action="store_true", help="a fifth of the files and less of everything else")
    parser.add_argument("--json", metavar="FILE", help="write the results there as well")
    parser.add_argument("--place", metavar="DIR", help="make everything below this folder (default: temporary files)")
    return parser


def _orders(options: argparse.Namespace) -> Orders:
    rows = set(options.only.split(",")) if options.only else set(QUICK_ROWS if options.quick else USUAL_ROWS)
    if options.million and not options.only:
        rows.add("million")
    if unknown := rows - set(ROWS):
        raise SystemExit(f"no such row: {', '.join(sorted(unknown))}; there are {', '.join(ROWS)}")
    if options.runs < 1:
        raise SystemExit("--runs is 1 or more")
    if options.tree and not Path(options.tree).is_dir():
        raise SystemExit(f"{options.tree} is not a folder")
    caches = {"cold": [Cache.COLD], "warm": [Cache.WARM], "both": list(Cache)}.get(options.cache)
    if options.cache in ("cold", "both") and not may_drop():
        raise SystemExit("only root may drop the page cache: --cold is not possible here")
    if options.quick and caches is None:
        caches = [Cache.WARM]
    sizes = QUICK if options.quick else FULL
    # A tenth more than promised, for what is found but not copied: large files, and what may not be read.
    sources = (options.tree,) if options.tree else find_trees(sizes.files * 11 // 10)
    return Orders(
        rows=rows,
        runs=options.runs,
        sizes=sizes,
        material=Material(sources, named=bool(options.tree)),
        caches=caches,
        may_drop=may_drop(),
    )


def _about(orders: Orders, *, quick: bool) -> dict[str, object]:
    return {
        "measured_at": time.strftime("%Y-%m-%dT%H:%M:%SZ", time.gmtime()),
        "programs": versions(),
        "kernel": platform.release(),
        "processors": os.cpu_count(),
        "memory": os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES"),
        "load_before": os.getloadavg()[0],
        "quick": quick,
        "runs": orders.runs,
        "sources": list(orders.material.sources),
    }


def _announce(orders: Orders, experiments: Sequence[Experiment], about: dict[str, object], *, quick: bool) -> None:
    console.print(f"rows: {', '.join(row for row in ROWS if row in orders.rows)}; runs: {orders.runs}")
    console.print(f"programs: {'; '.join(f'{name} {said}' for name, said in versions().items())}")
    console.print(f"machine: {about['processors']} processors, load {about['load_before']:.2f}")
    console.print(f"small files: a copy of {', '.join(orders.material.sources)}")
    if not orders.may_drop:
        console.print("[yellow]rows with a cold cache are left out: only root may drop it[/yellow]")
    if os.getloadavg()[0] > 0.5:
        console.print(
            "[yellow]this machine is busy with something else: expect worse numbers, ours and theirs[/yellow]"
        )
    console.print(f"expected to take about {expected_minutes(orders, experiments, quick=quick)} minutes on two cores")


def expected_minutes(orders: Orders, experiments: Sequence[Experiment], *, quick: bool) -> int:
    """Return a rough estimate, from a machine of two cores and a fast disk."""
    seconds = 20
    for experiment in experiments:
        runs = 1 if experiment.once else orders.runs
        seconds += experiment.make_seconds
        for step in experiment.steps:
            wanted = len(orders.caches_of(step)) if step.row in orders.rows else 0
            seconds += step.seconds * runs * wanted
        if "memory" in orders.rows:
            seconds += sum(step.seconds for step in experiment.steps if step.verb in experiment.weighed) // 2
    return max(1, round(seconds / 60 * (0.25 if quick else 1)))


@contextlib.contextmanager
def _workplace(place: str) -> Iterator[Path]:
    """Make a folder on a disk, and delete it at the end, whatever the end is."""
    signal.signal(signal.SIGINT, signal.default_int_handler)  # a shell starts background jobs deaf to it
    signal.signal(signal.SIGTERM, signal.default_int_handler)
    folder = Path(tempfile.mkdtemp(prefix="skyharbor-bench-", dir=place)).resolve()
    try:
        yield folder
    finally:
        with _undisturbed():
            subprocess.run(["chmod", "-R", "u+rwX", str(folder)], capture_output=True, check=False)
            subprocess.run(["rm", "-rf", str(folder)], check=False)


@contextlib.contextmanager
def _undisturbed() -> Iterator[None]:
    """Hear no interruption: a second Ctrl-C must not leave half of it behind."""
    before = {number: signal.signal(number, signal.SIG_IGN) for number in (signal.SIGINT, signal.SIGTERM)}
    try:
        yield
    finally:
        for number, handler in before.items():
            signal.signal(number, handler)


def _disk() -> str:
    """Return the folder for temporary files, or /var/tmp when that is memory: restic and borg would write to RAM."""
    folder = tempfile.gettempdir()
    kind = subprocess.run(["stat", "-f", "-c", "%T", folder], capture_output=True, text=True, check=False)
    return "/var/tmp" if kind.stdout.strip() in ("tmpfs", "ramfs") else folder


def _say(text: str) -> None:
    console.print(f"{time.strftime('%H:%M:%S')} {text}", style="dim", markup=False)


if __name__ == "__main__":
    sys.exit(main())
