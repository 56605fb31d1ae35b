"""The flow of a backup: scan and reference merged, reading in threads, entries to the writer in order.

One thread (the caller's) scans, compares and writes entries; a few threads read. Scanned nodes wait in blocks until
everything in them is known; blocks leave in scan order, and only so many are under way, so memory does not grow with
the source. Nodes that need reading are gathered across blocks into batches, so that segments stay well filled even
when one file in a thousand has changed.

Rule of the file: order and bookkeeping; reading is ``reading``'s, comparing is ``reference``'s.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from concurrent.futures import wait as wait_for
from typing import Final

from shared.model.backup import Notice
from shared.vault.entry import Entry, EntryKind
from shared.vault.index import ChunkIndex
from shared.vault.writer import PointWriter
from workers.engine.notices import Notices
from workers.engine.ports import Found
from workers.engine.pulse import Pulse
from workers.engine.reading import LARGE_FILE, FileReading, Read
from workers.engine.reference import Reference, equal, same
from workers.engine.tally import Change, Tally

_BLOCK: Final = 1024
_WINDOW: Final = 16
_BATCH_BYTES: Final = 2 * 1024 * 1024
_BATCH_FILES: Final = 256

_FILE = int(EntryKind.FILE)
_DIRECTORY = int(EntryKind.DIRECTORY)

_Node = tuple[int, int]
"""Device and inode: what several names of one file share."""


def _node(entry: Entry) -> _Node:
    return entry.device, entry.inode


class _Batch:
    """Nodes that one call of a reading thread takes care of, and where their entries belong."""

    __slots__ = ("bytes", "entries", "future", "places", "settled")

    def __init__(self) -> None:
        self.entries: list[Entry] = []
        self.places: list[tuple[_Block, int]] = []
        self.bytes = 0
        self.future: Future[Read] | None = None
        self.settled = False

    def add(self, entry: Entry, block: _Block, place: int) -> None:
        self.entries.append(entry)
        self.places.append((block, place))
        self.bytes += entry.size
        if not block.batches or block.batches[-1] is not self:
            block.batches.append(self)


class _Block:
    """Consecutive nodes of the scan."""

    __slots__ = ("batches", "changes", "entries", "first_names", "further_names", "thens")

    def __init__(self) -> None:
        self.entries: list[Entry | None] = []  # None: not known yet, or not in the point
        self.changes: list[Change] = []
        self.thens: dict[int, Entry] = {}  # what the reference has, for those that are read
        self.batches: list[_Batch] = []
        self.first_names: dict[int, _Node] = {}
        self.further_names: dict[int, tuple[_Node, Entry, Entry | None]] = {}

    def ready(self) -> bool:
        return all(batch.future is not None and batch.future.done() for batch in self.batches)


class Flow:
    """One run from the first scanned node to the last written entry. Used by one thread."""

    def __init__(
        self,
        *,
        reading: FileReading,
        writer: PointWriter,
        index: ChunkIndex,
        reference: Reference,
        threads: ThreadPoolExecutor,
        pulse: Pulse,
        notices: Notices,
    ) -> None:
        self._reading = reading
        self._writer = writer
        self._index = index
        self._reference = reference
        self._threads = threads
        self._pulse = pulse
        self._notices = notices
        self.tally = Tally()
        self._blocks: deque[_Block] = deque()
        self._block = _Block()
        self._batch = _Batch()
        # Where the content of a node with several names is in the point. It grows with the number of such nodes.
        self._homes: dict[_Node, bytes | None] = {}

    def run(self, scan: Iterator[Found | Notice]) -> None:
        """Bring everything that the scan yields into the point, but for what notices name."""
        place = self._place
        for found in scan:
            if isinstance(found, Notice):
                self._notices.add(found)
                continue
            place(found)
            if len(self._block.entries) >= _BLOCK:
                self._close_block()
        self._close_block()
        while self._blocks:
            self._emit(self._blocks.popleft())
        self._reference.finish()
        self.tally.removed = self._reference.removed

    # ── scan side ────────────────────────────────────────────────────────────────────────────────────

    def _place(self, found: Found) -> None:
        """Give a node its place in the current block and decide whether it has to be read."""
        entry, block = found.entry, self._block
        then = self._reference.find(entry.path)
        place = len(block.entries)
        if found.names > 1 and entry.kind != _DIRECTORY:
            node = _node(entry)
            if node in self._homes:
                block.further_names[place] = (node, entry, then)
                block.entries.append(None)
                block.changes.append(Change.NEW if then is None else Change.CHANGED)
                return
            self._homes[node] = None
            block.first_names[place] = node
        if then is not None and same(entry, then) and not then.link:
            block.entries.append(then)
            block.changes.append(Change.UNCHANGED)
            return
        block.entries.append(None)
        block.changes.append(Change.NEW if then is None else Change.CHANGED)
        if then is not None:
            block.thens[place] = then
        self._read_later(entry, block, place)

    def _close_block(self) -> None:
        block = self._block
        self._distrust(block)
        self._blocks.append(block)
        self._block = _Block()
        self._pulse.beat(self.tally)
        while self._blocks and (len(self._blocks) > _WINDOW or self._blocks[0].ready()):
            self._emit(self._blocks.popleft())

    def _distrust(self, block: _Block) -> None:
        """Have those unchanged files read again whose chunks the vault does not hold: that heals it."""
        entries = [(place, entry) for place, entry in enumerate(block.entries) if entry is not None and entry.chunks]
        if not entries or self._index.contains_all(b"".join([entry.chunks for _, entry in entries])):
            return
        for place, entry in entries:
            if not self._index.contains_all(entry.chunks):
                block.entries[place] = None
                block.changes[place] = Change.CHANGED
                self._read_later(entry, block, place)

    def _read_later(self, entry: Entry, block: _Block, place: int) -> None:
        if entry.kind == _FILE and entry.size >= LARGE_FILE:
            alone = _Batch()
            alone.add(entry, block, place)
            self._submit(alone)
            return
        batch = self._batch
        batch.add(entry, block, place)
        if batch.bytes >= _BATCH_BYTES or len(batch.entries) >= _BATCH_FILES:
            self._submit(batch)

    def _submit(self, batch: _Batch) -> Future[Read]:
        if batch is self._batch:
            self._batch = _Batch()
        batch.future = self._threads.submit(self._reading.read, batch.entries)
        return batch.future

    # ── writing side ─────────────────────────────────────────────────────────────────────────────────

    def _emit(self, block: _Block) -> None:
        """Wait until a block is complete and give its entries to the writer, in order."""
        for batch in block.batches:
            self._settle(batch)
        add, count = self._writer.add_entry, self.tally.count
        for place, entry in enumerate(block.entries):
            change = block.changes[place]
            if entry is None:
                if place not in block.further_names:
                    continue
                entry, change = self._further_name(*block.further_names[place], change)
                if entry is None:
                    continue
            elif place in block.first_names:
                self._homes[block.first_names[place]] = entry.path
            add(entry)
            count(entry, change)
        self._pulse.beat(self.tally)

    def _settle(self, batch: _Batch) -> None:
        """Put the results of a batch into their places. Once is enough."""
        if batch.settled:
            return
        result = self._wait(batch.future or self._submit(batch))
        batch.settled = True
        for (block, place), entry in zip(batch.places, result.entries, strict=True):
            block.entries[place] = entry
            if entry is not None and block.first_names.get(place, _node(entry)) != _node(entry):
                del block.first_names[place]  # another file stands here by now: further names do not lead to it
            if entry is not None and place in block.thens and equal(entry, block.thens[place]):
                block.changes[place] = Change.UNCHANGED
        for notice in result.notices:
            self._notices.add(notice)

    def _wait(self, future: Future[Read]) -> Read:
        while not future.done():
            wait_for([future], timeout=self._pulse.PATIENCE)
            self._pulse.beat(self.tally)
        return future.result()

    def _further_name(
        self, node: _Node, entry: Entry, then: Entry | None, change: Change
    ) -> tuple[Entry | None, Change]:
        """Return the entry for a name whose node was met before under another one."""
        home = self._homes[node]
        if home is not None:
            if then is not None and then.link == home and same(entry, then):
                return then, Change.UNCHANGED
            entry.link = home
            return entry, change
        # The first name was lost on the way, so this one carries the content.
        result = self._wait(self._threads.submit(self._reading.read, [entry]))
        for notice in result.notices:
            self._notices.add(notice)
        found = result.entries[0]
        if found is not None and _node(found) == node:
            self._homes[node] = found.path
        return found, change
