"""Reads files and turns them into chunks in the vault: the work of the reading threads.

A batch of small files is one call: every file is read whole, becomes one chunk, and the new chunks of the batch are
compressed together as one segment. A large file is one call of its own: content-defined chunks, segments of up
to 4 MiB, bounded memory.

Truth under change: a file is looked at before and after it was read. When it changed meanwhile it is read once more,
and when it still changes it is kept as read, with a notice. A chunk is reserved only right before it is handed over, so
a read error never leaves a promise behind.

Rule of the file: no order, no entries of others, no vault beyond the writer.
"""

from __future__ import annotations

import queue
import threading
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field

from typing_extensions import Buffer

from shared.clock import Clock
from shared.crypto.domain_keys import DomainKeys
from shared.model.backup import Notice
from shared.vault.entry import Entry, EntryKind
from shared.vault.writer import PointWriter
from workers.engine.chunker import Cutter
from workers.engine.notices import shown, unreadable
from workers.engine.ports import OpenedFile, Source, Stop, StopReason, Unreadable

LARGE_FILE = 1024 * 1024
"""Files from this size on are cut by content; smaller ones are one chunk."""

_SEGMENT = 4 * 1024 * 1024
_YOUNG_NS = 20_000_000
"""File systems' clocks tick as seldom as every 10 ms: what changed right before it was read may change again unseen."""


@dataclass(slots=True)
class Read:
    """The result of one call: entries in the order asked, None for those that are not in the point."""

    entries: list[Entry | None] = field(default_factory=list)
    notices: list[Notice] = field(default_factory=list)


class Gauge:
    """Bytes read from the source so far, by all threads."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self.bytes_read = 0

    def add(self, count: int) -> None:
        """Count bytes; call per segment or batch, not per read."""
        with self._lock:
            self.bytes_read += count


class _Segment:
    """Chunks on their way into one segment."""

    __slots__ = ("_chunks", "_gauge", "_ids", "_keys", "_size", "_writer")

    def __init__(self, keys: DomainKeys, writer: PointWriter, gauge: Gauge) -> None:
        self._keys = keys
        self._writer = writer
        self._gauge = gauge
        self._ids: list[bytes] = []
        self._chunks: list[Buffer] = []
        self._size = 0

    def take(self, chunk: bytes | memoryview) -> bytes:
        """Add a chunk and return its id. The buffer must stay as it is until ``flush`` or the next ``take``'s flush."""
        if self._size + len(chunk) > _SEGMENT:
            self.flush()
        chunk_id = self._keys.chunk_id(chunk)
        self._ids.append(chunk_id)
        self._chunks.append(chunk)
        self._size += len(chunk)
        return chunk_id

    def flush(self) -> None:
        """Hand over what the vault does not have yet."""
        if not self._ids:
            return
        wanted = [at for at, new in enumerate(self._writer.reserve(self._ids)) if new]
        if wanted:
            self._writer.add_segment([self._ids[at] for at in wanted], [self._chunks[at] for at in wanted])
        self._gauge.add(self._size)
        self._ids, self._chunks, self._size = [], [], 0


