"""The map of a disk as clients want it: where they may take zeros for granted.

QEMU copies in sectors and takes a sector for empty when only its end is: it would lose bytes that share a sector with a
hole. So holes are told in whole blocks, and what is left of them at either side counts as data.

Rule of the file: saying "data" of a hole costs time, saying "hole" of data costs the data.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator

GRAIN = 4096


def in_whole_blocks(extents: Iterable[tuple[int, int, bool]], *, size: int) -> Iterator[tuple[int, bool]]:
    """Yield (length, is a hole) of consecutive extents, with holes on blocks of ``GRAIN`` bytes or up to the end."""
    data = 0  # seen, and not yielded yet
    for offset, length, is_hole in extents:
        end = offset + length
        begin = -(-offset // GRAIN) * GRAIN
        stop = end if end == size else end - end % GRAIN
        if not is_hole or begin >= stop:
            data += length
            continue
        data += begin - offset
        if data:
            yield data, False
        yield stop - begin, True
        data = end - stop
    if data:
        yield data, False
