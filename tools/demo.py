"""``make demo``: the main job on a real tree, from an empty folder to a restore without us.

It works on a copy of the source tree in a temporary folder, starts the embedded stack there, and drives nothing but the
command line. Every claim is checked; the first that fails ends the demo with exit status 1. Nothing is left behind.

Rule of the file: a person could type every step.
"""

from __future__ import annotations

import argparse
import contextlib
import json
import os
import shutil
import signal
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from rich.console import Console
from rich.table import Table

from tests.support.compare import differences
from tools.trees import find_tree

SKYHARBOR = str(Path(sys.executable).parent / "skyharbor")
ENOUGH_FILES = 20_000
console = Console(width=max(110, Console().width), highlight=False)

POLICY = """\
name: demo-nightly
schedules:
  - cron: "0 1 * * *"
    zone: Europe/Berlin
retention:
  daily: 7
  weekly: 4
"""


class DemoFailed(Exception):
    """A step did not do what it promises."""


@dataclass
class Demo:
    """The folders of one run, and the rows of its table."""

    folder: Path
    rows: list[tuple[str, ...]] = field(default_factory=list)

    @property
    def home(self) -> Path:
        """The stack's home."""
        return self.folder / "home"

    @property
    def tree(self) -> Path:
        """The working copy that is protected."""
        return self.folder / "tree"

    def cli(self, *args: str, glass: bool = False) -> Any:
        """Run one command and return its JSON document; its failure is the demo's."""
        command = [SKYHARBOR, "--home", str(self.home), "--json", *args]
        done = subprocess.run(command, capture_output=True, text=True, check=False)
        if done.returncode not in (0, 3):
            raise DemoFailed(f"{' '.join(args)}: exit {done.returncode}\n{done.stdout[-2000:]}\n{done.stderr[-4000:]}")
        if glass or not done.stdout.strip():
            return done
        return json.loads(done.stdout)

    def row(self, step: str, seconds: float, stats: dict[str, int], *, files: int | None = None) -> None:
        """Add a line to the table; counts that a step does not have stay empty."""
        count = files if files is not None else stats.get("files", stats.get("files_restored", 0))
        columns = ("bytes_scanned", "bytes_read", "bytes_transferred", "bytes_stored")
        sizes = [_size(stats[name]) if name in stats else "" for name in columns]
        self.rows.append((step, f"{count:,}", *sizes, f"{seconds:.2f}"))


def main() -> int:
    """Run the demo; 0 when every promise was kept."""
    arguments = argparse.ArgumentParser(description=__doc__)
    arguments.add_argument("--source", help="the tree to protect a copy of")
    source = Path(arguments.parse_args().source or _find_source())
    if not source.is_dir():
        console.print(f"[red]{source} is not a folder[/red]")
        return 2
    signal.signal(signal.SIGTERM, lambda *_: sys.exit(143))
    began = time.monotonic()
    with _workplace() as folder:
        demo = Demo(folder)
        try:
            _fly(demo, source)
        except DemoFailed as failure:
            console.print(f"[bold red]The demo failed:[/bold red] {failure}")
            return 1
        finally:
            _stop(demo)
    _print_table(demo)
    console.print(f"Everything restored was identical, and nothing is left running ({time.monotonic() - began:.0f} s).")
    return 0


def _fly(demo: Demo, source: Path) -> None:
    _say(f"copying {source} (it is only read; the demo changes files in the copy)")
    _copy(source, demo.tree)
    _say("starting the embedded stack: PostgreSQL, Valkey, API, tower loops, Celery worker")
    demo.cli("up", "--detach", "--port", "0")
    item = _protect(demo)
    first = _backup(demo, item, "first backup (full)")
    unchanged = _backup(demo, item, "incremental, nothing changed")
    _expect(unchanged["stats"]["bytes_read"] == 0, "an unchanged tree is not read again")
    changes = _change(demo.tree)
    second = _backup(demo, item, f"incremental, {changes['touched']} files changed")
    _check_incremental(first, second, changes)
    _restore_one(demo, second["point"])
    _restore_all(demo, second["point"])
    verified = demo.cli("verify", second["point"], "--full", "--wait")
    _expect(verified["stats"]["problems"] == 0, "every byte of the point is proved")
    demo.row("verify, every byte", verified["seconds"], verified["stats"], files=verified["stats"]["files_checked"])
    _say("stopping everything, moving the home away")
    demo.cli("down")
    demo.home.rename(demo.folder / "burnt-down")
    _break_glass(demo)


def _protect(demo: Demo) -> str:
    (demo.folder / "passphrase").write_text("a demo passphrase of some length\n")
    (demo.folder / "policy.yaml").write_text(POLICY)
    demo.cli("vault", "create", "demo-vault", "--store", f"file://{demo.folder}/vault")
    demo.cli("machine", "add", "demo-machine", "--passphrase-file", str(demo.folder / "passphrase"))
    demo.cli("policy", "apply", str(demo.folder / "policy.yaml"))
    demo.cli(
        "item", "add", "files", "demo-tree", "--machine", "demo-machine", "--vault", "demo-vault",
        "--path", str(demo.tree), "--policy", "demo-nightly",
    )  # fmt: skip
    return "demo-tree"


def _backup(demo: Demo, item: str, step: str) -> Any:
    job = demo.cli("backup", item, "--type", "incremental", "--wait")
    _expect(job["state"] == "completed", f"{step}: {job['state']}")
    _expect(job["stats"]["warnings"] == 0, f"{step} without warnings: {job['warnings'][:3]}")
    demo.row(step, job["seconds"], job["stats"])
    _say(f"{step}: {job['stats']['files']:,} files in {job['seconds']:.1f} s")
    return job


