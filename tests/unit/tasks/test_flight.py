"""A granted unit beside a collector: what it asks the tower before it works, and a collection from end to end.

The whole way of a worker, with a vault in a folder, a keyring and the tower in memory.
"""

from __future__ import annotations

import os
from dataclasses import replace
from functools import partial
from pathlib import Path

import msgspec
import pytest

from shared.clock import SystemClock
from shared.contracts.collect import GivenUp
from shared.contracts.sources import FilesSource, PostgresSource
from shared.contracts.work import (
    BackupDone,
    BackupInstruction,
    CollectDone,
    CollectedMachine,
    CollectInstruction,
    Failed,
    Fence,
    Granted,
    Instruction,
    ItemRef,
    MachineRef,
    Outcome,
    ShardDone,
    ShardInstruction,
    VaultRef,
)
from shared.crypto.domain_keys import DomainKeys
from shared.crypto.keyring import Keyring
from shared.model.backup import BackupType
from shared.storage.local import LocalStore
from shared.vault import layout
from shared.vault.layout import PointName
from shared.vault.manifest import read_pack_list
from shared.vault.vault import create_vault, open_vault
from shared.vault.writer import PointWriter
from tests.support.collecting_tower import CollectingTower
from tests.support.held import NoGuard, reading_of
from tests.support.uncontrolled import Uncontrolled
from workers.crew.messages import BackupWork
from workers.engine.crew import ReadingCrew, ReadingThreads
from workers.engine.desk import CollectionDesk
from workers.engine.ports import Elsewhere, Session, SessionOrder
from workers.engine.reading import FileReading
from workers.engine.shard_messages import ShardOrder, open_report, seal_order
from workers.engine.span import EVERYTHING
from workers.engine.stretch import Stretch
from workers.session.throttles import Throttles
from workers.sources.opening import borrow, described, open_session, open_source
from workers.sources.vm.description import DiskReading, VmReading
from workers.sources.vm.wire import Address
from workers.tasks.flight import Hangar, Ties, fly

DEK = b"d" * 32
KEYS = DomainKeys.derive(DEK)


class Worker:
    """One worker with a keyring, and a tree to protect in a vault that is a folder."""

    def __init__(self, root: Path) -> None:
        self.folder = str(root / "vault")
        self.store = LocalStore.create(self.folder)
        create_vault(self.store, name="v")
        self.vault = open_vault(self.store)
        self.ref = VaultRef(id=self.vault.id, name="v", url=f"file://{self.folder}")
        self.tower = CollectingTower()
        self.tree = root / "tree"
        self.tree.mkdir()
        (self.tree / "file").write_bytes(b"what is protected " * 1000)
        keyring = Keyring(str(root / "keys"))
        keyring.put("machine", DEK)

        def muster(work: BackupWork, writer: PointWriter) -> ReadingCrew:
            return ReadingThreads(FileReading(open_source(work.reading), KEYS, writer, SystemClock()), count=1)

        def no_writers(*_: object) -> object:
            raise AssertionError("nothing is restored here")

        self.hangar = Hangar(
            keyring=keyring,
            cache=str(root / "cache"),
            folder=str(root / "sources"),
            open_session=open_session,
            open_source=open_source,
            borrow=partial(borrow, guard=NoGuard()),
            landers={},
            guard=NoGuard(),
            clock=SystemClock(),
            muster_readers=muster,
            muster_writers=no_writers,  # type: ignore[arg-type]
            throttle=Throttles(str(root / "bandwidth"), clock=SystemClock()).of,
        )

    def instruction(self, point: str) -> BackupInstruction:
        return BackupInstruction(
            point_id=point,
            machine=MachineRef(id="machine", name="m"),
            item=ItemRef(id="item", name="i"),
            vault=self.ref,
            source=FilesSource(paths=(str(self.tree),)),
            type=BackupType.FULL,
        )

    def collecting(self, *machines: str) -> CollectInstruction:
        known = tuple(CollectedMachine(machine=MachineRef(id=one, name=one)) for one in machines)
        return CollectInstruction(vault=self.ref, machines=known, again=True)

    def fly(
        self, instruction: Instruction, *, condemned: bool = False, unit: int = 0, desk: CollectionDesk | None = None
    ) -> Outcome | None:
        fence = Fence(job_id="job", unit=unit, epoch=1, claim_id="claim")
        granted = Granted(
            fence=fence,
            attempt=1,
            lease=30,
            renew_every=10,
            stop_after=20,
            instruction=instruction,
            condemned=condemned,
        )
        return fly(granted, Uncontrolled(), self.hangar, Ties(desk=desk or self.tower.desk()))

    def packs_of(self, point: str) -> set[str]:
        return {pack.name for pack in read_pack_list(self.vault, PointName("machine", "item", point), KEYS)}

    def condemn(self, packs: set[str]) -> None:
        self.tower.desk().condemn([GivenUp(name, 1) for name in packs], ())


@pytest.fixture
def worker(tmp_path: Path) -> Worker:
    worker = Worker(tmp_path)
    assert isinstance(worker.fly(worker.instruction("point-1")), BackupDone)
    return worker


