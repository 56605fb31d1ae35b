"""The flow of a backup whose source pushes: contents go into the vault as they come, entries are sorted at the end.

One thread (the caller's) reads the stream and cuts it; others hash, compress and encrypt what it has cut. Small files
share segments. Nodes of the reference that the source says are as they were are taken over; their bytes do not move.
Memory: one entry for each node that was pushed, and what the reference says of all nodes.

Rule of the file: a stream comes once, so whatever is wrong with it ends the backup; nothing is read a second time.
"""

from __future__ import annotations

import threading
from collections.abc import Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from concurrent.futures import wait as wait_for
from typing import Final

from shared.crypto.domain_keys import DomainKeys
from shared.errors import SkyharborError
from shared.model.backup import Notice
from shared.vault.entry import Entry, EntryKind, sort_key
from shared.vault.reader import PointReader
from shared.vault.writer import PointWriter
from workers.engine.chunker import Cutter
from workers.engine.notices import Notices, shown
from workers.engine.ports import Kept, Pushed, Stop, StopReason, StreamSource
from workers.engine.pulse import Pulse
from workers.engine.tally import Change, Tally

_SMALL: Final = 1024 * 1024
_SEGMENT: Final = 4 * 1024 * 1024
_IN_FLIGHT: Final = 3
_FOR_LARGE: Final = 1
_PAGE: Final = 1024

Ids = Future[list[bytes]]


class StreamFlow:
    """One run over a stream. Used by one thread; ``close`` in any case."""

    def __init__(
        self, *, writer: PointWriter, keys: DomainKeys, pulse: Pulse, notices: Notices, threads: int = 2
    ) -> None:
        self.tally = Tally()
        self._writer = writer
        self._keys = keys
        self._pulse = pulse
        self._notices = notices
        self._cutter = Cutter(keys.chunker_seed)
        self._small = _SmallFiles()
        self._executor = ThreadPoolExecutor(threads, thread_name_prefix="store")
        self._room = threading.Semaphore(threads + _IN_FLIGHT)
        self._calls: set[Ids] = set()
        self._stopping = False

    def run(self, source: StreamSource, reference: PointReader | None) -> None:
        """Bring everything that the stream yields into the point."""
        pushed: dict[bytes, _Node] = {}
        kept: set[bytes] = set()
        for node in source.stream(reference):
            match node:
                case Notice():
                    self._notices.add(node)
                case Kept():
                    kept.add(node.under)
                case _:
                    taken = self._take(node)
                    if pushed.setdefault(taken.entry.path, taken) is not taken:
                        raise SkyharborError("source-failed", f"the source sent {shown(taken.entry.path)} twice")
            self._pulse.beat(self.tally)
        self._store_small()
        self.settle()
        self._write(pushed, kept, reference)

    def stop(self) -> None:
        """Begin nothing more."""
        self._stopping = True
        self._executor.shutdown(wait=True, cancel_futures=True)

    def close(self) -> None:
        """Let the threads go. Idempotent."""
        self._executor.shutdown()

    # ── contents ─────────────────────────────────────────────────────────────────────────────────────

    def _take(self, node: Pushed) -> _Node:
        taken = _Node(node.entry)
        if node.entry.kind != EntryKind.FILE:
            return taken
        head = memoryview(bytearray(_SMALL))
        held = _filled(node, head)
        if held < _SMALL:
            if held:
                self._small.add(taken, bytes(head[:held]))
                if self._small.size >= _SEGMENT:
                    self._store_small()
        else:
            self._cut(taken, _Feed(head, node))
        self.tally.bytes_read += taken.entry.size
        return taken

    def _cut(self, taken: _Node, feed: _Feed) -> None:
        entry = taken.entry
        for chunks in self._cutter.rounds(feed.fill):
            # The cutter uses its buffer again, so what is still to be stored moves out of it.
            begin, size = 0, 0
            for number, chunk in enumerate(chunks):
                if size and size + len(chunk) > _SEGMENT:
                    taken.stored.append(self._store([bytes(one) for one in chunks[begin:number]]))
                    begin, size = number, 0
                size += len(chunk)
            taken.stored.append(self._store([bytes(one) for one in chunks[begin:]]))
            self._pulse.beat(self.tally)
        entry.size = feed.size

    def _store_small(self) -> None:
        small, self._small = self._small, _SmallFiles()
        if small.nodes:
            call = self._store(small.contents, effort=0)
            for place, node in enumerate(small.nodes):
                node.stored, node.place = [call], place

    def _store(self, chunks: Sequence[bytes], *, effort: int = _FOR_LARGE) -> Ids:
        while not self._room.acquire(timeout=Pulse.PATIENCE):
            self._pulse.beat(self.tally)
        call = self._executor.submit(self._stored, chunks, effort)
        self._calls.add(call)
        call.add_done_callback(lambda _: self._room.release())
        for done in [one for one in self._calls if one.done()]:
            self._calls.discard(done)
            done.result()
        return call

    def _stored(self, chunks: Sequence[bytes], effort: int) -> list[bytes]:
        if self._stopping:
            raise Stop(StopReason.LOST)
        ids = [self._keys.chunk_id(chunk) for chunk in chunks]
        new = [number for number, wanted in enumerate(self._writer.reserve(ids)) if wanted]
        if new:
            self._writer.add_segment([ids[at] for at in new], [chunks[at] for at in new], effort=effort)
        return ids

    def settle(self) -> None:
        """Wait until everything that was cut so far is with the writer."""
        while self._calls:
            done, self._calls = wait_for(self._calls, timeout=Pulse.PATIENCE)
            for call in done:
                call.result()
            self._pulse.beat(self.tally)

    # ── entries ──────────────────────────────────────────────────────────────────────────────────────

    def _write(self, pushed: dict[bytes, _Node], kept: set[bytes], reference: PointReader | None) -> None:
        known: set[bytes] = set()
        rows = [(sort_key(path), node.settled(), Change.NEW) for path, node in pushed.items()]
        for entry in reference.entries() if reference is not None else ():
            if _is_below(entry.path, kept):
                if entry.path in pushed:
                    raise SkyharborError("source-failed", f"the source sent {shown(entry.path)}, which it keeps")
                rows.append((sort_key(entry.path), entry, Change.UNCHANGED))
            elif entry.path in pushed:
                known.add(entry.path)
            elif entry.kind != EntryKind.DIRECTORY:
                self.tally.removed += 1
        rows.sort(key=lambda row: row[0])
        for begin in range(0, len(rows), _PAGE):
            page = [
                (entry, Change.CHANGED if entry.path in known else change)
                for _, entry, change in rows[begin : begin + _PAGE]
            ]
            self._writer.add_entries([entry for entry, _ in page])
            self.tally.count(page)
            self._pulse.beat(self.tally)


