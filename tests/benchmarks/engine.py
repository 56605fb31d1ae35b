"""What the engine alone needs for a file that has not changed: no stack, no command, no other program.

``python -m tests.benchmarks.engine TREE FOLDER RUNS`` backs TREE up into a local vault in FOLDER and then RUNS times
more, and prints microseconds per file of each of those as a JSON list.

Rule of the file: only ``run_backup`` is timed; opening the vault and loading the index are not.
"""

from __future__ import annotations

import json
import sys
import time
from pathlib import Path

from shared.clock import SystemClock
from shared.contracts.sources import FilesSource
from shared.contracts.work import BackupInstruction, Fence, ItemRef, MachineRef, VaultRef
from shared.crypto.domain_keys import DomainKeys, new_dek
from shared.model.backup import BackupType
from shared.model.ids import new_id
from shared.storage.local import LocalStore
from shared.vault.index import ChunkIndex
from shared.vault.vault import Vault, create_vault, open_vault
from tests.support.held import doors_to_files
from tests.support.uncontrolled import Uncontrolled
from workers.engine.backup import run_backup

MACHINE, ITEM = "machine", "item"


def microseconds_per_unchanged_file(tree: Path, folder: Path, runs: int) -> list[float]:
    """Return one value for each run. The tree must have files; FOLDER gets a vault and a cache."""
    store = LocalStore.create(str(folder / "vault"))
    create_vault(store, name="bench")
    vault, keys = open_vault(store), DomainKeys.derive(new_dek())
    last, _ = _backup(tree, folder, vault, keys, reference=None)
    found = []
    for _ in range(runs):
        last, microseconds = _backup(tree, folder, vault, keys, reference=last)
        found.append(microseconds)
    return found


def _backup(tree: Path, folder: Path, vault: Vault, keys: DomainKeys, *, reference: str | None) -> tuple[str, float]:
    files = FilesSource(paths=(str(tree),), excludes=())
    instruction = BackupInstruction(
        point_id=new_id(),
        machine=MachineRef(id=MACHINE, name=MACHINE, key_slots=({"slot_id": "s", "kind": "passphrase"},)),
        item=ItemRef(id=ITEM, name=ITEM),
        vault=VaultRef(id=vault.id, name="bench", url=vault.store.describe()),
        source=files,
        type=BackupType.INCREMENTAL if reference else BackupType.FULL,
        reference=reference,
    )
    index = ChunkIndex.load(vault, MACHINE, keys, cache_dir=str(folder / "cache"))
    began = time.perf_counter()
    done = run_backup(
        doors=doors_to_files(files),
        vault=vault,
        keys=keys,
        index=index,
        instruction=instruction,
        fence=Fence(job_id="job", unit=0, epoch=1, claim_id="claim"),
        control=Uncontrolled(),
        clock=SystemClock(),
    )
    seconds = time.perf_counter() - began
    if reference and done.stats.files_unchanged != done.stats.files:
        raise SystemExit(
            f"{done.stats.files - done.stats.files_unchanged} files of an unchanged tree counted as changed"
        )
    return instruction.point_id, seconds * 1e6 / done.stats.files


if __name__ == "__main__":
    print(json.dumps(microseconds_per_unchanged_file(Path(sys.argv[1]), Path(sys.argv[2]), int(sys.argv[3]))))  # noqa: T201
