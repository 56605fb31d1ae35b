"""What is on its way through a backup's flow: blocks of nodes, whole pages, and the batches that the crew reads.

Rule of the file: values and what belongs together; in which order things happen is ``flow``'s.
"""

from __future__ import annotations

from collections.abc import Iterable
from concurrent.futures import Future

from shared.vault.chunk_table import PackInfo
from shared.vault.entry import Entry
from shared.vault.pages import Columns
from shared.vault.point import PageRef
from workers.engine.large_file import LargeFile
from workers.engine.reading import Read
from workers.engine.tally import Change

Node = tuple[int, int]
"""Device and inode: what several names of one file share."""


def node_of(entry: Entry) -> Node:
    """Return which node an entry is a name of."""
    return entry.device, entry.inode


class Batch:
    """Nodes that one call of the crew takes care of, and where their entries belong."""

    __slots__ = ("bytes", "entries", "future", "places", "settled")

    def __init__(self) -> None:
        self.entries: list[Entry] = []
        self.places: list[tuple[Block, int]] = []
        self.bytes = 0
        self.future: Future[Read] | None = None
        self.settled = False

    def add(self, entry: Entry, block: Block, place: int) -> None:
        """Take one more node, whose entry belongs to this place of the block."""
        self.entries.append(entry)
        self.places.append((block, place))
        self.bytes += entry.size
        if not block.batches or block.batches[-1] is not self:
            block.batches.append(self)


class Block:
    """Consecutive nodes of the scan."""

    __slots__ = (
        "batches",
        "changes",
        "elsewhere",
        "entries",
        "first_names",
        "further_names",
        "large",
        "thens",
        "trusted",
    )

    def __init__(self) -> None:
        self.entries: list[Entry | None] = []  # None: not known yet, or not in the point
        self.changes: list[Change] = []
        self.thens: dict[int, Entry] = {}  # what the reference has, for those that are read
        self.batches: list[Batch] = []
        self.large: list[tuple[int, LargeFile]] = []
        self.first_names: dict[int, Node] = {}
        self.further_names: dict[int, tuple[Node, Entry, Entry | None]] = {}
        self.elsewhere: dict[int, Node] = {}  # unchanged further names of nodes whose first name is in an earlier part
        self.trusted = False  # the vault is known to hold the chunks of what is unchanged

    def ready(self) -> bool:
        """Tell whether nothing of it has to be waited for."""
        parts = (part for _, large in self.large for part in large.parts)
        return all(batch.future is not None and batch.future.done() for batch in self.batches) and all(
            part.done() for part in parts
        )


class Whole:
    """A page of the reference that the scan has confirmed: its reference, its columns, the packs behind it."""

    __slots__ = ("columns", "packs", "page")

    def __init__(self, page: PageRef, columns: Columns, packs: Iterable[PackInfo]) -> None:
        self.page = page
        self.columns = columns
        self.packs = packs

    def ready(self) -> bool:
        """Tell whether nothing of it has to be waited for."""
        return True
