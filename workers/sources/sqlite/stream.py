"""Databases as a stream: one file each, in a point under its own absolute path, so that a plain restore puts it back.

Rule of the file: one copy at a time exists, and only until it has been read.
"""

from __future__ import annotations

import os
import time
from collections.abc import Iterator, Mapping, Sequence
from typing import Final

from shared.errors import SkyharborError
from shared.model.backup import Notice
from shared.vault.entry import Entry
from shared.vault.reader import PointReader
from workers.engine.notices import reason, shown
from workers.engine.ports import Kept, Pushed
from workers.engine.seen import entry_of
from workers.engine.xattrs import path_node, read_xattrs
from workers.sources.sqlite.copying import Check, Copy, NotCopied, copy_database
from workers.sources.sqlite.fingerprint import fingerprint

_BLOCK: Final = 65536
"""The largest page that a database can have. A commit changes pages wherever they are, and shifts nothing."""


class PushedCopy:
    """The engine's ``PushedInBlocks`` over a copy; entry and content are of one and the same database."""

    block = _BLOCK

    def __init__(self, entry: Entry, copy: Copy) -> None:
        self.entry = entry
        self._copy = copy
        self._at = 0

    def read_into(self, buffer: memoryview) -> int:
        """Fill the beginning of ``buffer`` (see the port)."""
        got = os.preadv(self._copy.fd, [buffer], self._at)
        self._at += got
        return got


class SqliteStream:
    """The engine's ``StreamSource`` over databases.

    ``before`` are the fingerprints of the reference by path, ``state`` those of this run once it has been streamed.
    """

    def __init__(self, paths: Sequence[str], *, before: Mapping[str, str], folder: str, check: Check) -> None:
        self.state: dict[str, str] = {}
        self._paths = sorted({"/" + path.strip("/") for path in paths})
        self._before = before
        self._folder = folder
        self._check = check
        self._copy: Copy | None = None

    def close(self) -> None:
        """Let the copy go that is being read. Idempotent."""
        if self._copy is not None:
            self._copy.close()

    def stream(self, reference: PointReader | None) -> Iterator[Pushed | Kept | Notice]:
        """Yield a file for every database (see the port).

        What cannot be copied is a notice as long as others can; ``source-failed`` when none can.
        """
        taken, last = 0, ""
        for path in self._paths:
            self._check()
            name = os.fsencode(path)[1:]
            try:
                if reference is not None and self._is_unchanged(path) and _has(reference, name):
                    taken, self.state[path] = taken + 1, self._before[path]
                    yield Kept(name)
                    continue
                copy = self._copy = copy_database(path, folder=self._folder, check=self._check)
            except (OSError, NotCopied) as error:
                last = reason(error) if isinstance(error, OSError) else str(error)
                yield Notice(shown(name), "unreadable", last)
                continue
            try:
                # A copy with something wrong is better than none, but it must not be taken for an unchanged good one.
                if copy.trouble:
                    yield Notice(shown(name), "source-damaged", copy.trouble)
                elif copy.looks:
                    self.state[path] = copy.looks
                taken += 1
                yield PushedCopy(_entry(path, name), copy)
            finally:
                copy.close()
        if not taken:
            raise SkyharborError(
                "source-failed",
                f"no database could be read; {self._paths[-1]}: {last}",
                hint="Check the item's paths with 'skyharbor item show'; encrypted databases cannot be protected so.",
            )

    def _is_unchanged(self, path: str) -> bool:
        looks = fingerprint(path, now_ns=time.time_ns())
        return looks != "" and self._before.get(path) == looks


def _entry(path: str, name: bytes) -> Entry:
    info = os.stat(path)
    entry = entry_of(name, info)
    # The content is the copy's, not the file's: nothing that detects changes of files may rely on it.
    entry.ctime_ns, entry.inode, entry.device = 0, 0, 0
    node = os.open(path, os.O_PATH | os.O_CLOEXEC)  # opens no file: closing it drops no lock of SQLite's
    try:
        entry.xattrs = read_xattrs(path_node(node))
    finally:
        os.close(node)
    return entry


def _has(reference: PointReader, name: bytes) -> bool:
    return next(reference.entries(name), None) is not None
