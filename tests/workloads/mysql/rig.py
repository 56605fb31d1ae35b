"""A vault in memory and an item that is a server: points and restores by the very ways that a worker goes."""

from __future__ import annotations

import os
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path
from typing import cast

import msgspec

from shared.clock import SystemClock
from shared.contracts.sources import MysqlSource, SourceSpec
from shared.contracts.work import BackupDone, Fence, PointRef, RestoreDone, RestoreInstruction
from shared.model.backup import BackupType
from shared.vault.point import PointBody
from tests.support.held import NoGuard
from tests.support.mariadb import MariaDb
from tests.support.uncontrolled import Uncontrolled
from tests.unit.engine.rig import Rig
from workers.engine.backup import run_backup
from workers.engine.doors import Doors
from workers.engine.ports import Control, Session, SessionOrder
from workers.sources.mysql.chain import STATE, Info, decoded
from workers.sources.opening import LANDERS, open_session, open_source

RIGHTS = "RELOAD, PROCESS, LOCK TABLES, BINLOG MONITOR"
PASSWORD = "p w#\"\\'$ö"


@dataclass
class ServerRig:
    """``server`` is protected as the user ``backup``."""

    server: MariaDb
    folder: Path
    rig: Rig = field(default_factory=Rig)
    dump: bool = False

    def __post_init__(self) -> None:
        self.folder.mkdir(exist_ok=True)
        self.credentials = self.folder.parent / "credentials"
        self.write_credentials(PASSWORD)

    def write_credentials(self, password: str) -> None:
        self.credentials.write_text(f"# of the item\nuser=backup\npassword={password}\n")
        self.credentials.chmod(0o600)

    def grant(self, rights: str = RIGHTS) -> None:
        """Make the account."""
        connection = self.server.connect()
        with connection.cursor() as cursor:
            cursor.execute("CREATE OR REPLACE USER backup@localhost IDENTIFIED BY %s", (PASSWORD,))
            cursor.execute(f"GRANT {rights} ON *.* TO backup@localhost")
        connection.close()

    @property
    def spec(self) -> MysqlSource:
        return MysqlSource(dsn=self.server.dsn(""), credentials_file=str(self.credentials), dump=self.dump)

    def doors(self, check: Callable[[], None]) -> Doors:
        """The ways of a worker."""

        def opened(reference: PointBody | None) -> Session:
            return open_session(
                SessionOrder(
                    spec=cast(SourceSpec, self.spec),
                    item_id="item",
                    point_id="point",
                    reference=reference,
                    leave_out=(),
                    folder=str(self.folder),
                    guard=NoGuard(),
                    check=check,
                )
            )

        return Doors(opened, open_source)

    def backup(self, *, type: BackupType = BackupType.INCREMENTAL, control: Control | None = None) -> BackupDone:
        control = control or Uncontrolled()
        instruction = msgspec.structs.replace(self.rig.instruction(type=type), source=self.spec)
        return run_backup(
            doors=self.doors(control.check),
            vault=self.rig.vault,
            keys=self.rig.keys,
            index=self.rig.index(),
            instruction=instruction,
            fence=Fence(job_id="job", unit=0, epoch=1, claim_id="claim"),
            control=control,
            clock=SystemClock(),
        )

    def info(self, point_id: str | None = None) -> Info:
        info = decoded(self.rig.reader(point_id).body.state[STATE])
        assert info is not None
        return info

    def restore(
        self,
        target: Path,
        *paths: str,
        until: str | None = None,
        point_id: str | None = None,
        control: Control | None = None,
    ) -> RestoreDone:
        """Bring the last point back, or another, by the lander of its workload."""
        instruction = self.rig.instruction()
        point = PointRef(
            point_id=point_id or self.rig.points()[-1],
            machine=instruction.machine,
            item=instruction.item,
            vault=instruction.vault,
        )
        reader = self.rig.reader(point_id)
        return LANDERS[reader.body.workload](
            reader,
            RestoreInstruction(
                point=point, target=str(target), paths=paths, options={} if until is None else {"until": until}
            ),
            control=control or Uncontrolled(),
            folder=str(self.folder),
        )

    def left_behind(self) -> list[str]:
        """What is in the worker's folder for the item."""
        return os.listdir(self.folder)
