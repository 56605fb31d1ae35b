"""Directories: small ones inside of the inode, others in blocks of entries; indexes beside them are not needed.

Rule of the file: an entry that leaves its place is ``Damaged``; names are bytes, and somebody else judges them.
"""

from __future__ import annotations

import struct
from collections.abc import Iterator

from workers.disks.file_system import Child
from workers.disks.volume import Damaged

LEAVES = 32 * 1024 * 1024 * 1024
"""From this byte on a directory has indexes instead of entries."""

_SINGLE = (b"XD2B", b"XDB3")
_DATA = (b"XD2D", b"XDD3")
_HEADERS = (16, 64)
_FREE = 0xFFFF
_ITSELF = (b".", b"..")


def in_inode(room: bytes, size: int, *, types: bool) -> Iterator[Child]:
    """Yield what a directory in its inode has."""
    data = room[:size]
    if len(data) < 6:
        raise Damaged("a directory is cut short")
    count, wide = data[0], bool(data[1])
    width = 8 if wide else 4
    at = 2 + width
    for _ in range(count):
        length = data[at] if at < len(data) else 0
        end = at + 3 + length + types
        if not length or end + width > len(data):
            raise Damaged("an entry of a directory leaves its inode")
        yield Child(data[at + 3 : at + 3 + length], int.from_bytes(data[end : end + width], "big"))
        at = end + width


def in_block(block: bytes, *, types: bool, newest: bool) -> Iterator[Child]:
    """Yield what a block of a directory has."""
    magic = block[:4]
    end = len(block)
    if magic == _SINGLE[newest]:
        count = struct.unpack_from(">I", block, end - 8)[0]
        end -= 8 + 8 * count
    elif magic != _DATA[newest]:
        raise Damaged("a block of a directory is damaged")
    at = _HEADERS[newest]
    while at + 8 < end:
        tag, free = struct.unpack_from(">HH", block, at)
        if tag == _FREE:
            if free < 8 or free % 8:
                raise Damaged("free room in a directory is damaged")
            at += free
            continue
        number, length = struct.unpack_from(">QB", block, at)
        size = 8 + 1 + length + types + 2
        if not length or at + size > end:
            raise Damaged("an entry of a directory leaves its block")
        name = block[at + 9 : at + 9 + length]
        if name not in _ITSELF:
            yield Child(name, number)
        at += size + 7 & ~7
