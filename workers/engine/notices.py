"""Collects what could not be kept or read: counted completely, listed up to a limit.

Rule of the file: a notice is for people; nothing branches on its text.
"""

from __future__ import annotations

import errno
import os
import threading
from collections.abc import Iterable

from shared.errors import SkyharborError
from shared.model.backup import MAX_NOTICES, Notice


def shown(path: bytes) -> str:
    r"""Return an entry's path as text for people: with its leading ``/``, undecodable bytes as ``\xNN``."""
    return "/" + path.decode("utf-8", "backslashreplace")


def reason(error: OSError) -> str:
    """Return the operating system's words for a failure."""
    return os.strerror(error.errno) if error.errno else str(error)


_STARVED = frozenset({errno.EMFILE, errno.ENFILE, errno.ENOMEM, errno.ENOBUFS})


def unreadable(path: bytes, error: OSError) -> Notice:
    """Return the notice about a node that is gone or cannot be read.

    Raises ``source-failed`` when it is this machine that has run out of something: then nothing is wrong with the
    node, and a point without it would look like a good one.
    """
    if error.errno in _STARVED:
        raise SkyharborError("source-failed", f"{shown(path)}: {reason(error)}") from error
    gone = isinstance(error, FileNotFoundError | NotADirectoryError)
    return Notice(shown(path), "vanished" if gone else "unreadable", reason(error))


class Notices:
    """A bounded list with a complete count. Any thread may add."""

    def __init__(self) -> None:
        self._kept: list[Notice] = []
        self._count = 0
        self._lock = threading.Lock()

    def add(self, notice: Notice) -> None:
        """Count the notice, and keep it while there is room."""
        with self._lock:
            self._count += 1
            if len(self._kept) < MAX_NOTICES:
                self._kept.append(notice)

    def take(self, notices: Iterable[Notice], *, besides: int) -> None:
        """Add those of another list, which had so many more."""
        for notice in notices:
            self.add(notice)
        with self._lock:
            self._count += besides

    def say(self, path: bytes, code: str, message: str) -> None:
        """Add a notice about an entry's path."""
        self.add(Notice(shown(path), code, message))

    @property
    def count(self) -> int:
        """How many were added."""
        return self._count

    def listed(self) -> tuple[Notice, ...]:
        """Return the kept ones, in the order they came."""
        with self._lock:
            return tuple(self._kept)
