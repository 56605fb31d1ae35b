"""A database that comes back is never put beside a log that would spoil it."""

from __future__ import annotations

import sqlite3
from contextlib import closing
from pathlib import Path
from types import SimpleNamespace
from typing import Any, cast

import msgspec
import pytest

from shared.clock import SystemClock
from shared.contracts.sources import SqliteSource
from shared.contracts.work import Fence, PointRef, RestoreInstruction
from shared.errors import SkyharborError
from shared.model.backup import ConflictRule
from tests.support.held import NoGuard
from tests.support.uncontrolled import Uncontrolled
from tests.unit.engine.rig import Rig
from tests.unit.sources.sqlite.rig import make
from workers.engine.backup import run_backup
from workers.engine.doors import Doors
from workers.engine.ports import SessionOrder
from workers.sources.opening import LANDERS, open_session, open_source


class Protected:
    """A database in a vault in memory."""

    def __init__(self, folder: Path) -> None:
        self.path = folder / "app.db"
        self.rig = Rig()
        make(self.path, rows=10).close()
        own = folder / "own"
        own.mkdir()
        spec = SqliteSource(paths=(str(self.path),))
        order = SimpleNamespace(item_id="i", point_id="p", leave_out=(), folder=str(own), guard=NoGuard())
        run_backup(
            doors=Doors(
                lambda reference: open_session(
                    SessionOrder(spec=spec, reference=reference, check=lambda: None, **cast(Any, vars(order)))
                ),
                open_source,
            ),
            vault=self.rig.vault,
            keys=self.rig.keys,
            index=self.rig.index(),
            instruction=msgspec.structs.replace(self.rig.instruction(), source=spec),
            fence=Fence(job_id="job", unit=0, epoch=1, claim_id="claim"),
            control=Uncontrolled(),
            clock=SystemClock(),
        )

    def restore(self, target: str, *, conflict: ConflictRule = ConflictRule.OVERWRITE, **options: str) -> None:
        told = self.rig.instruction()
        point = PointRef(point_id=self.rig.points()[-1], machine=told.machine, item=told.item, vault=told.vault)
        instruction = RestoreInstruction(point=point, target=target, conflict=conflict, options=options)
        reader = self.rig.reader()
        LANDERS[reader.body.workload](reader, instruction, control=Uncontrolled(), folder="")

    def rows(self) -> int:
        with closing(sqlite3.connect(self.path)) as database:
            return int(database.execute("SELECT count(*) FROM t").fetchone()[0])


@pytest.fixture
def protected(tmp_path: Path) -> Protected:
    return Protected(tmp_path)


def test_it_comes_back_to_its_own_place(protected: Protected) -> None:
    with closing(sqlite3.connect(protected.path)) as database:
        database.execute("DROP TABLE t")
    protected.restore("/")
    assert protected.rows() == 10


@pytest.mark.parametrize("suffix", ["-wal", "-journal"])
@pytest.mark.parametrize("there", [True, False])
def test_a_log_beside_it_stops_the_restore_before_anything_is_written(
    protected: Protected, suffix: str, there: bool
) -> None:
    protected.path.write_bytes(b"as it was")
    if not there:
        protected.path.unlink()
    beside = Path(f"{protected.path}{suffix}")
    beside.write_bytes(b"of another")
    with pytest.raises(SkyharborError, match="would spoil") as caught:
        protected.restore("/")
    assert caught.value.code == "target-invalid"
    assert beside.read_bytes() == b"of another"
    assert protected.path.exists() is there


def test_what_stays_may_have_its_log(protected: Protected) -> None:
    protected.path.write_bytes(b"as it was")
    Path(f"{protected.path}-wal").write_bytes(b"of this one")
    protected.restore("/", conflict=ConflictRule.SKIP)
    protected.restore("/", conflict=ConflictRule.RENAME)
    assert protected.path.read_bytes() == b"as it was"
    assert len(list(protected.path.parent.glob("app*"))) == 3


def test_an_empty_log_spoils_nothing(protected: Protected) -> None:
    Path(f"{protected.path}-wal").touch()
    protected.restore("/")
    assert protected.rows() == 10


def test_there_are_no_options(protected: Protected) -> None:
    with pytest.raises(SkyharborError, match="without until"):
        protected.restore("/", until="latest")
