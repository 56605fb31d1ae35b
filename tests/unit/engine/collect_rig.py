"""A vault and a tower in memory, machines with keys, backups and the collector: the engines are the real ones."""

from __future__ import annotations

from collections.abc import Iterable, Mapping

from shared.clock import SystemClock
from shared.contracts.sources import FilesSource
from shared.contracts.work import (
    BackupDone,
    BackupInstruction,
    CollectDone,
    CollectedMachine,
    CollectInstruction,
    Fence,
    ItemRef,
    MachineRef,
    VaultRef,
)
from shared.crypto.domain_keys import DomainKeys
from shared.errors import SkyharborError
from shared.model.backup import BackupType, ConflictRule
from shared.model.ids import new_id
from shared.storage.memory import MemoryStore
from shared.storage.object_store import ObjectStore
from shared.vault import layout
from shared.vault.index import ChunkIndex
from shared.vault.layout import PointName
from shared.vault.manifest import read_pack_list
from shared.vault.reader import PointReader
from shared.vault.vault import Vault, create_vault, open_vault
from tests.support.collecting_tower import CollectingTower, Desk, Writer
from tests.support.held import doors_to
from tests.support.uncontrolled import Uncontrolled
from workers.engine.backup import BackupOptions, run_backup
from workers.engine.collect import run_collect
from workers.engine.condemned import forget_condemned
from workers.engine.desk import CollectionDesk
from workers.engine.ports import Control, Source
from workers.engine.restore import restore_point
from workers.sources.files import FilesAdapter

MACHINE, OTHER = "machine", "other"
DEKS = {MACHINE: b"k" * 32, OTHER: b"o" * 32}


