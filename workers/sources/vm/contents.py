"""The data of a disk in a point, in order, fetched ahead by several threads.

Rule of the file: never more in memory than a few windows; size, holes and chunks must fit together.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Callable, Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from typing import Final

from shared.errors import SkyharborError
from shared.vault.chunk_reader import ChunkReader
from shared.vault.chunk_table import ID_SIZE
from shared.vault.entry import Entry
from workers.engine.proving import data_ranges

_WINDOW_IDS: Final = 64 * ID_SIZE
_AHEAD: Final = 4
_PATIENCE: Final = 0.2


def pieces(
    entry: Entry, chunks: ChunkReader, pool: ThreadPoolExecutor, check: Callable[[], None]
) -> Iterator[tuple[int, memoryview]]:
    """Yield (offset, data) of all that is no hole.

    ``check`` is called often, and may raise to stop. Raises ``object-damaged`` and what the chunk reader raises.
    """
    ranges = data_ranges(entry)
    at, left = next(ranges, (0, 0))
    for chunk in _chunks(entry.chunks, chunks, pool, check):
        rest = chunk
        while len(rest):
            if not left:
                at, left = next(ranges, (0, 0))
                if not left:
                    raise SkyharborError("object-damaged", "the disk has more data than room between its holes")
            count = min(left, len(rest))
            yield at, rest[:count]
            rest, at, left = rest[count:], at + count, left - count
    if left or next(ranges, None) is not None:
        raise SkyharborError("object-damaged", "the disk has less data than room between its holes")


def _chunks(
    ids: bytes, chunks: ChunkReader, pool: ThreadPoolExecutor, check: Callable[[], None]
) -> Iterator[memoryview]:
    windows = (ids[at : at + _WINDOW_IDS] for at in range(0, len(ids), _WINDOW_IDS))
    waiting: deque[Future[list[memoryview]]] = deque()
    try:
        for window in windows:
            waiting.append(pool.submit(lambda part: list(chunks.read_chunks(part)), window))
            if len(waiting) > _AHEAD:
                yield from _result(waiting.popleft(), check)
        while waiting:
            yield from _result(waiting.popleft(), check)
    finally:
        for future in waiting:
            future.cancel()


def _result(future: Future[list[memoryview]], check: Callable[[], None]) -> list[memoryview]:
    while True:
        check()
        try:
            return future.result(_PATIENCE)
        except TimeoutError:
            if future.done():
                raise
