"""The lead of a backup in shards: cuts what there is into spans, has them flown, joins their pages.

Rule of the file: where the cuts are and what becomes of the parts; who flies them is ``sharing``'s, how parts become
one is ``joining``'s.
"""

from __future__ import annotations

from collections.abc import Sequence

from shared.contracts.work import BackupDone, BackupInstruction, Fence
from shared.errors import SkyharborError
from shared.model.backup import Notice
from shared.vault.entry import Entry
from shared.vault.layout import PointName
from shared.vault.manifest import read_manifest
from shared.vault.point import PageRef
from shared.vault.reader import PointReader
from shared.vault.writer import PointWriter
from workers.engine.crew import ReadingCrew
from workers.engine.joining import Joining
from workers.engine.notices import Notices
from workers.engine.part import Gear
from workers.engine.ports import Control, Formation
from workers.engine.sealing import Sealing
from workers.engine.shard import fly_part
from workers.engine.shard_messages import PartReport, ShardOrder
from workers.engine.sharding import spans_of_pages, spans_of_survey
from workers.engine.sharing import Sharing
from workers.engine.span import Span
from workers.engine.tally import Tally


class Lead:
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
        self._workers = formation.helpers + 1
        self._spans = self._plan()
        orders = [ShardOrder(backup=instruction, reading=gear.reading, span=span) for span in self._spans]
        self._sharing = Sharing(gear, orders, fence, fly=self._fly, control=control, formation=formation)

    @property
    def shares(self) -> bool:
        """Whether there are parts for others."""
        return self._sharing.worth_while

    def fly(self, sealing: Sealing, notices: Notices) -> BackupDone:
        """Have all parts flown, and seal the point. Raises what ``run_backup`` raises, ``worker-lost`` besides."""
        return self._join(self._sharing.fly(), sealing, notices)

    def _fly(self, unit: int, control: Control) -> PartReport:
        span = self._spans[unit]
        return fly_part(self._gear, self._instruction, span, reader=self._reader, control=control, notices=Notices())

    # ── planning ─────────────────────────────────────────────────────────────────────────────────────

    def _plan(self) -> Sequence[Span]:
        sharding, workers = self._gear.options.sharding, self._workers
        pages = self._reader.pages if self._reader is not None else self._pages_of_another_point()
        if pages:
            return spans_of_pages(pages, workers=workers, sharding=sharding)
        survey = self._gear.source.survey(sharding.survey_folders)
        return spans_of_survey(survey, workers=workers, sharding=sharding)

    def _pages_of_another_point(self) -> Sequence[PageRef]:
        """Return the pages of the item's newest point: a full backup compares with none, but it may go by one."""
        machine, item = self._instruction.machine.id, self._instruction.item.id
        points = self._gear.vault.points(machine, item)
        if not points:
            return ()
        try:
            point = PointName(machine, item, points[-1].point_id)
            return read_manifest(self._gear.vault, point, self._gear.keys).pages
        except SkyharborError as error:
            if error.code not in ("object-damaged", "object-missing"):
                raise
            return ()

    # ── joining ──────────────────────────────────────────────────────────────────────────────────────

    def _join(self, reports: Sequence[PartReport], sealing: Sealing, notices: Notices) -> BackupDone:
        writer, tally, said = self._gear.writer(self._instruction), Tally(), set[Notice]()
        again = _Again(self._gear, writer, tally, notices)
        joining = Joining(self._gear.vault, self._gear.keys, self._gear.index, writer, again.read, self._control.check)
        try:
            for report in reports:
                self._control.check()
                joining.add(report)
                tally.add(report.counts)
                # A folder that leads into several parts may be a problem of each.
                notices.take([one for one in report.notices if one not in said], besides=_unlisted(report))
                said.update(report.notices)
            tally.bytes += joining.bytes
            again.flush()
            problem = next((report.problem for report in reports if report.problem is not None), None)
            return sealing.seal(writer, tally, problem)
        except BaseException:
            again.stop()
            writer.abort()
            raise
        finally:
            again.close()


class _Again:
    """Reads single nodes at the join, with a crew that comes only when there is such a node."""

    def __init__(self, gear: Gear, writer: PointWriter, tally: Tally, notices: Notices) -> None:
        self._gear = gear
        self._writer = writer
        self._tally = tally
        self._notices = notices
        self._crew: ReadingCrew | None = None

    def read(self, entry: Entry) -> Entry | None:
        if self._crew is None:
            self._crew = self._gear.crew(self._writer)
        result = self._crew.read([entry]).result()
        self._tally.bytes_read += result.bytes_read
        for notice in result.notices:
            self._notices.add(notice)
        return result.entries[0]

    def flush(self) -> None:
        for future in self._crew.flush() if self._crew is not None else ():
            future.result()

    def stop(self) -> None:
        if self._crew is not None:
            self._crew.stop()

    def close(self) -> None:
        if self._crew is not None:
            self._crew.close()


def _unlisted(report: PartReport) -> int:
    return report.notice_count - len(report.notices)
