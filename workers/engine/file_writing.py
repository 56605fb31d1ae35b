"""Writes regular files into the target from the chunks of a point: the work of a restore's crew.

Rule of the file: a file appears under its name whole, with all its attributes, or not at all; wrong bytes never appear.
"""

from __future__ import annotations

import errno
import os
import stat
import threading
from collections.abc import Callable, Iterator, Sequence
from itertools import groupby
from typing import NamedTuple

import msgspec

from shared.errors import SkyharborError
from shared.model.backup import ConflictRule, Notice
from shared.vault.chunk_reader import ChunkReader
from shared.vault.entry import Entry
from workers.engine.attributes import dress
from workers.engine.folders import Folders
from workers.engine.node_flags import FIRST, LAST, set_flags
from workers.engine.notices import reason, shown
from workers.engine.placing import NewFile, place
from workers.engine.ports import Stop, StopReason
from workers.engine.proving import data_ranges, same_content, same_xattrs

_FULL = frozenset({errno.ENOSPC, errno.EDQUOT})
_LOOK = os.O_RDONLY | os.O_CLOEXEC | os.O_NOFOLLOW | os.O_NONBLOCK | os.O_NOCTTY
_BAD_OBJECT = frozenset({"object-missing", "object-damaged"})


class Job(NamedTuple):
    """A file and where it goes: a folder relative to the target, and a name in it."""

    entry: Entry
    folder: bytes
    name: bytes


class Written(msgspec.Struct, array_like=True):
    """What became of a batch. ``size`` is that of the files written, ``bytes_read`` what was fetched from the vault."""

    files: int = 0
    skipped: int = 0
    size: int = 0
    bytes_read: int = 0
    notices: list[Notice] = []
    renamed: list[tuple[bytes, bytes, bytes]] = []
    """Path, folder and name of files that were written under another name, for theirs was taken."""
    closing: list[tuple[bytes, bytes, bytes, int]] = []
    """Path, folder, name and flags of files that must not be closed to changes before the whole restore is done, and
    of those that were there and may lack some."""

    def say(self, path: bytes, code: str, message: str) -> None:
        """Add a notice about an entry's path."""
        self.notices.append(Notice(shown(path), code, message))


class FileWriting:
    """Everything that writers of one process share. ``write`` may run in any number of threads."""

    def __init__(self, chunks: ChunkReader, folders: Folders, rule: ConflictRule) -> None:
        self._chunks = chunks
        self._folders = folders
        self._rule = rule
        self._stopping = threading.Event()

    def stop(self) -> None:
        """Make every call end at its next step."""
        self._stopping.set()

    def write(self, jobs: Sequence[Job]) -> Written:
        """Write files. What goes wrong with one is a notice about it.

        Raises ``target-full``, ``Stop`` after ``stop()`` and what the store raises when it cannot be reached.
        """
        written = Written()
        before = self._chunks.bytes_read
        wanted = [job for job in jobs if not self._kept(job, written)]
        contents = _Contents(self._chunks, b"".join([job.entry.chunks for job in wanted]))
        for folder, group in groupby(wanted, key=lambda job: job.folder):
            self._write_into(folder, list(group), contents, written)
        written.bytes_read = self._chunks.bytes_read - before
        return written

    def holds(self, folder: int, name: bytes, entry: Entry, *, with_xattrs: bool = False) -> bool:
        """Tell whether a file is, byte for byte, the content of the entry, of its time, and maybe with its xattrs.

        It is read as a whole. OSError when it cannot be; ``Stop`` after ``stop()``.
        """
        fd = os.open(name, _LOOK, dir_fd=folder)
        try:
            there = os.fstat(fd)
            return (
                stat.S_ISREG(there.st_mode)
                and (there.st_size, there.st_mtime_ns) == (entry.size, entry.mtime_ns)
                and (not with_xattrs or same_xattrs(fd, entry))
                and same_content(fd, entry, self._chunks, self._check)
            )
        finally:
            os.close(fd)

    def _kept(self, job: Job, written: Written) -> bool:
        """Decide whether the file that is there stays, before anything is read from the vault.

        With ``OVERWRITE`` that needs proof: a file of the right size and time may still have other bytes.
        """
        if self._rule is ConflictRule.RENAME:
            return False
        try:
            with self._folders.held(job.folder) as folder:
                there = os.stat(job.name, dir_fd=folder, follow_symlinks=False)
                kept = self._rule is ConflictRule.SKIP or (
                    same_file(there, job.entry) and self.holds(folder, job.name, job.entry, with_xattrs=True)
                )
        except OSError:
            return False  # nothing there, or the writing will meet the reason again and tell it
        if kept and self._rule is ConflictRule.OVERWRITE and job.entry.flags & ~FIRST:
            written.closing.append((job.entry.path, job.folder, job.name, job.entry.flags & ~FIRST))
        written.skipped += kept
        return kept

    def _write_into(self, folder: bytes, jobs: Sequence[Job], contents: _Contents, written: Written) -> None:
        try:
            with self._folders.held(folder) as at:
                for job in jobs:
                    self._check()
                    self._write_one(at, job, contents.of(job.entry), written)
        except OSError as error:  # the folder itself
            for job in jobs:
                contents.of(job.entry)
                written.say(job.entry.path, "not-restored", reason(error))

    def _write_one(self, folder: int, job: Job, chunks: Iterator[memoryview], written: Written) -> None:
        path = job.entry.path
        try:
            name = self._make(folder, job, chunks, written)
        except SkyharborError as error:
            if error.code not in _BAD_OBJECT:
                raise
            written.say(path, "damaged", error.detail)
        except IsADirectoryError:
            written.say(path, "target-conflict", "a directory of this name is in the way")
        except OSError as error:
            raise_if_full(error)
            written.say(path, "not-restored", reason(error))
        else:
            if name is None:
                written.skipped += 1
                return
            if name != job.name:
                written.renamed.append((path, job.folder, name))
            if job.entry.flags & LAST:
                written.closing.append((path, job.folder, name, job.entry.flags & LAST))
            written.files += 1
            written.size += job.entry.size

    def _make(self, folder: int, job: Job, chunks: Iterator[memoryview], written: Written) -> bytes | None:
        entry = job.entry
        new = NewFile(folder)
        try:
            lost = set_flags(new.fd, entry.flags & FIRST) if entry.flags & FIRST else []
            fill(new.fd, entry, chunks, self._check)
            lost += dress(new.fd, entry, os.fstat(new.fd))
            name = place(folder, job.name, self._rule, new.publish)
        finally:
            new.close()
        if lost and name is not None:
            written.say(entry.path, "metadata-not-kept", ", ".join(lost))
        return name

    def _check(self) -> None:
        if self._stopping.is_set():
            raise Stop(StopReason.LOST)


