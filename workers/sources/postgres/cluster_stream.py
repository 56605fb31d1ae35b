"""A cluster as a stream: what is new from the server, what is not by reference to the last point.

The tree: ``base/<n>`` for every backup of the chain (``base_stream``), ``wal/<16 digits>/<24 digits>`` for the log,
``dumps``, and ``window.json``.

Rule of the file: which nodes a point has, and in which order they come; each part's bytes are somebody else's.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass

from shared.errors import SkyharborError
from shared.model.backup import Notice
from shared.vault.entry import Entry, EntryKind
from shared.vault.reader import PointReader
from workers.engine.ports import Kept, Pushed
from workers.sources.postgres import dumps, window
from workers.sources.postgres.access import Access
from workers.sources.postgres.base_stream import BaseStream
from workers.sources.postgres.lsn import parse_lsn, segment_name, segment_of, segment_start, show_lsn
from workers.sources.postgres.nodes import Folder, Text
from workers.sources.postgres.planning import Plan, Step
from workers.sources.postgres.replication import Identity, Refusal, Replication
from workers.sources.postgres.wal_marks import WalMarks
from workers.sources.postgres.wal_stream import WalStream, segment_path
from workers.sources.postgres.window import Backup, Window

_SETTINGS = (
    "max_connections",
    "max_worker_processes",
    "max_wal_senders",
    "max_prepared_transactions",
    "max_locks_per_transaction",
)


@dataclass(frozen=True, slots=True, kw_only=True)
class Order:
    """What is to be streamed. ``before`` is the reference's window, None when nothing of it is of use.

    ``hold`` has the server keep its log from this position on, right after a base backup has begun there.
    """

    plan: Plan
    before: Window | None
    identity: Identity
    segment: int
    slot: str
    label: str
    databases: Sequence[str]
    hold: Callable[[int], None]


class ClusterStream:
    """The stream of one backup. ``window`` is there when everything was sent."""

    def __init__(self, connection: Replication, access: Access, order: Order, check: Callable[[], None]) -> None:
        self._connection, self._access, self._order, self._check = connection, access, order, check
        self._plan, self._before = order.plan, order.before
        self.window: Window | None = None
        self.notices: list[Notice] = []

    def stream(self, reference: PointReader | None) -> Iterator[Pushed | Kept | Notice]:
        """See the port."""
        yield Folder(b"base")
        base = self._begin(reference)
        if base is not None:
            self._order.hold(base.start)
            yield from base.nodes()
            if base.timeline != self._order.identity.timeline:
                raise SkyharborError("source-failed", "the cluster changed its timeline when the backup began")
        kept = self._kept_backups()
        for backup in kept:
            yield Kept(b"base/" + backup.name.encode())
        log_begins = self._log_begins(base, kept)
        marks, wal = self._wal(base)
        yield from self._log(reference, wal, log_begins)
        if self._order.databases:
            yield from dumps.dump_nodes(self._access, self._order.databases, self._check)
        self.window = self._made_window(base, kept, log_begins, wal, marks)
        yield Text(window.FILE, window.readable(self.window))

    # ── backups ──────────────────────────────────────────────────────────────────────────────────────

    def _begin(self, reference: PointReader | None) -> BaseStream | None:
        """Have the server begin with what was planned; a base where it will not give an increment."""
        if self._plan.step is Step.LOG:
            return None
        number = 1 + max((int(one.name) for one in self._before.backups), default=0) if self._before else 1
        base = BaseStream(self._connection, str(number), label=self._order.label)
        if self._plan.step is Step.INCREMENT and reference is not None:
            try:
                base.begin(_manifest(reference, self._plan.parent))
            except Refusal as refusal:
                said = f"the server gave no increment, so this is a new base backup: {refusal.message.strip()}"
                self.notices.append(Notice("/base", "increment-refused", said))
                self._plan = self._plan._replace(step=Step.BASE, parent="")
            else:
                return base
        base.begin()
        return base

    def _kept_backups(self) -> list[Backup]:
        """Return the backups of the reference that the point has as well, in the order of their making."""
        if self._before is None:
            return []
        if self._plan.bridged:
            return self._before.chain(self._before.newest)
        return self._before.chain(self._before.backup(self._plan.parent)) if self._plan.parent else []

    def _log_begins(self, base: BaseStream | None, kept: Sequence[Backup]) -> int:
        """Return from where on the point has the log: from its oldest backup after which nothing is missing."""
        if base is not None and not self._plan.bridged:
            return base.start
        if self._before is None:
            raise ValueError("nothing to go on from")
        old = parse_lsn(self._before.log_begins)
        return min(parse_lsn(one.start) for one in kept if parse_lsn(one.start) >= old)

    # ── the log ──────────────────────────────────────────────────────────────────────────────────────

    def _wal(self, base: BaseStream | None) -> tuple[WalMarks, WalStream]:
        identity, segment = self._connection.identify(), self._order.segment
        if self._plan.bridged and self._before is not None:
            start = parse_lsn(self._before.log_ends)
        elif base is not None:
            start = base.start
        else:
            raise ValueError("nothing to go on from")
        start = segment_start(start, segment)
        marks = WalMarks(start, segment)
        wal = WalStream(
            self._connection,
            slot=self._order.slot,
            timeline=self._order.identity.timeline,
            start=start,
            goal=max(identity.flushed, base.stop if base else 0),
            segment=segment,
            marks=marks,
        )
        self._wal_start = start
        return marks, wal

    def _log(self, reference: PointReader | None, wal: WalStream, log_begins: int) -> Iterator[Pushed | Kept | Notice]:
        yield Folder(b"wal")
        made: set[bytes] = set()
        if self._plan.bridged and reference is not None:
            yield from self._old_segments(reference, log_begins, made)
        timeline = self._order.identity.timeline
        if timeline > 1:
            name, content = self._connection.rows_raw(f"TIMELINE_HISTORY {timeline}")[0]
            yield Text(b"wal/" + (name or b""), content or b"")
        for name, node in wal.nodes():
            folder = segment_path(name).rpartition(b"/")[0]
            if folder not in made:
                made.add(folder)
                yield Folder(folder)
            yield node

    def _old_segments(self, reference: PointReader, log_begins: int, made: set[bytes]) -> Iterator[Pushed | Kept]:
        """Keep the segments that the reference has whole and that are of use; by folders where that is possible."""
        segment = self._order.segment
        first, after = segment_start(log_begins, segment), self._wal_start
        shared = _folder_of(self._order.identity.timeline, after, segment)
        for folder, files in _folders(reference.entries(b"wal")):
            kept = [path for path in files if first <= _position(path, segment) < after]
            if not kept:
                continue
            made.add(folder)
            if len(kept) == len(files) and folder != shared:
                yield Kept(folder)
            else:
                yield Folder(folder)
                for path in kept:
                    yield Kept(path)

    # ── the window ───────────────────────────────────────────────────────────────────────────────────

    def _made_window(
        self, base: BaseStream | None, kept: Sequence[Backup], log_begins: int, wal: WalStream, marks: WalMarks
    ) -> Window:
        if wal.ends is None or wal.ended is None:
            raise ValueError("the log was not read")
        ended, backups = window.show_time(wal.ended), list(kept)
        if base is not None:
            new = Backup(
                name=base.name,
                parent=self._plan.parent,
                start=show_lsn(base.start),
                stop=show_lsn(base.stop),
                ended=ended,
                size=base.size,
            )
            backups.append(new)
        before = self._before if self._plan.bridged else None
        old = [one for one in before.restore_points if parse_lsn(one.position) < self._wal_start] if before else []
        return Window(
            system_id=self._order.identity.system_id,
            version=self._connection.major,
            timeline=self._order.identity.timeline,
            segment=self._order.segment,
            slot=self._order.slot,
            begins=window.begins(backups, show_lsn(log_begins)),
            ends=ended,
            last_change=marks.last_change or (before.last_change if before else ""),
            log_begins=show_lsn(log_begins),
            log_ends=show_lsn(wal.ends),
            backups=tuple(backups),
            restore_points=tuple(one for one in (*old, *marks.named) if parse_lsn(one.position) >= log_begins),
            settings={name: value for name in _SETTINGS if (value := self._connection.show(name))},
        )


def _manifest(reference: PointReader, name: str) -> Iterator[memoryview]:
    path = f"base/{name}/backup_manifest".encode()
    entry = next(reference.entries(path), None)
    if entry is None or entry.path != path:
        raise SkyharborError("object-damaged", f"the last point has no manifest of its backup {name}")
    yield from reference.read_chunks(entry.chunks)


def _folders(entries: Iterator[Entry]) -> Iterator[tuple[bytes, list[bytes]]]:
    """Yield the folders of segments with the paths of what is in them."""
    folder, files = b"", list[bytes]()
    for entry in entries:
        if entry.kind == EntryKind.DIRECTORY:
            if files:
                yield folder, files
            folder, files = entry.path, []
        elif entry.path.startswith(folder + b"/") and folder.count(b"/"):
            files.append(entry.path)
    if files:
        yield folder, files


def _position(path: bytes, segment: int) -> int:
    return segment_of(path.rpartition(b"/")[2].decode(), segment)[1]


def _folder_of(timeline: int, position: int, segment: int) -> bytes:
    return segment_path(segment_name(timeline, position, segment).encode()).rpartition(b"/")[0]
