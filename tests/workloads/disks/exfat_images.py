"""Fills an image that ``mkfs.exfat`` made, by the specification: not every kernel can. ``fsck.exfat`` judges it.

Only what tests need: files and folders below the root, each in a chain or in one run of clusters.
"""

from __future__ import annotations

import struct
from pathlib import Path


class ExFatImage:
    """An empty image in the making. Directories have one cluster."""

    def __init__(self, path: Path) -> None:
        self._path, self.data = path, bytearray(path.read_bytes())
        table, _, heap, self._count, self.root = struct.unpack_from("<IIIII", self.data, 80)
        sector, per_cluster = self.data[108], self.data[109]
        self.cluster = 1 << sector + per_cluster
        self._table, self._heap = table << sector, heap << sector
        self._free = next(at for at in range(2, 1000) if not any(self._row(number) for number in range(at, at + 50)))
        self._ends = {self.root: self._used(self.root)}

    def save(self) -> None:
        self._path.write_bytes(self.data)

    def folder(self, name: str, *, within: int | None = None) -> int:
        """Make a folder and return its cluster."""
        first = self._take(1, chained=True)[0]
        self._ends[first] = 0
        self._add(within or self.root, name, 0x10, first, self.cluster, straight=False)
        return first

    def file(
        self, name: str, content: bytes, *, within: int | None = None, straight: bool = False, valid: int | None = None,
        gap: int = 0,
    ) -> None:  # fmt: skip
        """Make a file; with a ``gap`` its clusters do not follow each other."""
        count = -(-len(content) // self.cluster)
        clusters: list[int] = []
        for _ in range(count if gap else bool(count)):
            clusters += self._take(1 if gap else count, chained=False)
            self._free += gap
        if clusters and not straight:
            for number, following in zip(clusters, [*clusters[1:], 0xFFFFFFFF], strict=True):
                struct.pack_into("<I", self.data, self._table + 4 * number, following)
        for place, number in enumerate(clusters):
            part = content[place * self.cluster : (place + 1) * self.cluster]
            at = self._at(number)
            self.data[at : at + len(part)] = part
        first = clusters[0] if clusters else 0
        self._add(within or self.root, name, 0x20, first, len(content), straight=straight, valid=valid)

    def _add(
        self,
        folder: int,
        name: str,
        attributes: int,
        first: int,
        size: int,
        *,
        straight: bool,
        valid: int | None = None,
    ) -> None:
        text = name.encode("utf-16-le")
        parts = [text[at : at + 30].ljust(30, b"\0") for at in range(0, len(text), 30)]
        date, time = (2021 - 1980) << 9 | 3 << 5 | 4, 5 << 11 | 6 << 5 | 4
        zone = 0x80 | 4  # one hour ahead of UTC
        head = struct.pack(
            "<BBHHHHHHHHHBBBBB7x", 0x85, 1 + len(parts), 0, attributes, 0, time, date, time, date, time, date, 0, 50,
            zone, zone, zone,
        )  # fmt: skip
        stream = struct.pack(
            "<BBBBHHQIIQ", 0xC0, 1 | 2 * straight, 0, len(name), _name_hash(name), 0,
            size if valid is None else valid, 0, first, size,
        )  # fmt: skip
        entries = bytearray(head + stream + b"".join(b"\xc1\0" + part for part in parts))
        struct.pack_into("<H", entries, 2, _checksum(entries))
        at = self._at(folder) + self._ends[folder]
        self.data[at : at + len(entries)] = entries
        self._ends[folder] += len(entries)

    def _take(self, count: int, *, chained: bool) -> list[int]:
        taken = list(range(self._free, self._free + count))
        self._free += count
        for number in taken:
            if chained:
                struct.pack_into("<I", self.data, self._table + 4 * number, 0xFFFFFFFF)
            self.data[self._bitmap() + (number - 2) // 8] |= 1 << (number - 2) % 8
        return taken

    def _bitmap(self) -> int:
        root = self._at(self.root)
        for at in range(root, root + self.cluster, 32):
            if self.data[at] == 0x81:
                return self._at(struct.unpack_from("<I", self.data, at + 20)[0])
        raise AssertionError("mkfs.exfat makes a bitmap")

    def _row(self, number: int) -> int:
        return int.from_bytes(self.data[self._table + 4 * number : self._table + 4 * number + 4], "little")

    def _used(self, folder: int) -> int:
        at = self._at(folder)
        return next(place for place in range(0, self.cluster, 32) if not self.data[at + place])

    def _at(self, number: int) -> int:
        return self._heap + (number - 2) * self.cluster


def _checksum(entries: bytes | bytearray) -> int:
    value = 0
    for place, byte in enumerate(entries):
        if place not in (2, 3):
            value = ((value & 1) << 15 | value >> 1) + byte & 0xFFFF
    return value


def _name_hash(name: str) -> int:
    value = 0
    for byte in name.upper().encode("utf-16-le"):
        value = ((value & 1) << 15 | value >> 1) + byte & 0xFFFF
    return value
