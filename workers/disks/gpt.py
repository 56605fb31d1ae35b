"""The partition table of today's disks (UEFI specification, chapter 5), by its first header or by the one at the end.

Rule of the file: a header and its rows count only with the right checksums; the copy serves where the first is damaged.
"""

from __future__ import annotations

import struct
import zlib

from workers.disks.mbr import Partition
from workers.disks.volume import Damaged, Volume

_SIGNATURE = b"EFI PART"
_SECTORS = (512, 4096)
_NOBODY = bytes(16)
_MOST_ROWS = 16384
_HEADER = struct.Struct("<8sIIIIQQQQ16sQIII")


def has_table(disk: Volume) -> bool:
    """Tell whether a header stands where one belongs, right or damaged."""
    return any(disk.read(at, 8) == _SIGNATURE for sector in _SECTORS for at in (sector, disk.size - sector))


def partitions(disk: Volume) -> list[Partition]:
    """Return the partitions by their place in the table. Raises ``Damaged`` when no header has a right checksum."""
    for sector in _SECTORS:
        for at in (sector, disk.size - sector):
            rows = _rows(disk, at, sector)
            if rows is not None:
                return rows
    raise Damaged("both partition tables (GPT) of the disk are damaged")


def _rows(disk: Volume, at: int, sector: int) -> list[Partition] | None:
    header = disk.read(at, sector) if at > 0 else b""
    if len(header) < _HEADER.size or header[:8] != _SIGNATURE:
        return None
    _, _, length, checksum, _, own, _, _, _, _, table, count, row_size, rows_checksum = _HEADER.unpack_from(header)
    right = _HEADER.size <= length <= sector and own * sector == at
    if not right or zlib.crc32(header[:16] + bytes(4) + header[20:length]) != checksum:
        return None
    if count > _MOST_ROWS or row_size < 128 or row_size > sector:
        return None
    data = disk.read(table * sector, count * row_size)
    if len(data) != count * row_size or zlib.crc32(data) != rows_checksum:
        return None
    return _partitions(data, row_size, sector, disk.size)


def _partitions(data: bytes, row_size: int, sector: int, disk_size: int) -> list[Partition]:
    found = []
    for number, place in enumerate(range(0, len(data), row_size), 1):
        kind, first, last = data[place : place + 16], *struct.unpack_from("<QQ", data, place + 32)
        if kind != _NOBODY and first <= last and first * sector < disk_size:
            name = data[place + 56 : place + 128].decode("utf-16-le", "replace").split("\0")[0]
            found.append(Partition(number, first * sector, (last - first + 1) * sector, name))
    return found
