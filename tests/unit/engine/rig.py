"""A vault in memory, a machine and its one item: the shortest way from a tree to a point and back."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field

from shared.clock import SystemClock
from shared.contracts.work import (
    BackupDone,
    BackupInstruction,
    Fence,
    FilesSource,
    ItemRef,
    MachineRef,
    Progress,
    RestoreDone,
    VaultRef,
)
from shared.crypto.domain_keys import DomainKeys
from shared.model.backup import BackupType, ConflictRule
from shared.model.ids import new_id
from shared.storage.memory import MemoryStore
from shared.storage.object_store import ObjectStore
from shared.vault.index import ChunkIndex
from shared.vault.layout import PointName
from shared.vault.reader import PointReader
from shared.vault.vault import create_vault, open_vault
from tests.support.uncontrolled import Uncontrolled
from tests.support.wing import Wing
from workers.engine.backup import BackupOptions, run_backup
from workers.engine.part import Gear
from workers.engine.ports import Control, Source, Stop, StopReason
from workers.engine.restore import restore_point
from workers.sources.files import FilesAdapter

SLOTS = ({"slot_id": "s", "kind": "passphrase"},)


@dataclass
class Recorder:
    """A ``Control`` that remembers, and stops after so many checks."""

    stop_after: int | None = None
    reason: StopReason = StopReason.CANCELLED
    checks: int = 0
    commits: int = 0
    positions: list[Progress] = field(default_factory=list)

    def check(self) -> None:
        self.checks += 1
        if self.stop_after is not None and self.checks > self.stop_after:
            raise Stop(self.reason)

    def progress(self, progress: Progress) -> None:
        self.positions.append(progress)

    def commit(self) -> None:
        self.commits += 1


class Rig:
    """One machine with one item whose points follow each other."""

    def __init__(self, store: ObjectStore | None = None) -> None:
        self.store = store or MemoryStore()
        create_vault(self.store, name="test")
        self.vault = open_vault(self.store)
        self.keys = DomainKeys.derive(b"k" * 32)

    def index(self) -> ChunkIndex:
        return ChunkIndex.load(self.vault, "machine", self.keys, cache_dir=None)

    def points(self) -> list[str]:
        return [point.point_id for point in self.vault.points("machine", "item")]

    def backup(
        self,
        *paths: str,
        type: BackupType = BackupType.INCREMENTAL,
        excludes: Sequence[str] = (),
        source: Source | None = None,
        control: Control | None = None,
        point_id: str | None = None,
        options: BackupOptions | None = None,
        wing: Wing | None = None,
    ) -> BackupDone:
        """Back up against the last point, if there is one and the type is not full."""
        instruction = self.instruction(*paths, type=type, excludes=excludes, point_id=point_id)
        files = instruction.source
        fence = Fence(job_id="job", unit=0, epoch=1, claim_id="claim")
        options = options or BackupOptions()
        if wing is not None:
            wing.join(instruction, fence, lambda: self.gear(*paths, excludes=excludes, options=options), self.keys)
        return run_backup(
            source=source or FilesAdapter(files),
            vault=self.vault,
            keys=self.keys,
            index=self.index(),
            instruction=instruction,
            fence=fence,
            control=control or Uncontrolled(),
            clock=SystemClock(),
            options=options,
            formation=wing,
        )

    def instruction(
        self,
        *paths: str,
        type: BackupType = BackupType.INCREMENTAL,
        excludes: Sequence[str] = (),
        point_id: str | None = None,
    ) -> BackupInstruction:
        """What the tower would say."""
        points = self.points()
        return BackupInstruction(
            point_id=point_id or new_id(),
            machine=MachineRef(id="machine", name="the machine", key_slots=SLOTS),
            item=ItemRef(id="item", name="the item"),
            vault=VaultRef(id=self.vault.id, name="test", url="memory://"),
            source=FilesSource(paths=paths, excludes=tuple(excludes)),
            type=type if points else BackupType.FULL,
            reference=points[-1] if points and type is not BackupType.FULL else None,
        )

    def gear(self, *paths: str, excludes: Sequence[str] = (), options: BackupOptions | None = None) -> Gear:
        """What a worker that helps works with: its own index, its own look at the source."""
        return Gear(
            source=FilesAdapter(FilesSource(paths=paths, excludes=tuple(excludes))),
            vault=self.vault,
            keys=self.keys,
            index=self.index(),
            clock=SystemClock(),
            options=options or BackupOptions(),
        )

    def reader(self, point_id: str | None = None) -> PointReader:
        """Open a point, the last one by default."""
        name = PointName("machine", "item", point_id or self.points()[-1])
        return PointReader.open(
            self.vault,
            self.keys,
            machine_id=name.machine_id,
            item_id=name.item_id,
            point_id=name.point_id,
            index=self.index(),
        )

    def restore(
        self,
        target: object,
        *paths: str,
        conflict: ConflictRule = ConflictRule.SKIP,
        control: Control | None = None,
        point_id: str | None = None,
    ) -> RestoreDone:
        return restore_point(
            self.reader(point_id),
            target=str(target),
            paths=paths,
            conflict=conflict,
            control=control or Uncontrolled(),
        )
