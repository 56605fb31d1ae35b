"""What a second worker brings for one disk: ``python -m tests.benchmarks.workloads.vm_shards [MIB] [RUNS]``.

A raw image of so many MiB that do not compress, backed up in full into a new vault, by the running stack with its one
worker process and by one with a helper beside it. Once with all cores for both, as on one machine, and once with a core
of its own for each worker, as on two machines that see the same image.

Rule of the file: medians of interleaved runs; seconds of the job as the tower tells them, and of CPU of all processes:
on a machine with other work, that is what tells.
"""

from __future__ import annotations

import os
import shutil
import statistics
import subprocess
import sys
import tempfile
from collections import defaultdict
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from tests.benchmarks.processes import cpu_of_tree, tree_of
from tests.support.fleet import Fleet
from tests.support.stack import Stack

_SHARDED = {"SKYHARBOR_SHARD_ENTRIES": "400"}


class _Team:
    """A stack, and a helper beside it if it has one."""

    def __init__(self, folder: Path, *, helped: bool) -> None:
        self._stack = Stack(folder / "home", env=_SHARDED)
        self._stack.up()
        self._fleet = Fleet.settle(self._stack, folder / "fleet")
        self._folder = folder
        self._number = 0
        self._helper: subprocess.Popen[bytes] | None = None
        if helped:
            socket = next(str(path) for path in self._stack.home.rglob("valkey.sock"))
            self._helper = self._stack.second_worker("second", broker_url=f"redis+socket://{socket}")

    def pin(self, *, apart: bool) -> None:
        """Let workers have a core of their own each, or all cores."""
        every = sorted(os.sched_getaffinity(0))
        workers = [self._stack.pid("worker"), *([self._helper.pid] if self._helper is not None else [])]
        for number, worker in enumerate(workers):
            cores = {every[number % len(every)]} if apart else set(every)
            for pid in tree_of(worker):
                for thread in os.listdir(f"/proc/{pid}/task"):
                    os.sched_setaffinity(int(thread), cores)

    def backup(self, image: Path) -> tuple[float, float]:
        """Back the image up into a new vault; return seconds and CPU seconds."""
        self._number += 1
        vault, item = f"vault{self._number}", f"item{self._number}"
        store = self._folder / vault
        self._stack.ask("vault", "create", vault, "--store", f"file://{store}")
        self._stack.ask("item", "add", "vm", item, "--machine", "m1", "--vault", vault, "--disk", str(image))
        before = self._cpu()
        done = self._stack.ask("backup", item, "--wait", timeout=600)
        cpu = self._cpu() - before
        shutil.rmtree(store)
        return float(done["seconds"]), cpu

    def end(self) -> None:
        """Leave no process behind."""
        if self._helper is not None:
            self._helper.kill()
            self._helper.wait()
        self._stack.down()

    def _cpu(self) -> float:
        pids = [int(self._stack.status()["pid"]), *([self._helper.pid] if self._helper is not None else [])]
        return sum(map(cpu_of_tree, pids))


@contextmanager
def _teams(folder: Path) -> Iterator[dict[str, _Team]]:
    made: dict[str, _Team] = {}
    try:
        for name, helped in (("1 worker", False), ("2 workers", True)):
            made[name] = _Team(folder / name.replace(" ", "-"), helped=helped)
        yield made
    finally:
        for team in made.values():
            team.end()


def main(mib: int, runs: int) -> None:
    """Measure and print."""
    taken: dict[str, list[tuple[float, float]]] = defaultdict(list)
    folder = Path(tempfile.mkdtemp(prefix="vmsh-"))
    try:
        image = folder / "disk.raw"
        with open(image, "wb") as disk:
            for _ in range(mib):
                disk.write(os.urandom(1 << 20))
        with _teams(folder) as teams:
            for _ in range(runs):
                for apart in (False, True):
                    for name, team in teams.items():
                        team.pin(apart=apart)
                        where = "a core each" if apart else "all cores"
                        taken[f"{name}, {where}"].append(team.backup(image))
    finally:
        shutil.rmtree(folder, ignore_errors=True)
    for what, costs in taken.items():
        wall, cpu = (statistics.median(column) for column in zip(*costs, strict=True))
        sys.stdout.write(f"{what:24} {wall:8.2f} s {mib / wall:8.0f} MiB/s {cpu:8.2f} s of CPU\n")


if __name__ == "__main__":
    main(int(sys.argv[1]) if len(sys.argv) > 1 else 2048, int(sys.argv[2]) if len(sys.argv) > 2 else 5)
