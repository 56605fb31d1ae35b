"""Inodes: what a node is, whose, from when, and the 60 bytes that say where its data is.

Rule of the file: fixed offsets of ``struct ext4_inode``; an inode that is not in use is ``Damaged``.
"""

from __future__ import annotations

import os
import stat
import struct
from collections import OrderedDict
from typing import NamedTuple

from workers.disks.ext.superblock import Superblock, inode_table
from workers.disks.volume import Damaged, Volume

ENCRYPTED = 0x800
EXTENTS = 0x80000
INLINE_DATA = 0x10000000

_KEPT = 256
_RUN = 16 * 1024  # of an inode table, read at once
_BILLION = 1_000_000_000


class Inode(NamedTuple):
    """A node. ``raw`` is all of it, for what is seldom asked."""

    number: int
    mode: int  # st_mode
    uid: int
    gid: int
    size: int
    mtime_ns: int
    ctime_ns: int
    links: int
    flags: int
    root: bytes  # i_block
    xattr_block: int
    raw: bytes

    @property
    def rdev(self) -> int:
        """The device that a special node stands for."""
        old, new = struct.unpack_from("<II", self.root)
        if old:
            return os.makedev(old >> 8 & 0xFF, old & 0xFF)
        return os.makedev(new >> 8 & 0xFFF, new & 0xFF | new >> 12 & 0xFFF00)


class Inodes:
    """The inode tables of a file system."""

    def __init__(self, volume: Volume, superblock: Superblock) -> None:
        self._volume, self._sb = volume, superblock
        self._tables: dict[int, int] = {}
        self._runs: OrderedDict[tuple[int, int], bytes] = OrderedDict()

    def get(self, number: int) -> Inode:
        """Return an inode that is in use. Raises ``Damaged``."""
        inode = _parse(number, self._raw(number))
        if not inode.mode or not inode.links:
            raise Damaged(f"inode {number} is not in use")
        if stat.S_IFMT(inode.mode) not in _TYPES:
            raise Damaged(f"inode {number} is of a type that does not exist")
        return inode

    def _raw(self, number: int) -> bytes:
        sb = self._sb
        if not 0 < number <= sb.inodes:
            raise Damaged(f"there is no inode {number}")
        group, place = divmod(number - 1, sb.inodes_per_group)
        run, at = divmod(place * sb.inode_size, max(_RUN, sb.inode_size))
        data = self._runs.get((group, run))
        if data is None:
            data = self._fetch(group, run)
        raw = data[at : at + sb.inode_size]
        if len(raw) != sb.inode_size:
            raise Damaged(f"inode {number} is outside of the file system")
        return raw

    def _fetch(self, group: int, run: int) -> bytes:
        if group not in self._tables:
            self._tables[group] = inode_table(self._volume, self._sb, group)
        length = max(_RUN, self._sb.inode_size)
        table = self._sb.inodes_per_group * self._sb.inode_size
        begin = run * length
        data = self._volume.read(self._tables[group] * self._sb.block_size + begin, min(length, table - begin))
        self._runs[(group, run)] = data
        if len(self._runs) > _KEPT:
            self._runs.popitem(last=False)
        return data


_TYPES = frozenset({
    stat.S_IFREG, stat.S_IFDIR, stat.S_IFLNK, stat.S_IFIFO, stat.S_IFSOCK, stat.S_IFCHR, stat.S_IFBLK,
})  # fmt: skip
_FIELDS = struct.Struct("<HHIIiiIHHII4x60sIIIIHHHH4x")


def _parse(number: int, raw: bytes) -> Inode:
    (
        mode, uid, size, _, ctime, mtime, _, gid, links, _, flags, root, _, xattrs, size_high, _,
        _, xattrs_high, uid_high, gid_high,
    ) = _FIELDS.unpack_from(raw)  # fmt: skip
    extra = struct.unpack_from("<H", raw, 128)[0] if len(raw) > 132 else 0
    mtime_ns, ctime_ns = mtime * _BILLION, ctime * _BILLION
    if extra >= 12:
        more_ctime, more_mtime = struct.unpack_from("<II", raw, 132)
        mtime_ns, ctime_ns = _moment(mtime, more_mtime), _moment(ctime, more_ctime)
    if stat.S_ISREG(mode) or stat.S_ISDIR(mode):
        size |= size_high << 32
    return Inode(
        number, mode, uid | uid_high << 16, gid | gid_high << 16, size, mtime_ns, ctime_ns, links, flags, root,
        xattrs | xattrs_high << 32, raw,
    )  # fmt: skip


def _moment(seconds: int, more: int) -> int:
    return (seconds + ((more & 3) << 32)) * _BILLION + (more >> 2)
