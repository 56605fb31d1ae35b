"""The superblock and the group descriptors: how large a block is, and where the inode tables are.

Rule of the file: geometry that makes no sense is ``Damaged``; features that change what is read are known or refused.
"""

from __future__ import annotations

import struct
from dataclasses import dataclass

from workers.disks.volume import Damaged, Unsupported, Volume, read_exactly

OFFSET = 1024
MAGIC = b"\x53\xef"
_SIZE = 1024

NEEDS_RECOVERY = 0x4
_META_BG = 0x10
_64BIT = 0x80
FILE_TYPES = 0x2
_KNOWN = 0x2 | 0x4 | 0x10 | 0x40 | 0x80 | 0x100 | 0x200 | 0x400 | 0x2000 | 0x4000 | 0x8000 | 0x10000 | 0x20000
_NAMES = {0x1: "compression", 0x8: "a journal device", 0x1000: "data in directories"}
_SPARSE = 0x1
_SPARSE_2 = 0x200
_MOST_GROUPS = 1 << 24


@dataclass(frozen=True, slots=True)
class Superblock:
    """What is needed of it. Sizes in bytes, places in blocks."""

    block_size: int
    blocks: int
    first_block: int
    blocks_per_group: int
    inodes: int
    inodes_per_group: int
    inode_size: int
    descriptor_size: int
    first_meta_group: int
    compatible: int
    incompatible: int
    read_only: int
    backups: tuple[int, int]
    journal: int  # inode, 0 for none or one on another device
    label: str

    @property
    def groups(self) -> int:
        """How many block groups there are."""
        return -(-(self.blocks - self.first_block) // self.blocks_per_group)


def is_ext(volume: Volume) -> bool:
    """Tell whether there is a superblock."""
    return volume.read(OFFSET + 56, 2) == MAGIC


def read_superblock(volume: Volume) -> Superblock:
    """Read it. Raises ``Damaged`` and ``Unsupported``."""
    data = read_exactly(volume, OFFSET, _SIZE)
    if data[56:58] != MAGIC:
        raise Damaged("there is no superblock of ext")
    inodes, blocks_low = struct.unpack_from("<II", data, 0)
    first, log_size = struct.unpack_from("<II", data, 20)
    per_group, _, inodes_per_group = struct.unpack_from("<III", data, 32)
    revision = struct.unpack_from("<I", data, 76)[0]
    (inode_size,) = struct.unpack_from("<H", data, 88) if revision else (128,)
    compatible, incompatible, read_only = struct.unpack_from("<III", data, 92)
    wide = bool(incompatible & _64BIT)
    blocks = blocks_low | (struct.unpack_from("<I", data, 0x150)[0] << 32 if wide else 0)
    descriptor_size = struct.unpack_from("<H", data, 254)[0] if wide else 32
    if log_size > 6:
        raise Damaged("the superblock has an absurd block size")
    found = Superblock(
        block_size=1024 << log_size, blocks=blocks, first_block=first, blocks_per_group=per_group, inodes=inodes,
        inodes_per_group=inodes_per_group, inode_size=inode_size, descriptor_size=descriptor_size,
        first_meta_group=struct.unpack_from("<I", data, 0x104)[0], compatible=compatible, incompatible=incompatible,
        read_only=read_only, backups=struct.unpack_from("<II", data, 0x24C),
        journal=struct.unpack_from("<I", data, 224)[0],
        label=data[120:136].split(b"\0")[0].decode("utf-8", "replace"),
    )  # fmt: skip
    _check(found)
    return found


def _check(sb: Superblock) -> None:
    sizes = 128 <= sb.inode_size <= sb.block_size and 32 <= sb.descriptor_size <= sb.block_size
    groups = 0 < sb.blocks_per_group <= 8 * sb.block_size * 32 and sb.inodes_per_group > 0
    if not sizes or not groups or sb.inode_size & (sb.inode_size - 1) or sb.first_block > 1 or sb.blocks < 4:
        raise Damaged("the superblock makes no sense")
    if sb.groups > _MOST_GROUPS or sb.groups * sb.inodes_per_group < sb.inodes:
        raise Damaged("the superblock has too few groups for its inodes")
    unknown = sb.incompatible & ~_KNOWN
    if unknown:
        names = [_NAMES.get(1 << bit, f"feature {1 << bit:#x}") for bit in range(32) if unknown >> bit & 1]
        raise Unsupported(f"ext with {', '.join(names)}")


def inode_table(volume: Volume, sb: Superblock, group: int) -> int:
    """Return the block at which the inode table of a group begins."""
    row = group * sb.descriptor_size
    per_block = sb.block_size // sb.descriptor_size
    meta, place = divmod(group, per_block)
    if sb.incompatible & _META_BG and meta >= sb.first_meta_group:
        first = meta * per_block
        # With clusters the first group begins at block 0 even where the superblock is in block 1.
        late = sb.block_size == OFFSET and meta == 0 and sb.first_block == 0
        block = sb.first_block + first * sb.blocks_per_group + _has_superblock(sb, first) + late
        at = block * sb.block_size + place * sb.descriptor_size
    else:
        at = (OFFSET // sb.block_size + 1) * sb.block_size + row
    data = read_exactly(volume, at, sb.descriptor_size)
    block = struct.unpack_from("<I", data, 8)[0]
    if sb.descriptor_size >= 64:
        block |= struct.unpack_from("<I", data, 0x28)[0] << 32
    if not 0 < block < sb.blocks:
        raise Damaged(f"the inode table of group {group} is outside of the file system")
    return int(block)


def _has_superblock(sb: Superblock, group: int) -> bool:
    if group == 0:
        return True
    if sb.compatible & _SPARSE_2:
        return group in sb.backups
    if not sb.read_only & _SPARSE or group == 1:
        return True
    return any(_is_power(group, base) for base in (3, 5, 7))


def _is_power(value: int, base: int) -> bool:
    while value % base == 0:
        value //= base
    return value == 1
