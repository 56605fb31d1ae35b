"""One run over a stream: what ``part.PartRun`` is for a source that is read at will.

Rule of the file: it ends when everything is with the writer; what becomes of that is the caller's.
"""

from __future__ import annotations

from shared.contracts.work import BackupInstruction
from shared.errors import SkyharborError
from shared.vault.index import ChunkIndex
from shared.vault.reader import PointReader
from workers.engine.notices import Notices
from workers.engine.part import Bench
from workers.engine.ports import Control, StreamSource
from workers.engine.pulse import Pulse
from workers.engine.stream import StreamFlow
from workers.engine.tally import Tally


class StreamRun:
    """One run. ``read``, then use what it left; ``stop`` when anything goes wrong, ``close`` in any case."""

    def __init__(
        self,
        bench: Bench,
        instruction: BackupInstruction,
        *,
        reader: PointReader | None,
        control: Control,
        notices: Notices,
    ) -> None:
        self.writer = bench.writer(instruction)
        self._reader = reader
        self._pulse = Pulse(
            control=control,
            clock=bench.clock,
            writer=self.writer,
            secure=self._secure,
            expected=(reader.body.files, reader.body.bytes) if reader is not None else (0, 0),
            checkpoint_every=bench.options.checkpoint_every,
        )
        self._flow = StreamFlow(
            writer=self.writer, keys=bench.keys, pulse=self._pulse, notices=notices, threads=bench.options.readers
        )

    @property
    def tally(self) -> Tally:
        """What was counted so far."""
        return self._flow.tally

    def read(self, source: StreamSource) -> None:
        """Bring everything into the vault. Raises ``Stop`` and what the source and the store raise."""
        self._flow.run(source, self._reader)
        self._pulse.beat(self.tally, "sealing")

    def stop(self) -> None:
        """Drop what is unfinished."""
        self._flow.stop()
        self.writer.abort()

    def close(self) -> None:
        """Let the threads go."""
        self._flow.close()

    def _secure(self) -> None:
        self._flow.settle()
        self.writer.checkpoint()


def missing_of(reader: PointReader, index: ChunkIndex) -> str | None:
    """Return what of a point cannot be relied on, None when all of it is there.

    A stream keeps nodes of its reference without having their bytes, so nothing that is lost could be read again.
    """
    try:
        for page, columns in reader.columns():
            if not index.contains_all(columns.chunks + page.chunks):
                return "some of its data is missing or about to be deleted"
    except SkyharborError as error:
        if error.code not in ("object-missing", "object-damaged"):
            raise
        return error.detail
    return None
