"""The flow of a backup: scan and reference merged, reading by the crew, pages and entries to the writer in order.

One thread (the caller's) scans, compares and writes entries; the crew reads. Where the scan met exactly what a page of
the reference says, the page goes on as it is and costs a comparison of columns. Other nodes wait in blocks until
everything in them is known. Pages and blocks leave in scan order, and only so many are under way, so memory does not
grow with the source. Nodes that need reading are gathered across blocks into batches, so that segments stay well filled
even when one file in a thousand has changed.

Rule of the file: order and bookkeeping; reading is ``reading``'s, comparing is ``reference``'s and ``seen``'s.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Generator, Iterator, Mapping, Sequence
from concurrent.futures import FIRST_COMPLETED, Future
from concurrent.futures import wait as wait_for
from types import MappingProxyType
from typing import Any, Final

from shared.model.backup import Notice
from shared.vault.entry import Entry, EntryKind, sort_key
from shared.vault.index import ChunkIndex
from shared.vault.pages import Columns
from shared.vault.point import PageRef
from shared.vault.writer import PointWriter
from workers.engine.blocks import Batch, Block, Node, Whole, node_of
from workers.engine.crew import ReadingCrew
from workers.engine.keeping import KeptTrees, ScanAll
from workers.engine.large_file import LargeFile, reliable
from workers.engine.links import LinkLog
from workers.engine.notices import Notices
from workers.engine.ports import Found, Source, Stat, Unchanged, Unreadable
from workers.engine.pulse import Pulse
from workers.engine.reading import LARGE_FILE, RANGE, Read
from workers.engine.reference import Reference, equal, same
from workers.engine.seen import Looks, entry_of
from workers.engine.tally import Change, Tally

_BLOCK: Final = 1024
_WINDOW: Final = 32
_BATCH_BYTES: Final = 4 * 1024 * 1024
_BATCH_FILES: Final = 512
_RUN: Final = 8  # rows from which on comparing columns costs less than comparing them one by one

_FILE = int(EntryKind.FILE)
_DIRECTORY = int(EntryKind.DIRECTORY)


class Flow:
    """One run from the first scanned node to the last written entry. Used by one thread.

    ``begin`` is where the part begins that this is about, empty for the beginning; ``links`` is told of names that
    nodes may share with other parts. ``same_blocks``: the reference was cut into blocks of the same size.
    ``keep``: take what the source says is unchanged from the reference, without a look. ``flown`` are large files, by
    path, that others have read or are reading: they are only put together here.
    """

    def __init__(
        self,
        *,
        source: Source,
        crew: ReadingCrew,
        writer: PointWriter,
        index: ChunkIndex,
        reference: Reference,
        pulse: Pulse,
        notices: Notices,
        begin: bytes = b"",
        links: LinkLog | None = None,
        same_blocks: bool = False,
        keep: bool = True,
        flown: Mapping[bytes, LargeFile] = MappingProxyType({}),
    ) -> None:
        self._keep = keep and links is None
        self._flown = flown
        self._kept = KeptTrees()
        self._same_blocks = same_blocks
        self._begin = sort_key(begin)
        self._links = links
        self._names: dict[Node, int] = {}  # how many a node has, where there is a log
        self._source = source
        self._crew = crew
        self._writer = writer
        self._index = index
        self._reference = reference
        self._pulse = pulse
        self._notices = notices
        self.tally = Tally()
        self._items: deque[Block | Whole] = deque()
        self._block = Block()
        self._batch = Batch()
        self._calls: set[Future[Any]] = set()
        # Where the content of a node with several names is in the point. It grows with the number of such nodes.
        self._homes: dict[Node, bytes | None] = {}

    def run(self, scan: Iterator[Found | Notice | Unchanged]) -> None:
        """Bring everything that the scan yields into the point, but for what notices name.

        Raises ``ScanAll`` when what the scan offers as unchanged turns out not to be enough.
        """
        paths: list[bytes] = []
        stats: list[Stat] = []
        answer = None
        while (found := _next(scan, answer)) is not None:
            answer = None
            if isinstance(found, Notice):
                self._notices.add(found)
                continue
            if isinstance(found, Unchanged):
                if self._keep:
                    self._merge(paths, stats, more=False)
                    paths, stats = [], []
                    answer = self._take_unchanged(found)
                continue
            paths += found.paths
            stats += found.stats
            used = self._merge(paths, stats, more=True)
            del paths[:used], stats[:used]
            self._pulse.beat(self.tally)
        self._merge(paths, stats, more=False)
        self._close_block()
        while self._items:
            self._emit(self._items.popleft())
        self._reference.finish()
        self.tally.removed = self._reference.removed

    # ── scan side ────────────────────────────────────────────────────────────────────────────────────

    def _merge(self, paths: list[bytes], stats: list[Stat], *, more: bool) -> int:
        """Place nodes and return how many; with ``more`` to come, those that may belong to a whole page wait."""
        at, reference = 0, self._reference
        while at < len(paths):
            if reference.page is not None:
                page, columns = reference.page
                end = at + len(columns)
                if more and end > len(paths):
                    return at
                if paths[at:end] == columns.paths:
                    self._compare(page, columns, stats[at:end])
                    at = end
                    continue
            at = self._merge_run(paths, stats, at)
        return at

    def _merge_run(self, paths: list[bytes], stats: list[Stat], at: int) -> int:
        """Place one or more nodes, from ``at`` on, where the next page is not as the scan met it; return the next."""
        end = at + self._reference.agrees(paths[at : at + _BLOCK])
        if end - at >= _RUN and self._compare_run(stats[at:end]):
            return end
        end = max(end, at + 1)
        for path, info in zip(paths[at:end], stats[at:end], strict=True):
            self._place(path, info)
        return end

    def _compare(self, page: PageRef, columns: Columns, stats: Sequence[Stat]) -> None:
        """Take care of nodes that are, by their paths, exactly those of a page."""
        looks = Looks(stats)
        if looks.linked or columns.links or not looks.comparable:
            for path, info in zip(columns.paths, stats, strict=True):
                self._place(path, info)
            return
        rows = looks.changed_rows(columns)
        self._confirm_page(page, columns, [(row, entry_of(columns.paths[row], stats[row])) for row in rows])

    def _confirm_page(self, page: PageRef, columns: Columns, changed: Sequence[tuple[int, Entry]]) -> None:
        """Take the reference's next page as it is, but for the rows given, which are read again."""
        self._reference.pass_page()
        packs, missing = self._index.packs_of(columns.chunks + page.chunks)
        if not changed and not missing:
            self._close_block()
            self._items.append(Whole(page, columns, packs))
            self._emit_ready()
            return
        self._close_block()
        block = self._block
        block.entries += columns.entries()
        block.changes += [Change.UNCHANGED] * len(columns)
        for row, entry in changed:
            self._read_again(block, row, entry)
        block.trusted = not missing
        self._close_block()

    def _take_unchanged(self, offer: Unchanged) -> bool:
        """Take what the reference has at and below a directory; False, and nothing is done, when it knows another."""
        under = offer.path
        then = self._reference.peek(under)
        if then is None or not same(entry_of(under, offer.stat), then):
            return False
        self._kept.add(under, offer.doubtful)
        while True:
            page = self._reference.page_below(under)
            if page is not None and not self._kept.doubtful_rows(page[1], 0, len(page[1])):
                self._confirm_page(*page, [])
            elif (rows := self._reference.rows_below(under)) is not None:
                self._keep_rows(*rows, offer)
            else:
                break
            self._pulse.beat(self.tally)
        if self._reference.problem is not None:
            raise ScanAll("the point to compare with cannot be read to its end")
        return True

    def _keep_rows(self, columns: Columns, first: int, count: int, offer: Unchanged) -> None:
        """Place rows of a page that is taken apart as they are, but for those that have to be looked at."""
        doubtful, row = self._kept.doubtful_rows(columns, first, count), first
        for at in sorted(doubtful):
            self._keep_run(at - row)
            row = at + 1
            path = columns.paths[at]
            try:
                self._place(path, offer.look(path))
            except Unreadable as problem:
                self._notices.add(problem.notice)
                self._reference.drop()
        self._keep_run(first + count - row)

    def _keep_run(self, count: int) -> None:
        if not count:
            return
        run, block = self._reference.take(count), self._block
        block.entries += run.entries
        block.changes += [Change.UNCHANGED] * count
        if len(block.entries) >= _BLOCK:
            self._close_block()

    def _compare_run(self, stats: Sequence[Stat]) -> bool:
        """Place nodes that are, by their paths, the next rows of a page; False, and nothing is done, for hard links."""
        looks = Looks(stats)
        if looks.linked or not looks.comparable or self._reference.has_links(len(stats)):
            return False
        columns, first, entries = self._reference.take(len(stats))
        block, start = self._block, len(self._block.entries)
        block.entries += entries
        block.changes += [Change.UNCHANGED] * len(entries)
        for row in looks.changed_rows(columns, first):
            self._read_again(block, start + row, entry_of(entries[row].path, stats[row]))
        if len(block.entries) >= _BLOCK:
            self._close_block()
        return True

    def _read_again(self, block: Block, place: int, entry: Entry) -> None:
        then = block.entries[place]
        if then is not None:
            block.thens[place] = then
        block.entries[place] = None
        block.changes[place] = Change.CHANGED
        self._read_later(entry, block, place)

    def _place(self, path: bytes, info: Stat) -> None:
        """Give a node its place in the current block and decide whether it has to be read."""
        entry, block = entry_of(path, info), self._block
        then = self._reference.find(path) if not self._reference.ended else None
        place = len(block.entries)
        if info.st_nlink > 1 and entry.kind != _DIRECTORY:
            node = node_of(entry)
            if self._links is not None:
                self._names[node] = info.st_nlink
            if self._kept and node not in self._homes:
                self._find_kept_home(node, then)
            self._kept.meet(entry.inode)
            if node in self._homes:
                block.further_names[place] = (node, entry, then)
                self._put(block, None, Change.NEW if then is None else Change.CHANGED)
                return
            if then is not None and self._is_before(then.link) and same(entry, then):
                # Nothing about the node has changed, its names included: the part with the first one will have it.
                self._homes[node] = then.link
                block.elsewhere[place] = node
            else:
                self._homes[node] = None
                block.first_names[place] = node
        if then is None:
            self._put(block, None, Change.NEW)
            self._read_later(entry, block, place)
        elif same(entry, then) and (not then.link or place in block.elsewhere):
            self._put(block, then, Change.UNCHANGED)
        else:
            block.thens[place] = then
            self._put(block, None, Change.CHANGED)
            self._read_later(entry, block, place)
        if len(block.entries) >= _BLOCK:
            self._close_block()

    def _find_kept_home(self, node: Node, then: Entry | None) -> None:
        """Find out whether an earlier name of a node is in a tree that was kept: then it has the content."""
        if self._kept.doubts(node[1]):
            return  # it was looked at under every name
        if then is None or then.inode != node[1]:
            raise ScanAll("a file with several names has moved")
        if then.link and self._kept.holds(then.link):
            self._homes[node] = then.link

    def _is_before(self, link: bytes) -> bool:
        """Tell whether the first name that an entry links to belongs to an earlier part."""
        return bool(link) and sort_key(link) < self._begin

    def _put(self, block: Block, entry: Entry | None, change: Change) -> None:
        block.entries.append(entry)
        block.changes.append(change)

    def _close_block(self) -> None:
        block = self._block
        if not block.entries:
            return
        if not block.trusted:
            self._distrust(block)
        self._block = Block()
        self._items.append(block)
        self._emit_ready()

    def _distrust(self, block: Block) -> None:
        """Have those unchanged files read again whose chunks the vault does not hold: that heals it."""
        entries = [(place, entry) for place, entry in enumerate(block.entries) if entry is not None and entry.chunks]
        if not entries or self._index.contains_all(b"".join([entry.chunks for _, entry in entries])):
            return
        for place, entry in entries:
            if not self._index.contains_all(entry.chunks):
                self._read_again(block, place, entry)

    def _read_later(self, entry: Entry, block: Block, place: int) -> None:
        if self._source.block and entry.size and entry.kind == _FILE:
            self._read_large(entry, block, place)
        elif entry.size < LARGE_FILE or entry.kind != _FILE:
            batch = self._batch
            batch.add(entry, block, place)
            if batch.bytes >= _BATCH_BYTES or len(batch.entries) >= _BATCH_FILES:
                self._submit(batch)
        elif entry.size < 2 * RANGE:
            alone = Batch()
            alone.add(entry, block, place)
            self._submit(alone)
        else:
            self._read_large(entry, block, place)

    def _read_large(self, entry: Entry, block: Block, place: int) -> None:
        """Have a very large file read in ranges, as long as it stays the one that the scan met."""
        flown = self._flown.get(entry.path)
        if flown is not None and same(entry, flown.entry):
            block.large.append((place, flown))
            return
        then = block.thens.get(place)
        large = LargeFile(entry, then=reliable(then, same_blocks=self._same_blocks, index=self._index))
        try:
            for offset, length in large.ranges(self._source):
                self._await_room()
                large.add(self._call(self._crew.read_range(entry, offset, length, changed=large.only_changes)))
        except Unreadable as problem:
            self._notices.add(problem.notice)
            return
        block.large.append((place, large))

    def _submit(self, batch: Batch) -> Future[Read]:
        if batch is self._batch:
            self._batch = Batch()
        self._await_room()
        batch.future = self._call(self._crew.read(batch.entries))
        return batch.future

    def _call(self, future: Future[Any]) -> Future[Any]:
        self._calls.add(future)
        return future

    def _await_room(self) -> None:
        """Wait until the crew can take one more call."""
        while len(self._calls) >= self._crew.limit:
            done, self._calls = wait_for(self._calls, timeout=self._pulse.PATIENCE, return_when=FIRST_COMPLETED)
            for future in done:
                future.exception()  # whoever needs the result raises it
            self._pulse.beat(self.tally)

    # ── writing side ─────────────────────────────────────────────────────────────────────────────────

    def _emit_ready(self) -> None:
        while self._items and (len(self._items) > _WINDOW or self._items[0].ready()):
            self._emit(self._items.popleft())

    def _emit(self, item: Block | Whole) -> None:
        """Wait until an item is complete and give its entries to the writer, in order."""
        if isinstance(item, Whole):
            self._emit_page(item)
        else:
            self._emit_block(item)
        self._pulse.beat(self.tally)

    def _emit_page(self, item: Whole) -> None:
        self.tally.count_page(item.columns)
        if self._writer.between_pages:
            self._writer.add_page(item.page, item.packs)
            return
        # The page before it ended elsewhere than it used to: until cuts fall together again, entry by entry.
        self._writer.add_entries(item.columns.entries())

    def _emit_block(self, block: Block) -> None:
        for batch in block.batches:
            self._settle(batch)
        for place, large in block.large:
            self._settle_large(block, place, large)
        if block.first_names or block.further_names or block.elsewhere:
            self._name(block)
            if self._links is not None:
                self._note_links(block, self._links)
        kept = [
            (entry, change) for entry, change in zip(block.entries, block.changes, strict=True) if entry is not None
        ]
        self._writer.add_entries([entry for entry, _ in kept])
        self.tally.count(kept)

    def _name(self, block: Block) -> None:
        """Settle the names of nodes that have several, in order."""
        for place, entry in enumerate(block.entries):
            if place in block.further_names:
                block.entries[place], block.changes[place] = self._further_name(
                    *block.further_names[place], block.changes[place]
                )
            elif place in block.first_names and entry is not None:
                self._homes[block.first_names[place]] = entry.path

    def _note_links(self, block: Block, log: LinkLog) -> None:
        """Tell the log of entries whose nodes have several names, unless another node stands there by now."""
        at = self.tally.files + self.tally.directories
        for place, entry in enumerate(block.entries):
            if entry is None:
                continue
            trusted = place in block.elsewhere
            node = block.elsewhere[place] if trusted else block.first_names.get(place)
            if place in block.further_names:
                node = block.further_names[place][0]
                node = node if entry.link or node_of(entry) == node else None
            if node is not None:
                log.note(at, node, names=self._names[node], trusted=trusted)
            at += 1

    def _settle(self, batch: Batch) -> None:
        """Put the results of a batch into their places. Once is enough."""
        if batch.settled:
            return
        result = self._wait(batch.future or self._submit(batch))
        batch.settled = True
        self.tally.bytes_read += result.bytes_read
        for (block, place), entry in zip(batch.places, result.entries, strict=True):
            block.entries[place] = entry
            if block.first_names or block.thens:
                self._look_again(block, place, entry)
        for notice in result.notices:
            self._notices.add(notice)
        # Blocks and batches know each other: untied here, they go at once and not with some later collection.
        batch.entries, batch.places = [], []

    def _look_again(self, block: Block, place: int, entry: Entry | None) -> None:
        """Draw conclusions from how a node turned out to be when it was read."""
        if entry is None:
            return
        if block.first_names.get(place, node_of(entry)) != node_of(entry):
            del block.first_names[place]  # another file stands here by now: further names do not lead to it
        if place in block.thens and equal(entry, block.thens[place]):
            block.changes[place] = Change.UNCHANGED

    def _settle_large(self, block: Block, place: int, large: LargeFile) -> None:
        try:
            entry = large.put_together([self._wait(part) for part in large.parts])
        except Unreadable:
            entry = None
        self.tally.bytes_read += large.bytes_read
        if entry is None:
            # It changed, or a part of it could not be read: once more, in one go, which tells what is wrong.
            again = Batch()
            again.add(large.entry, block, place)
            self._submit(again)
            self._settle(again)
            return
        block.entries[place] = entry
        self._look_again(block, place, entry)

    def _wait(self, future: Future[Any]) -> Any:
        while not future.done():
            wait_for([future], timeout=self._pulse.PATIENCE)
            self._pulse.beat(self.tally)
        self._calls.discard(future)
        return future.result()

    def _further_name(
        self, node: Node, entry: Entry, then: Entry | None, change: Change
    ) -> tuple[Entry | None, Change]:
        """Return the entry for a name whose node was met before under another one."""
        home = self._homes[node]
        if home is not None:
            if then is not None and then.link == home and same(entry, then):
                return then, Change.UNCHANGED
            entry.link = home
            return entry, change
        # The first name was lost on the way, so this one carries the content.
        result: Read = self._wait(self._crew.read([entry]))
        self.tally.bytes_read += result.bytes_read
        for notice in result.notices:
            self._notices.add(notice)
        found = result.entries[0]
        if found is not None and node_of(found) == node:
            self._homes[node] = found.path
        return found, change


def _next(scan: Iterator[Found | Notice | Unchanged], answer: bool | None) -> Found | Notice | Unchanged | None:
    """Return what the scan yields next, None at its end."""
    if answer is None or not isinstance(scan, Generator):
        return next(scan, None)
    try:
        found: Found | Notice | Unchanged = scan.send(answer)
    except StopIteration:
        return None
    return found
