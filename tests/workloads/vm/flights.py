"""Whole backups and restores of a machine: the session, the engine and the lander, over a vault in memory."""

from __future__ import annotations

from dataclasses import dataclass, field

from shared.clock import SystemClock
from shared.contracts.sources import VmSource
from shared.contracts.work import (
    BackupDone,
    BackupInstruction,
    Fence,
    ItemRef,
    MachineRef,
    PointRef,
    RestoreDone,
    RestoreInstruction,
    VaultRef,
)
from shared.model.backup import BackupType, ConflictRule
from shared.model.ids import new_id
from tests.support.uncontrolled import Uncontrolled
from tests.unit.engine.rig import SLOTS, Rig
from tests.workloads.vm.rig import Watch
from workers.engine.backup import BackupOptions, run_backup
from workers.engine.doors import Doors
from workers.engine.ports import Control, Formation, SessionOrder
from workers.sources.opening import LANDERS, open_session, open_source

MACHINE = MachineRef(id="machine", name="the machine", key_slots=SLOTS)
ITEM = ItemRef(id="item", name="the item")


@dataclass
class Field:
    """One item and its points."""

    spec: VmSource
    rig: Rig = field(default_factory=Rig)
    guard: Watch = field(default_factory=Watch)

    def backup(
        self,
        type: BackupType = BackupType.INCREMENTAL,
        *,
        control: Control | None = None,
        formation: Formation | None = None,
        options: BackupOptions = BackupOptions(),
    ) -> BackupDone:
        points = self.rig.points()
        if type is BackupType.DIFFERENTIAL:
            points = [point for point in points if self.rig.reader(point).body.type is BackupType.FULL]
        instruction = BackupInstruction(
            point_id=new_id(),
            machine=MACHINE,
            item=ITEM,
            vault=VaultRef(id=self.rig.vault.id, name="test", url="memory://"),
            source=self.spec,
            type=type if points else BackupType.FULL,
            reference=points[-1] if points and type is not BackupType.FULL else None,
        )
        control = control or Uncontrolled()
        order = SessionOrder(
            spec=self.spec,
            item_id=ITEM.id,
            point_id=instruction.point_id,
            reference=None,
            leave_out=(),
            folder="/nowhere",
            guard=self.guard,
            check=control.check,
        )
        return run_backup(
            doors=Doors(lambda body: open_session(order._replace(reference=body)), open_source),
            vault=self.rig.vault,
            keys=self.rig.keys,
            index=self.rig.index(),
            instruction=instruction,
            fence=Fence(job_id="job", unit=0, epoch=1, claim_id="claim"),
            control=control,
            clock=SystemClock(),
            options=options,
            formation=formation,
        )

    def restore(
        self,
        target: str,
        *paths: str,
        conflict: ConflictRule = ConflictRule.SKIP,
        control: Control | None = None,
        point: str | None = None,
        **options: str,
    ) -> RestoreDone:
        reader = self.rig.reader(point)
        ref = PointRef(
            point_id=reader.point.point_id,
            machine=MACHINE,
            item=ITEM,
            vault=VaultRef(id=self.rig.vault.id, name="test", url="memory://"),
        )
        instruction = RestoreInstruction(
            point=ref, target=target, paths=paths, conflict=conflict, source=self.spec, options=options
        )
        lander = LANDERS[reader.body.workload]
        return lander(reader, instruction, control=control or Uncontrolled(), folder="/nowhere")
