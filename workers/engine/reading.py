"""Reads files and turns them into chunks in the vault: the work of the crew, in whatever thread or process.

A batch of small files is one call: every file is read whole, becomes one chunk, and the new chunks of the batch are
compressed together as one segment. A large file is one call of its own, a very large one a call per range:
content-defined chunks, segments of up to 4 MiB, bounded memory.

A source with blocks is cut into those instead, and of its files only what can have changed may be asked for.

Truth under change: a file is looked at before and after it was read. When it changed meanwhile it is read once more,
and when it still changes it is kept as read, with a notice. A chunk is reserved only right before it is handed over, so
a read error never leaves a promise behind.

Rule of the file: no order, no entries of others, no vault beyond the sink.
"""

from __future__ import annotations

import queue
import threading
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from typing import Protocol

from typing_extensions import Buffer

from shared.clock import Clock
from shared.crypto.domain_keys import DomainKeys
from shared.model.backup import Notice
from shared.vault.entry import Entry, EntryKind
from workers.engine.block_cutting import BlockCutter, aligned, common
from workers.engine.chunker import Cutter
from workers.engine.notices import shown, unreadable
from workers.engine.ports import (
    Complaining,
    Distant,
    Haste,
    OpenedFile,
    ReadRange,
    Source,
    Stop,
    StopReason,
    Unreadable,
)

LARGE_FILE = 1024 * 1024
"""Files from this size on are cut by content; smaller ones are one chunk."""

RANGE = 64 * 1024 * 1024
"""Very large files are read in ranges of this size, each cut on its own, so that several readers share one file. A cut
at every 64 MiB costs deduplication of shifted content about one chunk in 25."""

_SEGMENT = 4 * 1024 * 1024
_ENDLESS = 1 << 62
_FOR_LARGE = 1
"""Large files get one level of zstd more: small ones gain more by lying together than by a higher level."""
_YOUNG_NS = 20_000_000
"""File systems' clocks tick as seldom as every 10 ms: what changed right before it was read may change again unseen."""

_FILE = int(EntryKind.FILE)


class ChunkSink(Protocol):
    """Where chunks go: the point's writer, or a stand-in for it in another process."""

    def reserve(self, ids: Sequence[bytes]) -> Sequence[bool]:
        """Return for every id whether the caller must store it: True at most once per id and point."""
        ...

    def add_segment(
        self, ids: Sequence[bytes], chunks: Sequence[Buffer], *, whole: memoryview | None = None, effort: int = 0
    ) -> None:
        """Store chunks together; ``whole`` is the same bytes as one buffer, where there is one."""
        ...


@dataclass(slots=True)
class Read:
    """The result of one call: entries in the order asked, None for those that are not in the point."""

    entries: list[Entry | None] = field(default_factory=list)
    notices: list[Notice] = field(default_factory=list)
    bytes_read: int = 0