class _Contents:
    """Chunks of several files, read as one stream while all is well and file by file once something is not."""

    def __init__(self, chunks: ChunkReader, ids: bytes) -> None:
        self._chunks = chunks
        self._stream: Iterator[memoryview] | None = chunks.read_chunks(ids) if ids else None
        self._asked = 0
        self._given = 0

    def of(self, entry: Entry) -> Iterator[memoryview]:
        """Return the chunks of the next file; every file must be asked for once, in order."""
        begin = self._asked
        self._asked += len(entry.chunks) // 32
        if self._given != begin:
            self._stream = None  # the file before was given up half-way
        if self._stream is None:
            return self._chunks.read_chunks(entry.chunks)
        return self._from_stream(self._stream, self._asked - begin)

    def _from_stream(self, stream: Iterator[memoryview], count: int) -> Iterator[memoryview]:
        for _ in range(count):
            chunk = next(stream)
            self._given += 1
            yield chunk


def fill(fd: int, entry: Entry, chunks: Iterator[memoryview], check: Callable[[], None]) -> None:
    """Write a file's data between its holes. ``object-damaged`` when size, holes and chunks do not fit together."""
    if not entry.holes:
        written = 0
        for chunk in chunks:
            written += _write_all(fd, chunk, written)
            check()
        if written != entry.size:
            raise SkyharborError("object-damaged", f"the file's chunks have {written} bytes, not {entry.size}")
        return
    ranges = data_ranges(entry)
    at, left = next(ranges, (0, 0))
    for chunk in chunks:
        check()
        rest = chunk
        while len(rest):
            if not left:
                at, left = next(ranges, (0, 0))
                if not left:
                    raise SkyharborError("object-damaged", "the file has more data than room between its holes")
            count = min(left, len(rest))
            _write_all(fd, rest[:count], at)
            rest, at, left = rest[count:], at + count, left - count
    if left or next(ranges, None) is not None:
        raise SkyharborError("object-damaged", "the file has less data than room between its holes")
    os.ftruncate(fd, entry.size)


def _write_all(fd: int, data: memoryview, offset: int) -> int:
    done = os.pwrite(fd, data, offset)
    while done < len(data):
        done += os.pwrite(fd, data[done:], offset + done)
    return done


def same_file(there: os.stat_result, entry: Entry) -> bool:
    """Tell whether what is there looks like the entry already: a regular file of the same size, time and rights.

    Owners count for root only: nobody else could have restored them.
    """
    return (
        stat.S_ISREG(there.st_mode)
        and there.st_size == entry.size
        and there.st_mtime_ns == entry.mtime_ns
        and stat.S_IMODE(there.st_mode) == entry.mode
        and (os.geteuid() != 0 or (there.st_uid, there.st_gid) == (entry.uid, entry.gid))
    )


def raise_if_full(error: OSError) -> None:
    """Turn a full disk into ``target-full``: nothing after it can succeed."""
    if error.errno in _FULL:
        raise SkyharborError("target-full", reason(error)) from error
