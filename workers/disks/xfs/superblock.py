"""The superblock: how numbers of blocks and inodes become places on the volume.

Rule of the file: geometry that makes no sense is ``Damaged``; features that change what is read are known or refused.
"""

from __future__ import annotations

import struct
from dataclasses import dataclass

from workers.disks.volume import Damaged, Unsupported, Volume, read_exactly

MAGIC = b"XFSB"
_FTYPE, _NEEDS_REPAIR = 0x1, 0x10
_KNOWN = _FTYPE | 0x2 | 0x4 | 0x8 | _NEEDS_REPAIR | 0x20 | 0x40 | 0x80
_FTYPE_4 = 0x200
_DIRECTORIES_2 = 0x2000


@dataclass(frozen=True, slots=True)
class Superblock:
    """What is needed of it. ``blocks`` and ``group_blocks`` in blocks, ``block_size`` and ``inode_size`` in bytes."""

    version: int
    block_size: int
    blocks: int
    group_blocks: int
    groups: int
    inode_size: int
    inode_bits: int  # of an inode in its block
    group_bits: int  # of a block in its group
    directory_block: int  # bytes
    root: int
    types: bool
    needs_repair: bool
    log_start: int
    log_blocks: int
    label: str

    def block_at(self, number: int) -> int:
        """Return the byte at which a block begins, by its number with the group in its high bits."""
        group, block = number >> self.group_bits, number & (1 << self.group_bits) - 1
        place = group * self.group_blocks + block
        if group >= self.groups or block >= self.group_blocks or place >= self.blocks:
            raise Damaged(f"block {number:#x} is outside of the file system")
        return place * self.block_size

    def inode_at(self, number: int) -> int:
        """Return the byte at which an inode begins."""
        block, place = number >> self.inode_bits, number & (1 << self.inode_bits) - 1
        return self.block_at(block) + place * self.inode_size


def is_xfs(volume: Volume) -> bool:
    """Tell whether there is a superblock."""
    return volume.read(0, 4) == MAGIC


def read_superblock(volume: Volume) -> Superblock:
    """Read it. Raises ``Damaged`` and ``Unsupported``."""
    data = read_exactly(volume, 0, 512)
    if data[:4] != MAGIC:
        raise Damaged("there is no superblock of XFS")
    block_size, blocks = struct.unpack_from(">IQ", data, 4)
    log_start, root = struct.unpack_from(">QQ", data, 48)
    group_blocks, groups, _, log_blocks, version_flags, _, inode_size = struct.unpack_from(">IIIIHHH", data, 84)
    inode_bits, group_bits = data[123], data[124]
    version = version_flags & 0xF
    features_2 = struct.unpack_from(">I", data, 200)[0]
    incompatible = struct.unpack_from(">I", data, 216)[0] if version == 5 else 0
    types = bool(incompatible & _FTYPE) if version == 5 else bool(features_2 & _FTYPE_4)
    found = Superblock(
        version, block_size, blocks, group_blocks, groups, inode_size, inode_bits, group_bits,
        block_size << data[192] if data[192] < 8 else 0, root, types, bool(incompatible & _NEEDS_REPAIR),
        log_start, log_blocks, data[108:120].split(b"\0")[0].decode("utf-8", "replace"),
    )  # fmt: skip
    if version not in (4, 5) or (version == 4 and not version_flags & _DIRECTORIES_2):
        raise Unsupported(f"XFS of version {version}")
    if incompatible & ~_KNOWN:
        raise Unsupported(f"XFS with the features {incompatible & ~_KNOWN:#x}")
    _check(found)
    return found


def _check(sb: Superblock) -> None:
    block, inode = sb.block_size, sb.inode_size
    sizes = (
        512 <= block <= 65536 and 256 <= inode <= min(2048, block) and not block & block - 1 and not inode & inode - 1
    )
    groups = 0 < sb.group_blocks <= 1 << sb.group_bits and sb.groups > 0 and sb.group_bits < 32
    if not sizes or not groups or inode << sb.inode_bits != block or not 512 <= sb.directory_block <= 65536:
        raise Damaged("the superblock makes no sense")
