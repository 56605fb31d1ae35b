"""One run over stretches of large files, by whoever flies this part of a backup.

What was read becomes an entry per file with the chunks of its stretches only, and holes for all the rest: pages that no
point names, and from which the lead puts whole files together. So a report stays small however large the stretch was.

What happens when it dies: chunks that a checkpoint has indexed are found by whoever flies the part again.

Rule of the file: reading only; what has to be read was decided by the lead, for all parts alike.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from concurrent.futures import FIRST_COMPLETED, Future
from concurrent.futures import wait as wait_for
from typing import TypeVar

from msgspec.structs import replace

from shared.contracts.work import BackupInstruction
from shared.errors import SkyharborError
from shared.vault.entry import Entry
from shared.vault.point import PointPart
from workers.engine.block_cutting import Ranges, aligned
from workers.engine.crew import ReadingCrew, await_durable
from workers.engine.large_file import joined, windows
from workers.engine.notices import shown
from workers.engine.part import Gear
from workers.engine.ports import Control, Found, OpenedFile, ReadRange, Source, Unreadable
from workers.engine.pulse import Pulse
from workers.engine.reading import holes_between
from workers.engine.reference import same
from workers.engine.seen import entry_of
from workers.engine.stretch import Stretch
from workers.engine.tally import Tally

_Result = TypeVar("_Result")


class StretchRun:
    """One run. ``fly``, or ``stop`` when anything goes wrong, and ``close`` in any case. One thread.

    ``expected`` is how many bytes the whole backup has to read: the first part speaks for all.
    """

    def __init__(self, gear: Gear, instruction: BackupInstruction, *, control: Control, expected: int = 0) -> None:
        self.tally = Tally()
        self._gear = gear
        self._control = control
        self._writer = gear.writer(instruction)
        self._crew: ReadingCrew | None = None
        self._calls: set[Future[ReadRange]] = set()
        self._pulse = Pulse(
            control=control,
            clock=gear.clock,
            writer=self._writer,
            secure=self._secure,
            expected=(0, expected),
            checkpoint_every=gear.options.checkpoint_every,
        )

    def fly(self, stretches: Sequence[Stretch]) -> PointPart:
        """Read stretches, in the order of their files, and return what is durable and indexed then.

        Raises ``source-failed`` when a file is not there, or did not stand still.
        """
        nodes = nodes_of(self._gear.source)
        if lost := [stretch for stretch in stretches if stretch.path not in nodes]:
            raise SkyharborError("source-failed", f"{shown(lost[0].path)} is not there")
        self._crew = crew = self._gear.crew(self._writer)
        read = [(stretch, self._read(stretch, nodes[stretch.path], crew)) for stretch in stretches]
        while self._calls:
            self._await_some()
        entries = [_entry(nodes[stretch.path], [call.result() for call in calls]) for stretch, calls in read]
        self._await_crew()
        self._writer.add_entries(entries)
        return self._writer.finish_part()

    def stop(self) -> None:
        """Drop what is unfinished."""
        if self._crew is not None:
            self._crew.stop()
        self._writer.abort()

    def close(self) -> None:
        """Let the crew go."""
        if self._crew is not None:
            self._crew.close()

    def _read(self, stretch: Stretch, entry: Entry, crew: ReadingCrew) -> list[Future[ReadRange]]:
        """Have a stretch read and return the calls, in order; they are done when ``_calls`` are."""
        calls: list[Future[ReadRange]] = []
        opened = _result(lambda: self._gear.source.open(entry))
        try:
            changes = _changes(opened, stretch, self._gear.source.block)
            for offset, length in windows(opened, stretch.begin, stretch.end, changes):
                while len(self._calls) >= crew.limit:
                    self._await_some()
                call = crew.read_range(entry, offset, length, changed=stretch.changed)
                self._calls.add(call)
                calls.append(call)
        finally:
            opened.close()
        return calls

    def _await_some(self) -> None:
        done, self._calls = wait_for(self._calls, timeout=Pulse.PATIENCE, return_when=FIRST_COMPLETED)
        for call in done:
            self.tally.bytes_read += sum(length for _, length in _result(call.result).data)
        self._pulse.beat(self.tally)

    def _secure(self) -> None:
        self._await_crew()
        self._writer.checkpoint()

    def _await_crew(self) -> None:
        if self._crew is not None:
            await_durable(self._crew, self._control.check, patience=Pulse.PATIENCE)


def nodes_of(source: Source) -> dict[bytes, Entry]:
    """Return everything that the source has, by path and in order, as the scan met it."""
    found = [one for one in source.scan() if isinstance(one, Found)]
    return {path: entry_of(path, stat) for one in found for path, stat in zip(one.paths, one.stats, strict=True)}


def _result(call: Callable[[], _Result]) -> _Result:
    """A disk that cannot be read is no file more or less: without it there is no point."""
    try:
        return call()
    except Unreadable as problem:
        raise SkyharborError("source-failed", f"{problem.notice.path}: {problem.notice.message}") from problem


def _changes(opened: OpenedFile, stretch: Stretch, block: int) -> Ranges | None:
    """Return what can have changed, None where all is to be read."""
    if not stretch.changed:
        return None
    changes = opened.changes()
    if changes is None:
        raise SkyharborError("source-failed", f"{shown(stretch.path)}: nobody says any more what has changed")
    return aligned(changes, block=block, size=opened.entry.size)


def _entry(node: Entry, parts: Sequence[ReadRange]) -> Entry:
    """Return the file with what was read of it, and holes everywhere else."""
    if any(part.ended or not same(part.entry, node) for part in parts):
        raise SkyharborError("source-failed", f"{shown(node.path)} did not stand still")
    young = any(part.young for part in parts)
    data = joined([one for part in parts for one in part.data])
    return replace(
        node,
        chunks=b"".join([part.ids for part in parts]),
        holes=holes_between(data, node.size),
        ctime_ns=0 if young else node.ctime_ns,
    )
