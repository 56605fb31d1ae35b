"""The file system as a whole: the port of ``file_system`` over superblock, inodes, mapping and directories.

Rule of the file: it puts the parts together; what cannot be read of one node never hides another one.
"""

from __future__ import annotations

import stat
import struct
from collections.abc import Iterator

from shared.vault.entry import EntryKind, kind_of
from workers.disks.file_system import Child, Node, Piece, hole, placed
from workers.disks.volume import Damaged, Unsupported, Volume
from workers.disks.xfs import directories
from workers.disks.xfs.inodes import Format, Inode, read_inode
from workers.disks.xfs.log import is_quiet
from workers.disks.xfs.mapping import Mapping
from workers.disks.xfs.superblock import read_superblock
from workers.disks.xfs.xattrs import read_xattrs

_LINK_MAGIC = b"XSLM"
_LINK_HEADER = 56
_LONGEST_TARGET = 1024


class Xfs:
    """XFS. Raises ``Damaged`` and ``Unsupported`` when it cannot be opened."""

    def __init__(self, volume: Volume) -> None:
        self._volume, self._sb = volume, read_superblock(volume)
        self._mapping = Mapping(volume, self._sb)
        self._newest = self._sb.version == 5
        self.root = self._sb.root
        self.notes: list[str] = []
        if self._sb.needs_repair:
            self.notes.append("the file system says itself that it needs xfs_repair")
        if not is_quiet(volume, self._sb):
            self.notes.append(
                "the file system was in use: what only its log has, the changes of the last seconds, is missing"
            )
        if not stat.S_ISDIR(self._inode(self.root).mode):
            raise Damaged("the root of the file system is no directory")

    def children(self, number: int) -> Iterator[Child]:
        """See the port."""
        inode = self._inode(number)
        if not stat.S_ISDIR(inode.mode):
            raise Damaged(f"inode {number} is no directory")
        if inode.data.format == Format.LOCAL:
            yield from directories.in_inode(inode.data.room, inode.size, types=self._sb.types)
            return
        size = self._sb.directory_block
        per_block = size // self._sb.block_size
        runs = [run for run in self._mapping.runs(inode.data) if run.logical * self._sb.block_size < directories.LEAVES]
        done = -1
        for run in runs:
            first, last = run.logical // per_block, (run.logical + run.blocks - 1) // per_block
            for block in range(max(first, done + 1), last + 1):
                done = block
                data = b"".join(self._mapping.each_read(runs, block * per_block, per_block))
                yield from directories.in_block(data, types=self._sb.types, newest=self._newest)

    def node(self, number: int, *, full: bool) -> Node:
        """See the port."""
        inode = self._inode(number)
        kind = kind_of(inode.mode)
        node = Node(
            number, int(kind), stat.S_IMODE(inode.mode), inode.uid, inode.gid,
            inode.size if kind == EntryKind.FILE else 0,
            inode.mtime_ns, inode.ctime_ns, inode.links, flags=inode.flags,
        )  # fmt: skip
        if kind in (EntryKind.CHAR_DEVICE, EntryKind.BLOCK_DEVICE):
            node.rdev = inode.rdev
        elif kind == EntryKind.SYMLINK:
            node.target = self._target(inode)
        if inode.realtime and kind == EntryKind.FILE:
            node.trouble = "its content is on a real-time device, which the point does not have"
        fork = inode.attributes
        if full and fork is not None:
            try:
                node.xattrs = tuple(sorted(self._xattrs(inode).items()))
            except Damaged as reason:
                node.lost = f"extended attributes ({reason})"
        return node

    def pieces(self, number: int) -> Iterator[Piece] | None:
        """See the port."""
        inode = self._inode(number)
        if not stat.S_ISREG(inode.mode):
            raise Damaged(f"inode {number} is no file")
        if inode.realtime:
            raise Unsupported("its content is on a real-time device")
        return self._pieces(inode)

    def read(self, number: int, offset: int, length: int) -> bytes:  # noqa: ARG002 - the port's
        """See the port; no file of XFS needs it."""
        raise Damaged(f"inode {number} has its content in no known form")

    # ── inside ───────────────────────────────────────────────────────────────────────────────────────

    def _inode(self, number: int) -> Inode:
        return read_inode(self._volume, self._sb, number)

    def _pieces(self, inode: Inode) -> Iterator[Piece]:
        size, at = self._sb.block_size, 0
        for run in self._mapping.runs(inode.data):
            begin = run.logical * size
            if begin >= inode.size:
                break  # preallocated behind the end
            if begin > at:
                yield hole(begin - at)
            length = min(run.blocks * size, inode.size - begin)
            yield from placed(self._volume, run.at, length)
            at = begin + length
        if at < inode.size:
            yield hole(inode.size - at)

    def _target(self, inode: Inode) -> bytes:
        if inode.size > _LONGEST_TARGET:
            raise Damaged(f"the link of inode {inode.number} is absurdly long")
        if inode.data.format == Format.LOCAL:
            target = inode.data.room[: inode.size]
        else:
            target = b"".join(self._parts_of_target(inode))[: inode.size]
        if len(target) != inode.size:
            raise Damaged(f"the link of inode {inode.number} is cut short")
        return target

    def _parts_of_target(self, inode: Inode) -> Iterator[bytes]:
        runs = list(self._mapping.runs(inode.data))
        for run in runs[:_LONGEST_TARGET]:
            data = b"".join(self._mapping.each_read([run], run.logical, min(run.blocks, 8)))
            if self._newest:
                magic, _, count = struct.unpack_from(">4sII", data)
                if magic != _LINK_MAGIC:
                    raise Damaged(f"the link of inode {inode.number} is damaged")
                data = data[_LINK_HEADER : _LINK_HEADER + count]
            yield data

    def _xattrs(self, inode: Inode) -> dict[bytes, bytes]:
        fork = inode.attributes
        if fork is None:
            return {}
        runs = [] if fork.format == Format.LOCAL else list(self._mapping.runs(fork))

        def read(logical: int, count: int) -> bytes:
            return b"".join(self._mapping.each_read(runs, logical, count))

        return read_xattrs(fork, read, newest=self._newest, block_size=self._sb.block_size)