def test_an_item_that_keeps_nothing_between_its_backups_leaves_no_folder(worker: Worker) -> None:
    assert os.listdir(worker.hangar.folder) == []


def test_what_an_item_keeps_between_its_backups_stays(worker: Worker) -> None:
    def open_keeping(order: SessionOrder) -> Session:
        Path(order.folder, "changes").write_text("noted", encoding="utf-8")
        return open_session(order)

    worker.hangar = replace(worker.hangar, open_session=open_keeping)
    assert isinstance(worker.fly(worker.instruction("point-2")), BackupDone)
    assert os.listdir(f"{worker.hangar.folder}/item") == ["changes"]


def test_a_backup_that_is_told_of_condemned_packs_does_not_rely_on_them(worker: Worker) -> None:
    condemned = worker.packs_of("point-1")
    worker.condemn(condemned)
    done = worker.fly(worker.instruction("point-2"), condemned=True)
    assert isinstance(done, BackupDone)
    assert not worker.packs_of("point-2") & condemned


def test_a_backup_that_is_told_of_none_does_not_ask(worker: Worker) -> None:
    asked: list[str] = []
    worker.tower.hook = asked.append
    assert isinstance(worker.fly(worker.instruction("point-2")), BackupDone)
    assert asked == []
    assert worker.packs_of("point-2") & worker.packs_of("point-1")


def test_a_backup_that_cannot_ask_has_not_begun(worker: Worker) -> None:
    before = {info.name for info in worker.store.list()}
    stale = worker.tower.desk()
    worker.tower.desk()
    assert worker.fly(worker.instruction("point-2"), condemned=True, desk=stale) is None
    assert {info.name for info in worker.store.list()} == before


def test_a_shard_that_is_told_of_condemned_packs_does_not_rely_on_them(worker: Worker) -> None:
    condemned = worker.packs_of("point-1")
    worker.condemn(condemned)
    backup = worker.instruction("point-2")
    fence = Fence(job_id="job", unit=1, epoch=1, claim_id="claim")
    payload = seal_order(
        ShardOrder(backup=backup, reading=reading_of(backup.source), span=EVERYTHING), keys=KEYS, fence=fence
    )
    done = worker.fly(ShardInstruction(backup=backup, payload=payload), condemned=True, unit=1)
    assert isinstance(done, ShardDone)
    part = open_report(done.result, keys=KEYS, fence=fence).part
    assert part.packs
    assert not {pack.name for pack in part.packs} & condemned


def test_a_shard_of_what_is_elsewhere_is_given_back_before_the_vault_is_touched(worker: Worker) -> None:
    backup = worker.instruction("point-2")
    disk = DiskReading(name="disk0.raw", size=1, inode=1, mtime_ns=1, ctime_ns=1, address=Address(unix="/nowhere"))
    reading = described(VmReading(block=1 << 18, boot="another machine", disks=(disk,)))
    fence = Fence(job_id="job", unit=1, epoch=1, claim_id="claim")
    order = ShardOrder(backup=backup, reading=reading, stretches=(Stretch(b"disk0.raw", 0, 1),))
    os.rename(worker.folder, worker.folder + ".away")
    with pytest.raises(Elsewhere):
        worker.fly(ShardInstruction(backup=backup, payload=seal_order(order, keys=KEYS, fence=fence)), unit=1)


def test_a_collection_deletes_from_the_folder_what_nobody_needs(worker: Worker) -> None:
    (worker.tree / "file").write_bytes(os.urandom(100_000))
    assert isinstance(worker.fly(worker.instruction("point-2")), BackupDone)
    only_first = worker.packs_of("point-1") - worker.packs_of("point-2")
    worker.store.delete("points/machine/item/point-1")
    done = worker.fly(worker.collecting("machine"))
    assert isinstance(done, CollectDone)
    assert (done.stats.packs_deleted, done.warnings) == (len(only_first), ())
    assert {info.name for info in worker.store.list(layout.PACKS)} == worker.packs_of("point-2")


def test_a_collection_without_any_key_fails_nothing_and_deletes_nothing(worker: Worker) -> None:
    before = {info.name for info in worker.store.list()}
    done = worker.fly(worker.collecting("stranger"))
    assert isinstance(done, CollectDone)
    assert [notice.code for notice in done.warnings] == ["key-missing", "machine-unknown"]
    assert {info.name for info in worker.store.list()} == before


def test_a_source_that_knows_what_to_do_says_so_in_the_outcome(worker: Worker) -> None:
    away = PostgresSource(dsn="host=/nowhere port=1")
    done = worker.fly(msgspec.structs.replace(worker.instruction("p"), source=away))
    assert isinstance(done, Failed)
    assert done.code == "source-failed"
    assert done.hint == "Check that the server runs, and the socket's folder in the item's DSN."
    assert done.hint not in done.message


def test_a_collection_in_another_vault_than_was_meant_fails(worker: Worker) -> None:
    ref = VaultRef(id="0198f000-0000-7000-8000-000000000abc", name="v", url=worker.ref.url)
    done = worker.fly(CollectInstruction(vault=ref, machines=()))
    assert done == Failed(code="vault-swapped", message=done.message if isinstance(done, Failed) else "")