class _Node:
    """A node that was pushed, and where its content is going: as one of several in a call, or in calls of its own."""

    __slots__ = ("entry", "place", "stored")

    def __init__(self, entry: Entry) -> None:
        self.entry = entry
        self.stored: list[Ids] = []
        self.place: int | None = None

    def settled(self) -> Entry:
        ids = [one for call in self.stored for one in call.result()]
        self.entry.chunks = b"".join(ids) if self.place is None else ids[self.place]
        return self.entry


class _SmallFiles:
    """Files that go into one segment together."""

    __slots__ = ("contents", "nodes", "size")

    def __init__(self) -> None:
        self.nodes: list[_Node] = []
        self.contents: list[bytes] = []
        self.size = 0

    def add(self, node: _Node, content: bytes) -> None:
        node.entry.size = len(content)
        self.nodes.append(node)
        self.contents.append(content)
        self.size += len(content)


class _Feed:
    """A head that was read already, then the rest of a node."""

    def __init__(self, head: memoryview, node: Pushed) -> None:
        self._head = head
        self._node = node
        self.size = 0

    def fill(self, view: memoryview) -> int:
        if self._head:
            got = min(len(view), len(self._head))
            view[:got] = self._head[:got]
            self._head = self._head[got:]
        else:
            got = self._node.read_into(view)
        self.size += got
        return got


def _filled(node: Pushed, room: memoryview) -> int:
    held = 0
    while held < len(room) and (got := node.read_into(room[held:])):
        held += got
    return held


def _is_below(path: bytes, kept: set[bytes]) -> bool:
    """Tell whether a path is one of those kept, or below one."""
    if not kept:
        return False
    at = len(path)
    while at > 0:
        if path[:at] in kept:
            return True
        at = path.rfind(b"/", 0, at)
    return b"" in kept
