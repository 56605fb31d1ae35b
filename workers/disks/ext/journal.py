"""What the journal has that was not written to its place yet, laid over the volume (``fs/jbd2/recovery.c``).

A disk taken from a running guest is like one after a power cut: the newest directories and inodes may be in the
journal only. The guest's kernel would copy them; here they are read from where they are.

Rule of the file: three passes as the kernel has them, find the end, collect what was revoked, lay over; nothing is
written.
"""

from __future__ import annotations

import struct
from bisect import bisect_left
from collections.abc import Iterator, Sequence
from typing import NamedTuple

from workers.disks.volume import Damaged, Volume, read_exactly

_MAGIC = 0xC03B3998
_DESCRIPTOR, _COMMIT, _REVOKE = 1, 2, 5
_SUPERBLOCKS = (3, 4)
_REVOKES, _64BIT, _CSUM_2, _CSUM_3, _FAST = 0x1, 0x2, 0x8, 0x10, 0x20
_KNOWN = _REVOKES | _64BIT | 0x4 | _CSUM_2 | _CSUM_3 | _FAST
_ESCAPED, _SAME_UUID, _LAST = 1, 2, 8


class _Log(NamedTuple):
    """The journal's own description; ``end`` is behind the last block of the ring."""

    first: int
    end: int
    start: int
    sequence: int
    features: int

    @property
    def tag_size(self) -> int:
        if self.features & _CSUM_3:
            return 16
        return 8 + 4 * bool(self.features & _64BIT) + 2 * bool(self.features & _CSUM_2)

    @property
    def tail(self) -> int:
        return 4 if self.features & (_CSUM_2 | _CSUM_3) else 0


class _Write(NamedTuple):
    sequence: int
    block: int  # of the file system
    copy: int  # block of the file system that holds it, in the journal
    escaped: bool


class _Walk:
    """One way through the ring, from its start to where it ends or breaks off."""

    def __init__(self, volume: Volume, block_size: int, blocks: Sequence[int], log: _Log) -> None:
        self._volume, self._block_size, self._blocks, self._log = volume, block_size, blocks, log
        self.writes: list[_Write] = []
        self.revoked: dict[int, int] = {}

    def go(self) -> None:
        """Collect what belongs to transactions that were committed."""
        log, at, sequence = self._log, self._log.start, self._log.sequence
        writes: list[_Write] = []
        revoked: list[int] = []
        for _ in range(log.end - log.first):
            block = self._read(at)
            magic, kind, number = struct.unpack_from(">III", block)
            if magic != _MAGIC or number != sequence:
                return
            at = self._behind(at)
            if kind == _DESCRIPTOR:
                for target, escaped in self._tags(block):
                    writes.append(_Write(sequence, target, self._blocks[at], escaped))
                    at = self._behind(at)
                if len(writes) > log.end:
                    return
            elif kind == _REVOKE:
                revoked += self._revoked(block)
            elif kind == _COMMIT:
                self.writes += writes
                self.revoked.update(dict.fromkeys(revoked, sequence))
                writes, revoked = [], []
                sequence = sequence + 1 & 0xFFFFFFFF
            else:
                return

    def _tags(self, block: bytes) -> Iterator[tuple[int, bool]]:
        log, at = self._log, 12
        while at + log.tag_size <= len(block) - log.tail:
            if log.features & _CSUM_3:
                low, flags, high = struct.unpack_from(">III", block, at)
            else:
                low, _, flags = struct.unpack_from(">IHH", block, at)
                high = struct.unpack_from(">I", block, at + 8)[0] if log.features & _64BIT else 0
            yield low | (high << 32 if log.features & _64BIT else 0), bool(flags & _ESCAPED)
            at += log.tag_size + (0 if flags & _SAME_UUID else 16)
            if flags & _LAST:
                return

    def _revoked(self, block: bytes) -> list[int]:
        used = min(struct.unpack_from(">I", block, 12)[0], len(block) - self._log.tail)
        wide = self._log.features & _64BIT
        count = max(0, used - 16) // (8 if wide else 4)
        return list(struct.unpack_from(f">{count}{'Q' if wide else 'I'}", block, 16))

    def _behind(self, at: int) -> int:
        return at + 1 if at + 1 < self._log.end else self._log.first

    def _read(self, at: int) -> bytes:
        return read_exactly(self._volume, self._blocks[at] * self._block_size, self._block_size)


