"""Whatever is done to a tree, a point made through the journal is the one that a scan of everything makes.

A seed gives the operations; a failing one is printed and replays with ``SKYHARBOR_JOURNAL_SEED``.
"""

import os
import random
import shutil
from contextlib import suppress
from pathlib import Path

import pytest

from shared.contracts.sources import FilesSource
from tests.workloads.files.test_journal import _is_as_scanned

ROUNDS = 6
STEPS = 25
SEEDS = [int(os.environ["SKYHARBOR_JOURNAL_SEED"])] if "SKYHARBOR_JOURNAL_SEED" in os.environ else [1, 2, 3]


class Storm:
    """Does random things inside of a folder and beside it, on one file system."""

    def __init__(self, place: Path, seed: int) -> None:
        self.random = random.Random(seed)
        self.tree = place / "tree"
        self.outside = place / "outside"
        self.held: list[int] = []
        for top in (self.tree, self.outside):
            for one in range(4):
                for two in range(3):
                    folder = top / f"d{one}" / f"e{two}"
                    folder.mkdir(parents=True)
                    for name in range(4):
                        (folder / f"f{name}").write_bytes(self._content())

    def step(self) -> None:
        """Do one thing; what cannot be done is nothing."""
        deeds = [
            self._write, self._write, self._append, self._truncate, self._remove, self._make_folder, self._chmod,
            self._link, self._link, self._rename_file, self._rename_folder, self._rename_folder, self._xattr,
            self._times, self._symlink, self._remove_tree, self._swap, self._hold, self._write_held, self._fifo,
        ]  # fmt: skip
        with suppress(OSError, shutil.Error):
            self.random.choice(deeds)()

    def close(self) -> None:
        for fd in self.held:
            os.close(fd)

    # ── what there is ──────────────────────────────────────────────────────────────────────────────

    def _top(self) -> Path:
        return self.tree if self.random.random() < 0.7 else self.outside

    def _folder(self) -> Path:
        folders = sorted(Path(where) for where, _, _ in os.walk(self._top()))
        return self.random.choice(folders)

    def _below(self) -> Path:
        """Return a folder that is no top."""
        folders = sorted(Path(where) for where, _, _ in os.walk(self._top()))[1:]
        return self.random.choice(folders) if folders else self._folder()

    def _file(self) -> Path:
        files = sorted(
            Path(where, name)
            for where, _, names in os.walk(self._top())
            for name in names
            if os.path.isfile(os.path.join(where, name)) and not os.path.islink(os.path.join(where, name))
        )
        return self.random.choice(files)

    def _name(self) -> str:
        return self.random.choice("abcdefgh") + str(self.random.randrange(6))

    def _content(self) -> bytes:
        return self.random.randbytes(self.random.randrange(1, 3000))

    # ── what is done ───────────────────────────────────────────────────────────────────────────────

    def _write(self) -> None:
        (self._folder() / self._name()).write_bytes(self._content())

    def _append(self) -> None:
        with self._file().open("ab") as file:
            file.write(self._content())

    def _truncate(self) -> None:
        os.truncate(self._file(), self.random.randrange(5000))

    def _remove(self) -> None:
        self._file().unlink()

    def _make_folder(self) -> None:
        folder = self._folder() / self._name() / self._name()
        folder.mkdir(parents=True)
        (folder / self._name()).write_bytes(self._content())

    def _chmod(self) -> None:
        self.random.choice([self._file(), self._below()]).chmod(self.random.choice([0o700, 0o755, 0o750]))

    def _link(self) -> None:
        os.link(self._file(), self._folder() / self._name())

    def _rename_file(self) -> None:
        self._file().rename(self._folder() / self._name())

    def _rename_folder(self) -> None:
        self._below().rename(self._folder() / self._name())

    def _xattr(self) -> None:
        os.setxattr(self.random.choice([self._file(), self._folder()]), "user.word", self._content()[:20])

    def _times(self) -> None:
        os.utime(self.random.choice([self._file(), self._below()]), ns=(1, self.random.randrange(10**18)))

    def _symlink(self) -> None:
        os.symlink(self._name(), self._folder() / self._name())

    def _fifo(self) -> None:
        os.mkfifo(self._folder() / self._name())

    def _remove_tree(self) -> None:
        if self.random.random() < 0.3:
            shutil.rmtree(self._below())

    def _swap(self) -> None:
        one, other, away = self._below(), self._below(), self.outside / "away"
        one.rename(away)
        with suppress(OSError):
            other.rename(one)
        away.rename(other if not other.exists() else self.outside / self._name())

    def _hold(self) -> None:
        self.held.append(os.open(self._file(), os.O_RDWR))

    def _write_held(self) -> None:
        if self.held:
            os.pwrite(self.random.choice(self.held), self._content(), self.random.randrange(3000))


@pytest.mark.parametrize("seed", SEEDS)
def test_points_are_the_same_whatever_is_done(holding, disk, seed):
    storm = Storm(Path(disk), seed)
    spec = FilesSource(paths=(str(storm.tree),), journal=True)
    relied = 0
    try:
        holding.backup(spec)
        for number in range(ROUNDS):
            for _ in range(storm.random.randrange(STEPS)):
                storm.step()
            done = holding.backup(spec)
            relied += not any(notice.code == "everything-scanned" for notice in done.warnings)
            print(f"seed {seed}, round {number}: {done.warnings}")  # noqa: T201
            _is_as_scanned(holding, str(storm.tree))
    finally:
        storm.close()
    assert relied  # or nothing was proved about the journal
