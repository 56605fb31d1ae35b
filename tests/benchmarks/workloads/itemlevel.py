"""``python -m tests.benchmarks.workloads.itemlevel``: files out of the disks of a point, measured on this machine.

One disk with ext4, XFS and NTFS of 10,022 entries each (10,000 small files in 20 folders, one of 100 MiB), in a vault
in a folder. Every run has a reader and a process of its own: nothing of an earlier one is kept but the page cache.

Rule of the file: what is measured, medians and extremes of several runs, and the goals beside them.
"""

from __future__ import annotations

import argparse
import os
import shutil
import subprocess
import tempfile
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from statistics import median
from typing import NamedTuple

from rich.console import Console
from rich.table import Table

from shared.model.backup import ConflictRule
from shared.storage.open import create_store, open_store
from shared.vault.layout import PointName
from shared.vault.reader import PointReader
from shared.vault.vault import create_vault, open_vault
from tests.support.disk_points import open_point, seal_disks
from tests.support.uncontrolled import Uncontrolled
from workers.disks.browser import Browser
from workers.disks.restoring import restore_out_of_disks

MIB = 1024 * 1024
SIZE = 400 * MIB
console = Console(width=120, highlight=False)
_PATH = os.environ.get("PATH", "") + ":/usr/sbin:/sbin"


class Row(NamedTuple):
    """One thing that was measured, in every run."""

    name: str
    values: list[float]
    unit: str
    goal: str = ""


def main() -> int:
    """Measure and print."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--runs", type=int, default=5, metavar="N")
    options = parser.parse_args()
    with tempfile.TemporaryDirectory(prefix="itemlevel-") as folder:
        kinds, reader = _make(Path(folder))
        rows = [
            row for number, kind in enumerate(kinds, 1) for row in _measure(reader, kind, number, folder, options.runs)
        ]
    table = Table(title="median (lowest to highest)")
    for column in ("what", "measured", "goal"):
        table.add_column(column, justify="left" if column == "what" else "right")
    for row in rows:
        values = f"{median(row.values):,.3g} {row.unit} ({min(row.values):,.3g} to {max(row.values):,.3g})"
        table.add_row(row.name, values, row.goal)
    console.print(table)
    return 0


class _Run(NamedTuple):
    """What one run measured."""

    looked: float
    listed: float
    first: float
    speed: float
    restored: float


def _measure(reader: Callable[[], PointReader], kind: str, number: int, folder: str, runs: int) -> Iterator[Row]:
    area = b"disk0/p%d" % number
    done = [_run(reader, area, f"{folder}/restored") for _ in range(runs)]
    yield Row(f"{kind}: start the reader, find the file system", [one.looked for one in done], "s")
    yield Row(f"{kind}: list 10,022 entries", [one.listed for one in done], "s", "< 1 s")
    yield Row(f"{kind}: first byte of a file, from nothing", [one.first for one in done], "s", "< 0.3 s")
    yield Row(f"{kind}: read a file of 100 MiB", [one.speed for one in done], "MiB/s")
    yield Row(f"{kind}: restore 10,000 small files", [one.restored for one in done], "files/s")


def _run(reader: Callable[[], PointReader], area: bytes, target: str) -> _Run:
    with Browser(reader()) as browser:
        looked = _timed(lambda: browser.find(area))
        top = browser.find(area)[-1]
        listed = _timed(lambda: sum(1 for _ in browser.walk(top, full=False)))
        large = browser.find(area + b"/large.bin")[-1]
        seconds = _timed(lambda: sum(part.length for part in browser.content(large)))
    point = reader()
    first = _timed(lambda: _first_byte(point, area + b"/many/d07/file-0007.txt"))
    other, control, paths = reader(), Uncontrolled(), [os.fsdecode(area + b"/many")]
    restored = _timed(
        lambda: restore_out_of_disks(other, target=target, paths=paths, conflict=ConflictRule.SKIP, control=control)
    )
    shutil.rmtree(target)
    return _Run(looked, listed, first, large.entry.size / MIB / seconds, 10_000 / restored)


def _first_byte(point: PointReader, path: bytes) -> None:
    with Browser(point) as browser:
        part = next(browser.content(browser.find(path)[-1]))
        if not part.data:
            raise AssertionError("the file has content")


def _timed(act: Callable[[], object]) -> float:
    begin = time.perf_counter()
    act()
    return time.perf_counter() - begin


# ── the image ────────────────────────────────────────────────────────────────────────────────────────


def _make(folder: Path) -> tuple[list[str], Callable[[], PointReader]]:
    tree = folder / "tree"
    for number in range(20):
        (tree / "many" / f"d{number:02}").mkdir(parents=True)
        for file in range(500):
            (tree / "many" / f"d{number:02}" / f"file-{file:04}.txt").write_text(f"{number}/{file}\n" * 20)
    (tree / "large.bin").write_bytes(os.urandom(100 * MIB))
    kinds = {kind: image for kind, make in _MAKERS.items() if (image := make(folder, tree)) is not None}
    disk = folder / "disk"
    with disk.open("wb") as file:
        file.truncate((len(kinds) * SIZE) + 2 * MIB)
    script = "label: gpt\n" + "".join(f"size={SIZE // 512}\n" for _ in kinds)
    subprocess.run([_tool("sfdisk"), "-q", str(disk)], input=script, text=True, check=True)
    for number, image in enumerate(kinds.values()):
        copy = f"if={image} of={disk} bs=1M seek={1 + number * SIZE // MIB} conv=notrunc,sparse status=none"
        subprocess.run(["dd", *copy.split()], check=True)
        image.unlink()
    url = f"file://{folder}/vault"
    create_vault(create_store(url), name="bench")
    name: PointName = seal_disks(open_vault(open_store(url)), {"disk0.raw": disk}, block=MIB)
    return list(kinds), lambda: open_point(open_vault(open_store(url)), name)


def _ext4(folder: Path, tree: Path) -> Path | None:
    image = _blank(folder / "ext4")
    subprocess.run([_tool("mkfs.ext4"), "-q", "-F", "-d", str(tree), str(image)], check=True)
    return image


def _xfs(folder: Path, tree: Path) -> Path | None:
    image = _blank(folder / "xfs")
    return _filled(image, tree, [_tool("mkfs.xfs"), "-q", "-f", str(image)], ["mount", "-o", "loop"])


def _ntfs(folder: Path, tree: Path) -> Path | None:
    image = _blank(folder / "ntfs")
    return _filled(image, tree, [_tool("mkntfs"), "-q", "-F", "-f", str(image)], [_tool("ntfs-3g")])


_MAKERS = {"ext4": _ext4, "XFS": _xfs, "NTFS": _ntfs}


def _blank(path: Path) -> Path:
    with path.open("wb") as file:
        file.truncate(SIZE)
    return path


def _filled(image: Path, tree: Path, make: list[str], mount: list[str]) -> Path | None:
    point = image.with_suffix(".mounted")
    point.mkdir()
    try:
        subprocess.run(make, check=True, capture_output=True)
        subprocess.run([*mount, str(image), str(point)], check=True, capture_output=True)
    except (OSError, subprocess.CalledProcessError) as error:
        console.print(f"not measured, for it cannot be made here: {image.name} ({error})")
        return None
    subprocess.run(["cp", "-r", f"{tree}/.", str(point)], check=True)
    subprocess.run(["umount", str(point)], check=True)
    return image


def _tool(name: str) -> str:
    return shutil.which(name, path=_PATH) or name


if __name__ == "__main__":
    raise SystemExit(main())
