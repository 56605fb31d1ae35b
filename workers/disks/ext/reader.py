"""The file system as a whole: the port of ``file_system`` over superblock, inodes, mapping and directories.

Rule of the file: it puts the parts together; what cannot be read of one node never hides another one.
"""

from __future__ import annotations

import stat
from collections.abc import Iterator

from shared.vault.entry import EntryKind, kind_of
from shared.vault.node_flags import KEPT
from workers.disks.ext import directories
from workers.disks.ext.inodes import ENCRYPTED, EXTENTS, INLINE_DATA, Inode, Inodes
from workers.disks.ext.journal import replayed
from workers.disks.ext.mapping import Mapping
from workers.disks.ext.superblock import FILE_TYPES, NEEDS_RECOVERY, read_superblock
from workers.disks.ext.xattrs import DATA, read_xattrs
from workers.disks.file_system import Child, Node, Piece, hole, placed
from workers.disks.volume import Damaged, Unsupported, Volume, read_exactly

_ROOT = 2
_HAS_JOURNAL = 0x4
_IN_INODE = 60
_LONGEST_TARGET = 65536
_SECRET = "it is encrypted, and its key is not in the point"  # noqa: S105 - words for people


class Ext:
    """ext2, ext3 or ext4. Raises ``Damaged`` and ``Unsupported`` when it cannot be opened."""

    root = _ROOT

    def __init__(self, volume: Volume) -> None:
        superblock = read_superblock(volume)
        self.notes: list[str] = []
        if superblock.incompatible & NEEDS_RECOVERY:
            volume = self._recovered(volume)
            superblock = read_superblock(volume)
        self._volume, self._sb = volume, superblock
        self._inodes, self._mapping = Inodes(volume, superblock), Mapping(volume, superblock)
        if not stat.S_ISDIR(self._inodes.get(_ROOT).mode):
            raise Damaged("the root of the file system is no directory")

    def _recovered(self, volume: Volume) -> Volume:
        superblock = read_superblock(volume)
        if not superblock.compatible & _HAS_JOURNAL or not superblock.journal:
            self.notes.append("the file system was in use and its journal is on another device: the newest is missing")
            return volume
        try:
            inode = Inodes(volume, superblock).get(superblock.journal)
            runs = Mapping(volume, superblock).runs(inode)
            blocks = [number for run in runs for number in range(run.physical, run.physical + run.blocks)]
            if len(blocks) * superblock.block_size != inode.size:
                raise Damaged("it has holes")
            return replayed(volume, superblock.block_size, blocks)
        except Damaged as reason:
            self.notes.append(f"the file system was in use and its journal cannot be read: {reason}")
            return volume

    def children(self, number: int) -> Iterator[Child]:
        """See the port."""
        inode = self._inodes.get(number)
        if not stat.S_ISDIR(inode.mode):
            raise Damaged(f"inode {number} is no directory")
        if inode.flags & ENCRYPTED:
            raise Unsupported(_SECRET)
        types = bool(self._sb.incompatible & FILE_TYPES)
        if inode.flags & INLINE_DATA:
            yield from directories.entries(inode.root[4:], types=types)
            yield from directories.entries(self._xattrs(inode).get(DATA, b""), types=types)
            return
        for block in self._mapping.read(inode):
            yield from directories.entries(block, types=types)

    def node(self, number: int, *, full: bool) -> Node:
        """See the port."""
        inode = self._inodes.get(number)
        kind = kind_of(inode.mode)
        node = Node(
            number, int(kind), stat.S_IMODE(inode.mode), inode.uid, inode.gid,
            inode.size if kind == EntryKind.FILE else 0,
            inode.mtime_ns, inode.ctime_ns, inode.links, flags=inode.flags & KEPT,
        )  # fmt: skip
        if kind in (EntryKind.CHAR_DEVICE, EntryKind.BLOCK_DEVICE):
            node.rdev = inode.rdev
        secret = bool(inode.flags & ENCRYPTED) and kind in (EntryKind.FILE, EntryKind.SYMLINK)
        if secret:
            node.trouble = _SECRET
        elif kind == EntryKind.SYMLINK:
            node.target = self._target(inode)
        if full:
            try:
                xattrs = self._xattrs(inode)
            except Damaged as reason:
                node.lost = f"extended attributes ({reason})"
            else:
                node.xattrs = tuple(sorted((name, value) for name, value in xattrs.items() if name != DATA))
        return node

    def pieces(self, number: int) -> Iterator[Piece] | None:
        """See the port."""
        inode = self._file(number)
        return None if inode.flags & INLINE_DATA else self._pieces(inode)

    def read(self, number: int, offset: int, length: int) -> bytes:
        """See the port; only for content that lies in the inode itself."""
        return self._inline(self._file(number))[offset : offset + length]

    # ── inside ───────────────────────────────────────────────────────────────────────────────────────

    def _file(self, number: int) -> Inode:
        inode = self._inodes.get(number)
        if not stat.S_ISREG(inode.mode):
            raise Damaged(f"inode {number} is no file")
        if inode.flags & ENCRYPTED:
            raise Unsupported(_SECRET)
        return inode

    def _pieces(self, inode: Inode) -> Iterator[Piece]:
        size, at = self._sb.block_size, 0
        for run in self._mapping.runs(inode):
            begin = run.logical * size
            if begin > at:
                yield hole(begin - at)
            length = min(run.blocks * size, inode.size - begin)
            yield from placed(self._volume, run.physical * size, length)
            at = begin + length
        if at < inode.size:
            yield hole(inode.size - at)

    def _inline(self, inode: Inode) -> bytes:
        data = inode.root + self._xattrs(inode).get(DATA, b"")
        if len(data) < inode.size:
            raise Damaged(f"inode {inode.number} has less content than its size")
        return data[: inode.size]

    def _target(self, inode: Inode) -> bytes:
        if inode.size > _LONGEST_TARGET:
            raise Damaged(f"the link of inode {inode.number} is absurdly long")
        if inode.flags & INLINE_DATA:
            return self._inline(inode)
        if inode.size < _IN_INODE and not inode.flags & EXTENTS:
            return inode.root[: inode.size]
        target = b"".join(self._mapping.read(inode))[: inode.size]
        if len(target) != inode.size:
            raise Damaged(f"the link of inode {inode.number} is cut short")
        return target

    def _xattrs(self, inode: Inode) -> dict[bytes, bytes]:
        block = b""
        if inode.xattr_block:
            size = self._sb.block_size
            block = read_exactly(self._volume, inode.xattr_block * size, size)
        return read_xattrs(inode, block, self._value)

    def _value(self, number: int, size: int) -> bytes:
        inode = self._inodes.get(number)
        if inode.size < size:
            raise Damaged("an extended attribute is cut short")
        return b"".join(self._mapping.read(inode))[:size]
