"""Crews: whoever reads files into the vault, or writes files from it, while one thread keeps order.

Rule of the file: the ports and the crews of threads in this process; crews of processes sit the same exam.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from concurrent.futures import FIRST_COMPLETED, Future, ThreadPoolExecutor, wait
from typing import Protocol

from shared.vault.entry import Entry
from workers.engine.file_writing import FileWriting, Job, Written
from workers.engine.ports import ReadRange
from workers.engine.reading import FileReading, Read


class Crew(Protocol):
    """What all crews have in common. Used by one thread; what goes wrong in a call is raised by its future.

    After ``stop`` or ``close`` nothing but these two may be called: RuntimeError.
    """

    @property
    def limit(self) -> int:
        """How many calls may be under way: enough to keep everybody busy, few enough to bound memory."""
        ...

    def stop(self) -> None:
        """End every call under way at its next step; nothing more is put or written. Idempotent."""
        ...

    def close(self) -> None:
        """Let go of everything. Idempotent."""
        ...


class ReadingCrew(Crew, Protocol):
    """The crew of a backup."""

    def read(self, entries: Sequence[Entry]) -> Future[Read]:
        """Read nodes into the vault; see ``FileReading.read``."""
        ...

    def read_range(self, entry: Entry, offset: int, length: int, *, changed: bool = False) -> Future[ReadRange]:
        """Read a part of a large file into the vault; see ``FileReading.read_range``."""
        ...

    def flush(self) -> Sequence[Future[None]]:
        """Make durable what all calls before this one have read; done when the futures are."""
        ...


def await_durable(crew: ReadingCrew, check: Callable[[], None], *, patience: float) -> None:
    """Wait until what the crew has read is durable; ``check`` is called every ``patience`` seconds and may raise."""
    waiting = set(crew.flush())
    while waiting:
        done, waiting = wait(waiting, timeout=patience, return_when=FIRST_COMPLETED)
        check()
        for future in done:
            future.result()


class WritingCrew(Crew, Protocol):
    """The crew of a restore."""

    @property
    def bytes_read(self) -> int:
        """What was fetched from the vault besides what the point's own reader knows of."""
        ...

    def write(self, jobs: Sequence[Job]) -> Future[Written]:
        """Write files into the target; see ``FileWriting.write``."""
        ...


class ReadingThreads:
    """Threads in this process, whose chunks go straight to the point's writer."""

    def __init__(self, reading: FileReading, *, count: int) -> None:
        self.limit = count + 2
        self._reading = reading
        self._executor = ThreadPoolExecutor(count, thread_name_prefix="read")

    def read(self, entries: Sequence[Entry]) -> Future[Read]:
        """See the port."""
        return self._executor.submit(self._reading.read, entries)

    def read_range(self, entry: Entry, offset: int, length: int, *, changed: bool = False) -> Future[ReadRange]:
        """See the port."""
        return self._executor.submit(self._reading.read_range, entry, offset, length, changed=changed)

    def flush(self) -> Sequence[Future[None]]:
        """Nothing is held back here: the writer's own checkpoint makes everything durable."""
        return ()

    def stop(self) -> None:
        """See the port."""
        self._reading.stop()
        self._executor.shutdown(cancel_futures=True)

    def close(self) -> None:
        """See the port."""
        self._executor.shutdown()


class WritingThreads:
    """Threads in this process, which read through the point's own reader."""

    bytes_read = 0

    def __init__(self, writing: FileWriting, *, count: int) -> None:
        self.limit = count + 2
        self._writing = writing
        self._executor = ThreadPoolExecutor(count, thread_name_prefix="write")

    def write(self, jobs: Sequence[Job]) -> Future[Written]:
        """See the port."""
        return self._executor.submit(self._writing.write, jobs)

    def stop(self) -> None:
        """See the port."""
        self._writing.stop()
        self._executor.shutdown(cancel_futures=True)

    def close(self) -> None:
        """See the port."""
        self._executor.shutdown()
