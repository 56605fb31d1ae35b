"""Extended attributes: in the inode, in a block of their own, large ones in inodes of their own.

POSIX ACLs are stored in a form of the file system's and given as the kernel shows them.

Rule of the file: names with their prefixes and whole values, as ``getxattr`` has them; never a part of them.
"""

from __future__ import annotations

import struct
from collections.abc import Callable, Iterator

from workers.disks.ext.inodes import Inode
from workers.disks.posix_acl import shown_acl
from workers.disks.volume import Damaged

_MAGIC = 0xEA020000
_PREFIXES = {
    1: b"user.", 2: b"system.posix_acl_access", 3: b"system.posix_acl_default", 4: b"trusted.", 6: b"security.",
    7: b"system.", 8: b"system.richacl",
}  # fmt: skip
_ACLS = (2, 3)
_ENTRY = struct.Struct("<BBHIII")
DATA = b"system.data"
_LARGEST = 16 * 1024 * 1024

FromInode = Callable[[int, int], bytes]
"""Reads so many bytes from the inode of this number."""


def read_xattrs(inode: Inode, block: bytes, from_inode: FromInode) -> dict[bytes, bytes]:
    """Return all xattrs; what is inline content of a small file is among them (``DATA``)."""
    found = dict(_in_inode(inode.raw, from_inode))
    if block:
        if struct.unpack_from("<I", block)[0] != _MAGIC:
            raise Damaged(f"the extended attributes of inode {inode.number} are damaged")
        found |= dict(_listed(block, 32, 0, from_inode))
    return found


def _in_inode(raw: bytes, from_inode: FromInode) -> Iterator[tuple[bytes, bytes]]:
    if len(raw) < 132:
        return
    first = 128 + int(struct.unpack_from("<H", raw, 128)[0])
    if first + 8 <= len(raw) and struct.unpack_from("<I", raw, first)[0] == _MAGIC:
        yield from _listed(raw, first + 4, first + 4, from_inode)


def _listed(data: bytes, at: int, base: int, from_inode: FromInode) -> Iterator[tuple[bytes, bytes]]:
    while at + 4 <= len(data) and data[at : at + 4] != bytes(4):
        if at + _ENTRY.size > len(data):
            raise Damaged("an extended attribute leaves its place")
        length, index, offset, inode, size, _ = _ENTRY.unpack_from(data, at)
        name = data[at + _ENTRY.size : at + _ENTRY.size + length]
        if inode:
            if size > _LARGEST:
                raise Damaged("an extended attribute has an absurd size")
            value = from_inode(inode, size)
        else:
            value = data[base + offset : base + offset + size]
        if len(name) != length or len(value) != size:
            raise Damaged("an extended attribute leaves its place")
        if index in _PREFIXES:
            yield _PREFIXES[index] + name, shown_acl(value) if index in _ACLS else value
        at += _ENTRY.size + (length + 3 & ~3)
