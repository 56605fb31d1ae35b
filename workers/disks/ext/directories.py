"""Directories: names and numbers of inodes, in whole blocks or inside of the inode itself.

The hash tree of large directories hides in entries without an inode, so that reading all blocks in order finds all.

Rule of the file: an entry that leaves its block is ``Damaged``; names are bytes, and somebody else judges them.
"""

from __future__ import annotations

import struct
from collections.abc import Iterator

from workers.disks.file_system import Child
from workers.disks.volume import Damaged

_ENTRY = struct.Struct("<IHBB")
_WHOLE = 65536
_ITSELF = (b".", b"..")


def entries(block: bytes, *, types: bool) -> Iterator[Child]:
    """Yield what a block has; ``types`` tells that the length of a name has one byte and not two."""
    at = 0
    while at + 8 <= len(block):
        number, length, name_length, kind = _ENTRY.unpack_from(block, at)
        if not types:
            name_length |= kind << 8
        if length in (0, _WHOLE - 1) and len(block) == _WHOLE:
            length = _WHOLE
        if length < 8 or length % 4 or at + length > len(block) or name_length > length - 8:
            raise Damaged("an entry of a directory leaves its block")
        name = block[at + 8 : at + 8 + name_length]
        if number and name_length and name not in _ITSELF:
            yield Child(name, number)
        at += length
