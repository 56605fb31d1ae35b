"""Runs experiments: data sets made once, rounds in which the programs take turns, samples collected by line.

Rule of the file: no program runs beside another, and each meets the same data, cache and clean disk queue.
"""

from __future__ import annotations

import json
import os
import shutil
import subprocess
import sys
from collections.abc import Callable, Collection, Sequence
from dataclasses import dataclass
from pathlib import Path

from tests.benchmarks.caches import Cache, set_cache
from tests.benchmarks.datasets import Found, measure_data
from tests.benchmarks.measure import Sample, clock, weigh
from tests.benchmarks.plan import (
    ENGINE,
    ENGINE_GOAL,
    MEMORY,
    MEMORY_GOAL,
    SEED,
    SMALL_FILES,
    STORED,
    STORED_GOAL,
    Experiment,
    Material,
    Sizes,
    Step,
)
from tests.benchmarks.programs import FLOORS, OURS, RESTIC, Program, Skyharbor, Verb, floors
from tests.benchmarks.results import BYTES, MICROSECONDS, SECONDS, Line, Results, value_text
from tests.benchmarks.work import WorkFailed
from tests.support.compare import differences

ROOT = Path(__file__).resolve().parents[2]


@dataclass(frozen=True)
class Orders:
    """What the caller wants: rows, runs, sizes, sources, and cache states (None: those that each step names)."""

    rows: Collection[str]
    runs: int
    sizes: Sizes
    material: Material
    caches: Sequence[Cache] | None = None
    may_drop: bool = True

    def caches_of(self, step: Step) -> Sequence[Cache]:
        """Return the cache states in which a step is measured."""
        wanted = step.caches if self.caches is None else self.caches
        return [cache for cache in wanted if cache is Cache.WARM or self.may_drop]


