"""Proves a recovery point: that everything it needs is there, and with ``full`` that every byte is what it was.

Rule of the file: it reads and never repairs, but for the mark by which the next backup knows a damaged pack; every
problem names the file that would be lost.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from itertools import islice

from shared.contracts.work import Progress, VerifyDone
from shared.errors import SkyharborError
from shared.model.backup import Notice, VerifyStats
from shared.vault.chunk_table import Location
from shared.vault.entry import Entry, EntryKind
from shared.vault.pack_format import FRAME_SIZE
from shared.vault.pack_presence import mark_damaged, marked_packs
from shared.vault.point import PackRef
from shared.vault.reader import PointReader
from workers.engine.notices import Notices, shown
from workers.engine.ports import Control

_WINDOW_FILES = 1024
_WINDOW_BYTES = 64 * 1024 * 1024
_BAD_OBJECT = frozenset({"object-missing", "object-damaged"})
_CANNOT_WRITE = frozenset({"store-denied", "store-full"})


def verify_point(reader: PointReader, *, full: bool, control: Control) -> VerifyDone:
    """Check a point and return what was found; a damaged point is an outcome with problems, not an error.

    Structure: every page of entries decodes, every pack is there with its exact size, every chunk is in one of them.
    Full: every pack is also read, once: its SHA-256, every segment, every chunk's id and the directory must be right;
    a pack that is not is marked, so that the next backup stores its chunks again. A chunk whose pack is bad is no
    problem when another pack of the machine has it: that is a warning. Raises ``Stop`` and what the store raises when
    it cannot be reached.
    """
    return _Check(reader, control, full=full).run()


def verify_named(open_point: Callable[[], PointReader], *, full: bool, control: Control) -> VerifyDone:
    """Open a point and check it like ``verify_point``.

    A manifest that is damaged or gone is a problem too, the worst: a failed job would leave the point sealed in the
    catalog. Other failures to open it say nothing about the point and are raised.
    """
    try:
        reader = open_point()
    except SkyharborError as error:
        if error.code not in _BAD_OBJECT:
            raise
        lost = Notice("", "damaged", f"nothing of the point can be read: {error.kind.title}: {error.detail}")
        return VerifyDone(stats=VerifyStats(problems=1, warnings=1), full=full, warnings=(lost,))
    return verify_point(reader, full=full, control=control)


class _Check:
    def __init__(self, reader: PointReader, control: Control, *, full: bool) -> None:
        self._reader = reader
        self._control = control
        self._full = full
        self._notices = Notices()
        self._stats = VerifyStats()
        self._bytes_read = 0
        self._good_packs: set[str] = set()
        self._bad_packs: dict[str, str] = {}
        self._blamed: set[str] = set()  # packs that problems were reported for
        self._lost: set[bytes] = set()
        self._page_lost = False

    def run(self) -> VerifyDone:
        """Packs first, then the files that need them."""
        read_before = self._reader.bytes_read
        self._check_packs()
        entries = self._entries()
        while window := _window(entries):
            self._control.check()
            self._check_window(window)
            self._report()
        self._tell_harmless()
        self._tell_marked()
        self._stats.bytes_read = self._bytes_read + self._reader.bytes_read - read_before
        self._stats.warnings = self._notices.count
        return VerifyDone(stats=self._stats, full=self._full, warnings=self._notices.listed())

    def _check_packs(self) -> None:
        for pack in self._reader.packs:
            self._control.check()
            self._stats.packs_checked += 1
            wrong = self._wrong_with(pack)
            if wrong is None:
                self._good_packs.add(pack.name)
            else:
                self._bad_packs[pack.name] = wrong

    def _tell_marked(self) -> None:
        """Without reading packs, say which of them somebody has read and found damaged: their sizes look right."""
        marked = frozenset[str]() if self._full else marked_packs(self._reader.vault)
        for pack in self._reader.packs:
            if pack.name not in self._bad_packs and pack.name.rsplit("/", 1)[1] in marked:
                message = (
                    f"{pack.name} was read by an earlier verify and found damaged; --full says what it takes along"
                )
                self._notices.add(Notice("", "pack-damaged", message))

    def _wrong_with(self, pack: PackRef) -> str | None:
        size = self._reader.stored_size(pack.name)
        if size is None:
            return f"{pack.name} is missing"
        if size != pack.size:
            return f"{pack.name} has {size} bytes instead of {pack.size}"
        if not self._full:
            return None
        try:
            self._reader.prove_pack(pack, on_read=self._on_read)
        except SkyharborError as error:
            if error.code not in _BAD_OBJECT:
                raise
            self._mark(pack, error.detail)
            return error.detail
        return None

    def _on_read(self, size: int) -> None:
        self._bytes_read += size
        self._control.check()
        self._report()

    def _mark(self, pack: PackRef, reason: str) -> None:
        try:
            mark_damaged(self._reader.vault, pack.name, reason)
        except SkyharborError as error:
            if error.code not in _CANNOT_WRITE:
                raise
            message = f"{pack.name} is damaged but could not be marked, so no backup heals it: {error.detail}"
            self._notices.add(Notice("", "mark-failed", message))

    def _entries(self) -> Iterator[Entry]:
        for entry in self._reader.entries_or_errors():
            if isinstance(entry, SkyharborError):
                self._blame(entry)
                self._page_lost = True
                self._problem(b"", f"a page of entries, with files nobody can name any more: {entry.detail}")
            elif entry.kind != EntryKind.DIRECTORY:
                yield entry

    def _check_window(self, window: list[Entry]) -> None:
        self._stats.files_checked += len(window)
        ids = b"".join([entry.chunks for entry in window])
        self._stats.chunks_checked += len(ids) // 32
        if self._why_lost(ids) is None and not self._lost and not self._page_lost:
            return
        for entry in window:
            reason = self._why_first_name_lost(entry) if entry.link else self._why_lost(entry.chunks)
            if reason is not None:
                self._lost.add(entry.path)
                self._problem(entry.path, reason)

    def _why_first_name_lost(self, entry: Entry) -> str | None:
        if entry.link in self._lost:
            return f"a name of {shown(entry.link)}"
        if not self._page_lost:
            return None
        # The first name may have been on the page that is lost: what a restore would look for.
        first = next(self._reader.entries_or_errors(entry.link), None)
        there = isinstance(first, Entry) and first.path == entry.link and not first.link
        return None if there else f"a name of {shown(entry.link)}, whose entry cannot be read"

    def _why_lost(self, ids: bytes) -> str | None:
        try:
            self._prove(ids)
        except SkyharborError as error:
            if error.code not in _BAD_OBJECT:
                raise
            self._blame(error)
            return error.detail
        return None

    def _prove(self, ids: bytes) -> None:
        """Raise ``object-missing`` or ``object-damaged`` unless every chunk could be restored."""
        doubtful = {
            ids[at * 32 : at * 32 + 32]: place.pack
            for at, place in enumerate(self._reader.locate(ids))
            if place.pack not in self._good_packs
        }
        if self._full:
            # As a restore would: from the bad pack as far as it goes, or from any other copy.
            for _ in self._reader.read_chunks(b"".join(doubtful)):
                self._control.check()
            return
        for chunk_id, pack in doubtful.items():
            if not any(self._is_there(copy) for copy in self._reader.copies(chunk_id)):
                raise SkyharborError("object-damaged", self._bad_packs.get(pack, f"{pack} is missing"), object=pack)

    def _is_there(self, copy: Location) -> bool:
        if copy.pack in self._bad_packs:
            return False
        if copy.pack not in self._good_packs:
            # A pack that the point does not name, so its size is not known; its segment must be inside at least.
            return (self._reader.stored_size(copy.pack) or 0) >= copy.offset + FRAME_SIZE + copy.stored
        return True

    def _tell_harmless(self) -> None:
        """Warn of bad packs that no problem was put down to: they will matter to something else."""
        for pack, wrong in self._bad_packs.items():
            if pack not in self._blamed:
                harmless = "" if self._stats.problems else "; everything that this point needs can still be read"
                self._notices.add(Notice("", "pack-damaged", wrong + harmless))

    def _blame(self, error: SkyharborError) -> None:
        pack = error.fields.get("object")
        if isinstance(pack, str):
            self._blamed.add(pack)

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
                bytes_transferred=self._bytes_read + self._reader.bytes_read,
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
