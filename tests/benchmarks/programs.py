"""The contenders: backup programs and plain tools as floors, each behind the same few verbs.

Rule of the file: every backup program is used as its manual says for encrypted, zstd-compressed backups of a folder on
the local disk; nothing is tuned for us or against them.
"""

from __future__ import annotations

import json
import shlex
import shutil
import subprocess
import sys
from dataclasses import dataclass
from enum import StrEnum
from pathlib import Path
from typing import Any, Protocol

import shared
from tests.benchmarks.work import Work, WorkFailed, run

PASSPHRASE = "a benchmark passphrase of some length"
OURS, RESTIC, BORG = "ours", "restic", "borg"
PEERS = (RESTIC, BORG)
TAR, COPY = "tar | zstd", "cp -a"
FLOORS = (TAR, COPY)
"""What a backup cannot beat for long: reading and compressing without encryption or dedup, and a plain copy."""


class Verb(StrEnum):
    """What is measured: a first backup, another one into the same store, a restore of the last one whole."""

    FIRST = "first"
    AGAIN = "again"
    RESTORE = "restore"


class Program(Protocol):
    """One contender. ``work`` says what to run; ``fresh`` and ``abandon`` act, and are never measured."""

    name: str
    store: Path
    verbs: frozenset[Verb]

    def fresh(self, folder: Path, source: Path) -> None:
        """Make an empty store for ``source`` in ``folder``."""
        ...

    def work(self, verb: Verb, target: Path) -> Work:
        """Return the command for one of ``verbs``; ``target`` is an empty folder that only restores use."""
        ...

    def abandon(self) -> None:
        """Stop what a command that was killed has left running."""
        ...


@dataclass
class Restic:
    """Restic as Debian ships it: repository version 2, compression auto."""

    name: str = RESTIC
    store: Path = Path()
    verbs: frozenset[Verb] = frozenset(Verb)
    _source: Path = Path()

    def fresh(self, folder: Path, source: Path) -> None:
        """Make an empty repository."""
        self.store, self._source = folder / "restic", source
        work = self._work("init", "--repository-version", "2")
        run(*work.command, env=work.env)

    def work(self, verb: Verb, target: Path) -> Work:
        """Back the source up, or restore the latest."""
        if verb is Verb.RESTORE:
            return self._work("restore", "latest", "--target", str(target))
        return self._work("backup", "--compression", "auto", str(self._source))

    def abandon(self) -> None:
        """Nothing runs on; its lock stays in a store that is not used again."""

    def _work(self, *args: str) -> Work:
        env = {"RESTIC_PASSWORD": PASSPHRASE, "RESTIC_CACHE_DIR": f"{self.store}.cache"}
        return Work(("restic", "--quiet", "--repo", str(self.store), *args), env)


@dataclass
class Borg:
    """Borg as Debian ships it: repokey-blake2, zstd level 3."""

    name: str = BORG
    store: Path = Path()
    verbs: frozenset[Verb] = frozenset(Verb)
    _source: Path = Path()
    _count: int = 0

    def fresh(self, folder: Path, source: Path) -> None:
        """Make an empty repository."""
        self.store, self._source, self._count = folder / "borg", source, 0
        work = self._work("init", "--encryption", "repokey-blake2", str(self.store))
        run(*work.command, env=work.env)

    def work(self, verb: Verb, target: Path) -> Work:
        """Make the next archive, or extract the last one."""
        if verb is Verb.RESTORE:
            return self._work("extract", self._last(), cwd=str(target))
        self._count += 1
        return self._work("create", "--compression", "zstd,3", self._last(), str(self._source))

    def abandon(self) -> None:
        """Nothing runs on; its lock stays in a store that is not used again."""

    def _last(self) -> str:
        return f"{self.store}::b{self._count}"

    def _work(self, *args: str, cwd: str | None = None) -> Work:
        return Work(("borg", *args), {"BORG_PASSPHRASE": PASSPHRASE, "BORG_BASE_DIR": f"{self.store}.base"}, cwd)


