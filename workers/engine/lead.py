"""The lead of a backup in shards: cuts, offers, flies its own part and what nobody takes, joins.

The first part is the lead's own and needs nobody. The others are offered; whoever has time claims them, and the lead
itself takes what is free whenever it has nothing else to do, so that with no helper at all everything is still done,
one after the other. The join is the tower's row count.

What happens when it dies: the attempt is over and its shards with it; parts that were finished are found again by the
next attempt through the index segments that they wrote.

Rule of the file: order of events; how a part is flown is ``shard``'s, how parts become one is ``joining``'s.
"""

from __future__ import annotations

from collections.abc import Sequence

import msgspec

from shared.contracts.work import MOST_PAYLOAD, BackupDone, BackupInstruction, Fence
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
from workers.engine.ports import Control, Formation, Leg
from workers.engine.pulse import Pulse
from workers.engine.sealing import Sealing
from workers.engine.shard import fly_part
from workers.engine.shard_messages import PartReport, ShardOrder, open_report, seal_order
from workers.engine.sharding import spans_of_pages, spans_of_survey
from workers.engine.span import Span
from workers.engine.tally import Tally

_ASK_EVERY = 1.0


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
        self._fence = fence
        self._reader = reader
        self._control = control
        self._formation = formation
        self._spans = self._plan()
        orders = [ShardOrder(backup=instruction, reading=gear.reading, span=span) for span in self._spans[1:]]
        self._orders = [self._sealed(unit, order) for unit, order in enumerate(orders, 1)]

    @property
    def shares(self) -> bool:
        """Whether there are parts for others, and what has to be said of them fits into what the tower takes."""
        return len(self._orders) > 0 and max(map(len, self._orders)) <= MOST_PAYLOAD

    def fly(self, sealing: Sealing, notices: Notices) -> BackupDone:
        """Have all parts flown, and seal the point. Raises what ``run_backup`` raises, ``worker-lost`` besides."""
        self._formation.offer(self._orders)
        reports = {0: self._fly(self._spans[0], self._control)}
        self._gather(reports)
        return self._join([reports[unit] for unit in range(len(self._spans))], sealing, notices)

    # ── planning ─────────────────────────────────────────────────────────────────────────────────────

    def _plan(self) -> Sequence[Span]:
        sharding, workers = self._gear.options.sharding, self._formation.helpers + 1
        # What a few large files of blocks cost does not show in how many entries a point has.
        if not self._gear.source.block:
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

    # ── flying ───────────────────────────────────────────────────────────────────────────────────────

    def _gather(self, reports: dict[int, PartReport]) -> None:
        """Collect the reports of all shards, and fly those that nobody has."""
        while len(reports) < len(self._spans):
            told = self._formation.ask([unit for unit in reports if unit])
            for one in told.results:
                reports[one.unit] = self._opened(one.unit, one.result)
            if told.lost:
                raise SkyharborError("worker-lost", f"shard {told.lost[0]} was lost with three workers")
            leg = self._formation.take() if told.free else None
            if leg is not None:
                reports[leg.unit] = self._fly_leg(leg)
            elif not told.results:
                self._wait()

    def _wait(self) -> None:
        until = self._gear.clock.monotonic() + _ASK_EVERY
        while self._gear.clock.monotonic() < until:
            self._control.check()
            self._gear.clock.sleep(Pulse.PATIENCE)

    def _fly_leg(self, leg: Leg) -> PartReport:
        try:
            report = self._fly(self._spans[leg.unit], leg.control)
            self._formation.finish(leg, b"")  # nobody but the lead will ask, and the lead has it
            return report
        finally:
            self._formation.drop(leg)

    def _fly(self, span: Span, control: Control) -> PartReport:
        return fly_part(self._gear, self._instruction, span, reader=self._reader, control=control, notices=Notices())

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

    def _sealed(self, unit: int, order: ShardOrder) -> bytes:
        return seal_order(order, keys=self._gear.keys, fence=self._name(unit))

    def _opened(self, unit: int, result: bytes) -> PartReport:
        return open_report(result, keys=self._gear.keys, fence=self._name(unit))

    def _name(self, unit: int) -> Fence:
        return msgspec.structs.replace(self._fence, unit=unit)


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
