"""The old partition table: four primary partitions, and a chain of logical ones inside of an extended one.

Rule of the file: every value is a stranger's; a chain ends where it has been before, or where it leaves its disk.
"""

from __future__ import annotations

import struct
from typing import NamedTuple

from workers.disks.volume import Volume

SECTOR = 512
_SIGNATURE = b"\x55\xaa"
_TABLE = 446
_EXTENDED = frozenset({0x05, 0x0F, 0x85})
_PROTECTIVE = 0xEE
_MOST_LOGICAL = 1024


class Partition(NamedTuple):
    """A part of a disk, in bytes; ``number`` is the one that Linux gives it, ``name`` what the table calls it."""

    number: int
    offset: int
    size: int
    name: str = ""


class _Row(NamedTuple):
    boot: int
    kind: int
    start: int  # sectors
    sectors: int


def has_signature(disk: Volume) -> bool:
    """Tell whether the first sector ends as one of a table does."""
    return disk.read(510, 2) == _SIGNATURE


def has_table(disk: Volume) -> bool:
    """Tell whether the first sector can be a partition table: that of a file system may look like one."""
    rows = _rows(disk.read(0, SECTOR))
    used = [row for row in rows if row.kind]
    return bool(used) and all(row.boot in (0, 0x80) and row.start and row.sectors for row in used)


def is_protective(disk: Volume) -> bool:
    """Tell whether the table only says that the disk has a GPT."""
    return any(row.kind == _PROTECTIVE for row in _rows(disk.read(0, SECTOR)))


def partitions(disk: Volume) -> list[Partition]:
    """Return primary partitions by their place in the table, logical ones from 5 on. Extended ones hold no data."""
    found = []
    logical: list[Partition] = []
    for number, row in enumerate(_rows(disk.read(0, SECTOR)), 1):
        if row.kind in _EXTENDED:
            logical += _logical(disk, row.start, row.start + row.sectors, 5 + len(logical))
        elif row.kind and row.sectors:
            found.append(Partition(number, row.start * SECTOR, row.sectors * SECTOR))
    return [part for part in found + logical if part.offset < disk.size]


def _logical(disk: Volume, first: int, end: int, number: int) -> list[Partition]:
    """Follow the chain: each link has one partition, by its own place, and the next link, by that of the first."""
    found: list[Partition] = []
    at, seen = first, set[int]()
    while at not in seen and first <= at < end and len(found) < _MOST_LOGICAL:
        seen.add(at)
        rows = _rows(disk.read(at * SECTOR, SECTOR))
        onward = 0
        for row in rows[:2]:
            if row.kind in _EXTENDED:
                onward = first + row.start
            elif row.kind and row.sectors:
                found.append(Partition(number + len(found), (at + row.start) * SECTOR, row.sectors * SECTOR))
        at = onward
    return found


def _rows(sector: bytes) -> list[_Row]:
    if len(sector) < SECTOR or sector[510:] != _SIGNATURE:
        return []
    return [_Row(*struct.unpack_from("<B3xB3xII", sector, _TABLE + 16 * place)) for place in range(4)]
