"""Joins the parts of a backup in shards: their pages one after the other, and names of one node together again.

Each part gives the first of its names of a node the content, as if there were no other part. Here the names find
together: every name but the first of all becomes a link to that one, and the pages that these entries are in are
written anew. All other pages are taken as they are, so this costs what is linked across parts.

Rule of the file: a link is made only between entries that say the same of the node; in doubt a name keeps its content.
"""

from __future__ import annotations

from bisect import bisect_right
from collections.abc import Callable, Iterator, Sequence
from itertools import accumulate

import msgspec

from shared.crypto.domain_keys import DomainKeys
from shared.errors import SkyharborError
from shared.vault.chunk_finder import ChunkFinder
from shared.vault.chunk_reader import ChunkReader
from shared.vault.entry import Entry
from shared.vault.index import ChunkIndex
from shared.vault.point import PageRef
from shared.vault.reader import read_pages
from shared.vault.segment_source import SegmentSource
from shared.vault.vault import Vault
from shared.vault.writer import PointWriter
from workers.engine.links import LinkRow, Node
from workers.engine.reference import equal, same
from workers.engine.shard_messages import PartReport

_KEEP = 16 * 1024 * 1024

ReadAgain = Callable[[Entry], Entry | None]
"""Reads a node into the vault for the joining writer; None when it is gone or unreadable, which was said."""


class Joining:
    """Takes the parts in order. One thread. ``check`` is called before every page that is looked at, and may raise.

    ``bytes`` is by how much the parts counted too much or too little: a node with several names counts once.
    """

    def __init__(
        self,
        vault: Vault,
        keys: DomainKeys,
        index: ChunkIndex,
        writer: PointWriter,
        read_again: ReadAgain,
        check: Callable[[], None],
    ) -> None:
        self.bytes = 0
        self._vault, self._keys, self._index = vault, keys, index
        self._writer = writer
        self._read_again = read_again
        self._check = check
        # By node, the first entry that has its content. It grows with the number of nodes linked across parts.
        self._homes: dict[Node, Entry] = {}
        self._moved: dict[Node, bytes | None] = {}  # whereto names of this part link now; None: nowhere

    def add(self, report: PartReport) -> None:
        """Take the next part. Raises ``object-damaged`` and ``object-missing`` when a page cannot be read."""
        self._moved = {}
        self._writer.join(report.part, self._pages(report))

    def _pages(self, report: PartReport) -> Iterator[PageRef | Sequence[Entry]]:
        part, rows = report.part, _by_page(report)
        if not rows:
            yield from part.pages
            return
        finder = ChunkFinder(self._vault, self._keys, part.packs, self._index)
        chunks = ChunkReader(finder, SegmentSource(self._vault, self._keys, keep=_KEEP), self._keys)
        for number, page in enumerate(part.pages):
            if number not in rows:
                yield page
                continue
            self._check()
            before = _entries(page, chunks)
            after: list[Entry | None] = list(before)
            for row, link in rows[number]:
                after[row] = self._settled(before[row], link)
            if after == before:
                yield page
            elif left := [entry for entry in after if entry is not None]:
                yield left

    def _settled(self, entry: Entry, row: LinkRow) -> Entry | None:
        """Return what becomes of a name."""
        home = self._homes.get(row.node)
        if row.trusted:
            if home is not None and same(entry, home):
                self._moved[row.node] = home.path
                return _linked(entry, home.path)
            return self._with_content(entry, row.node)
        if entry.link:
            if row.node not in self._moved:
                return entry
            target = self._moved[row.node]
            return self._with_content(entry, row.node) if target is None else _linked(entry, target)
        if home is None:
            self._homes[row.node] = entry
        elif home.inode == entry.inode and equal(entry, home):
            self._moved[row.node] = home.path
            self.bytes -= entry.size
            return _linked(entry, home.path)
        return entry

    def _with_content(self, entry: Entry, node: Node) -> Entry | None:
        """Read a name whose first name is not in the point: the names after it will be added to it."""
        bare = msgspec.structs.replace(entry, device=node[0], inode=node[1], link=b"")
        found = self._read_again(bare)
        self._moved[node] = None
        if found is not None:
            self._writer.refer(found.chunks)
            self.bytes += found.size
            if (found.device, found.inode) == node:
                self._homes[node] = found
                self._moved[node] = found.path
        return found


def _by_page(report: PartReport) -> dict[int, list[tuple[int, LinkRow]]]:
    """Return the noted entries by the number of their page, with their row in it."""
    starts = [0, *accumulate(page.entries for page in report.part.pages)]
    found: dict[int, list[tuple[int, LinkRow]]] = {}
    for row in report.links.rows():
        number = bisect_right(starts, row.place) - 1
        found.setdefault(number, []).append((row.place - starts[number], row))
    return found


def _entries(page: PageRef, chunks: ChunkReader) -> list[Entry]:
    for outcome in read_pages([page], chunks):
        if isinstance(outcome, SkyharborError):
            raise outcome
        return outcome.entries()
    raise AssertionError("every page has an outcome")


def _linked(entry: Entry, to: bytes) -> Entry:
    return msgspec.structs.replace(entry, link=to, chunks=b"", target=b"", holes=(), xattrs=(), flags=0)
