"""A small vault with points of two items, made without engine or tower."""

from __future__ import annotations

import io
import json
from collections.abc import Mapping, Sequence
from contextlib import redirect_stderr, redirect_stdout
from dataclasses import dataclass
from pathlib import Path

import pytest

from shared.crypto.domain_keys import DomainKeys, new_dek
from shared.crypto.keyring import Keyring
from shared.crypto.slots import Slot, seal_slot
from shared.model.backup import BackupType
from shared.model.ids import new_id
from shared.storage.open import create_store
from shared.vault.entry import Entry, EntryKind, sort_key
from shared.vault.index import ChunkIndex
from shared.vault.vault import Vault, create_vault, open_vault
from shared.vault.writer import PointBody, PointWriter
from workers.break_glass.program import main

PASSPHRASE = "correct horse battery staple"
MTIME = 1_600_000_000_123_456_789


@dataclass(frozen=True)
class Ran:
    """How a run of the program ended."""

    code: int
    out: str
    err: str

    @property
    def documents(self) -> list[dict[str, object]]:
        return [json.loads(line) for line in self.out.splitlines()]


def entry(path: bytes, kind: EntryKind, *, chunks: bytes = b"", size: int = 0, target: bytes = b"") -> Entry:
    mode = 0o755 if kind is EntryKind.DIRECTORY else 0o640
    return Entry(path, kind, mode, 1, 2, size, MTIME, MTIME, 1, hash(path) & 0xFFFF, chunks, target)


@dataclass(frozen=True)
class Glass:
    """A vault on disk, its machine, and the program to read it with."""

    folder: Path
    vault: Vault
    machine_id: str
    dek: bytes
    slots: tuple[Slot, ...]

    @property
    def url(self) -> str:
        return f"file://{self.folder}/vault"

    def seal(self, item_id: str, item: str, files: Mapping[bytes, bytes], *, slots: Sequence[Slot] = ()) -> str:
        """Seal a point of these files below ``data``, with a link in it, and return its id."""
        keys, point_id = DomainKeys.derive(self.dek), new_id()
        index = ChunkIndex.load(self.vault, self.machine_id, keys, cache_dir=None)
        writer = PointWriter(
            self.vault, keys, index,
            machine_id=self.machine_id, item_id=item_id, point_id=point_id, slots=slots or self.slots,
        )  # fmt: skip
        entries = [entry(b"data", EntryKind.DIRECTORY), entry(b"data/~link", EntryKind.SYMLINK, target=b"a.txt")]
        for name, content in files.items():
            ids = [keys.chunk_id(content)] if content else []
            if ids and writer.reserve(ids)[0]:
                writer.add_segment(ids, [content])
            entries.append(entry(b"data/" + name, EntryKind.FILE, chunks=b"".join(ids), size=len(content)))
        for one in sorted(entries, key=lambda one: sort_key(one.path)):
            writer.add_entries([one])
        body = PointBody(
            machine_name="m1", item_name=item, paths=("/data",), type=BackupType.FULL, reference=None, job_id="j",
            epoch=1, claim_id="c", started_at="2026-11-22T10:00:00+00:00", sealed_at="2026-11-22T10:00:05+00:00",
            files=len(files) + 1, bytes=sum(map(len, files.values())),
        )  # fmt: skip
        writer.seal(body=body, validate=lambda: None)
        return point_id

    def run(self, command: str, *arguments: str, passphrase: str | None = None, machine: str = "m1") -> Ran:
        """Run the program with a passphrase file, or without a passphrase with the key (a second quicker)."""
        if passphrase is None:
            return self.run_bare(command, *arguments, "--key-file", self.key_file(), machine=machine)
        (self.folder / "passphrase").write_text(passphrase + "\n")
        return self.run_bare(command, *arguments, "--passphrase-file", str(self.folder / "passphrase"), machine=machine)

    def run_bare(self, command: str, *arguments: str, machine: str = "m1") -> Ran:
        """Run the program in this process with the store and the machine only."""
        out, err = io.StringIO(), io.StringIO()
        with redirect_stdout(out), redirect_stderr(err):
            code = main([command, "--store", self.url, "--machine", machine, *arguments])
        return Ran(code, out.getvalue(), err.getvalue())

    def key_file(self) -> str:
        keyring = Keyring(str(self.folder / "keys"))
        keyring.put(self.machine_id, self.dek)
        return keyring.path(self.machine_id)


@pytest.fixture(scope="session")
def machine() -> tuple[str, bytes, Slot]:
    dek, machine_id = new_dek(), new_id()
    return machine_id, dek, seal_slot(dek, PASSPHRASE, machine_id=machine_id)


@pytest.fixture
def glass(tmp_path: Path, machine: tuple[str, bytes, Slot]) -> Glass:
    """A vault of machine m1 with no point yet."""
    machine_id, dek, slot = machine
    store = create_store(f"file://{tmp_path}/vault")
    create_vault(store, name="v")
    vault = open_vault(store)
    vault.put_machine_card(machine_id, "m1", [slot])
    return Glass(tmp_path, vault, machine_id, dek, (slot,))
