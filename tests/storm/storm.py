"""One storm from its seed: build, break and ask, let go, drain, judge.

Rule of the file: the order of things; each of them is done elsewhere.
"""

from __future__ import annotations

import random
import shutil
import time
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

from tests.storm.calm import drain, let_go
from tests.storm.checker.violation import Violation
from tests.storm.faults import GUSTS, QUICK, SLOW, Fault
from tests.storm.faults.stale import fences_noted
from tests.storm.scene import Scene
from tests.storm.script import Step, script
from tests.storm.tap import Tap
from tests.storm.verdict import verdict
from tests.storm.watcher import Watcher
from tests.support.counts import Tally


@dataclass(frozen=True, kw_only=True)
class Weather:
    """How bad it gets. Times are seconds.

    Every kind of fault comes once per round; ``slow`` adds those that take a lease or a start of the stack.
    ``open_jobs`` is how many jobs the storm keeps open, ``mebibytes`` the size of a large file.
    """

    rounds: int
    drain_within: float
    slow: bool
    items: int = 6
    open_jobs: int = 9
    mebibytes: int = 12
    longest_pause: float = 0.4


def storm(seed: int, folder: Path, weather: Weather, tally: Tally) -> list[Violation]:
    """Run the storm of a seed in an empty folder, count what was done, and return what was found."""
    kinds: Mapping[str, Fault] = {**QUICK, **SLOW} if weather.slow else QUICK
    scene = Scene(folder, seed)
    try:
        scene.build(items=weather.items, mebibytes=weather.mebibytes)
        tap, watcher = Tap(scene.broker_socket, folder / "tapped"), Watcher(scene.dsn)
        tap.start()
        watcher.start()
        _break(scene, seed, weather, kinds)
        let_go(scene, random.Random(f"{seed} calm"), patient=weather.slow)
        found = drain(scene, within=weather.drain_within)
        watcher.close()
        tap.close()
        found += scene.findings + verdict(scene, watcher, tap.file)
        _count(scene, watcher, tally)
        return found
    finally:
        scene.close()
        shutil.rmtree(folder / "targets", ignore_errors=True)


def _break(scene: Scene, seed: int, weather: Weather, kinds: Mapping[str, Fault]) -> None:
    steps = script(seed, list(kinds), rounds=weather.rounds, gusts=GUSTS, longest_pause=weather.longest_pause)
    for step in steps:
        _keep_busy(scene, step, weather.open_jobs)
        fences_noted(scene)
        time.sleep(step.pause)
        scene.book.faults[step.kind] += kinds[step.kind](scene, random.Random(step.seed))


def _keep_busy(scene: Scene, step: Step, number: int) -> None:
    """Ask for more while fewer jobs than ``number`` are open."""
    rng = random.Random(f"{step.seed} requests")
    for _ in range(number - len(scene.open_jobs())):
        scene.request(rng)


def _count(scene: Scene, watcher: Watcher, tally: Tally) -> None:
    for kind, number in scene.book.faults.items():
        tally.add(kind, number)
    tally.add("FAULTS", scene.book.faults.total())
    tally.add("JOBS", len(scene.sql("SELECT 1 FROM job")))
    tally.add("POINTS", scene.book.points)
    tally.add("POINTS EXPIRED", scene.book.expired)
    tally.add("COLLECTIONS", scene.book.collections)
    tally.add("STALE MESSAGES", scene.book.stale)
    tally.add("WRONG TOKENS", scene.book.knocks)
    tally.add("SLOT SAMPLES", watcher.samples)