class _Segment:
    """Chunks on their way into one segment, in order, in a buffer of its own or where they are."""

    __slots__ = ("_at", "_chunk_id", "_chunks", "_ids", "_room", "_sink", "passed")

    def __init__(self, keys: DomainKeys, sink: ChunkSink, room: memoryview) -> None:
        self._chunk_id = keys.chunk_id
        self._sink = sink
        self._room = room
        self._ids: list[bytes] = []
        self._chunks: list[memoryview] = []
        self._at = 0
        self.passed = 0
        """Bytes taken and handed over."""

    def space(self, size: int) -> memoryview:
        """Return room for the next chunk, which ``fill`` takes from there."""
        if self._at + size > len(self._room):
            self.flush()
        return self._room[self._at : self._at + size]

    def fill(self, size: int) -> bytes:
        """Take what was written into the beginning of the last ``space`` and return its id."""
        chunk = self._room[self._at : self._at + size]
        self._at += size
        self._chunks.append(chunk)
        chunk_id = self._chunk_id(chunk)
        self._ids.append(chunk_id)
        return chunk_id

    def flush(self) -> None:
        """Hand over what the vault does not have yet."""
        self._hand_over(self._ids, self._chunks, self._room[: self._at])
        self._ids, self._chunks, self._at = [], [], 0

    def pass_on(self, chunks: Sequence[memoryview]) -> list[bytes]:
        """Hand over chunks of a large file from where they are, in segments of their own; return their ids."""
        self.flush()
        ids = [self._chunk_id(chunk) for chunk in chunks]
        begin, size = 0, 0
        for number, chunk in enumerate(chunks):
            if size and size + len(chunk) > _SEGMENT:
                self._hand_over(ids[begin:number], chunks[begin:number], effort=_FOR_LARGE)
                begin, size = number, 0
            size += len(chunk)
        self._hand_over(ids[begin:], chunks[begin:], effort=_FOR_LARGE)
        return ids

    def _hand_over(
        self, ids: Sequence[bytes], chunks: Sequence[memoryview], whole: memoryview | None = None, effort: int = 0
    ) -> None:
        if not ids:
            return
        answers = self._sink.reserve(ids)
        if all(answers):
            self._sink.add_segment(ids, chunks, whole=chunks[0] if len(chunks) == 1 else whole, effort=effort)
        elif any(answers):
            wanted = [place for place, new in enumerate(answers) if new]
            self._sink.add_segment([ids[at] for at in wanted], [chunks[at] for at in wanted], effort=effort)
        self.passed += sum(map(len, chunks))


