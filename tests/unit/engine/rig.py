"""A vault in memory, a machine and its one item: the shortest way from a tree to a point and back."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from functools import partial

import msgspec

from shared.clock import Clock, SystemClock
from shared.contracts.sources import ExcludeRules, FilesSource
from shared.contracts.work import (
    BackupDone,
    BackupInstruction,
    Fence,
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
from tests.support.held import doors_to, doors_to_files, reading_of
from tests.support.uncontrolled import Uncontrolled
from tests.support.wing import Wing
from workers.engine import backup as backups
from workers.engine import restore as restores
from workers.engine.backup import BackupOptions, run_backup
from workers.engine.doors import Doors
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
    """One machine with one item whose points follow each other; in a vault that is made, or was made before."""

    cache: str | None = None
    clock: Clock = SystemClock()

    def __init__(self, store: ObjectStore | None = None, *, made: bool = False, cache: str | None = None) -> None:
        self.store = store or MemoryStore()
        if not made:
            create_vault(self.store, name="test")
        self.vault = open_vault(self.store)
        self.cache = cache
        self.keys = DomainKeys.derive(b"k" * 32)

    def index(self) -> ChunkIndex:
        return ChunkIndex.load(self.vault, "machine", self.keys, cache_dir=self.cache)

    def points(self) -> list[str]:
        return [point.point_id for point in self.vault.points("machine", "item")]

    def backup(
        self,
        *paths: str,
        type: BackupType = BackupType.INCREMENTAL,
        excludes: Sequence[str] = (),
        rules: ExcludeRules = ExcludeRules(),
        source: Source | None = None,
        doors: Doors | None = None,
        control: Control | None = None,
        point_id: str | None = None,
        options: BackupOptions | None = None,
        wing: Wing | None = None,
        muster: backups.Muster | None = None,
    ) -> BackupDone:
        """Back up against the last point or, when differential, the last full one; the first backup is a full one."""
        instruction = self.instruction(*paths, type=type, excludes=excludes, rules=rules, point_id=point_id)
        files = msgspec.convert(instruction.source, FilesSource)
        fence = Fence(job_id="job", unit=0, epoch=1, claim_id="claim")
        options = options or BackupOptions()
        if wing is not None:
            gear = partial(self.gear, *paths, excludes=excludes, rules=rules, options=options)
            wing.join(instruction, fence, gear, self.keys)
        return run_backup(
            doors=doors or (doors_to_files(files) if source is None else doors_to(source, paths)),
            vault=self.vault,
            keys=self.keys,
            index=self.index(),
            instruction=instruction,
            fence=fence,
            control=control or Uncontrolled(),
            clock=self.clock,
            options=options,
            muster=muster,
            formation=wing,
        )

    def instruction(
        self,
        *paths: str,
        type: BackupType = BackupType.INCREMENTAL,
        excludes: Sequence[str] = (),
        rules: ExcludeRules = ExcludeRules(),
        point_id: str | None = None,
    ) -> BackupInstruction:
        """What the tower would say."""
        points = self.points()
        if type is BackupType.DIFFERENTIAL:
            points = [point for point in points if self.reader(point).body.type is BackupType.FULL]
        return BackupInstruction(
            point_id=point_id or new_id(),
            machine=MachineRef(id="machine", name="the machine", key_slots=SLOTS),
            item=ItemRef(id="item", name="the item"),
            vault=VaultRef(id=self.vault.id, name="test", url="memory://"),
            source=FilesSource(paths=paths, excludes=tuple(excludes), rules=rules),
            type=type if points else BackupType.FULL,
            reference=points[-1] if points and type is not BackupType.FULL else None,
        )

    def gear(
        self,
        *paths: str,
        excludes: Sequence[str] = (),
        rules: ExcludeRules = ExcludeRules(),
        options: BackupOptions | None = None,
    ) -> Gear:
        """What a worker that helps works with: its own index, its own look at the source."""
        files = FilesSource(paths=paths, excludes=tuple(excludes), rules=rules)
        return Gear(
            source=FilesAdapter(files),
            reading=reading_of(files),
            vault=self.vault,
            keys=self.keys,
            index=self.index(),
            clock=self.clock,
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
        muster: restores.Muster | None = None,
    ) -> RestoreDone:
        return restore_point(
            self.reader(point_id),
            target=str(target),
            paths=paths,
            conflict=conflict,
            control=control or Uncontrolled(),
            muster=muster,
        )
