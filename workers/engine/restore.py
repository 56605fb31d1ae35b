"""Brings a recovery point, or a part of it, back into a folder.

Entries stream in order through one thread, which makes directories and gathers files into windows; a crew writes them.
Within a window files are written in the order in which they lie in the vault, so that each segment is fetched and
expanded once, however scattered a tree has become over the years. What depends on files being there (attributes of
directories, further names of hard-linked files) waits behind its window.

What happens when it dies: no half file under a real name. Running the same restore again completes it: with
``SKIP`` what is there stays, with ``OVERWRITE`` files that are proven to be right already are left alone, and
directories that were made but not finished get their attributes by either rule.
Data is handed to the operating system; a power cut right after the end may still lose some, as with ``cp``.

Rule of the file: the sequence of a restore and its outcome; how nodes are made is ``landing``'s and ``file_writing``'s.
"""

from __future__ import annotations

import os
from collections import deque
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import Future
from concurrent.futures import wait as wait_for
from dataclasses import dataclass, field

from shared.contracts.work import Progress, RestoreDone
from shared.errors import SkyharborError
from shared.model.backup import ConflictRule, RestoreStats
from shared.vault.chunk_finder import ChunkFinder
from shared.vault.chunk_table import ID_SIZE, Location, SegmentRef
from shared.vault.entry import Entry, EntryKind
from shared.vault.reader import PointReader
from workers.engine.crew import WritingCrew, WritingThreads
from workers.engine.file_writing import FileWriting, Job, Written, raise_if_full
from workers.engine.folders import Folders
from workers.engine.further_names import FurtherNames
from workers.engine.landing import Action, Landing, is_safe
from workers.engine.notices import Notices, reason
from workers.engine.ports import Control
from workers.engine.selection import Selection

_WINDOW_FILES = 32768  # some 20 MiB of entries
_WINDOW_BYTES = 2 * 1024 * 1024 * 1024
_WINDOW_ACTIONS = 32768
_BATCH_FILES = 256
_BATCH_BYTES = 4 * 1024 * 1024
_MOST = 4  # times these, before a batch ends inside of a segment
_PATIENCE = 0.2

Muster = Callable[[ChunkFinder, str, tuple[int, int]], WritingCrew]
"""Brings a crew that writes into the target, which must be the folder of this device and inode when the crew opens it
as well; it asks the finder where chunks are."""


def restore_point(
    reader: PointReader,
    *,
    target: str,
    paths: Sequence[str],
    conflict: ConflictRule,
    control: Control,
    threads: int = 4,
    muster: Muster | None = None,
) -> RestoreDone:
    """Restore ``paths`` (absolute, as they were; none means everything) to ``target`` joined with their path.

    The target is made when it is missing. Damaged files, and what the target refuses or cannot hold, are notices;
    nothing of a damaged file is left. Without ``muster`` threads of this process write. Raises ``path-not-in-point``
    before anything is written, ``target-invalid``, ``target-full``, ``Stop`` when the control says so, and the store's
    errors.
    """
    selection = Selection(reader, paths)
    opened = _open_target(target)
    there, folders = os.fstat(opened), Folders(opened)
    try:
        writing = FileWriting(reader.chunks, folders, conflict)
        node = there.st_dev, there.st_ino
        crew = muster(reader.finder, target, node) if muster else WritingThreads(writing, count=threads)
        return _Run(reader, selection, folders, conflict, control, writing, crew).fly()
    finally:
        folders.close()


def _open_target(target: str) -> int:
    if not os.path.isabs(target):
        raise SkyharborError("target-invalid", f"{target} is not an absolute path")
    try:
        os.makedirs(target, exist_ok=True)
        return os.open(target, os.O_PATH | os.O_DIRECTORY | os.O_CLOEXEC)
    except OSError as error:
        raise_if_full(error)
        raise SkyharborError("target-invalid", f"{target}: {reason(error)}") from error


@dataclass(slots=True)
class _Window:
    """Files to write, and what to do in this thread once they are written."""

    jobs: list[Job] = field(default_factory=list)
    bytes: int = 0
    after: list[Action] = field(default_factory=list)
    calls: deque[Future[Written]] = field(default_factory=deque)

    @property
    def is_full(self) -> bool:
        return len(self.jobs) >= _WINDOW_FILES or self.bytes >= _WINDOW_BYTES or len(self.after) >= _WINDOW_ACTIONS


