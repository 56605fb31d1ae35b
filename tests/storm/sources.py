"""Source trees that change during the storm, with a copy of every version for the oracle.

Rule of the file: a tree changes only while none of its item's backups is open, so every attempt of every one of them
sees one version. Files and names carry a marker that must never be seen outside of the tree.
"""

from __future__ import annotations

import os
import random
import shutil
from dataclasses import dataclass
from pathlib import Path

from tests.support.copying import copy_tree

_MIB = 1 << 20


@dataclass
class Source:
    """One protected tree. ``version`` counts its changes from 0; each version has its copy."""

    item: str
    machine: str
    vault: str
    tree: Path
    copies: Path
    marker: str
    scheduled: bool = False
    version: int = 0

    def plant(self, rng: random.Random, *, files: int, mebibytes: int) -> None:
        """Make the first version: small files in folders, and one large one that does not compress."""
        for number in range(files):
            folder = self.tree / f"folder{number % 7}"
            folder.mkdir(parents=True, exist_ok=True)
            (folder / f"{self.marker}-{number}").write_bytes(self._content(rng))
        with open(self.tree / "large", "wb") as file:
            for _ in range(mebibytes):
                file.write(rng.randbytes(_MIB))
        os.symlink("large", self.tree / "link")
        os.link(self.tree / "large", self.tree / "second name")
        self._keep()

    def change(self, rng: random.Random) -> None:
        """Make the next version: some files change, go and come, and a piece of the large one is another."""
        files = sorted(path for path in self.tree.rglob(f"{self.marker}-*") if path.is_file())
        for path in rng.sample(files, k=min(6, len(files))):
            path.write_bytes(self._content(rng))
        for path in rng.sample(files, k=min(2, len(files))):
            path.unlink()
        for _ in range(3):
            path = self.tree / f"folder{rng.randrange(7)}" / f"{self.marker}-new-{rng.getrandbits(40)}"
            path.write_bytes(self._content(rng))
        size = (self.tree / "large").stat().st_size
        with open(self.tree / "large", "r+b") as file:
            file.seek(rng.randrange(max(1, size - _MIB)))
            file.write(rng.randbytes(_MIB))
        self.version += 1
        self._keep()

    def copy(self, version: int) -> Path:
        """Where the oracle copy of a version is."""
        return self.copies / str(version)

    def forget(self, versions: set[int]) -> None:
        """Remove the copies of all versions but these."""
        for path in self.copies.iterdir():
            if int(path.name) not in versions:
                shutil.rmtree(path)

    def _keep(self) -> None:
        self.copies.mkdir(parents=True, exist_ok=True)
        copy_tree(str(self.tree), str(self.copy(self.version)))

    def _content(self, rng: random.Random) -> bytes:
        return self.marker.encode() + rng.randbytes(rng.randrange(20, 3000)) + self.marker.encode()