class FileReading:
    """Everything the reading threads share. Methods may run in any number of threads."""

    def __init__(self, source: Source, keys: DomainKeys, writer: PointWriter, clock: Clock) -> None:
        self._source = source
        self._keys = keys
        self._writer = writer
        self._clock = clock
        self._cutters: queue.SimpleQueue[Cutter] = queue.SimpleQueue()
        self._stopping = threading.Event()
        self.gauge = Gauge()

    def stop(self) -> None:
        """Make every call under way end at its next step, and every later one at once."""
        self._stopping.set()

    def read(self, entries: Sequence[Entry]) -> Read:
        """Read nodes into the vault. Raises ``Stop`` after ``stop()`` and what the writer raises."""
        result = Read()
        segment = _Segment(self._keys, self._writer, self.gauge)
        young = int(self._clock.now().timestamp() * 1e9) - _YOUNG_NS
        for entry in entries:
            if self._stopping.is_set():
                raise Stop(StopReason.LOST)
            try:
                if entry.kind == EntryKind.FILE:
                    done = self._read_file(entry, segment, result)
                else:
                    done = self._source.complete(entry)
            except Unreadable as problem:
                result.notices.append(problem.notice)
                result.entries.append(None)
                continue
            if done.ctime_ns > young:
                done.ctime_ns = 0  # not to be trusted: the next run reads it again
            result.entries.append(done)
        segment.flush()
        return result

    def _read_file(self, entry: Entry, segment: _Segment, result: Read) -> Entry:
        opened = self._source.open(entry)
        try:
            if lost := opened.lost():
                result.notices.append(Notice(shown(entry.path), "metadata-not-kept", lost))
            try:
                return self._settled(opened, segment, result)
            except OSError as error:
                raise Unreadable(unreadable(entry.path, error)) from error
        finally:
            opened.close()

    def _settled(self, opened: OpenedFile, segment: _Segment, result: Read) -> Entry:
        entry = self._content(opened, segment)
        if opened.look():
            return entry
        entry = self._content(opened, segment)
        if not opened.look():
            message = "it changed while it was read, twice; kept as read"
            result.notices.append(Notice(shown(entry.path), "changed-while-read", message))
        return entry

    def _content(self, opened: OpenedFile, segment: _Segment) -> Entry:
        """Read the file as it is now; the entry says what was read, whatever the attributes claim."""
        entry = opened.entry
        if entry.size < LARGE_FILE:
            data = opened.read(entry.size or LARGE_FILE, 0)
            if len(data) == entry.size and entry.size:
                ranges = opened.data()
                if len(ranges) == 1 and ranges[0][1] == entry.size:
                    entry.chunks = segment.take(data)
                    return entry
            elif not data:
                entry.size = 0
                return entry
        segment.flush()
        return self._streamed(opened, segment)

    def _streamed(self, opened: OpenedFile, segment: _Segment) -> Entry:
        entry = opened.entry
        feed = _Feed(opened, self._check)
        cutter = self._cutter()
        ids: list[bytes] = []
        try:
            for chunks in cutter.rounds(feed.fill):
                ids.extend([segment.take(chunk) for chunk in chunks])
                segment.flush()  # the buffer is used again
        finally:
            self._cutters.put(cutter)
        entry.chunks = b"".join(ids)
        entry.size, entry.holes = feed.outline()
        return entry

    def _check(self) -> None:
        if self._stopping.is_set():
            raise Stop(StopReason.LOST)

    def _cutter(self) -> Cutter:
        try:
            return self._cutters.get_nowait()
        except queue.Empty:
            return Cutter(self._keys.chunker_seed)


class _Feed:
    """The bytes of a file without its holes, one after the other."""

    def __init__(self, opened: OpenedFile, check: Callable[[], None]) -> None:
        self._opened = opened
        self._check = check
        self._size = opened.entry.size
        # A size of nothing is what /proc and its like claim: read them to their end.
        self._endless = self._size == 0
        self._ranges = [(0, 1 << 62)] if self._endless else opened.data()
        self._read: list[tuple[int, int]] = []
        self._range = 0
        self._done = 0

    def fill(self, view: memoryview) -> int:
        """Write the next data into ``view``; 0 at the end."""
        self._check()
        while self._range < len(self._ranges):
            offset, length = self._ranges[self._range]
            want = min(len(view), length - self._done)
            got = self._opened.read_into(view[:want], offset + self._done) if want else 0
            self._done += got
            if got:
                return got
            self._next(offset, length)
        return 0

    def _next(self, offset: int, length: int) -> None:
        if self._done < length:  # it ends here, whatever the size says
            self._size = offset + self._done
            self._range = len(self._ranges)
        if self._done:
            self._read.append((offset, self._done))
        self._range += 1
        self._done = 0

    def outline(self) -> tuple[int, tuple[tuple[int, int], ...]]:
        """Return the size that was found and the holes, once ``fill`` has returned 0."""
        holes = []
        at = 0
        for offset, length in self._read:
            if offset > at:
                holes.append((at, offset - at))
            at = offset + length
        if at < self._size:
            holes.append((at, self._size - at))
        return self._size, tuple(holes)
