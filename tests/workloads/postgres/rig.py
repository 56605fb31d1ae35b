"""An item, its vault and its worker in one process: from a cluster to a point and back, without a tower."""

from __future__ import annotations

import itertools
from collections.abc import Callable, Mapping
from typing import Any

from shared.contracts.sources import PostgresSource
from shared.contracts.work import ItemRef, MachineRef, PointRef, RestoreDone, RestoreInstruction, VaultRef
from shared.crypto.domain_keys import DomainKeys
from shared.model.backup import BackupType, Notice
from shared.storage.memory import MemoryStore
from shared.vault.entry import Entry, EntryKind, sort_key
from shared.vault.index import ChunkIndex
from shared.vault.point import PointBody
from shared.vault.reader import PointReader
from shared.vault.vault import create_vault, open_vault
from shared.vault.writer import PointWriter
from tests.support.uncontrolled import Uncontrolled
from workers.engine.ports import Kept, SessionOrder
from workers.engine.restore import restore_point
from workers.sources.postgres import window
from workers.sources.postgres.lander import land_cluster
from workers.sources.postgres.planning import Limits
from workers.sources.postgres.session import ClusterSession
from workers.sources.postgres.window import Window

_CHUNK = 1 << 20


class Deeds:
    """A guard that remembers what it was told."""

    def __init__(self) -> None:
        self.armed: dict[int, tuple[str, dict[str, str]]] = {}
        self._numbers = itertools.count(1)

    def arm(self, kind: str, details: Mapping[str, str], *, within: float | None = None) -> int:
        number = next(self._numbers)
        self.armed[number] = (kind, dict(details))
        return number

    def disarm(self, number: int) -> None:
        self.armed.pop(number, None)


def _nothing(_: Entry) -> None:
    """The test does not look on."""


class PgRig:
    """One machine with one cluster as its item; points follow each other."""

    def __init__(self, dsn: str, **spec: Any) -> None:
        create_vault(store := MemoryStore(), name="test")
        self.vault = open_vault(store)
        self.keys = DomainKeys.derive(b"k" * 32)
        self.spec = PostgresSource(dsn=dsn, **spec)
        self.guard = Deeds()
        self.limits = Limits()
        self.points: list[str] = []
        self.notices: list[Notice] = []
        self.read = 0

    def reader(self, point: str = "") -> PointReader:
        name = {"machine_id": "machine", "item_id": "item", "point_id": point or self.points[-1]}
        return PointReader.open(self.vault, self.keys, index=self.index(), **name)

    def index(self) -> ChunkIndex:
        return ChunkIndex.load(self.vault, "machine", self.keys, cache_dir=None)

    def window(self, point: str = "") -> Window:
        return window.decode(self.reader(point).body.state[window.STATE])

    def codes(self) -> list[str]:
        return [notice.code for notice in self.notices]

    def session(self, reference: PointReader | None = None) -> ClusterSession:
        body = reference.body if reference else None
        point = f"point{len(self.points) + 1}"
        order = SessionOrder(self.spec, "item", point, body, (), "/nowhere", self.guard, lambda: None)
        return ClusterSession(order, limits=self.limits)

    def backup(
        self,
        type: BackupType = BackupType.INCREMENTAL,
        *,
        against: str = "",
        on_node: Callable[[Entry], None] = _nothing,
    ) -> str:
        """Make a point against the last one, or another; ``on_node`` is told of nodes before they are read."""
        wanted = self.points and type is not BackupType.FULL
        reference = self.reader(against) if wanted else None
        session = self.session(reference)
        point = f"point{len(self.points) + 1}"
        writer = PointWriter(
            self.vault, self.keys, self.index(), machine_id="machine", item_id="item", point_id=point, zstd_level=1
        )
        try:
            writer.add_entries(self._entries(session, reference, writer, on_node))
            session.confirm()
            body = PointBody(
                machine_name="machine",
                item_name="item",
                paths=session.paths,
                type=type if reference else BackupType.FULL,
                reference=against or None,
                job_id="job",
                epoch=1,
                claim_id="claim",
                started_at="",
                sealed_at="",
                files=0,
                bytes=0,
                workload="postgres",
                state=dict(session.state),
            )
            self.notices = list(session.notices())
            writer.seal(body=body, validate=lambda: None)
            self.points.append(point)
            session.sealed()
        except BaseException:
            writer.abort()
            raise
        finally:
            session.close()
        return point

    def _entries(
        self,
        session: ClusterSession,
        reference: PointReader | None,
        writer: PointWriter,
        on_node: Callable[[Entry], None],
    ) -> list[Entry]:
        self.read, entries = 0, list[Entry]()
        for node in session.reading.stream(reference):  # type: ignore[union-attr]
            if isinstance(node, Kept):
                assert reference is not None
                entries += reference.entries(node.under)
            elif not isinstance(node, Notice):
                on_node(node.entry)
                entries.append(self._stored(node, writer))
        entries.sort(key=lambda entry: sort_key(entry.path))
        return entries

    def _stored(self, node: Any, writer: PointWriter) -> Entry:
        entry: Entry = node.entry
        ids, buffer = b"", bytearray(_CHUNK)
        while entry.kind == EntryKind.FILE and (count := node.read_into(memoryview(buffer))):
            data = bytes(buffer[:count])
            chunk = self.keys.chunk_id(data)
            if writer.reserve([chunk])[0]:
                writer.add_segment([chunk], [data])
            ids += chunk
            entry.size += count
            self.read += count
        entry.chunks = ids
        return entry

    def restore(self, target: str, point: str = "", *, until: str = "", **options: str) -> RestoreDone:
        """Land a point as a cluster that belongs to nobody, when that may be chosen."""
        ref = PointRef(
            point_id=point or self.points[-1],
            machine=MachineRef(id="machine", name="machine"),
            item=ItemRef(id="item", name="item"),
            vault=VaultRef(id="vault", name="vault", url="memory:"),
        )
        asked = {"until": until, "owner": "nobody", **options}
        return land_cluster(
            self.reader(point), RestoreInstruction(point=ref, target=target, options=asked), Uncontrolled()
        )

    def tree(self, target: str, *paths: str, point: str = "") -> None:
        """Bring the tree back as it is, as break-glass does."""
        from shared.model.backup import ConflictRule

        restore_point(
            self.reader(point), target=target, paths=paths, conflict=ConflictRule.SKIP, control=Uncontrolled()
        )