class _Run:
    def __init__(
        self,
        reader: PointReader,
        selection: Selection,
        folders: Folders,
        rule: ConflictRule,
        control: Control,
        writing: FileWriting,
        crew: WritingCrew,
    ) -> None:
        self._reader = reader
        self._selection = selection
        self._control = control
        self._writing = writing
        self._crew = crew
        self._notices = Notices()
        self._stats = RestoreStats()
        self._landing = Landing(folders, rule, self._notices, self._stats)
        self._further = FurtherNames(
            folders=folders,
            rule=rule,
            notices=self._notices,
            stats=self._stats,
            landing=self._landing,
            writing=self._writing,
            content=self._content,
        )
        self._window = _Window()
        self._windows: deque[_Window] = deque()
        self._calls = 0

    def fly(self) -> RestoreDone:
        """Restore and tell."""
        read_before = self._reader.bytes_read
        try:
            for entry in self._selection.entries():
                self._take(entry)
            self._window.after.extend(self._landing.leave_all())
            self._submit()
            while self._windows:
                self._settle_one()
            self._landing.close_to_changes()
        except BaseException:
            self._crew.stop()
            raise
        finally:
            self._crew.close()
        self._stats.bytes_read = self._reader.bytes_read - read_before + self._crew.bytes_read
        self._stats.warnings = self._notices.count
        return RestoreDone(stats=self._stats, warnings=self._notices.listed())

    def _take(self, entry: Entry | SkyharborError) -> None:
        if isinstance(entry, SkyharborError):
            self._notices.say(b"", "damaged", f"some entries of the point cannot be read: {entry.detail}")
            return
        if not is_safe(entry.path):
            self._notices.say(entry.path, "refused-path", "this path leads outside of the target; it was not restored")
            return
        self._window.after.extend(self._landing.leave_for(entry.path))
        if entry.kind == EntryKind.DIRECTORY:
            self._landing.directory(entry, only_above=self._selection.is_only_above(entry.path))
        else:
            self._land(entry)
        if self._window.is_full:
            self._submit()

    def _land(self, entry: Entry) -> None:
        spot = self._landing.spot(entry.path)
        if spot is None:
            self._stats.files_skipped += 1
        elif entry.link:
            self._window.after.append(lambda: self._further.make(entry, *spot))
        elif entry.kind == EntryKind.FILE:
            self._window.jobs.append(Job(entry, *spot))
            self._window.bytes += entry.size
        else:
            self._landing.special(entry, *spot)

    def _content(self, path: bytes) -> Entry | None:
        """Return the entry that carries the content of a hard-linked node."""
        first = next(self._reader.entries_or_errors(path), None)
        if not isinstance(first, Entry) or first.path != path or first.link or first.kind == EntryKind.DIRECTORY:
            return None
        return first

    def _submit(self) -> None:
        """Have the window written."""
        window, self._window = self._window, _Window()
        self._windows.append(window)
        for batch in _batches(window.jobs, self._reader):
            while self._calls >= self._crew.limit:
                self._settle_one()
            self._calls += 1
            window.calls.append(self._crew.write(batch))
        self._control.check()

    def _settle_one(self) -> None:
        """Wait for the oldest call, or do what waits behind the oldest window."""
        window = self._windows[0]
        if window.calls:
            self._settle(window.calls.popleft())
        elif window is not self._windows[-1] or not self._calls:
            self._windows.popleft()
            for action in window.after:
                action()
            self._report()

    def _settle(self, call: Future[Written]) -> None:
        self._control.check()
        while not call.done():
            wait_for([call], timeout=_PATIENCE)
            self._control.check()
        self._calls -= 1
        written = call.result()
        self._stats.files_restored += written.files
        self._stats.files_skipped += written.skipped
        self._stats.bytes_restored += written.size
        for notice in written.notices:
            self._notices.add(notice)
        self._landing.note(written)
        self._report()

    def _report(self) -> None:
        stats, body = self._stats, self._reader.body
        whole = self._selection.everything
        self._control.progress(
            Progress(
                phase="restoring",
                files_done=stats.files_restored + stats.files_skipped,
                files_total=body.files if whole else 0,
                bytes_done=stats.bytes_restored,
                bytes_total=body.bytes if whole else 0,
                bytes_transferred=self._reader.bytes_read + self._crew.bytes_read,
            )
        )


def _batches(jobs: Sequence[Job], reader: PointReader) -> Iterator[list[Job]]:
    """Split jobs into batches in the order of the vault, each ending where a segment does, if that is not too far."""
    places = iter(reader.finder.find(b"".join([job.entry.chunks[:ID_SIZE] for job in jobs])))
    located = [(next(places) if job.entry.chunks else None, job) for job in jobs]
    # Stable: files without content, or with lost content, come first and in their own order.
    located.sort(key=lambda pair: _order(pair[0]))
    batch: list[Job] = []
    size = 0
    last: SegmentRef | None = None
    for place, job in located:
        segment = place.segment if place else None
        enough = len(batch) >= _BATCH_FILES or size >= _BATCH_BYTES
        too_much = len(batch) >= _MOST * _BATCH_FILES or size >= _MOST * _BATCH_BYTES
        if batch and enough and (segment is not last or too_much):
            yield batch
            batch, size = [], 0
        batch.append(job)
        size += job.entry.size
        last = segment
    if batch:
        yield batch


def _order(place: Location | None) -> tuple[str, int, int]:
    return (place.pack, place.offset, place.raw_offset) if place else ("", 0, 0)
