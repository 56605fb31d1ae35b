"""Tables of partitions that real tools do not write."""

from __future__ import annotations

import struct

from tests.unit.disks.memory import Memory
from workers.disks import mbr
from workers.disks.layout import areas_of


def table(disk: bytearray, at: int, *rows: tuple[int, int, int]) -> None:
    """Write rows of (type, first sector, sectors) into a sector."""
    disk[at * 512 + 510 : at * 512 + 512] = b"\x55\xaa"
    for place, (kind, start, count) in enumerate(rows):
        begin = at * 512 + 446 + 16 * place
        disk[begin : begin + 16] = struct.pack("<B3xB3xII", 0, kind, start, count)


def test_a_chain_of_logical_partitions_that_bites_its_tail_ends() -> None:
    disk = bytearray(4 << 20)
    table(disk, 0, (5, 100, 5000))
    table(disk, 100, (0x83, 10, 50), (5, 200, 100))
    table(disk, 300, (0x83, 10, 50), (5, 0, 100))
    found = mbr.partitions(Memory(disk))
    assert [(one.number, one.offset // 512) for one in found] == [(5, 110), (6, 310)]


def test_a_chain_that_leaves_its_partition_ends() -> None:
    disk = bytearray(4 << 20)
    table(disk, 0, (0x83, 2048, 10), (5, 100, 500))
    table(disk, 100, (0x83, 10, 50), (5, 1 << 31, 100))
    assert [one.number for one in mbr.partitions(Memory(disk))] == [1, 5]


def test_partitions_outside_of_the_disk_are_left_out_and_longer_ones_cut() -> None:
    disk = bytearray(1 << 20)
    table(disk, 0, (0x83, 1 << 30, 8), (0x83, 64, 1 << 30))
    areas = areas_of([Memory(disk)])
    assert [(area.name, area.volume.size if area.volume else None) for area in areas] == [("p2", (1 << 20) - 64 * 512)]


def test_a_boot_sector_of_fat_is_no_table() -> None:
    disk = bytearray(8 << 20)
    disk[:62] = bytes.fromhex(
        "eb3c906d6b66732e66617400020401000200020040f8100020000200000000000000000080002900000000"
    ).ljust(62, b" ")
    table(disk, 0, (0x83, 64, 100))  # words of its boot code that look like one
    areas = areas_of([Memory(disk)])
    assert [(area.name, area.format.name) for area in areas] == [("fs", "FAT")]


def test_words_of_the_boot_code_are_no_partitions() -> None:
    disk = bytearray(b"\x90" * (1 << 20))
    disk[510:512] = b"\x55\xaa"
    assert [(area.name, area.format.name) for area in areas_of([Memory(disk)])] == [("fs", "unknown")]
