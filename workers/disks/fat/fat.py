"""FAT12, FAT16 and FAT32 (Microsoft's specification of 2000): the port of ``file_system``.

There are no inodes: a node's number is where its entry stands on the volume, 0 the root. Times are the guest's local
ones without a zone, and are given as UTC.

Rule of the file: names are those that Windows shows; what the file system has no word for, owners and rights, is made
up.
"""

from __future__ import annotations

import struct
from collections.abc import Iterator
from typing import NamedTuple

from shared.vault.entry import EntryKind
from workers.disks.fat.clusters import Clusters, Geometry, Run
from workers.disks.fat.moments import moment
from workers.disks.file_system import NOBODY, Child, Node, Piece, placed
from workers.disks.volume import Damaged, Volume, read_exactly

ENTRY = 32
_READ_ONLY, _LABEL, _DIRECTORY, _LONG = 0x01, 0x08, 0x10, 0x0F
_DELETED, _ESCAPED = 0xE5, 0x05
_LAST = 0x40
_MOST_ENTRIES = 65536 * 4
_FEW, _MANY = 4085, 65525
_SECTORS = (512, 1024, 2048, 4096)
_CHARACTERS = ((1, 11), (14, 26), (28, 32))


class _Boot(NamedTuple):
    geometry: Geometry
    root: Run | None  # of FAT12 and FAT16, before the clusters
    root_cluster: int


def is_fat(volume: Volume) -> bool:
    """Tell whether the first sector can be that of such a file system."""
    return _boot(volume) is not None