@dataclass
class Skyharbor:
    """Ours: the command line against a running embedded stack, as people use it."""

    home: Path
    name: str = OURS
    store: Path = Path()
    verbs: frozenset[Verb] = frozenset(Verb)
    _round: int = 0
    _stack: int | None = None
    _worker: int | None = None

    def up(self) -> None:
        """Start the stack. It runs all day, so starting it is not measured."""
        self._ask("up", "--detach", "--port", "0")
        status = self._ask("status")
        self._stack = int(status["pid"])
        self._worker = next(int(process["pid"]) for process in status["processes"] if process["name"] == "worker")

    def down(self) -> None:
        """Stop the stack, if there is one."""
        if self.home.exists():
            subprocess.run(self._command("down"), capture_output=True, check=False)

    def fresh(self, folder: Path, source: Path) -> None:
        """Make a new vault, a new machine (so a new key domain) and an item."""
        self._round += 1
        n, self.store = self._round, folder / "skyharbor"
        passphrase = folder / "passphrase"
        passphrase.write_text(PASSPHRASE)
        self._ask("vault", "create", f"v{n}", "--store", f"file://{self.store}")
        self._ask("machine", "add", f"m{n}", "--passphrase-file", str(passphrase))
        self._ask("item", "add", "files", f"i{n}", "--machine", f"m{n}", "--vault", f"v{n}", "--path", str(source))

    def work(self, verb: Verb, target: Path) -> Work:
        """Back the source up or restore the latest point, and wait for the end of the job."""
        item = f"i{self._round}"
        if verb is Verb.RESTORE:
            return self._work("restore", "latest", "--item", item, "--to", str(target), "--wait")
        return self._work("backup", item, "--wait")

    def abandon(self) -> None:
        """Cancel the job that nobody waits for any more, and see it end."""
        for job in self._ask("job", "list")["items"]:
            if job["state"] not in ("completed", "cancelled", "discarded", "expired"):
                self._ask("job", "cancel", job["id"], "--wait")

    def _work(self, *args: str) -> Work:
        return Work(tuple(self._command(*args)), behind=self._stack, carries=self._worker)

    def _command(self, *args: str) -> list[str]:
        return [str(Path(sys.executable).parent / "skyharbor"), "--home", str(self.home), "--json", *args]

    def _ask(self, *args: str) -> Any:
        done = subprocess.run(self._command(*args), capture_output=True, text=True, check=False)
        if done.returncode:
            raise WorkFailed(f"skyharbor {args}: exit {done.returncode}\n{done.stdout}{done.stderr}")
        return json.loads(done.stdout) if done.stdout.strip() else None


@dataclass
class TarZstd:
    """The floor of first backups: ``tar | zstd -1 -T2`` into one file that is on the disk when it ends."""

    sparse: bool = False
    name: str = TAR
    store: Path = Path()
    verbs: frozenset[Verb] = frozenset({Verb.FIRST})
    _source: Path = Path()

    def fresh(self, folder: Path, source: Path) -> None:
        """Name the file."""
        self.store, self._source = folder / "tree.tar.zst", source

    def work(self, verb: Verb, target: Path) -> Work:
        """Write the archive."""
        holes = "--sparse " if self.sparse else ""
        folder, name, file = (shlex.quote(str(part)) for part in (self._source.parent, self._source.name, self.store))
        return Work(("sh", "-ec", f"tar {holes}-cf - -C {folder} {name} | zstd -q -1 -T2 -o {file}; sync {file}"))

    def abandon(self) -> None:
        """Nothing runs on."""


@dataclass
class Copy:
    """The floor of restores: ``cp -a`` of the source itself."""

    name: str = COPY
    store: Path = Path()
    verbs: frozenset[Verb] = frozenset({Verb.RESTORE})

    def fresh(self, folder: Path, source: Path) -> None:
        """Remember the source: it is what a copy reads."""
        self.store = source

    def work(self, verb: Verb, target: Path) -> Work:
        """Copy the source, its blocks too."""
        return Work(("cp", "-a", "--reflink=never", str(self.store), str(target)))

    def abandon(self) -> None:
        """Nothing runs on."""


def floors(*, sparse: bool) -> list[Program]:
    """Return the plain tools that this machine has; ``sparse``: the source has holes, and tar is told."""
    return [*([TarZstd(sparse)] if shutil.which("zstd") else []), Copy()]


def installed_peers() -> list[Program]:
    """Return the peers that this machine has; Debian: ``apt-get install restic borgbackup``."""
    peers: list[Program] = []
    if shutil.which("restic"):
        peers.append(Restic())
    if shutil.which("borg"):
        peers.append(Borg())
    return peers


def versions() -> dict[str, str]:
    """Return the first line that each program on this machine says of its version."""
    asked = {RESTIC: ("restic", "version"), BORG: ("borg", "--version"), TAR: ("zstd", "--version")}
    found = {OURS: shared.VERSION}
    for name, command in asked.items():
        if shutil.which(command[0]):
            said = subprocess.run(command, capture_output=True, text=True, check=False)
            found[name] = said.stdout.strip().partition("\n")[0]
    return found