class FileReading:
    """Everything that readers of one process share. Methods may run in any number of threads."""

    def __init__(self, source: Source, keys: DomainKeys, sink: ChunkSink, clock: Clock) -> None:
        self._source = source
        self._keys = keys
        self._sink = sink
        self._clock = clock
        self._cutters: queue.SimpleQueue[Cutter | BlockCutter] = queue.SimpleQueue()
        self._rooms: queue.SimpleQueue[memoryview] = queue.SimpleQueue()
        self._stopping = threading.Event()
        self._cold = False
        self._distant = source if isinstance(source, Distant) else None

    def stop(self) -> None:
        """Make every call under way end at its next step, and every later one at once."""
        self._stopping.set()

    def read(self, entries: Sequence[Entry]) -> Read:
        """Read nodes into the vault. Raises ``Stop`` after ``stop()`` and what the sink raises."""
        result = Read()
        room = self._room()
        segment = _Segment(self._keys, self._sink, room)
        young = self._young_since()
        read_whole, space, fill, keep = self._source.read_whole, segment.space, segment.fill, result.entries.append
        waits = 0
        if self._distant is not None:
            self._distant.announce(entries)
        elif self._cold:
            self._source.warm([entry for entry in entries if entry.kind == _FILE and 0 < entry.size < LARGE_FILE])
        for entry in entries:
            size = entry.size
            # One byte more than there should be, to notice when there is more.
            how = read_whole(entry, space(size + 1)) if entry.kind == _FILE and size < LARGE_FILE else Haste.NO
            if how is not Haste.NO:
                waits += how is Haste.WAITED
                if size:
                    entry.chunks = fill(size)
                done = entry
            else:
                self._check()
                try:
                    done = self._read_one(entry, segment, result)
                except Unreadable as problem:
                    result.notices.append(problem.notice)
                    keep(None)
                    continue
            if done.ctime_ns > young:
                done.ctime_ns = 0  # not to be trusted: the next run reads it again
            keep(done)
        # Warmed files hardly wait, so a few that do are enough to go on warming.
        self._cold = waits > len(entries) // (100 if self._cold else 10)
        self._check()
        segment.flush()
        self._rooms.put(room)
        result.bytes_read = segment.passed
        if isinstance(self._source, Complaining):
            result.notices += self._source.complaints()
        return result

    def read_range(self, entry: Entry, offset: int, length: int, *, changed: bool = False) -> ReadRange:
        """Read a part of a large file into the vault, or what can have ``changed`` of it since the reference.

        Raises ``Unreadable``, and otherwise what ``read`` raises.
        """
        segment = _Segment(self._keys, self._sink, memoryview(b""))
        young = self._young_since()
        opened = self._source.open(entry)
        try:
            feed = _Feed(opened, self._check, self._data(opened, offset, length, changed=changed))
            ids = self._cut(feed, segment)
            opened.look()
            return ReadRange(opened.entry, ids, tuple(feed.data), feed.ended, opened.entry.ctime_ns > young)
        except OSError as error:
            raise Unreadable(unreadable(entry.path, error)) from error
        finally:
            opened.close()

    def _read_one(self, entry: Entry, segment: _Segment, result: Read) -> Entry:
        if entry.kind != _FILE:
            return self._source.complete(entry)
        opened = self._source.open(entry)
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
                ranges = opened.data(0, entry.size)
                if len(ranges) == 1 and ranges[0][1] == entry.size:
                    segment.space(entry.size)[:] = data
                    entry.chunks = segment.fill(entry.size)
                    return entry
            elif not data:
                entry.size = 0
                return entry
        # A size of nothing is what /proc and its like claim: read them to their end.
        feed = _Feed(opened, self._check, self._data(opened, 0, entry.size or _ENDLESS))
        entry.chunks = self._cut(feed, segment)
        entry.size = feed.end if feed.ended else entry.size
        entry.holes = holes_between(feed.data, entry.size)
        return entry

    def _data(self, opened: OpenedFile, offset: int, length: int, *, changed: bool = False) -> list[tuple[int, int]]:
        """Return what to read of a part of a file."""
        size, block = opened.entry.size, self._source.block
        if not size:
            return [(offset, length)]
        data = opened.data(offset, min(size, offset + length))
        if not block:
            return data
        data = common(aligned(data, block=block, size=size), [(offset, length)])
        changes = opened.changes() if changed else None
        return data if changes is None else common(data, aligned(changes, block=block, size=size))

    def _cut(self, feed: _Feed, segment: _Segment) -> bytes:
        cutter = self._cutter()
        ids: list[bytes] = []
        try:
            for chunks in cutter.rounds(feed.fill):
                ids += segment.pass_on(chunks)  # all of them: the cutter's buffer is used again
        finally:
            self._cutters.put(cutter)
        return b"".join(ids)

    def _young_since(self) -> int:
        """Return the change time from which on a file that is read now is not to be trusted."""
        return int(self._clock.now().timestamp() * 1e9) - _YOUNG_NS

    def _check(self) -> None:
        if self._stopping.is_set():
            raise Stop(StopReason.LOST)

    def _room(self) -> memoryview:
        """Return a buffer for a batch; it is used again, so that its memory is touched for the first time once."""
        try:
            return self._rooms.get_nowait()
        except queue.Empty:
            return memoryview(bytearray(_SEGMENT + LARGE_FILE))

    def _cutter(self) -> Cutter | BlockCutter:
        try:
            return self._cutters.get_nowait()
        except queue.Empty:
            block = self._source.block
            return BlockCutter(block) if block else Cutter(self._keys.chunker_seed)


class _Feed:
    """The bytes of ranges of a file, one after the other."""

    def __init__(self, opened: OpenedFile, check: Callable[[], None], ranges: Sequence[tuple[int, int]]) -> None:
        self._opened = opened
        self._check = check
        self._ranges = ranges
        self._range = 0
        self._done = 0
        self.data: list[tuple[int, int]] = []
        """What was read: offset and length, in order."""
        self.ended = False
        """Whether the file ended inside of the part, at ``end``, whatever its size says."""
        self.end = 0

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
        if self._done < length:
            self.ended, self.end = True, offset + self._done
            self._range = len(self._ranges)
        if self._done:
            self.data.append((offset, self._done))
        self._range += 1
        self._done = 0


def holes_between(data: Sequence[tuple[int, int]], size: int) -> tuple[tuple[int, int], ...]:
    """Return the (offset, length) of what lies between ranges of data, in order, and behind them up to ``size``."""
    holes = []
    at = 0
    for offset, length in data:
        if offset > at:
            holes.append((at, offset - at))
        at = offset + length
    if at < size:
        holes.append((at, size - at))
    return tuple(holes)
