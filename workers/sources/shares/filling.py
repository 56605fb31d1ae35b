"""Where the bytes of a point belong in a file that is written on a server.

Rule of the file: bytes of the point in, places out; ``object-damaged`` when they are not the file's.
"""

from __future__ import annotations

from collections.abc import Iterator

from shared.errors import SkyharborError
from shared.vault.entry import Entry
from workers.engine.proving import data_ranges


def placed(entry: Entry, chunks: Iterator[memoryview], *, most: int) -> Iterator[tuple[int, memoryview]]:
    """Yield pieces of at most ``most`` bytes and where they go between the holes; what they lack is told at the end."""
    ranges = data_ranges(entry) if entry.holes else iter([(0, entry.size)])
    at, left, written = 0, 0, 0
    for chunk in chunks:
        rest = chunk
        while len(rest):
            if not left:
                at, left = next(ranges, (0, 0))
                if not left:
                    raise SkyharborError("object-damaged", "the file has more data than room between its holes")
            count = min(left, len(rest), most)
            yield at, rest[:count]
            rest, at, left, written = rest[count:], at + count, left - count, written + count
    if written != entry.size - sum(length for _, length in entry.holes):
        raise SkyharborError("object-damaged", f"the file's chunks have {written} bytes, which is not its size")