def replayed(volume: Volume, block_size: int, blocks: Sequence[int]) -> Volume:
    """Return the volume as it is with its journal applied, which lies in these ``blocks``. Raises ``Damaged``."""
    if not blocks:
        raise Damaged("the journal is empty")
    log = _log(read_exactly(volume, blocks[0] * block_size, block_size), len(blocks), block_size)
    if not log.start:
        return volume
    walk = _Walk(volume, block_size, blocks, log)
    walk.go()
    newest = {
        write.block: write for write in walk.writes if not _at_least(walk.revoked.get(write.block), write.sequence)
    }
    return _Overlay(volume, block_size, {block: (write.copy, write.escaped) for block, write in newest.items()})


def _log(block: bytes, blocks: int, block_size: int) -> _Log:
    magic, kind, _ = struct.unpack_from(">III", block)
    if magic != _MAGIC or kind not in _SUPERBLOCKS:
        raise Damaged("the journal has no superblock")
    size, length, first, sequence, start = struct.unpack_from(">IIIII", block, 12)
    features = struct.unpack_from(">I", block, 40)[0] if kind == _SUPERBLOCKS[1] else 0
    fast = (struct.unpack_from(">I", block, 84)[0] or 256) if features & _FAST else 0
    end = min(length, blocks) - fast
    if size != block_size or features & ~_KNOWN or not 0 < first < end or (start and not first <= start < end):
        raise Damaged("the journal's superblock makes no sense")
    return _Log(first, end, start, sequence, features)


def _at_least(revoked: int | None, sequence: int) -> bool:
    """Compare numbers that begin again behind their largest one."""
    return revoked is not None and (revoked - sequence) & 0xFFFFFFFF < 0x80000000


class _Overlay:
    """A volume some blocks of which are read from elsewhere on it."""

    def __init__(self, base: Volume, block_size: int, copies: dict[int, tuple[int, bool]]) -> None:
        self.size = base.size
        self._base, self._block_size, self._copies = base, block_size, copies
        self._numbers = sorted(copies)

    def read(self, offset: int, length: int) -> bytes:
        """See ``Volume``."""
        first, last = offset // self._block_size, (offset + length - 1) // self._block_size
        place = bisect_left(self._numbers, first)
        if place == len(self._numbers) or self._numbers[place] > last:
            return self._base.read(offset, length)
        return b"".join(self._piece(at, begin, count) for at, begin, count in self._split(offset, length))

    def where(self, offset: int, length: int) -> list[tuple[int, int, int]]:
        """See ``Volume``."""
        found: list[tuple[int, int, int]] = []
        for block, begin, count in self._split(offset, length):
            copy, escaped = self._copies.get(block, (block, False))
            if escaped:
                raise Damaged("a block of the file is in the journal, in a form that cannot be handed out")
            found += self._base.where(copy * self._block_size + begin, count)
        return found

    def _piece(self, block: int, begin: int, count: int) -> bytes:
        copy, escaped = self._copies.get(block, (block, False))
        data = self._base.read(copy * self._block_size + begin, count)
        if not escaped or begin >= 4:
            return data
        head = struct.pack(">I", _MAGIC)[begin : begin + count]
        return head + data[len(head) :]

    def _split(self, offset: int, length: int) -> Iterator[tuple[int, int, int]]:
        """Yield (block, begin in it, length): blocks that are laid over alone, what is between them in one."""
        length = min(length, self.size - offset)
        while length > 0:
            block, begin = divmod(offset, self._block_size)
            count = min(length, self._block_size - begin)
            if block not in self._copies:
                place = bisect_left(self._numbers, block)
                following = self._numbers[place] * self._block_size if place < len(self._numbers) else self.size
                count = min(length, following - offset)
            yield block, begin, count
            offset, length = offset + count, length - count
