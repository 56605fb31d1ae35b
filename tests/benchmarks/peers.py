"""The backup programs we are measured beside, each behind the same four verbs.

Rule of the file: every program is used as its manual says for encrypted, zstd-compressed backups of a folder; nothing
is tuned against it.
"""

from __future__ import annotations

import json
import shutil
import subprocess
import sys
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Protocol

from tests.benchmarks.measure import Cost, run_alone, run_through

_PASSPHRASE = "a benchmark passphrase of some length"


class Program(Protocol):
    """One contender. ``fresh`` makes a new empty store under a folder; it is not timed."""

    name: str

    def fresh(self, folder: Path, tree: Path) -> None:
        """Make an empty store for ``tree``."""
        ...

    def backup(self) -> Cost:
        """Back the tree up."""
        ...

    def restore(self, target: Path) -> Cost:
        """Restore the last backup whole into an empty folder."""
        ...

    def store(self) -> Path:
        """The folder that holds what was stored."""
        ...


@dataclass
class Restic:
    """Debian's restic: repository version 2, compression auto."""

    name: str = "restic"
    _store: Path = Path()
    _tree: Path = Path()

    def fresh(self, folder: Path, tree: Path) -> None:
        """Make an empty repository."""
        self._store, self._tree = folder / "restic", tree
        run_alone(self._command("init", "--repository-version", "2"), self._env)

    def backup(self) -> Cost:
        """Back the tree up."""
        return run_alone(self._command("backup", "--compression", "auto", str(self._tree)), self._env)

    def restore(self, target: Path) -> Cost:
        """Restore the latest."""
        return run_alone(self._command("restore", "latest", "--target", str(target)), self._env)

    def store(self) -> Path:
        """The repository."""
        return self._store

    @property
    def _env(self) -> dict[str, str]:
        return {"RESTIC_PASSWORD": _PASSPHRASE, "RESTIC_CACHE_DIR": str(self._store) + ".cache"}

    def _command(self, *args: str) -> list[str]:
        return ["restic", "--quiet", "--repo", str(self._store), *args]


@dataclass
class Borg:
    """Debian's borg: repokey-blake2, zstd level 3."""

    name: str = "borg"
    _store: Path = Path()
    _tree: Path = Path()
    _count: int = 0

    def fresh(self, folder: Path, tree: Path) -> None:
        """Make an empty repository."""
        self._store, self._tree, self._count = folder / "borg", tree, 0
        run_alone(["borg", "init", "--encryption", "repokey-blake2", str(self._store)], self._env)

    def backup(self) -> Cost:
        """Back the tree up."""
        self._count += 1
        name = f"{self._store}::b{self._count}"
        return run_alone(["borg", "create", "--compression", "zstd,3", name, str(self._tree)], self._env)

    def restore(self, target: Path) -> Cost:
        """Extract the last archive."""
        return run_alone(["borg", "extract", f"{self._store}::b{self._count}"], self._env, cwd=str(target))

    def store(self) -> Path:
        """The repository."""
        return self._store

    @property
    def _env(self) -> dict[str, str]:
        base = str(self._store) + ".base"
        return {"BORG_PASSPHRASE": _PASSPHRASE, "BORG_BASE_DIR": base, "BORG_RELOCATED_REPO_ACCESS_IS_OK": "yes"}


@dataclass
class Skyharbor:
    """Ours: the CLI against a running embedded stack."""

    home: Path
    name: str = "skyharbor"
    _store: Path = Path()
    _round: int = 0
    _point: str = ""
    _pids: list[int] = field(default_factory=list)
    _worker: int = 0

    def up(self) -> None:
        """Start the stack; not timed, as it runs all day."""
        self._ask("up", "--detach", "--port", "0")
        processes = self._ask("status")["processes"]
        self._pids = [int(process["pid"]) for process in processes]
        self._worker = next(int(process["pid"]) for process in processes if process["name"] == "worker")

    def down(self) -> None:
        """Stop the stack."""
        self._ask("down")

    def fresh(self, folder: Path, tree: Path) -> None:
        """Make a new vault, a new machine (so a new key domain) and an item."""
        self._round += 1
        n, self._store = self._round, folder / "skyharbor"
        passphrase = folder / "passphrase"
        passphrase.write_text(_PASSPHRASE)
        self._ask("vault", "create", f"v{n}", "--store", f"file://{self._store}")
        self._ask("machine", "add", f"m{n}", "--passphrase-file", str(passphrase))
        self._ask(
            "item", "add", "files", f"i{n}", "--machine", f"m{n}", "--vault", f"v{n}", "--path", str(tree)
        )  # fmt: skip

    def backup(self) -> Cost:
        """Back the tree up and wait for the point."""
        return self._timed("backup", f"i{self._round}", "--wait")

    def restore(self, target: Path) -> Cost:
        """Restore the latest point and wait."""
        return self._timed("restore", "latest", "--item", f"i{self._round}", "--to", str(target), "--wait")

    def store(self) -> Path:
        """The vault."""
        return self._store

    def _timed(self, *args: str) -> Cost:
        return run_through(self._command(*args), stack=self._pids, worker=self._worker)

    def _command(self, *args: str) -> list[str]:
        return [str(Path(sys.executable).parent / "skyharbor"), "--home", str(self.home), "--json", *args]

    def _ask(self, *args: str) -> Any:
        done = subprocess.run(self._command(*args), capture_output=True, text=True, check=False)
        if done.returncode:
            raise SystemExit(f"skyharbor {args}: exit {done.returncode}\n{done.stdout}{done.stderr}")
        return json.loads(done.stdout) if done.stdout.strip() else None


def installed_peers() -> list[Program]:
    """The peers that this machine has; Debian: ``apt-get install restic borgbackup``."""
    peers: list[Program] = []
    if shutil.which("restic"):
        peers.append(Restic())
    if shutil.which("borg"):
        peers.append(Borg())
    return peers
