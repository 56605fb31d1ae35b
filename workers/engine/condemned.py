"""What a writer does about condemned packs: it forgets them before it compares anything (decision 12).

It asks after its claim, which has registered it: whatever is condemned later waits for it to end.

Rule of the file: all pages or none. A writer that could not ask has not begun.
"""

from __future__ import annotations

from collections.abc import Iterator

from shared.contracts.collect import CondemnedPack
from shared.vault.index import ChunkIndex
from workers.engine.desk import CondemnedList


def condemned_packs(desk: CondemnedList) -> Iterator[CondemnedPack]:
    """Yield all condemned packs by name, page by page."""
    after, more = "", True
    while more:
        page = desk.condemned(after)
        yield from page.packs
        after = page.packs[-1].name if page.packs else after
        more = page.more and bool(page.packs)


def forget_condemned(index: ChunkIndex, desk: CondemnedList) -> None:
    """Make the index forget every condemned pack, and refuse it wherever it is met later in the run."""
    index.forget(pack.name for pack in condemned_packs(desk))
