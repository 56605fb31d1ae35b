"""The rows of the table: which data, which steps, in which state of the page cache, and the goal of each.

Rule of the file: it says what is measured; how is said elsewhere.
"""

from __future__ import annotations

from collections.abc import Callable, Collection, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path

from tests.benchmarks import datasets
from tests.benchmarks.caches import Cache
from tests.benchmarks.datasets import MIB
from tests.benchmarks.goals import AtMost, Goal, Limit, Within
from tests.benchmarks.programs import RESTIC, Verb

GIB = 1 << 30
SEED = 20_260_101
SHARE = 0.01
"""How much of a data set a change touches."""

STORED, MEMORY, ENGINE = "stored", "memory", "engine"
STORED_GOAL = AtMost(1.0, peers=(RESTIC,))
MEMORY_GOAL = Within(RESTIC, 100 * MIB)
ENGINE_GOAL = Limit(15, "µs")


@dataclass(frozen=True)
class Sizes:
    """How much data there is. Trees of small files have ``files`` at least, and not many more."""

    files: int
    image: int
    incompressible: int
    many: int
    sparse: int
    sparse_data: int
    room: int  # bytes of disk that everything needs; what is more is used to keep restored trees to the end


FULL = Sizes(100_000, 4 * GIB, 2 * GIB, 1_000_000, 100 * GIB, 10 * MIB, room=25 * GIB)
QUICK = Sizes(20_000, 256 * MIB, 128 * MIB, 20_000, 2 * GIB, 10 * MIB, room=5 * GIB)


@dataclass(frozen=True)
class Material:
    """What data sets are made from: trees of this machine, and a tree that the caller named and wants whole."""

    sources: Sequence[str]
    named: bool = False


@dataclass(frozen=True)
class Step:
    """One line of the table for each cache state. ``change`` alters the data before it; ``seconds`` of one round."""

    row: str
    title: str
    verb: Verb
    seconds: int
    goals: Mapping[Cache, Goal] = field(default_factory=dict)
    caches: tuple[Cache, ...] = (Cache.WARM,)
    change: Callable[[Path, int], object] | None = None


@dataclass(frozen=True)
class Experiment:
    """One data set and what is done with it, in this order, by every program.

    ``make`` writes the data set to a new folder. ``weighed`` are the steps of which the peak memory is measured too.
    ``once``: one run is enough. ``limit``: seconds after which a command is ended and counted as at least that.
    """

    name: str
    make: Callable[[Path, Sizes, Material], None]
    make_seconds: int
    steps: tuple[Step, ...]
    weighed: tuple[Verb, ...] = ()
    once: bool = False
    limit: float = 1800
    sparse: bool = False
    stored: bool = False

    def is_wanted(self, rows: Collection[str]) -> bool:
        """Whether one of the rows needs this data set."""
        own = {step.row for step in self.steps} | ({STORED, MEMORY, ENGINE} if self is SMALL_FILES else set())
        return not own.isdisjoint(rows)


def _small_files(folder: Path, sizes: Sizes, material: Material) -> None:
    most, largest = (None, None) if material.named else (sizes.files * 5 // 4, datasets.SMALL)
    datasets.copy_small_files(material.sources, folder, most=most, largest=largest)


def _image(folder: Path, sizes: Sizes, material: Material) -> None:
    datasets.make_disk_image(folder / "disk.raw", size=sizes.image, sources=material.sources, seed=SEED)


def _incompressible(folder: Path, sizes: Sizes, material: Material) -> None:
    datasets.make_incompressible(folder, size=sizes.incompressible, seed=SEED)


def _many(folder: Path, sizes: Sizes, material: Material) -> None:
    datasets.make_many_files(folder, count=sizes.many, seed=SEED)


def _sparse(folder: Path, sizes: Sizes, material: Material) -> None:
    datasets.make_sparse_file(folder / "sparse.raw", size=sizes.sparse, data=sizes.sparse_data, seed=SEED)


def _change_files(folder: Path, seed: int) -> object:
    return datasets.change_files(folder, share=SHARE, seed=seed)


def _change_image(folder: Path, seed: int) -> object:
    return datasets.change_blocks(folder / "disk.raw", share=SHARE, seed=seed)


def _always(goal: Goal) -> dict[Cache, Goal]:
    return dict.fromkeys(Cache, goal)


SMALL_FILES = Experiment(
    "small files",
    _small_files,
    make_seconds=60,
    steps=(
        Step("first", "first backup", Verb.FIRST, 110, {Cache.WARM: AtMost(1 / 3), Cache.COLD: AtMost(0.45)},
             caches=(Cache.WARM, Cache.COLD)),
        Step("unchanged", "nothing changed", Verb.AGAIN, 25, _always(AtMost(1 / 4))),
        Step("changed", "1 % of files changed", Verb.AGAIN, 30, _always(AtMost(1 / 3)), change=_change_files),
        Step("restore", "restore whole", Verb.RESTORE, 70, _always(AtMost(1 / 2))),
    ),
    weighed=(Verb.FIRST, Verb.AGAIN, Verb.RESTORE),
    stored=True,
)  # fmt: skip

EXPERIMENTS = (
    SMALL_FILES,
    Experiment(
        "disk image",
        _image,
        make_seconds=40,
        steps=(
            Step("image", "first backup", Verb.FIRST, 60, _always(AtMost(1 / 2))),
            Step("image", "1 % of 64 KiB blocks changed", Verb.AGAIN, 35, change=_change_image),
        ),
        weighed=(Verb.FIRST,),
        sparse=True,
        stored=True,
    ),
    Experiment(
        "incompressible",
        _incompressible,
        make_seconds=10,
        steps=(Step("incompressible", "first backup", Verb.FIRST, 60, _always(AtMost(1 / 2))),),
        stored=True,
    ),
    Experiment(
        "one huge folder",
        _many,
        make_seconds=60,
        steps=(
            Step("million", "first backup", Verb.FIRST, 220),
            Step("million", "nothing changed", Verb.AGAIN, 100),
        ),
        weighed=(Verb.FIRST,),
        once=True,
    ),
    Experiment(
        "sparse file",
        _sparse,
        make_seconds=1,
        steps=(Step("sparse", "first backup", Verb.FIRST, 600),),
        once=True,
        limit=300,
        sparse=True,
    ),
)

ROWS = (
    "first",
    "unchanged",
    ENGINE,
    "changed",
    "restore",
    "image",
    "incompressible",
    "million",
    "sparse",
    STORED,
    MEMORY,
)
"""What ``--only`` takes."""

USUAL_ROWS = tuple(row for row in ROWS if row != "million")
QUICK_ROWS = ("first", "unchanged", "restore")
