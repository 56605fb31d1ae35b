"""One run over a stretch of a source: compare, read, write pages. A backup is one such run, or several in shards.

Rule of the file: it ends when everything is with the writer and durable; what becomes of that is the caller's.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from types import MappingProxyType

from shared.clock import Clock
from shared.contracts.work import BackupInstruction
from shared.crypto.domain_keys import DomainKeys
from shared.errors import SkyharborError
from shared.vault.index import ChunkIndex
from shared.vault.reader import PointReader
from shared.vault.vault import Vault
from shared.vault.writer import PointWriter
from workers.engine.crew import ReadingCrew, ReadingThreads, await_durable
from workers.engine.flow import Flow
from workers.engine.large_file import LargeFile
from workers.engine.links import LinkLog
from workers.engine.notices import Notices
from workers.engine.ports import Complaining, Control, Source
from workers.engine.pulse import Pulse
from workers.engine.reading import FileReading
from workers.engine.reference import Reference
from workers.engine.sharding import Sharding
from workers.engine.span import EVERYTHING, Span
from workers.engine.tally import Tally

BLOCK = "block"
"""In a point's state: the size of the blocks that its files are cut into, where they are."""

Muster = Callable[[bytes, PointWriter], ReadingCrew]
"""Brings a crew that opens the source by this description and reads for a point's writer."""


@dataclass(frozen=True, slots=True, kw_only=True)
class BackupOptions:
    """How a backup uses the machine; nothing here changes what is in the point."""

    readers: int = 2
    """Threads of the crew that is used when the caller brings none."""
    checkpoint_every: float = 180.0  # seconds
    sharding: Sharding = field(default_factory=Sharding)


@dataclass(frozen=True, slots=True, kw_only=True)
class Bench:
    """What every run of a process for one backup writes with."""

    vault: Vault
    keys: DomainKeys
    index: ChunkIndex
    clock: Clock
    options: BackupOptions

    def writer(self, instruction: BackupInstruction) -> PointWriter:
        """Return a new writer for the instruction's point."""
        return PointWriter(
            self.vault,
            self.keys,
            self.index,
            machine_id=instruction.machine.id,
            item_id=instruction.item.id,
            point_id=instruction.point_id,
            zstd_level=instruction.zstd_level,
            slots=instruction.machine.key_slots,
        )


@dataclass(frozen=True, slots=True, kw_only=True)
class Gear(Bench):
    """What it reads with besides; ``reading`` is how others open the source."""

    source: Source
    reading: bytes
    muster: Muster | None = None

    def crew(self, writer: PointWriter) -> ReadingCrew:
        """Return a new crew that reads for a writer."""
        if self.muster is not None:
            return self.muster(self.reading, writer)
        return ReadingThreads(FileReading(self.source, self.keys, writer, self.clock), count=self.options.readers)


class PartRun:
    """One run. ``read``, then use what it left; ``stop`` when anything goes wrong, ``close`` in any case."""

    def __init__(
        self,
        gear: Gear,
        instruction: BackupInstruction,
        *,
        reader: PointReader | None,
        control: Control,
        notices: Notices,
        span: Span = EVERYTHING,
        links: LinkLog | None = None,
        keep: bool = True,
        flown: Mapping[bytes, LargeFile] = MappingProxyType({}),
    ) -> None:
        self._keep = keep
        self._flown = flown
        self._gear = gear
        self._span = span
        self._control = control
        self._crew: ReadingCrew | None = None
        self.writer = gear.writer(instruction)
        self._reference = Reference(reader.columns(span.begin, span.end) if reader else iter(()))
        self._pulse = Pulse(
            control=control,
            clock=gear.clock,
            writer=self.writer,
            secure=self._secure,
            # The first part speaks for the whole backup.
            expected=(reader.body.files, reader.body.bytes) if reader and not span.begin else (0, 0),
            checkpoint_every=gear.options.checkpoint_every,
        )
        self._links = links
        self._block = reader.body.state.get(BLOCK) if reader else None
        self._notices = notices
        self.tally = Tally()

    @property
    def problem(self) -> SkyharborError | None:
        """Why the point to compare with could not be read to the end."""
        return self._reference.problem

    def read(self, *, last_phase: str = "reading") -> None:
        """Bring the span into the vault. Raises ``Stop`` and what the source and the store raise."""
        self._crew = self._gear.crew(self.writer)
        flow = Flow(
            source=self._gear.source,
            crew=self._crew,
            writer=self.writer,
            index=self._gear.index,
            reference=self._reference,
            pulse=self._pulse,
            notices=self._notices,
            begin=self._span.begin,
            links=self._links,
            keep=self._keep,
            flown=self._flown,
            same_blocks=self._block == str(self._gear.source.block),
        )
        self.tally = flow.tally
        flow.run(self._gear.source.scan(self._span))
        if isinstance(self._gear.source, Complaining):  # of files that are read in ranges only the opening speaks
            for notice in self._gear.source.complaints():
                self._notices.add(notice)
        self.tally.excluded = self._gear.source.excluded
        self._pulse.beat(self.tally, last_phase)
        self._await_crew()

    def stop(self) -> None:
        """Drop what is unfinished."""
        if self._crew is not None:
            self._crew.stop()
        self.writer.abort()

    def close(self) -> None:
        """Let the crew go."""
        if self._crew is not None:
            self._crew.close()

    def _secure(self) -> None:
        self._await_crew()
        self.writer.checkpoint()

    def _await_crew(self) -> None:
        """Wait until what the crew has read is durable."""
        if self._crew is not None:
            await_durable(self._crew, self._control.check, patience=Pulse.PATIENCE)
