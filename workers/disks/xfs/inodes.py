"""Inodes: what a node is, whose, from when, and its two forks, of data and of attributes.

Rule of the file: fixed offsets of ``struct xfs_dinode``; an inode that is not in use is ``Damaged``.
"""

from __future__ import annotations

import os
import stat
import struct
from enum import IntEnum
from typing import NamedTuple

from shared.vault.node_flags import NodeFlag
from workers.disks.volume import Damaged, Volume, read_exactly
from workers.disks.xfs.superblock import Superblock

_MAGIC = b"IN"
_CORE_2, _CORE_3 = 100, 176
_BIG_TIME, _MANY_EXTENTS = 0x8, 0x10
_REALTIME = 0x1
_BILLION = 1_000_000_000
_BIG_TIME_EPOCH = 1 << 31
_FLAGS = {
    0x8: NodeFlag.IMMUTABLE, 0x10: NodeFlag.APPEND_ONLY, 0x20: NodeFlag.SYNC, 0x40: NodeFlag.NO_ATIME,
    0x80: NodeFlag.NO_DUMP, 0x200: NodeFlag.INHERIT_PROJECT,
}  # fmt: skip


class Format(IntEnum):
    """How a fork keeps what it has."""

    DEVICE = 0
    LOCAL = 1
    EXTENTS = 2
    TREE = 3


class Fork(NamedTuple):
    """One of the two: its form, its room in the inode, how many extents it lists there."""

    format: int
    room: bytes
    extents: int


class Inode(NamedTuple):
    """A node."""

    number: int
    mode: int  # st_mode
    uid: int
    gid: int
    size: int
    mtime_ns: int
    ctime_ns: int
    links: int
    flags: int  # of chattr
    realtime: bool
    data: Fork
    attributes: Fork | None

    @property
    def rdev(self) -> int:
        """The device that a special node stands for."""
        device = struct.unpack_from(">I", self.data.room)[0]
        return os.makedev(device >> 18 & 0x3FFF, device & 0x3FFFF)


def read_inode(volume: Volume, sb: Superblock, number: int) -> Inode:
    """Return an inode that is in use. Raises ``Damaged``."""
    raw = read_exactly(volume, sb.inode_at(number), sb.inode_size)
    mode, version, form = struct.unpack_from(">HBB", raw, 2)
    if raw[:2] != _MAGIC or version not in (2, 3) or (version == 3) != (sb.version == 5):
        raise Damaged(f"inode {number} is damaged")
    if version == 3 and struct.unpack_from(">Q", raw, 152)[0] != number:
        raise Damaged(f"inode {number} says that it is another one")
    if stat.S_IFMT(mode) not in _TYPES:
        raise Damaged(f"inode {number} is not in use")
    uid, gid, links = struct.unpack_from(">III", raw, 8)
    size, _, _, extents, attribute_extents, offset, attribute_form, _, _, flags = struct.unpack_from(
        ">QQIIHBBIHH", raw, 56
    )
    flags_2 = struct.unpack_from(">Q", raw, 120)[0] if version == 3 else 0
    if flags_2 & _MANY_EXTENTS:
        extents, attribute_extents = struct.unpack_from(">Q", raw, 24)[0], extents
    room = raw[_CORE_3 if version == 3 else _CORE_2 :]
    if offset * 8 > len(room):
        raise Damaged(f"inode {number} has its attributes outside of itself")
    split = offset * 8 or len(room)
    attributes = Fork(attribute_form, room[split:], attribute_extents) if offset else None
    big = bool(flags_2 & _BIG_TIME)
    return Inode(
        number, mode, uid, gid, size, _moment(raw, 40, big), _moment(raw, 48, big), links,
        sum(int(ours) for theirs, ours in _FLAGS.items() if flags & theirs), bool(flags & _REALTIME),
        Fork(form, room[:split], extents), attributes,
    )  # fmt: skip


_TYPES = frozenset({
    stat.S_IFREG, stat.S_IFDIR, stat.S_IFLNK, stat.S_IFIFO, stat.S_IFSOCK, stat.S_IFCHR, stat.S_IFBLK,
})  # fmt: skip


def _moment(raw: bytes, at: int, big: bool) -> int:
    if big:
        return int(struct.unpack_from(">Q", raw, at)[0]) - _BIG_TIME_EPOCH * _BILLION
    seconds, nanoseconds = struct.unpack_from(">iI", raw, at)
    return int(seconds) * _BILLION + int(nanoseconds)
