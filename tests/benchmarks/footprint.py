"""``python -m tests.benchmarks.footprint [TREE]...``: what a first backup adds beside the data, predicted and measured.

Per tree: the worker's cache as a part of the data, and the vault's metadata (index, pages, manifest) per node; each as
``doctor`` predicts it before, and as it is on disk after a real first backup into a vault in a folder of its own.

Rule of the file: it prints what it measured and judges nothing.
"""

from __future__ import annotations

import argparse
import tempfile
from pathlib import Path

from rich.console import Console
from rich.table import Table

from shared.clock import SystemClock
from shared.contracts.sources import FilesSource
from shared.storage.open import create_store
from tests.benchmarks.measure import stored
from tests.unit.engine.rig import Rig
from tools.demo import find_tree
from workers.survey import Question, look

console = Console(width=150)


def main() -> None:
    """Measure and print."""
    options = argparse.ArgumentParser(description=__doc__)
    options.add_argument("tree", nargs="*", help="default: a real one of 20,000 files or more")
    table = Table(title="what a first backup adds beside the data")
    table.add_column("tree")
    columns = (
        "files",
        "data MB",
        "cache KB",
        "predicted",
        "of the data",
        "metadata KB",
        "predicted",
        "B per node",
        "seconds to predict",
    )
    for column in columns:
        table.add_column(column, justify="right")
    for tree in options.parse_args().tree or [find_tree()]:
        table.add_row(tree, *_row(tree))
    console.print(table)


def _row(tree: str) -> list[str]:
    clock = SystemClock()
    source = FilesSource(paths=(str(Path(tree).absolute()),))
    began = clock.monotonic()
    predicted = look(Question(source=source, seconds=3600.0), clock)
    counted = clock.monotonic() - began
    with tempfile.TemporaryDirectory(prefix="skyharbor-footprint-") as name:
        folder = Path(name)
        store = create_store(f"file://{folder}/vault")
        rig = Rig(store, cache=str(folder / "cache"))
        stats = rig.backup(*source.paths).stats
        rig.index()
        store.close()
        cache = stored(folder / "cache")
        metadata = sum(stored(folder / "vault" / part) for part in ("index", "packs/m", "points"))
    nodes = stats.files + stats.directories
    return [
        f"{stats.files:,}",
        f"{stats.bytes_scanned / 1e6:,.1f}",
        f"{cache / 1e3:,.1f}",
        f"{predicted.cache_bytes / 1e3:,.1f}",
        f"{cache / stats.bytes_scanned:.3%}",
        f"{metadata / 1e3:,.1f}",
        f"{predicted.metadata_bytes / 1e3:,.1f}",
        f"{metadata / nodes:.1f}",
        f"{counted:.2f}",
    ]


if __name__ == "__main__":
    main()