def _change(tree: Path) -> dict[str, int]:
    """Change, add and remove a few real files; the counts and the bytes that now differ."""
    files = [path for path in sorted(tree.rglob("*")) if path.is_file() and not path.is_symlink()]
    chosen = [path for path in files if path.stat().st_nlink == 1][:: max(1, len(files) // 50)][:50]
    changed = 0
    for path in chosen[:30]:
        path.chmod(path.stat().st_mode | 0o200)
        with open(path, "ab") as file:
            file.write(b"changed by the demo\n")
        changed += path.stat().st_size
    for path in chosen[30:40]:
        path.unlink()
    for number in range(10):
        added = tree / f"added-by-the-demo-{number}.txt"
        added.write_bytes(os.urandom(1000))
        changed += 1000
    return {"touched": 50, "changed": 30, "removed": len(chosen[30:40]), "new": 10, "bytes": changed}


def _check_incremental(first: Any, second: Any, changes: dict[str, int]) -> None:
    stats = second["stats"]
    counted = (stats["files_new"], stats["files_changed"], stats["files_removed"])
    _expect(counted == (changes["new"], changes["changed"], changes["removed"]), f"what changed is counted: {counted}")
    _expect(stats["bytes_read"] <= changes["bytes"], "only what changed is read")
    allowed = changes["bytes"] + first["stats"]["bytes_transferred"] // 50
    _expect(stats["bytes_transferred"] <= allowed, "only what changed is transferred")


def _restore_one(demo: Demo, point: str) -> None:
    path = demo.tree / "added-by-the-demo-3.txt"
    job = demo.cli("restore", point, str(path), "--to", str(demo.folder / "one"), "--wait")
    restored = demo.folder / "one" / path.relative_to("/")
    _expect(restored.read_bytes() == path.read_bytes(), "one file comes back as it was")
    demo.row("restore one file", job["seconds"], job["stats"])


def _restore_all(demo: Demo, point: str) -> None:
    job = demo.cli("restore", point, "--to", str(demo.folder / "whole"), "--wait")
    _compare(demo, demo.folder / "whole", "the whole tree")
    demo.row("restore the whole tree", job["seconds"], job["stats"])
    shutil.rmtree(demo.folder / "whole")


def _break_glass(demo: Demo) -> None:
    _say("break-glass: the vault and the passphrase, nothing else")
    began = time.monotonic()
    done = demo.cli(
        "break-glass", "restore", "--store", f"file://{demo.folder}/vault", "--machine", "demo-machine",
        "--passphrase-file", str(demo.folder / "passphrase"), "--point", "latest", "--to", str(demo.folder / "glass"),
        glass=True,
    )  # fmt: skip
    seconds = time.monotonic() - began
    _expect(done.returncode == 0, "break-glass without warnings")
    _compare(demo, demo.folder / "glass", "the tree restored by break-glass")
    files = sum(1 for path in (demo.folder / "glass").rglob("*") if path.is_symlink() or not path.is_dir())
    demo.row("break-glass, the whole tree", seconds, {}, files=files)


def _compare(demo: Demo, target: Path, what: str) -> None:
    found = differences(demo.tree, target / demo.tree.relative_to("/"))
    _expect(not found, f"{what} is identical: {len(found)} differences, such as {found[:3]}")
    _say(f"{what} is identical, byte for byte and attribute for attribute")


def _stop(demo: Demo) -> None:
    for home in (demo.home, demo.folder / "burnt-down"):
        if home.exists():
            subprocess.run([SKYHARBOR, "--home", str(home), "down"], capture_output=True, check=False)


@contextlib.contextmanager
def _workplace() -> Iterator[Path]:
    folder = Path(tempfile.mkdtemp(prefix="skyharbor-demo-"))
    try:
        yield folder
    finally:
        subprocess.run(["chmod", "-R", "u+rwX", str(folder)], capture_output=True, check=False)
        shutil.rmtree(folder, ignore_errors=True)


def _find_source() -> str:
    tree = find_tree(ENOUGH_FILES)
    if tree is None:
        raise SystemExit(f"no tree of {ENOUGH_FILES:,} files found; name one with SRC=/some/dir")
    return tree


def _copy(source: Path, target: Path) -> None:
    """Copy with all attributes; what this user may not read is left out of the demo, and said."""
    done = subprocess.run(
        ["cp", "-a", "--reflink=auto", str(source), str(target)], capture_output=True, text=True, check=False
    )
    if done.returncode:
        skipped = len(done.stderr.splitlines())
        _say(f"{skipped} things could not be copied and are not part of the demo")
    if not target.is_dir():
        raise DemoFailed(f"could not copy {source}: {done.stderr[-500:]}")


def _print_table(demo: Demo) -> None:
    table = Table(title="Skyharbor demo")
    table.add_column("step")
    for name in ("files", "scanned", "read", "transferred", "stored", "seconds"):
        table.add_column(name, justify="right")
    for row in demo.rows:
        table.add_row(*row)
    console.print(table)


def _size(count: int) -> str:
    value = float(count)
    for unit in ("B", "KiB", "MiB"):
        if value < 1024:
            return f"{value:.0f} {unit}" if unit == "B" else f"{value:.1f} {unit}"
        value /= 1024
    return f"{value:.2f} GiB"


def _expect(kept: bool, promise: str) -> None:
    if not kept:
        raise DemoFailed(promise)


def _say(text: str) -> None:
    console.print(f"[dim]{time.strftime('%H:%M:%S')}[/dim] {text}")


if __name__ == "__main__":
    sys.exit(main())
