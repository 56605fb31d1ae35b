"""Writes a qcow2 image from its beginning to its end: data as it comes, tables behind it, the header last.

After https://gitlab.com/qemu-project/qemu/-/blob/master/docs/interop/qcow2.rst: version 3, clusters of 64 KiB, 16-bit
reference counts. Until ``finish`` the file is no image, so half a one is never taken for a whole one.

Rule of the file: offsets only grow; clusters of nothing but zeros are not written.
"""

from __future__ import annotations

import os
import struct
import sys
from array import array
from typing import Final

CLUSTER: Final = 64 * 1024
_PER_L2: Final = CLUSTER // 8
_PER_REFCOUNT_BLOCK: Final = CLUSTER // 2
_COPIED: Final = 1 << 63
_ZEROS: Final = bytes(CLUSTER)
_VERSION: Final = 3
_HEADER_SIZE: Final = 104
_REFCOUNT_ORDER: Final = 4


class Qcow2Writer:
    """An image of ``size`` bytes on a descriptor that is open for writing and empty. Raises OSError."""

    def __init__(self, fd: int, size: int) -> None:
        self._fd = fd
        self._size = size
        self._clusters = 1  # the header's
        self._l1 = array("Q", bytes(8 * -(-size // (CLUSTER * _PER_L2))))
        self._l2 = array("Q")
        self._l2_number = -1
        self._reached = 0
        self._partial = bytearray()  # the beginning of a cluster of which more may come

    def write(self, offset: int, data: memoryview) -> None:
        """Take data that lies behind all that came before; ValueError for anything else."""
        if offset < self._reached or offset + len(data) > self._size:
            raise ValueError(f"{len(data)} bytes at {offset}, behind {self._reached}, in an image of {self._size}")
        if self._partial or offset % CLUSTER:
            data, offset = self._complete(offset, data)
        if not len(data):
            return
        whole = len(data) // CLUSTER * CLUSTER
        self._put(offset // CLUSTER, data[:whole])
        if whole < len(data):
            self._partial = bytearray(data[whole:])
        self._reached = offset + len(data)

    def finish(self) -> None:
        """Write what makes an image of it."""
        self._settle()
        self._close_l2()
        l1_at = self._append(_big_endian(self._l1))
        blocks, tables = _refcounts_for(self._clusters)
        first = self._clusters * CLUSTER
        counts = array("H", [1]) * (self._clusters + blocks + tables)
        self._append(_big_endian(counts))
        refcounts = array("Q", [first + number * CLUSTER for number in range(blocks)])
        table_at = self._append(_big_endian(refcounts))
        os.ftruncate(self._fd, self._clusters * CLUSTER)
        self._write_all(0, self._header(l1_at, table_at, tables))

    # ── inside ───────────────────────────────────────────────────────────────────────────────────────

    def _complete(self, offset: int, data: memoryview) -> tuple[memoryview, int]:
        """Fill the partial cluster, if this belongs to it; return what is left for later ones, and its offset."""
        begin = offset - offset % CLUSTER
        if self._partial and self._reached <= begin:
            self._settle()
        inside = offset - begin
        self._partial += bytes(inside - len(self._partial))
        taken = data[: CLUSTER - inside]
        self._partial += taken
        self._reached = offset + len(taken)
        if len(self._partial) == CLUSTER:
            self._settle()
        return data[len(taken) :], offset + len(taken)

    def _settle(self) -> None:
        """Write the partial cluster, zeros behind what came."""
        if not self._partial:
            return
        number = (self._reached - 1) // CLUSTER
        partial, self._partial = self._partial, bytearray()
        partial += bytes(CLUSTER - len(partial))
        self._put(number, memoryview(partial))

    def _put(self, number: int, data: memoryview) -> None:
        """Write whole clusters from this one on; runs of them go out in one piece."""
        run = 0
        for at in range(0, len(data) + 1, CLUSTER):
            if at < len(data) and data[at : at + CLUSTER] != _ZEROS:
                continue
            if at > run:
                self._put_run(number + run // CLUSTER, data[run:at])
            run = at + CLUSTER

    def _put_run(self, number: int, data: memoryview) -> None:
        count = len(data) // CLUSTER
        done = 0
        while done < count:
            l1 = (number + done) // _PER_L2
            if l1 != self._l2_number:
                self._close_l2()
                self._l2, self._l2_number = array("Q", bytes(8 * _PER_L2)), l1
            slot = (number + done) % _PER_L2
            part = min(count - done, _PER_L2 - slot)
            begin = self._append(data[done * CLUSTER : (done + part) * CLUSTER])
            for place in range(part):
                self._l2[slot + place] = begin + place * CLUSTER | _COPIED
            done += part

    def _close_l2(self) -> None:
        if self._l2_number >= 0:
            self._l1[self._l2_number] = self._append(_big_endian(self._l2)) | _COPIED
            self._l2_number = -1

    def _append(self, data: bytes | memoryview) -> int:
        """Write into the next clusters and return where they begin."""
        at = self._clusters * CLUSTER
        self._write_all(at, memoryview(data))
        self._clusters += -(-len(data) // CLUSTER)
        return at

    def _write_all(self, at: int, data: memoryview | bytes) -> None:
        view = memoryview(data)
        while len(view):
            done = os.pwrite(self._fd, view, at)
            view, at = view[done:], at + done

    def _header(self, l1_at: int, table_at: int, tables: int) -> bytes:
        return struct.pack(
            ">4sIQIIQIIQQIIQQQQII",
            b"QFI\xfb", _VERSION,
            0, 0,  # no backing file
            16, self._size, 0,  # bits of a cluster, no encryption
            len(self._l1), l1_at, table_at, tables,
            0, 0,  # no snapshots
            0, 0, 0,  # no feature that a reader would have to know
            _REFCOUNT_ORDER, _HEADER_SIZE,
        )  # fmt: skip


def _refcounts_for(clusters: int) -> tuple[int, int]:
    """Return how many blocks of counts, and clusters of their table, count so many clusters and themselves."""
    blocks, tables = 1, 1
    while True:
        all_clusters = clusters + blocks + tables
        need_blocks = -(-all_clusters // _PER_REFCOUNT_BLOCK)
        need_tables = -(-need_blocks * 8 // CLUSTER)
        if (need_blocks, need_tables) == (blocks, tables):
            return blocks, tables
        blocks, tables = max(blocks, need_blocks), max(tables, need_tables)


def _big_endian(values: array[int]) -> bytes:
    turned = array(values.typecode, values)
    if sys.byteorder == "little":
        turned.byteswap()
    return turned.tobytes()
