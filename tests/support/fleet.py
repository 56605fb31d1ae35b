"""Builders for acceptance tests: trees worth protecting, and items protected in one line."""

from __future__ import annotations

import os
import random
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from tests.support.stack import Stack

PASSPHRASE = "correct horse battery staple"


def make_tree(root: Path, *, files: int = 60, bytes_each: int = 2_000, big: int = 0, seed: int = 1) -> Path:
    """Make a tree of ``files`` small files in ten folders, and one incompressible file of ``big`` bytes."""
    rng = random.Random(seed)
    for number in range(files):
        folder = root / f"dir{number % 10}"
        folder.mkdir(parents=True, exist_ok=True)
        (folder / f"file{number}.txt").write_bytes(rng.randbytes(bytes_each // 2).hex().encode())
    if big:
        with open(root / "big.bin", "wb") as file:
            for _ in range(big // (1 << 20)):
                file.write(os.urandom(1 << 20))
    os.symlink("dir0/file0.txt", root / "link")
    return root


@dataclass(frozen=True)
class Fleet:
    """One machine, one vault, and items as the tests need them."""

    stack: Stack
    folder: Path

    @classmethod
    def settle(cls, stack: Stack, folder: Path) -> Fleet:
        """Create the machine ``m1`` and the vault ``v1`` in a running stack."""
        folder.mkdir(parents=True, exist_ok=True)
        (folder / "passphrase").write_text(PASSPHRASE + "\n")
        stack.ask("vault", "create", "v1", "--store", f"file://{folder}/vault")
        stack.ask("machine", "add", "m1", "--passphrase-file", str(folder / "passphrase"))
        return cls(stack, folder)

    @property
    def store(self) -> str:
        """The vault's URL."""
        return f"file://{self.folder}/vault"

    @property
    def passphrase_file(self) -> str:
        """A file that holds the machine's passphrase."""
        return str(self.folder / "passphrase")

    def protect(self, name: str, *paths: Path, vault: str = "v1", policy: str | None = None) -> Any:
        """Add a files item."""
        source = {"paths": [str(path) for path in paths], "excludes": []}
        body = {"name": name, "workload": "files", "machine": "m1", "vault": vault, "source": source, "policy": policy}
        with self.stack.http() as http:
            reply = http.post("/api/v1/items", json=body)
        assert reply.status_code == 201, reply.text
        return reply.json()

    def request(self, item: str, *, key: str | None = None, kind: str = "incremental") -> Any:
        """Ask for a backup by the API and return the job at once."""
        headers = {"Idempotency-Key": key} if key else {}
        with self.stack.http() as http:
            reply = http.post("/api/v1/jobs", json={"kind": "backup", "item": item, "type": kind}, headers=headers)
        assert reply.status_code in (200, 202), reply.text
        return reply.json()

    def points(self, item: str) -> list[Any]:
        """The item's recovery points, newest first."""
        with self.stack.http() as http:
            return list(http.get("/api/v1/points", params={"item": item}).json()["items"])
