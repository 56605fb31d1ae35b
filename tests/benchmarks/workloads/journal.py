"""What an incremental of an unchanged tree costs with the journal of changes, and without it: side by side.

``python -m tests.benchmarks.workloads.journal FOLDER FILES [ROUNDS]`` makes a tree of FILES small files in FOLDER (100
to a directory), backs it up into vaults beside it, and then in turns with and without the journal: nothing changed, and
one file in a thousand changed, each in a directory of its own. It prints medians of seconds and CPU seconds of this
process, and their ratios. Needs root, Linux 5.17, and FOLDER on ext4, XFS or btrfs, which is left to be removed.

Rule of the file: only ``run_backup`` is timed, with its session; both ways compare with the same kind of point.
"""

from __future__ import annotations

import os
import resource
import statistics
import sys
import time
from collections.abc import Callable
from pathlib import Path

import msgspec

from shared.contracts.sources import FilesSource
from shared.storage.local import LocalStore
from tests.support.holding import Holding
from tests.unit.engine.rig import Rig

_TO_A_FOLDER = 100


def main() -> None:
    """Measure and print."""
    folder, files = Path(sys.argv[1]), int(sys.argv[2])
    rounds = int(sys.argv[3]) if len(sys.argv) > 3 else 3
    tree = folder / "tree"
    _plant(tree, files)
    _settle(tree)
    bare, journaled = _holding(folder / "bare"), _holding(folder / "journaled")
    try:
        spec = FilesSource(paths=(str(tree),))
        ways = {"scan": (bare, spec), "journal": (journaled, msgspec.structs.replace(spec, journal=True))}
        first = {name: _timed(lambda way=way: way[0].backup(way[1])) for name, way in ways.items()}
        print(f"{files} files; first backup: scan {first['scan'][0]:.1f} s, journal {first['journal'][0]:.1f} s")  # noqa: T201
        for what, change in (("nothing changed", lambda _: None), ("1 in 1000 changed", lambda n: _change(tree, n))):
            _compare(what, change, ways, rounds)
    finally:
        journaled.close()
        bare.close()


def _compare(
    what: str, change: Callable[[int], None], ways: dict[str, tuple[Holding, FilesSource]], rounds: int
) -> None:
    seen: dict[str, list[tuple[float, float]]] = {name: [] for name in ways}
    for number in range(rounds):
        change(number)
        for name, (holding, spec) in ways.items():
            seen[name].append(_timed(lambda holding=holding, spec=spec: _relied(holding, spec)))
    medians = {name: tuple(statistics.median(column) for column in zip(*seen[name], strict=True)) for name in seen}
    for name, (wall, cpu) in medians.items():
        print(f"{what:>18} {name:>8}: {wall:7.2f} s  {cpu:7.2f} s CPU")  # noqa: T201
    print(f"{what:>18}    ratio: {medians['scan'][0] / medians['journal'][0]:7.2f}     {_ratio(medians):7.2f}")  # noqa: T201


def _ratio(medians: dict[str, tuple[float, ...]]) -> float:
    return medians["scan"][1] / medians["journal"][1]


def _relied(holding: Holding, spec: FilesSource) -> None:
    done = holding.backup(spec)
    if spec.journal and done.warnings:
        raise SystemExit(f"the journal was not used: {done.warnings}")


def _timed(work: Callable[[], object]) -> tuple[float, float]:
    began, used = time.perf_counter(), _cpu()
    work()
    return time.perf_counter() - began, _cpu() - used


def _cpu() -> float:
    usage = resource.getrusage(resource.RUSAGE_SELF)
    return usage.ru_utime + usage.ru_stime


def _holding(folder: Path) -> Holding:
    holding = Holding(folder)
    holding.rig = Rig(LocalStore.create(str(folder / "vault")), cache=str(folder / "cache"))
    return holding


def _plant(tree: Path, files: int) -> None:
    if tree.exists():
        return
    for number in range(0, files, _TO_A_FOLDER):
        folder = tree / f"{number // 10000:05}" / f"{number:08}"
        folder.mkdir(parents=True)
        for name in range(number, min(files, number + _TO_A_FOLDER)):
            with open(folder / f"{name:08}.txt", "w") as file:
                file.write(f"the file of number {name}\n")


def _change(tree: Path, number: int) -> None:
    for folder in sorted(tree.glob("*/*"))[::10]:
        with open(folder / sorted(os.listdir(folder))[number], "a") as file:
            file.write("more\n")
    _settle(tree)


def _settle(tree: Path) -> None:
    """Let the file system's clock go on, so that nothing is read in the tick in which it was changed."""
    time.sleep(0.1)


if __name__ == "__main__":
    main()