def _boot(volume: Volume) -> _Boot | None:
    data = volume.read(0, 512)
    if len(data) < 512 or data[510:] != b"\x55\xaa" or data[0] not in (0xEB, 0xE9, 0):
        return None
    sector, per_cluster, reserved, tables, entries, few, media, small = struct.unpack_from("<HBHBHHBH", data, 11)
    total, large = struct.unpack_from("<II", data, 32)
    rows, total = small or large, few or total
    right = sector in _SECTORS and per_cluster and not per_cluster & per_cluster - 1 and media >= 0xF0
    if not right or not reserved or tables not in (1, 2) or not rows or not total:
        return None
    root_sectors = -(-entries * ENTRY // sector)
    heap = reserved + tables * rows + root_sectors
    count = (total - heap) // per_cluster
    if count <= 0:
        return None
    bits = 12 if count < _FEW else 16 if count < _MANY else 32
    if (bits == 32) != (entries == 0):
        return None
    count = min(count, rows * sector * 8 // bits - 2)
    geometry = Geometry(reserved * sector, bits, heap * sector, per_cluster * sector, count)
    root = Run((reserved + tables * rows) * sector, entries * ENTRY) if entries else None
    return _Boot(geometry, root, struct.unpack_from("<I", data, 44)[0] if bits == 32 else 0)


class Fat:
    """FAT without ``ex``. Raises ``Damaged`` when it cannot be opened."""

    root = 0

    def __init__(self, volume: Volume) -> None:
        boot = _boot(volume)
        if boot is None:
            raise Damaged("there is no boot sector of FAT")
        self.notes: list[str] = []
        self._volume, self._boot = volume, boot
        bits = boot.geometry.bits
        self._clusters = Clusters(volume, boot.geometry, mask=0xFFFFFFF if bits == 32 else (1 << bits) - 1)

    def children(self, number: int) -> Iterator[Child]:
        """See the port."""
        long = _LongName()
        for at, entry in self._entries(self._directory(number)):
            if entry[0] == 0:
                return
            if entry[0] == _DELETED:
                long = _LongName()
            elif entry[11] & 0x3F == _LONG:
                long.add(entry)
            else:
                name, long = long.name_of(entry) or _short(entry), _LongName()
                if not entry[11] & _LABEL and name not in (b".", b".."):
                    yield Child(name, at)

    def node(self, number: int, *, full: bool) -> Node:  # noqa: ARG002 - there are neither targets nor xattrs
        """See the port."""
        if number == 0:
            return Node(0, int(EntryKind.DIRECTORY), 0o755, NOBODY, NOBODY, 0, 0, 0)
        entry = self._entry(number)
        is_folder = bool(entry[11] & _DIRECTORY)
        time, date, _, size = struct.unpack_from("<HHHI", entry, 22)
        when = moment(date, time)
        return Node(
            number, int(EntryKind.DIRECTORY if is_folder else EntryKind.FILE),
            (0o755 if is_folder else 0o644) & ~(0o222 if entry[11] & _READ_ONLY and not is_folder else 0),
            NOBODY, NOBODY, 0 if is_folder else size, when, when,
        )  # fmt: skip

    def pieces(self, number: int) -> Iterator[Piece] | None:
        """See the port."""
        entry = self._entry(number)
        if entry[11] & _DIRECTORY:
            raise Damaged("a directory was asked for as a file")
        size = struct.unpack_from("<I", entry, 28)[0]
        return self._pieces(self._first(entry), size)

    def read(self, number: int, offset: int, length: int) -> bytes:  # noqa: ARG002 - the port's
        """See the port; no file of FAT needs it."""
        raise Damaged(f"{number} has its content in no known form")

    # ── inside ───────────────────────────────────────────────────────────────────────────────────────

    def _pieces(self, first: int, size: int) -> Iterator[Piece]:
        if size:
            for run in self._clusters.chained(first, size):
                yield from placed(self._volume, run.at, run.length)

    def _directory(self, number: int) -> Iterator[Run]:
        if number == 0 and self._boot.root is not None:
            return iter([self._boot.root])
        if number == 0:
            return self._clusters.chained(self._boot.root_cluster, None)
        entry = self._entry(number)
        if not entry[11] & _DIRECTORY:
            raise Damaged("a file was asked for as a directory")
        return self._clusters.chained(self._first(entry), None)

    def _entries(self, runs: Iterator[Run]) -> Iterator[tuple[int, bytes]]:
        seen = 0
        for run in runs:
            data = read_exactly(self._volume, run.at, min(run.length, _MOST_ENTRIES * ENTRY))
            for at in range(0, len(data) - ENTRY + 1, ENTRY):
                yield run.at + at, data[at : at + ENTRY]
            seen += run.length // ENTRY
            if seen > _MOST_ENTRIES:
                raise Damaged("a directory is larger than one can be")

    def _entry(self, number: int) -> bytes:
        entry = read_exactly(self._volume, number, ENTRY)
        if not number or entry[0] in (0, _DELETED) or entry[11] & 0x3F == _LONG:
            raise Damaged("an entry of a directory is gone")
        return entry

    def _first(self, entry: bytes) -> int:
        high = struct.unpack_from("<H", entry, 20)[0] if self._boot.geometry.bits == 32 else 0
        return int(high << 16 | struct.unpack_from("<H", entry, 26)[0])


class _LongName:
    """Collects the entries of a long name, which stand before the short one, the last part first."""

    def __init__(self) -> None:
        self._parts: list[bytes] = []
        self._expected = 0
        self._checksum = -1

    def add(self, entry: bytes) -> None:
        """Take the next part; one that does not fit makes the name none."""
        number, checksum = entry[0] & 0x1F, entry[13]
        if entry[0] & _LAST:
            self._parts, self._expected, self._checksum = [], number, checksum
        if not number or number != self._expected or checksum != self._checksum:
            self._expected = -1
            return
        self._parts.insert(0, b"".join(entry[begin:end] for begin, end in _CHARACTERS))
        self._expected -= 1

    def name_of(self, entry: bytes) -> bytes:
        """Return the name if all its parts were there and belong to this entry."""
        if self._expected != 0 or not self._parts or _checksum(entry[:11]) != self._checksum:
            return b""
        text = b"".join(self._parts).decode("utf-16-le", "surrogatepass").split("\0")[0]
        return text.encode("utf-8", "surrogatepass")


def _checksum(name: bytes) -> int:
    value = 0
    for byte in name:
        value = ((value & 1) << 7 | value >> 1) + byte & 0xFF
    return value


def _short(entry: bytes) -> bytes:
    raw = (bytes([_DELETED]) if entry[0] == _ESCAPED else entry[:1]) + entry[1:11]
    stem, suffix = raw[:8].decode("cp437").rstrip(" "), raw[8:].decode("cp437").rstrip(" ")
    stem = stem.lower() if entry[12] & 0x08 else stem
    suffix = suffix.lower() if entry[12] & 0x10 else suffix
    return (f"{stem}.{suffix}" if suffix else stem).encode()
