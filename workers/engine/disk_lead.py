"""The lead of a backup of a few large files of blocks: cuts them by what is to be read, and puts them together again.

Everything is of one moment, because the session stays with the lead until all parts are in. What a disk consists of is
decided here, once: parts only read. Disks with little to read, and all small files, the lead reads itself at the end,
in the same run that makes entries of the others.

Rule of the file: where the cuts are and what becomes of the parts; who flies them is ``sharing``'s.
"""

from __future__ import annotations

import contextlib
from collections.abc import Iterator, Sequence
from concurrent.futures import Future

from msgspec.structs import replace

from shared.contracts.work import BackupDone, BackupInstruction, Fence, Progress
from shared.errors import SkyharborError
from shared.vault.chunk_finder import ChunkFinder
from shared.vault.chunk_reader import ChunkReader
from shared.vault.chunk_table import ID_SIZE
from shared.vault.entry import Entry, EntryKind
from shared.vault.point import PointPart
from shared.vault.reader import PointReader, read_pages
from shared.vault.segment_source import SegmentSource
from workers.engine.block_cutting import data_between
from workers.engine.large_file import LargeFile, reliable
from workers.engine.notices import Notices, shown
from workers.engine.part import BLOCK, Gear, PartRun
from workers.engine.ports import BYTES_OF_AN_ENTRY, Control, Formation, ReadRange, Source, Unreadable
from workers.engine.reference import Reference, same
from workers.engine.sealing import Sealing
from workers.engine.shard import fly_stretches
from workers.engine.shard_messages import PartReport, ShardOrder
from workers.engine.sharding import parts_of
from workers.engine.sharing import Sharing
from workers.engine.stretch import Stretch, ToRead, cut
from workers.engine.stretch_run import nodes_of

_KEEP = 16 * 1024 * 1024
_LEAST = 200
"""A file with less to read than one part in so many of what is shared out at all stays with the lead."""


