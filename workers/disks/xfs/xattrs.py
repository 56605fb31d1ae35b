"""Extended attributes: in the inode, in a chain of blocks, large values in blocks of their own.

ACLs are kept as attributes with names of their own and given as the kernel shows them.

Rule of the file: names with their prefixes and whole values, as ``getxattr`` has them; never a part of them.
"""

from __future__ import annotations

import struct
from collections.abc import Callable, Iterator

from workers.disks.posix_acl import shown_sgi_acl
from workers.disks.volume import Damaged
from workers.disks.xfs.inodes import Fork, Format

_LEAVES = (0xFBEE, 0x3BEE)
_NODES = (0xFEBE, 0x3EBE)
_HERE, _ROOT, _SECURE, _PARENT, _INCOMPLETE = 0x1, 0x2, 0x4, 0x8, 0x80
_VALUE_HEADER = 56
_VALUE_MAGIC = b"XARM"
_LARGEST = 64 * 1024
_MOST_BLOCKS = 1 << 16
_ACLS = {
    b"trusted.SGI_ACL_FILE": b"system.posix_acl_access",
    b"trusted.SGI_ACL_DEFAULT": b"system.posix_acl_default",
}

Read = Callable[[int, int], bytes]
"""Reads so many blocks of the fork, from this one on."""


def read_xattrs(fork: Fork, read: Read, *, newest: bool, block_size: int) -> dict[bytes, bytes]:
    """Return all xattrs of a node."""
    if fork.format == Format.LOCAL:
        rows = _in_inode(fork.room)
    elif not fork.extents:
        return {}
    else:
        rows = _in_blocks(read, newest=newest, block_size=block_size)
    found = {}
    for flags, name, value in rows:
        if not flags & (_PARENT | _INCOMPLETE):
            prefix = b"trusted." if flags & _ROOT else b"security." if flags & _SECURE else b"user."
            whole = prefix + name
            found[_ACLS.get(whole, whole)] = shown_sgi_acl(value) if whole in _ACLS else value
    return found


def _in_inode(room: bytes) -> Iterator[tuple[int, bytes, bytes]]:
    if len(room) < 4:
        raise Damaged("the extended attributes are cut short")
    total, count = struct.unpack_from(">HB", room)
    room, at = room[:total], 4
    for _ in range(count):
        if at + 3 > len(room):
            raise Damaged("an extended attribute leaves its inode")
        length, size, flags = room[at], room[at + 1], room[at + 2]
        value = room[at + 3 + length : at + 3 + length + size]
        if len(value) != size:
            raise Damaged("an extended attribute leaves its inode")
        yield flags, room[at + 3 : at + 3 + length], value
        at += 3 + length + size


def _in_blocks(read: Read, *, newest: bool, block_size: int) -> Iterator[tuple[int, bytes, bytes]]:
    number, seen = _leftmost(read, newest=newest), 0
    while seen < _MOST_BLOCKS:
        seen += 1
        block = read(number, 1)
        forward, _, magic = struct.unpack_from(">IIH", block)
        if magic != _LEAVES[newest]:
            raise Damaged("a block of extended attributes is damaged")
        yield from _in_leaf(block, read, newest=newest, block_size=block_size)
        if not forward:
            return
        number = forward
    raise Damaged("the extended attributes go round in a circle")


def _leftmost(read: Read, *, newest: bool) -> int:
    number = 0
    for _ in range(8):
        block = read(number, 1)
        if struct.unpack_from(">H", block, 8)[0] != _NODES[newest]:
            return number
        number = struct.unpack_from(">I", block, (64 if newest else 16) + 4)[0]
    raise Damaged("the index of extended attributes is too deep")


def _in_leaf(block: bytes, read: Read, *, newest: bool, block_size: int) -> Iterator[tuple[int, bytes, bytes]]:
    count = struct.unpack_from(">H", block, 56 if newest else 12)[0]
    first = 80 if newest else 32
    if first + 8 * count > len(block):
        raise Damaged("a block of extended attributes is damaged")
    for at in range(first, first + 8 * count, 8):
        _, place, flags = struct.unpack_from(">IHB", block, at)
        if place + 12 > len(block):
            raise Damaged("an extended attribute leaves its block")
        if flags & _HERE:
            size, length = struct.unpack_from(">HB", block, place)
            name = block[place + 3 : place + 3 + length]
            value = block[place + 3 + length : place + 3 + length + size]
        else:
            number, size, length = struct.unpack_from(">IIB", block, place)
            name = block[place + 9 : place + 9 + length]
            value = b"" if flags & _INCOMPLETE else _far(read, number, size, newest=newest, block_size=block_size)
        if len(name) != length or (len(value) != size and not flags & _INCOMPLETE):
            raise Damaged("an extended attribute leaves its block")
        yield flags, name, value


def _far(read: Read, number: int, size: int, *, newest: bool, block_size: int) -> bytes:
    if size > _LARGEST:
        raise Damaged("an extended attribute has an absurd size")
    room = block_size - _VALUE_HEADER if newest else block_size
    data = read(number, -(-size // room))
    if not newest:
        return data[:size]
    value = bytearray()
    for at in range(0, len(data), block_size):
        magic, _, count = struct.unpack_from(">4sII", data, at)
        if magic != _VALUE_MAGIC or count > room:
            raise Damaged("a block of an extended attribute is damaged")
        value += data[at + _VALUE_HEADER : at + _VALUE_HEADER + count]
    return bytes(value[:size])