class Bench:
    """One folder, our stack in it, the peers, and the results so far."""

    def __init__(
        self, folder: Path, ours: Skyharbor, peers: Sequence[Program], orders: Orders, say: Callable[[str], None]
    ) -> None:
        self.results = Results()
        self._folder = folder
        self._ours = ours
        self._peers = peers
        self._orders = orders
        self._say = say
        self._changes = 0
        self._rounds = 0

    def conduct(self, experiment: Experiment) -> None:
        """Run one experiment to its end. Raises ``WorkFailed`` when a program fails."""
        self._say(f"making: {experiment.name}")
        source = self._folder / experiment.name.replace(" ", "-")
        experiment.make(source, self._orders.sizes, self._orders.material)
        found = self.results.data[experiment.name] = measure_data(source)
        self._say(f"{experiment.name}: {found.files:,} files, {found.bytes / 1e6:,.0f} MB")
        for cache in Cache:
            self._rounds_of(experiment, source, cache)
        if experiment is SMALL_FILES and ENGINE in self._orders.rows:
            self._time_engine(experiment, source)
        if MEMORY in self._orders.rows and experiment.weighed:
            self._weigh(experiment, source)

    # Timed rounds

    def _rounds_of(self, experiment: Experiment, source: Path, cache: Cache) -> None:
        orders = self._orders
        wanted = [step for step in experiment.steps if step.row in orders.rows and cache in orders.caches_of(step)]
        stored = experiment.stored and STORED in orders.rows and cache is Cache.WARM
        if not wanted and not stored:
            return
        runs = 1 if experiment.once or not wanted else orders.runs
        for number in range(runs):
            self._say(f"{experiment.name}, {cache} cache: run {number + 1} of {runs}")
            self._round(experiment, source, cache, wanted, turn=number, last=number + 1 == runs)

    def _round(
        self, experiment: Experiment, source: Path, cache: Cache, wanted: Sequence[Step], *, turn: int, last: bool
    ) -> None:
        programs = [self._ours, *self._peers, *floors(sparse=experiment.sparse)]
        programs = programs[turn % len(programs) :] + programs[: turn % len(programs)]
        place = self._new_place()
        for program in programs:
            program.fresh(place, source)
        for step in _needed(experiment.steps, wanted):
            if step.change:
                self._change(step, source)
            for program in list(programs):
                if step.verb not in program.verbs or (program.name in FLOORS and step not in wanted):
                    continue
                sample = self._clock(experiment, step, program, source, cache, place)
                if step in wanted:
                    goal = step.goals.get(cache)
                    line = Line(step.row, experiment.name, step.title, cache, SECONDS, goal)
                    self._keep(line, program.name, sample)
                if sample.cut_off:
                    program.abandon()
                    programs.remove(program)  # what it has begun is nothing to go on from
            if step.verb is Verb.FIRST and experiment.stored and cache is Cache.WARM:
                self._weigh_stores(experiment, programs)
            if step.verb is Verb.RESTORE and last:
                self._check(source, place)
        self._clear(place, self.results.data[experiment.name])

    def _clock(
        self, experiment: Experiment, step: Step, program: Program, source: Path, cache: Cache, place: Path
    ) -> Sample:
        target = _target(place, program)
        work = program.work(step.verb, target)
        set_cache(cache, program.store if step.verb is Verb.RESTORE else source)
        return clock(work, limit=experiment.limit)

    def _change(self, step: Step, source: Path) -> None:
        assert step.change is not None
        self._changes += 1
        self._say(f"changing: {step.change(source, SEED + self._changes)}")

    def _weigh_stores(self, experiment: Experiment, programs: Sequence[Program]) -> None:
        if STORED not in self._orders.rows:
            return
        line = Line(STORED, experiment.name, "bytes stored by the first backup", None, BYTES, STORED_GOAL)
        for program in programs:
            if program.store.exists() and Verb.FIRST in program.verbs:
                self._keep(line, program.name, Sample(_size_of(program.store)))

    def _check(self, source: Path, place: Path) -> None:
        """A fast restore of something else is worth nothing."""
        found = differences(str(source), f"{_target(place, self._ours)}{source}")
        verdict = f"differs in {len(found)} ways, such as {found[:3]}" if found else "is identical"
        self._say(f"what we restored {verdict}")
        if found:
            self.results.notes.append(f"what we restored {verdict}")

    def _clear(self, place: Path, found: Found) -> None:
        """Delete the stores of a round; the restored trees stay to the end of the bench when there is room.

        Stores are few large files and quickly gone. Trees of many small files are another thing: ext4 gives out freed
        inodes slowly, so whoever restores after they were deleted would pay for it.
        """
        trees = len(self._peers) + 2
        room = shutil.disk_usage(place).free > 2 * trees * found.bytes
        for path in place.iterdir():
            if path.is_file():
                path.unlink()
            elif not path.name.startswith("out-") or not room:
                shutil.rmtree(path)
        if not room and "room" not in "".join(self.results.notes):
            self.results.notes.append("no room to keep restored trees to the end: later restores are slower for all")

    # Other measurements

    def _time_engine(self, experiment: Experiment, source: Path) -> None:
        place = self._new_place()
        set_cache(Cache.WARM, source)
        command = [sys.executable, "-m", "tests.benchmarks.engine", str(source), str(place), str(self._orders.runs)]
        done = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, check=False)
        if done.returncode:
            raise WorkFailed(f"the engine alone failed: {done.stderr[-2000:]}")
        line = Line(ENGINE, experiment.name, "engine alone, per unchanged file", Cache.WARM, MICROSECONDS, ENGINE_GOAL)
        for value in json.loads(done.stdout):
            self._keep(line, OURS, Sample(value))

    def _weigh(self, experiment: Experiment, source: Path) -> None:
        """Measure peak memory beside restic, in a stack that has done nothing else: a long day would be added to ours.

        Borg is left out: the goal is about restic, and a weighed run takes as long as a timed one.
        """
        self._ours.down()
        self._ours.up()
        place = self._new_place()
        programs = [self._ours, *(peer for peer in self._peers if peer.name == RESTIC)]
        for program in programs:
            program.fresh(place, source)
        for verb in experiment.weighed:
            line = Line(MEMORY, experiment.name, f"peak memory, {_WORDS[verb]}", Cache.WARM, BYTES, MEMORY_GOAL)
            for program in programs:
                work = program.work(verb, _target(place, program))
                set_cache(Cache.WARM, program.store if verb is Verb.RESTORE else source)
                self._keep(line, program.name, weigh(work, limit=experiment.limit))
        self._clear(place, self.results.data[experiment.name])

    def _keep(self, line: Line, name: str, sample: Sample) -> None:
        self.results.samples[line][name].append(sample)
        self._say(f"  {line.title}, {name}: {'more than ' * sample.cut_off}{value_text(sample.value, line.unit)}")

    def _new_place(self) -> Path:
        self._rounds += 1
        place = self._folder / f"round-{self._rounds}"
        place.mkdir()
        return place


_WORDS = {Verb.FIRST: "first backup", Verb.AGAIN: "nothing changed", Verb.RESTORE: "restore whole"}


def _needed(steps: Sequence[Step], wanted: Sequence[Step]) -> list[Step]:
    """Return the wanted steps and the first backup, which all others stand on."""
    return [step for step in steps if step in wanted or step.verb is Verb.FIRST]


def _target(place: Path, program: Program) -> Path:
    target = place / f"out-{program.name.replace(' ', '')}"
    target.mkdir(exist_ok=True)
    return target


def _size_of(store: Path) -> int:
    if store.is_file():
        return store.stat().st_size
    return sum(os.lstat(os.path.join(folder, name)).st_size for folder, _, names in os.walk(store) for name in names)
