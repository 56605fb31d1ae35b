"""The pulse of a process: a small file in which each of its loops promises when it will be heard of again.

A process that lives is not one that works: it may be frozen, or a loop of it may wait for something that never comes.
So every loop, at the end of every step, promises to end its next one by some moment of the machine's monotonic clock,
which is the same for all processes. A promise that is broken is a loop that hangs; whoever wants to know reads the
file. A step that *fails* keeps its promise: a database that is away is no reason to start a process again.

Rule of the file: written in place, for a file that is replaced every second costs a disk a flush each time, and about
once a second at most; a pulse that cannot be written ends nothing.
"""

from __future__ import annotations

import contextlib
import json
import os
import threading
import time
from collections.abc import Callable, Mapping

_WRITE_EVERY = 1.0
_SLACK = 2 * _WRITE_EVERY
"""A promise may be this old before it is in the file."""


class Pulse:
    """The writer. Safe to use from several threads; ``now`` is the machine's monotonic clock."""

    def __init__(self, file: str | None, *, now: Callable[[], float] = time.monotonic) -> None:
        """Name the file; one that a predecessor left is taken away. Without a name, promises are kept by nobody."""
        self._file = file
        self._take_away()
        self._now = now
        self._lock = threading.Lock()
        self._promises: dict[str, float] = {}
        self._written_at = float("-inf")
        self._descriptor: int | None = None
        self._size = 0

    def open(self) -> None:
        """Begin to write: the file appears, which says that the process is ready. ``OSError`` when it cannot."""
        if self._file is None:
            return
        with self._lock:
            self._descriptor = os.open(self._file, os.O_WRONLY | os.O_CREAT | os.O_TRUNC | os.O_CLOEXEC, 0o600)
            self._write()

    def promise(self, loop: str, *, within: float) -> None:
        """Say that ``loop`` will be heard of again within so many seconds."""
        now = self._now()
        with self._lock:
            news = loop not in self._promises
            self._promises[loop] = now + within
            if self._descriptor is not None and (news or now - self._written_at >= _WRITE_EVERY):
                self._write()

    def close(self) -> None:
        """Write no more, and take the file away: who has ended is not healthy. Idempotent."""
        with self._lock:
            if self._descriptor is not None:
                os.close(self._descriptor)
                self._descriptor = None
            self._take_away()

    def _take_away(self) -> None:
        if self._file is not None:
            with contextlib.suppress(OSError):
                os.unlink(self._file)

    def _write(self) -> None:
        if self._descriptor is None:
            return
        self._written_at = self._now()
        # It never gets shorter: a reader finds one document, and blanks.
        text = json.dumps({"pid": os.getpid(), "promises": self._promises}).ljust(self._size)
        self._size = len(text)
        with contextlib.suppress(OSError):  # the old promises speak against us soon
            os.pwrite(self._descriptor, text.encode("ascii"), 0)


def broken_promises(file: str, *, now: float | None = None) -> Mapping[str, float] | None:
    """Return the loops that are overdue, each with the seconds since when; None when nothing was promised yet.

    A file that is no pulse's says that everything is overdue since ever.
    """
    moment = time.monotonic() if now is None else now
    try:
        with open(file, encoding="ascii") as handle:
            text = handle.read()
        if not text:
            return None
        promises = {str(name): float(until) for name, until in json.loads(text)["promises"].items()}
    except FileNotFoundError:
        return None
    except (OSError, ValueError, KeyError, TypeError, AttributeError):
        return {"pulse": float("inf")}
    return {name: moment - until for name, until in promises.items() if moment > until + _SLACK}
