"""An item, its vault and its worker in one process: from a cluster to a point and back, without a tower."""

from __future__ import annotations

import itertools
from collections.abc import Callable, Iterator, Mapping, Sequence
from typing import Any

from shared.clock import SystemClock
from shared.contracts.sources import PostgresSource
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
from shared.crypto.domain_keys import DomainKeys
from shared.model.backup import BackupType, ConflictRule, Notice
from shared.storage.memory import MemoryStore
from shared.storage.object_store import ObjectStore
from shared.vault.entry import Entry
from shared.vault.index import ChunkIndex
from shared.vault.point import PointBody
from shared.vault.reader import PointReader
from shared.vault.vault import create_vault, open_vault
from tests.support.uncontrolled import Uncontrolled
from workers.engine.backup import run_backup
from workers.engine.doors import Doors
from workers.engine.ports import Control, Kept, Pushed, Session, SessionOrder, StreamSource
from workers.engine.restore import restore_point
from workers.sources.opening import LANDERS, open_session, open_source
from workers.sources.postgres import window
from workers.sources.postgres.planning import Limits
from workers.sources.postgres.session import ClusterSession
from workers.sources.postgres.window import Window

SLOTS = ({"slot_id": "s", "kind": "passphrase"},)
Look = Callable[[Entry], None]


class Deeds:
    """A guard that remembers what it was told."""

    def __init__(self) -> None:
        self.armed: dict[int, tuple[str, dict[str, str]]] = {}
        self._numbers = itertools.count(1)

    def arm(self, kind: str, details: Mapping[str, str], *, within: float | None = None) -> int:
        assert within is None
        number = next(self._numbers)
        self.armed[number] = (kind, dict(details))
        return number

    def disarm(self, number: int) -> None:
        self.armed.pop(number, None)


class PgRig:
    """One machine with one cluster as its item; points follow each other. ``limits`` None: as a worker has them."""

    def __init__(self, dsn: str, *, store: ObjectStore | None = None, **spec: Any) -> None:
        self.store = store or MemoryStore()
        create_vault(self.store, name="test")
        self.vault = open_vault(self.store)
        self.keys = DomainKeys.derive(b"k" * 32)
        self.spec = PostgresSource(dsn=dsn, **spec)
        self.guard = Deeds()
        self.limits: Limits | None = None
        self.points: list[str] = []
        self.notices: Sequence[Notice] = ()

    def index(self) -> ChunkIndex:
        return ChunkIndex.load(self.vault, "machine", self.keys, cache_dir=None)

    def reader(self, point: str = "") -> PointReader:
        name = {"machine_id": "machine", "item_id": "item", "point_id": point or self.points[-1]}
        return PointReader.open(self.vault, self.keys, index=self.index(), **name)

    def window(self, point: str = "") -> Window:
        return window.decode(self.reader(point).body.state[window.STATE])

    def codes(self) -> list[str]:
        return [notice.code for notice in self.notices]

    def backup(
        self,
        type: BackupType = BackupType.INCREMENTAL,
        *,
        against: str = "",
        on_node: Look | None = None,
        control: Control | None = None,
    ) -> BackupDone:
        """Make a point against the last one, or another; ``on_node`` is told of nodes before they are read."""
        control = control or Uncontrolled()
        compared = bool(self.points) and type is not BackupType.FULL
        instruction = BackupInstruction(
            point_id=f"point{len(self.points) + 1}",
            machine=MachineRef(id="machine", name="the machine", key_slots=SLOTS),
            item=ItemRef(id="item", name="the item"),
            vault=VaultRef(id=self.vault.id, name="test", url="memory://"),
            source=self.spec,
            type=type if compared else BackupType.FULL,
            reference=(against or self.points[-1]) if compared else None,
        )
        done = run_backup(
            doors=Doors(lambda reference: self._session(instruction, reference, control, on_node), open_source),
            vault=self.vault,
            keys=self.keys,
            index=self.index(),
            instruction=instruction,
            fence=Fence(job_id="job", unit=0, epoch=1, claim_id="claim"),
            control=control,
            clock=SystemClock(),
        )
        self.points.append(done.point.point_id)
        self.notices = done.warnings
        return done

    def restore(self, target: str, *paths: str, point: str = "", **options: str) -> RestoreDone:
        """Land a point, the last one by default; as a cluster that belongs to nobody."""
        ref = PointRef(
            point_id=point or self.points[-1],
            machine=MachineRef(id="machine", name="the machine"),
            item=ItemRef(id="item", name="the item"),
            vault=VaultRef(id=self.vault.id, name="test", url="memory://"),
        )
        asked = {"owner": "nobody", **options}
        instruction = RestoreInstruction(point=ref, target=target, paths=paths, options=asked)
        return LANDERS["postgres"](self.reader(point), instruction, control=Uncontrolled(), folder="/nowhere")

    def tree(self, target: str) -> None:
        """Bring the tree back as it is, as break-glass does."""
        restore_point(self.reader(), target=target, paths=(), conflict=ConflictRule.SKIP, control=Uncontrolled())

    def _session(
        self, instruction: BackupInstruction, reference: PointBody | None, control: Control, on_node: Look | None
    ) -> Session:
        order = SessionOrder(
            spec=instruction.source,
            item_id="item",
            point_id=instruction.point_id,
            reference=reference,
            leave_out=(),
            folder="/nowhere",
            guard=self.guard,
            check=control.check,
        )
        session = open_session(order) if self.limits is None else ClusterSession(order, limits=self.limits)
        return Watched(session, on_node) if on_node else session


class Watched:
    """A session whose stream tells of every node."""

    def __init__(self, session: Session, on_node: Look) -> None:
        self._session, self._on_node = session, on_node

    def __getattr__(self, name: str) -> Any:
        return getattr(self._session, name)

    @property
    def reading(self) -> StreamSource:
        return self

    def stream(self, reference: PointReader | None) -> Iterator[Pushed | Kept | Notice]:
        source = self._session.reading
        assert not isinstance(source, bytes)
        for node in source.stream(reference):
            if not isinstance(node, Kept | Notice):
                self._on_node(node.entry)
            yield node
