"""Brings a recovery point, or a part of it, back into a folder.

Entries stream in order through one thread, which makes directories and gathers files into batches; a few threads write
the batches. What depends on a batch being done (attributes of directories, further names of hard-linked files) waits
behind it in the same order.

What happens when it dies: no half file under a real name. Running the same restore again completes it: with
``SKIP`` what is there stays, with ``OVERWRITE`` files that are proven to be right already are left alone, and
directories that were made but not finished get their attributes by either rule.
Data is handed to the operating system; a power cut right after the end may still lose some, as with ``cp``.

Rule of the file: the sequence of a restore and its outcome; how nodes are made is ``landing``'s and ``file_writing``'s.
"""

from __future__ import annotations

import os
from collections import deque
from collections.abc import Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from concurrent.futures import wait as wait_for

from shared.contracts.work import Progress, RestoreDone
from shared.errors import SkyharborError
from shared.model.backup import ConflictRule, RestoreStats
from shared.vault.entry import Entry, EntryKind
from shared.vault.reader import PointReader
from workers.engine.file_writing import FileWriting, Job, Written, raise_if_full
from workers.engine.folders import Folders
from workers.engine.further_names import FurtherNames
from workers.engine.landing import Action, Landing, is_safe
from workers.engine.notices import Notices, reason
from workers.engine.ports import Control
from workers.engine.selection import Selection

_BATCH_FILES = 256
_BATCH_BYTES = 8 * 1024 * 1024
_BATCH_ACTIONS = 1024
_PATIENCE = 0.2


def restore_point(
    reader: PointReader,
    *,
    target: str,
    paths: Sequence[str],
    conflict: ConflictRule,
    control: Control,
    threads: int = 4,
) -> RestoreDone:
    """Restore ``paths`` (absolute, as they were; none means everything) to ``target`` joined with their path.

    The target is made when it is missing. Damaged files, and what the target refuses or cannot hold, are notices;
    nothing of a damaged file is left. Raises ``path-not-in-point`` before anything is written, ``target-invalid``,
    ``target-full``, ``Stop`` when the control says so, and the store's errors.
    """
    selection = Selection(reader, paths)
    folders = Folders(_open_target(target))
    try:
        return _Run(reader, selection, folders, conflict, control).fly(threads)
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


class _Batch:
    """Files to write, and what to do in this thread once they are written."""

    __slots__ = ("after", "bytes", "jobs")

    def __init__(self) -> None:
        self.jobs: list[Job] = []
        self.bytes = 0
        self.after: list[Action] = []


class _Run:
    def __init__(
        self, reader: PointReader, selection: Selection, folders: Folders, rule: ConflictRule, control: Control
    ) -> None:
        self._reader = reader
        self._selection = selection
        self._control = control
        self._notices = Notices()
        self._stats = RestoreStats()
        self._landing = Landing(folders, rule, self._notices, self._stats)
        self._writing = FileWriting(reader, folders, rule, self._notices)
        self._further = FurtherNames(
            folders=folders,
            rule=rule,
            notices=self._notices,
            stats=self._stats,
            landing=self._landing,
            writing=self._writing,
            content=self._content,
        )
        self._batch = _Batch()
        self._under_way: deque[tuple[_Batch, Future[Written]]] = deque()

    def fly(self, threads: int) -> RestoreDone:
        """Restore and tell."""
        read_before = self._reader.bytes_read
        self._limit = threads + 2
        self._threads = ThreadPoolExecutor(threads, thread_name_prefix="restore")
        try:
            for entry in self._selection.entries():
                self._take(entry)
            self._batch.after.extend(self._landing.leave_all())
            self._submit()
            while self._under_way:
                self._settle()
        except BaseException:
            self._writing.stop()
            raise
        finally:
            self._threads.shutdown(cancel_futures=True)
        self._stats.bytes_read = self._reader.bytes_read - read_before
        self._stats.warnings = self._notices.count
        return RestoreDone(stats=self._stats, warnings=self._notices.listed())

    def _take(self, entry: Entry | SkyharborError) -> None:
        if isinstance(entry, SkyharborError):
            self._notices.say(b"", "damaged", f"some entries of the point cannot be read: {entry.detail}")
            return
        if not is_safe(entry.path):
            self._notices.say(entry.path, "refused-path", "this path leads outside of the target; it was not restored")
            return
        self._batch.after.extend(self._landing.leave_for(entry.path))
        if entry.kind == EntryKind.DIRECTORY:
            self._landing.directory(entry, only_above=self._selection.is_only_above(entry.path))
        else:
            self._land(entry)
        batch = self._batch
        if len(batch.jobs) >= _BATCH_FILES or batch.bytes >= _BATCH_BYTES or len(batch.after) >= _BATCH_ACTIONS:
            self._submit()

    def _land(self, entry: Entry) -> None:
        spot = self._landing.spot(entry.path)
        if spot is None:
            self._stats.files_skipped += 1
        elif entry.link:
            self._batch.after.append(lambda: self._further.make(entry, *spot))
        elif entry.kind == EntryKind.FILE:
            self._batch.jobs.append(Job(entry, *spot))
            self._batch.bytes += entry.size
        else:
            self._landing.special(entry, *spot)

    def _content(self, path: bytes) -> Entry | None:
        """Return the entry that carries the content of a hard-linked node."""
        first = next(self._reader.entries_or_errors(path), None)
        return first if isinstance(first, Entry) and first.path == path and not first.link else None

    def _submit(self) -> None:
        batch, self._batch = self._batch, _Batch()
        self._under_way.append((batch, self._threads.submit(self._writing.write, batch.jobs)))
        while len(self._under_way) > self._limit:
            self._settle()
        self._control.check()

    def _settle(self) -> None:
        """Wait for the oldest batch and do what waited for it."""
        batch, future = self._under_way.popleft()
        while not future.done():
            wait_for([future], timeout=_PATIENCE)
            self._control.check()
        written = future.result()
        self._stats.files_restored += written.files
        self._stats.files_skipped += written.skipped
        self._stats.bytes_restored += written.bytes
        for action in batch.after:
            action()
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
                bytes_transferred=self._reader.bytes_read,
            )
        )