class DiskLead:
    """One attempt that may be shared out. ``shares`` says whether it is worth while."""

    def __init__(
        self,
        gear: Gear,
        instruction: BackupInstruction,
        fence: Fence,
        *,
        reader: PointReader | None,
        control: Control,
        formation: Formation,
    ) -> None:
        self._gear = gear
        self._instruction = instruction
        self._reader = reader
        self._control = control
        self._files: dict[bytes, LargeFile] = {}
        files = list(self._to_read())
        self._bytes = sum(file.bytes for file in files)
        sharding, workers = gear.options.sharding, formation.helpers + 1
        parts = parts_of(self._bytes // BYTES_OF_AN_ENTRY, workers=workers, sharding=sharding)
        self._parts = cut(files, parts=parts, block=gear.source.block)
        orders = [
            ShardOrder(backup=instruction, reading=gear.reading, stretches=tuple(stretches))
            for stretches in self._parts
        ]
        self._sharing = Sharing(gear, orders, fence, fly=self._fly, control=control, formation=formation)
        if not self.shares:
            self._files.clear()  # they are large, and somebody else begins anew

    @property
    def shares(self) -> bool:
        """Whether there are parts for others."""
        return self._sharing.worth_while

    def fly(self, sealing: Sealing, notices: Notices) -> BackupDone:
        """Have all parts flown, and seal the point. Raises what ``run_backup`` raises, ``worker-lost`` besides."""
        reports = self._sharing.fly()
        # What others have stored is in no index here yet, and the point names it.
        self._gear.index.catch_up(self._gear.vault, self._instruction.machine.id, self._gear.keys)
        parts = [self._collect(*one) for one in zip(self._parts, reports, strict=True)]
        said = Notices()
        run = PartRun(
            self._gear,
            self._instruction,
            reader=self._reader,
            control=_AtTheEnd(self._control, self._position(reports[0])),
            notices=said,
            keep=False,
            flown=self._files,
        )
        try:
            for part in parts:
                run.writer.join(part, ())
            run.read(last_phase="sealing")
            notices.take(said.listed(), besides=said.count - len(said.listed()))
            return sealing.seal(run.writer, run.tally, run.problem.detail if run.problem else None)
        except BaseException:
            run.stop()
            raise
        finally:
            run.close()

    # ── planning ─────────────────────────────────────────────────────────────────────────────────────

    def _to_read(self) -> Iterator[ToRead]:
        """Yield the files that are shared out, in order."""
        source, shared_from = self._gear.source, self._gear.options.sharding.entries * BYTES_OF_AN_ENTRY
        least = shared_from // _LEAST
        nodes = nodes_of(source)
        # The reference is asked last: of a large disk it is hundreds of MiB to fetch, and it is needed once more.
        most = sum(node.size if self._reader is None else _at_most(node, source) for node in nodes.values())
        if most < shared_from:
            return
        reference = Reference(self._reader.columns() if self._reader else iter(()))
        same_blocks = self._reader is not None and self._reader.body.state.get(BLOCK) == str(source.block)
        for path, node in nodes.items():
            then = reference.find(path)
            if node.kind != EntryKind.FILE or node.size < max(1, least) or (then is not None and same(node, then)):
                continue
            file = LargeFile(node, then=reliable(then, same_blocks=same_blocks, index=self._gear.index))
            try:
                found = ToRead(path, node.size, file.to_read(source), file.only_changes)
            except Unreadable:
                continue  # the run at the end will say so
            if found.bytes >= max(1, least):
                self._files[path] = file
                yield found

    # ── flying ───────────────────────────────────────────────────────────────────────────────────────

    def _fly(self, unit: int, control: Control) -> PartReport:
        expected = 0 if unit else self._bytes
        return fly_stretches(self._gear, self._instruction, self._parts[unit], control=control, expected=expected)

    # ── putting together ─────────────────────────────────────────────────────────────────────────────

    def _collect(self, stretches: Sequence[Stretch], report: PartReport) -> PointPart:
        """Give files what was read of them; return what the part has cost, without the pages that say so."""
        entries = self._entries(report.part)
        if [entry.path for entry in entries] != [stretch.path for stretch in stretches]:
            raise SkyharborError("source-failed", "a part of the disks does not say all that it should have read")
        for stretch, entry in zip(stretches, entries, strict=True):
            self._give(stretch, entry)
        told_twice = sum(len(entry.chunks) for entry in entries) // ID_SIZE
        return replace(report.part, pages=(), packs=(), references=report.part.references - told_twice)

    def _entries(self, part: PointPart) -> list[Entry]:
        finder = ChunkFinder(self._gear.vault, self._gear.keys, part.packs, self._gear.index)
        chunks = ChunkReader(finder, SegmentSource(self._gear.vault, self._gear.keys, keep=_KEEP), self._gear.keys)
        entries: list[Entry] = []
        for outcome in read_pages(part.pages, chunks):
            if isinstance(outcome, SkyharborError):
                raise outcome
            entries += outcome.entries()
        return entries

    def _give(self, stretch: Stretch, entry: Entry) -> None:
        file = self._files.get(entry.path)
        young = not entry.ctime_ns
        found = replace(entry, ctime_ns=file.entry.ctime_ns) if file is not None and young else entry
        if file is None or file.looked is None or not same(found, file.entry):
            raise SkyharborError("source-failed", f"{shown(entry.path)} did not look the same to all who read it")
        part: Future[ReadRange] = Future()
        data = tuple(data_between(entry.holes, entry.size))
        if any(offset < stretch.begin or offset + length > stretch.end for offset, length in data):
            raise SkyharborError("source-failed", f"{shown(entry.path)} was read where others read it")
        part.set_result(ReadRange(replace(file.looked), entry.chunks, data, ended=False, young=young))
        file.add(part)

    def _position(self, own: PartReport) -> Progress:
        return Progress(
            bytes_done=own.counts.bytes_read,
            bytes_total=self._bytes,
            bytes_transferred=own.part.bytes_transferred,
        )


def _at_most(node: Entry, source: Source) -> int:
    """Return how many bytes there are to read of a file, if the reference has what it should have."""
    if node.kind != EntryKind.FILE:
        return 0
    try:
        with contextlib.closing(source.open(node)) as opened:
            changes = opened.changes()
    except Unreadable:
        return node.size
    return node.size if changes is None else sum(length for _, length in changes)


class _AtTheEnd:
    """The ``Control`` of the run that puts files together: what it counts was told by the parts already."""

    def __init__(self, control: Control, position: Progress) -> None:
        self._control = control
        self._position = position

    def check(self) -> None:
        self._control.check()

    def progress(self, progress: Progress) -> None:
        sent = self._position.bytes_transferred + progress.bytes_transferred
        self._control.progress(
            replace(
                self._position,
                phase=progress.phase,
                files_done=progress.files_done,
                files_total=progress.files_total,
                bytes_transferred=sent,
            )
        )

    def commit(self) -> None:
        self._control.commit()