class CollectRig:
    """Items are named by their machine, ``machine`` and ``other`` unless told otherwise."""

    def __init__(self, store: ObjectStore | None = None, *, made: bool = False, tower: CollectingTower | None = None):
        self.store = store or MemoryStore()
        if not made:
            create_vault(self.store, name="test")
        self.tower = tower or CollectingTower()
        self.deks: Mapping[str, bytes] = dict(DEKS)

    # ── backups ──────────────────────────────────────────────────────────────────────────────────────

    def vault(self, store: ObjectStore | None = None) -> Vault:
        return open_vault(store or self.store)

    def keys(self, machine: str = MACHINE) -> DomainKeys:
        return DomainKeys.derive(self.deks[machine])

    def index(self, machine: str = MACHINE) -> ChunkIndex:
        return ChunkIndex.load(self.vault(), machine, self.keys(machine), cache_dir=None)

    def instruction(
        self, tree: str, point: str, *, machine: str = MACHINE, item: str | None = None
    ) -> BackupInstruction:
        item = item or f"{machine}-item"
        reference = self.tower.reference(item)
        return BackupInstruction(
            point_id=point,
            machine=MachineRef(id=machine, name=machine, key_slots=({"slot_id": "s", "kind": "passphrase"},)),
            item=ItemRef(id=item, name=item),
            vault=VaultRef(id=self.vault().id, name="test", url="memory://"),
            source=FilesSource(paths=(tree,)),
            type=BackupType.FULL if reference is None else BackupType.INCREMENTAL,
            reference=reference,
        )

    def claim(self, point: str | None = None, *, machine: str = MACHINE, item: str | None = None) -> tuple[str, Writer]:
        point = point or new_id()
        return point, self.tower.claim(machine, item or f"{machine}-item", point)

    def fly(
        self,
        tree: str,
        point: str,
        writer: Writer,
        *,
        machine: str = MACHINE,
        item: str | None = None,
        store: ObjectStore | None = None,
        source: Source | None = None,
        options: BackupOptions = BackupOptions(),
        told: bool = True,
    ) -> BackupDone:
        """Do what a worker does with a claimed backup, up to its outcome; the tower is not told of that.

        Not ``told`` of condemned packs: as if it had asked when it was claimed, before any were condemned.
        """
        instruction = self.instruction(tree, point, machine=machine, item=item)
        vault, keys = self.vault(store), self.keys(machine)
        index = ChunkIndex.load(vault, machine, keys, cache_dir=None)
        if told:
            forget_condemned(index, writer)
        return run_backup(
            doors=doors_to(source or FilesAdapter(FilesSource(paths=(tree,))), (tree,)),
            vault=vault,
            keys=keys,
            index=index,
            instruction=instruction,
            fence=Fence(job_id=point, unit=0, epoch=1, claim_id="c"),
            control=writer,
            clock=SystemClock(),
            options=options,
        )

    def backup(self, tree: str, *, machine: str = MACHINE, item: str | None = None) -> str:
        """Claim, fly, complete; return the point's id."""
        point, writer = self.claim(machine=machine, item=item)
        self.fly(tree, point, writer, machine=machine, item=item)
        writer.complete()
        return point

    # ── collections ──────────────────────────────────────────────────────────────────────────────────

    def collecting(self, *, again: bool = True, machines: Iterable[str] | None = None) -> CollectInstruction:
        known = list(self.deks) if machines is None else list(machines)
        return CollectInstruction(
            vault=VaultRef(id=self.vault().id, name="test", url="memory://"),
            machines=tuple(
                CollectedMachine(machine=MachineRef(id=one, name=one), busy=self.tower.busy(one)) for one in known
            ),
            again=again,
        )

    def collect(
        self,
        *,
        again: bool = True,
        machines: Iterable[str] | None = None,
        held: Iterable[str] | None = None,
        store: ObjectStore | None = None,
        desk: CollectionDesk | None = None,
        control: Control | None = None,
        instruction: CollectInstruction | None = None,
    ) -> CollectDone:
        """Run one collection; ``held`` are the machines whose keys the collector has."""
        holds = set(self.deks) if held is None else set(held)

        def open_key(machine: str) -> bytes:
            if machine not in holds:
                raise SkyharborError("key-missing", machine)
            return self.deks[machine]

        desk = desk or self.tower.desk()
        return run_collect(
            instruction or self.collecting(again=again, machines=machines),
            vault=self.vault(store),
            open_key=open_key,
            desk=desk,
            control=control or Uncontrolled(),
        )

    # ── looking ──────────────────────────────────────────────────────────────────────────────────────

    def names(self, prefix: str = "") -> set[str]:
        return {info.name for info in self.store.list(prefix)}

    def packs(self) -> set[str]:
        return self.names(layout.PACKS)

    def points(self, machine: str = MACHINE) -> list[str]:
        return [point.point_id for point in self.vault().points(machine, f"{machine}-item")]

    def needs(self, point: str, *, machine: str = MACHINE, item: str | None = None) -> set[str]:
        name = PointName(machine, item or f"{machine}-item", point)
        return {pack.name for pack in read_pack_list(self.vault(), name, self.keys(machine))}

    def garbage(self) -> set[str]:
        """The packs that no point needs."""
        needed: set[str] = set()
        for machine in self.deks:
            for point in self.vault().points(machine):
                needed |= {pack.name for pack in read_pack_list(self.vault(), point, self.keys(machine))}
        return self.packs() - needed

    def reader(self, point: str, *, machine: str = MACHINE, item: str | None = None) -> PointReader:
        return PointReader.open(
            self.vault(),
            self.keys(machine),
            machine_id=machine,
            item_id=item or f"{machine}-item",
            point_id=point,
            index=self.index(machine),
        )

    def restore(self, point: str, target: str, *, machine: str = MACHINE, item: str | None = None) -> tuple[str, ...]:
        """Restore a point and return the codes of its warnings."""
        reader = self.reader(point, machine=machine, item=item)
        done = restore_point(reader, target=target, paths=(), conflict=ConflictRule.SKIP, control=Uncontrolled())
        return tuple(notice.code for notice in done.warnings)


__all__ = ["DEKS", "MACHINE", "OTHER", "CollectRig", "Desk"]
