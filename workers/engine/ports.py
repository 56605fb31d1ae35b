"""What the engine needs of the world around it: a source to read, and somebody who may stop it.

Rule of the file: Protocols and the values that cross them; no behaviour.
"""

from __future__ import annotations

from collections.abc import Iterator
from enum import StrEnum
from typing import Protocol

import msgspec

from shared.contracts.work import Progress
from shared.model.backup import Notice
from shared.vault.entry import Entry


class StopReason(StrEnum):
    """Why a unit has to end before its result."""

    CANCELLED = "cancelled"  # a person said so: clean up and report
    LOST = "lost"  # somebody else may own the unit: touch nothing
    DRAIN = "drain"  # this process is going down: give the unit back


class Stop(Exception):
    """Raised by ``Control.check``; the engine drops what is unfinished and lets it pass."""

    def __init__(self, reason: StopReason) -> None:
        self.reason = reason
        super().__init__(reason.value)


class Control(Protocol):
    """The unit's tie to the tower. All methods are called from one thread and must be cheap."""

    def check(self) -> None:
        """Raise ``Stop`` when the unit must end now."""
        ...

    def progress(self, progress: Progress) -> None:
        """Take the latest position; only the last one matters."""
        ...

    def commit(self) -> None:
        """Ask for leave to seal. Raises ``stale-claim`` (somebody else owns the unit) or ``server-unreachable``."""
        ...


class Unreadable(Exception):
    """A node could not be read; the rest of the source can. The notice's code is ``vanished`` or ``unreadable``."""

    def __init__(self, notice: Notice) -> None:
        self.notice = notice
        super().__init__(notice.message)


class Found(msgspec.Struct, gc=False):
    """A node that the scan met: its entry without content, xattrs and link target, and its number of names."""

    entry: Entry
    names: int = 1


class OpenedFile(Protocol):
    """A regular file held open for reading. Used by one thread at a time."""

    entry: Entry
    """The file as it was at the last ``look``, with its xattrs; never with content."""

    def lost(self) -> str:
        """Return what of the file's attributes no point can hold, in words; empty for nothing."""
        ...

    def look(self) -> bool:
        """Look at the attributes again and return whether nothing has changed since the last look."""
        ...

    def data(self) -> list[tuple[int, int]]:
        """Return the (offset, length) ranges that hold data, in order; what lies between and behind them are holes."""
        ...

    def read(self, size: int, offset: int) -> bytes:
        """Return up to ``size`` bytes; fewer only at the end of the file or on files that lie about their size."""
        ...

    def read_into(self, buffer: memoryview, offset: int) -> int:
        """Fill ``buffer`` from ``offset`` as far as the file goes and return how many bytes were read."""
        ...

    def close(self) -> None:
        """Let go of the file."""
        ...


class Source(Protocol):
    """What is protected, as a tree of entries."""

    def scan(self) -> Iterator[Found | Notice]:
        """Yield every node in the order of ``shared.vault.entry.sort_key``, and a notice for what had to be left out.

        Raises ``source-missing`` before the first item when a path to protect does not exist, and ``source-failed``
        when this machine has run out of what reading needs. One thread only.
        """
        ...

    def complete(self, entry: Entry) -> Entry:
        """Return a node that is no regular file with its xattrs and link target. Any thread. Raises ``Unreadable``."""
        ...

    def open(self, entry: Entry) -> OpenedFile:
        """Open a regular file that the scan met. Any thread. Raises ``Unreadable``."""
        ...
