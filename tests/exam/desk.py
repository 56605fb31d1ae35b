"""Flies the backups of an exam: the engine with the sources' own doors, a guard, and a vault in a folder.

    python -m tests.exam.desk HOME MOMENT < spec

is a worker that kills itself once it has been asked for so many times whether it may go on.

Rule of the file: whatever a seat is, it is flown the way a worker flies it.
"""

from __future__ import annotations

import os
import signal
import subprocess
import sys
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path

import msgspec

from shared.clock import SystemClock
from shared.contracts.sources import SourceSpec
from shared.contracts.work import BackupDone, BackupInstruction, Fence, ItemRef, MachineRef, Progress, VaultRef
from shared.crypto.domain_keys import DomainKeys
from shared.model.backup import BackupType
from shared.model.ids import new_id
from shared.storage.local import LocalStore
from shared.vault.index import ChunkIndex
from shared.vault.point import PointBody
from shared.vault.reader import PointReader
from shared.vault.vault import create_vault, open_vault
from workers.engine.backup import BackupOptions, run_backup
from workers.engine.doors import Doors
from workers.engine.ports import Session, SessionOrder, Stop, StopReason
from workers.guarding.client import GuardLine
from workers.sources.opening import open_session, open_source

MACHINE, ITEM = "0190b5f0-0000-7000-8000-00000000000a", "0190b5f0-0000-7000-8000-00000000000b"


@dataclass
class Watched:
    """The control of one backup: ``at`` is called at every check with its number."""

    at: Callable[[int], None] = lambda _: None
    checks: int = 0
    positions: list[Progress] = field(default_factory=list)

    def check(self) -> None:
        self.checks += 1
        self.at(self.checks)

    def progress(self, progress: Progress) -> None:
        self.positions.append(progress)

    def commit(self) -> None:
        """Always agree."""


class Desk:
    """One machine with one item, in a vault below ``home``."""

    def __init__(self, home: Path) -> None:
        self.home = home
        folder = home / "vault"
        if not folder.exists():
            create_vault(LocalStore.create(str(folder)), name="exam")
        (home / "kept").mkdir(exist_ok=True)
        self.vault = open_vault(LocalStore(str(folder)))
        self.keys = DomainKeys.derive(b"k" * 32)
        self.guard = GuardLine(os.environ, log_file=str(home / "guard.log"))

    def points(self) -> list[str]:
        """Return the points that exist, in order."""
        return [point.point_id for point in self.vault.points(MACHINE, ITEM)]

    def reader(self) -> PointReader:
        """Open the newest point."""
        return PointReader.open(
            self.vault, self.keys, machine_id=MACHINE, item_id=ITEM, point_id=self.points()[-1], index=self._index()
        )

    def backup(self, spec: SourceSpec, control: Watched | None = None) -> BackupDone:
        """Back up against the newest point, if there is one."""
        points, watched, vault = self.points(), control or Watched(), self.vault
        instruction = BackupInstruction(
            point_id=new_id(),
            machine=MachineRef(id=MACHINE, name="machine", key_slots=({"slot_id": "s", "kind": "passphrase"},)),
            item=ItemRef(id=ITEM, name="item"),
            vault=VaultRef(id=vault.id, name="exam", url=f"file://{self.home}/vault"),
            source=spec,
            type=BackupType.INCREMENTAL if points else BackupType.FULL,
            reference=points[-1] if points else None,
        )

        def opened(reference: PointBody | None) -> Session:
            return open_session(
                SessionOrder(
                    spec=spec,
                    item_id=ITEM,
                    point_id=instruction.point_id,
                    reference=reference,
                    leave_out=(f"{self.home}/vault",),
                    folder=str(self.home / "kept"),
                    guard=self.guard,
                    check=watched.check,
                )
            )

        return run_backup(
            doors=Doors(opened, open_source),
            vault=vault,
            keys=self.keys,
            index=self._index(),
            instruction=instruction,
            fence=Fence(job_id="job", unit=0, epoch=1, claim_id="claim"),
            control=watched,
            clock=SystemClock(),
            options=BackupOptions(checkpoint_every=0.5),
        )

    def killed_backup(self, spec: SourceSpec, *, at: int) -> bool:
        """Fly a backup in a worker of its own that is killed at so many checks; False when it was done before."""
        command = [sys.executable, "-m", "tests.exam.desk", str(self.home), str(at)]
        worker = subprocess.run(command, input=msgspec.json.encode(spec), check=False, timeout=120)
        assert worker.returncode in (0, -signal.SIGKILL), f"the worker ended with {worker.returncode}"
        return worker.returncode != 0

    def close(self) -> None:
        """Let the guard go, and the store."""
        self.guard.close()
        self.vault.store.close()

    def _index(self) -> ChunkIndex:
        return ChunkIndex.load(self.vault, MACHINE, self.keys, cache_dir=None)


def stop_at(number: int) -> Callable[[int], None]:
    """Cancel the backup at so many checks."""

    def at(check: int) -> None:
        if check >= number:
            raise Stop(StopReason.CANCELLED)

    return at


def _die_at(number: int) -> Callable[[int], None]:
    def at(check: int) -> None:
        if check >= number:
            os.kill(os.getpid(), signal.SIGKILL)

    return at


if __name__ == "__main__":
    told: SourceSpec = msgspec.json.decode(sys.stdin.buffer.read(), type=SourceSpec)
    Desk(Path(sys.argv[1])).backup(told, Watched(_die_at(int(sys.argv[2]))))
