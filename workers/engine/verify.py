"""Proves a recovery point: that everything it needs is there, and with ``full`` that every byte is what it was.

Rule of the file: it reads and never repairs; every problem names the file that would be lost.
"""

from __future__ import annotations

from collections.abc import Iterator
from itertools import islice

from shared.contracts.work import Progress, VerifyDone
from shared.errors import SkyharborError
from shared.model.backup import VerifyStats
from shared.vault.entry import Entry, EntryKind
from shared.vault.reader import PointReader
from workers.engine.notices import Notices, shown
from workers.engine.ports import Control

_WINDOW_FILES = 1024
_WINDOW_BYTES = 64 * 1024 * 1024
_REMEMBERED = 500_000
_BAD_OBJECT = frozenset({"object-missing", "object-damaged"})


def verify_point(reader: PointReader, *, full: bool, control: Control) -> VerifyDone:
    """Check a point and return what was found; a damaged point is an outcome with problems, not an error.

    Structure: every page of entries decodes, every pack is there with its exact size, every chunk is in one of them.
    Full: every chunk is also read, decrypted and hashed. Raises ``Stop`` and what the store raises when it cannot
    be reached.
    """
    return _Check(reader, control, full=full).run()


class _Check:
    def __init__(self, reader: PointReader, control: Control, *, full: bool) -> None:
        self._reader = reader
        self._control = control
        self._full = full
        self._notices = Notices()
        self._stats = VerifyStats()
        self._bad_packs: dict[str, str] = {}
        # Ids proven lately, so that what many files share is not read for each. Emptied when it grows too large.
        self._proven: set[bytes] = set()
        self._lost: set[bytes] = set()

    def run(self) -> VerifyDone:
        """Packs first, then the files that need them."""
        read_before = self._reader.bytes_read
        self._check_packs()
        entries = self._entries()
        while window := _window(entries):
            self._control.check()
            self._check_window(window)
            self._report()
        self._stats.bytes_read = self._reader.bytes_read - read_before
        self._stats.warnings = self._notices.count
        return VerifyDone(stats=self._stats, full=self._full, warnings=self._notices.listed())

    def _check_packs(self) -> None:
        for pack in self._reader.packs:
            self._control.check()
            size = self._reader.stored_size(pack.name)
            self._stats.packs_checked += 1
            if size is None:
                self._bad_packs[pack.name] = f"{pack.name} is missing"
            elif size != pack.size:
                self._bad_packs[pack.name] = f"{pack.name} has {size} bytes instead of {pack.size}"

    def _entries(self) -> Iterator[Entry]:
        for entry in self._reader.entries_or_errors():
            if isinstance(entry, SkyharborError):
                self._problem(b"", f"a page of entries, with files nobody can name any more: {entry.detail}")
            elif entry.kind != EntryKind.DIRECTORY:
                yield entry

    def _check_window(self, window: list[Entry]) -> None:
        self._stats.files_checked += len(window)
        ids = b"".join([entry.chunks for entry in window])
        self._stats.chunks_checked += len(ids) // 32
        if self._why_lost(ids) is None and not self._lost:
            return
        for entry in window:
            reason = f"a name of {shown(entry.link)}" if entry.link in self._lost else self._why_lost(entry.chunks)
            if reason is not None:
                self._lost.add(entry.path)
                self._problem(entry.path, reason)

    def _why_lost(self, ids: bytes) -> str | None:
        try:
            self._prove(ids)
        except SkyharborError as error:
            if error.code not in _BAD_OBJECT:
                raise
            return error.detail
        return None

    def _prove(self, ids: bytes) -> None:
        """Raise ``object-missing`` or ``object-damaged`` unless every chunk could be restored."""
        for place in self._reader.locate(ids):
            if place.pack in self._bad_packs:
                raise SkyharborError("object-damaged", self._bad_packs[place.pack])
        if not self._full:
            return
        new = list(dict.fromkeys(ids[at : at + 32] for at in range(0, len(ids), 32)))
        new = [chunk_id for chunk_id in new if chunk_id not in self._proven]
        for chunk_id, _ in zip(new, self._reader.read_chunks(b"".join(new)), strict=True):
            self._control.check()
            if len(self._proven) >= _REMEMBERED:
                self._proven.clear()
            self._proven.add(chunk_id)

    def _problem(self, path: bytes, message: str) -> None:
        self._stats.problems += 1
        self._notices.say(path, "damaged", message)

    def _report(self) -> None:
        self._control.progress(
            Progress(
                phase="verifying",
                files_done=self._stats.files_checked,
                files_total=self._reader.body.files,
                bytes_total=self._reader.body.bytes,
                bytes_transferred=self._reader.bytes_read,
            )
        )


def _window(entries: Iterator[Entry]) -> list[Entry]:
    """Take the next files, up to a number and a size."""
    window: list[Entry] = []
    size = 0
    for entry in islice(entries, _WINDOW_FILES):
        window.append(entry)
        size += entry.size
        if size >= _WINDOW_BYTES:
            break
    return window
