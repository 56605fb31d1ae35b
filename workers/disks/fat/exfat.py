"""exFAT (Microsoft's specification, revision 1.00): the port of ``file_system``.

A node's number is where the first entry of its set stands on the volume, 0 the root.

Rule of the file: a set of entries counts only when it is complete; what was never written behind a file's valid
length is a hole.
"""

from __future__ import annotations

import struct
from collections import OrderedDict
from collections.abc import Iterator
from itertools import islice
from typing import NamedTuple

from shared.vault.entry import EntryKind
from workers.disks.fat.clusters import Clusters, Geometry, Run
from workers.disks.fat.moments import moment
from workers.disks.file_system import NOBODY, Child, Node, Piece, hole, placed
from workers.disks.volume import Damaged, Volume, read_exactly

_NAME = b"EXFAT   "
_ENTRY = 32
_FILE, _STREAM, _PART = 0x85, 0xC0, 0xC1
_READ_ONLY, _DIRECTORY = 0x01, 0x10
_NO_CHAIN = 0x02
_MOST_BYTES = 256 * 1024 * 1024  # of a directory, by the specification
_KEPT = 100_000


class _Set(NamedTuple):
    """What the entries of one node say."""

    name: bytes
    attributes: int
    mtime_ns: int
    straight: bool
    first: int
    valid: int
    size: int


def is_exfat(volume: Volume) -> bool:
    """Tell whether the first sector says so."""
    return volume.read(3, 8) == _NAME


class ExFat:
    """exFAT. Raises ``Damaged`` when it cannot be opened."""

    root = 0

    def __init__(self, volume: Volume) -> None:
        data = read_exactly(volume, 0, 512)
        table, _, heap, count, self._root = struct.unpack_from("<IIIII", data, 80)
        sector, per_cluster = data[108], data[109]
        if data[3:11] != _NAME or not 9 <= sector <= 12 or per_cluster > 25 - sector or not 0 < count < 0xFFFFFFF6:
            raise Damaged("the boot sector of exFAT makes no sense")
        geometry = Geometry(table << sector, 32, heap << sector, 1 << sector + per_cluster, count)
        self.notes: list[str] = []
        self._volume = volume
        self._clusters = Clusters(volume, geometry, mask=0xFFFFFFFF)
        self._sets: OrderedDict[int, _Set] = OrderedDict()

    def children(self, number: int) -> Iterator[Child]:
        """See the port."""
        if number == 0:
            runs = self._clusters.chained(self._root, None)
        else:
            node = self._set(number)
            if not node.attributes & _DIRECTORY:
                raise Damaged("a file was asked for as a directory")
            runs = self._runs(node)
        for at, one in self._found(self._entries(runs)):
            self._sets[at] = one
            if len(self._sets) > _KEPT:
                self._sets.popitem(last=False)
            yield Child(one.name, at)

    def node(self, number: int, *, full: bool) -> Node:  # noqa: ARG002 - there are neither targets nor xattrs
        """See the port."""
        if number == 0:
            return Node(0, int(EntryKind.DIRECTORY), 0o755, NOBODY, NOBODY, 0, 0, 0)
        one = self._set(number)
        is_folder = bool(one.attributes & _DIRECTORY)
        return Node(
            number, int(EntryKind.DIRECTORY if is_folder else EntryKind.FILE),
            (0o755 if is_folder else 0o644) & ~(0o222 if one.attributes & _READ_ONLY and not is_folder else 0),
            NOBODY, NOBODY, 0 if is_folder else one.size, one.mtime_ns, one.mtime_ns,
        )  # fmt: skip

    def pieces(self, number: int) -> Iterator[Piece] | None:
        """See the port."""
        one = self._set(number)
        if one.attributes & _DIRECTORY:
            raise Damaged("a directory was asked for as a file")
        return self._pieces(one)

    def read(self, number: int, offset: int, length: int) -> bytes:  # noqa: ARG002 - the port's
        """See the port; no file of exFAT needs it."""
        raise Damaged(f"{number} has its content in no known form")

    # ── inside ───────────────────────────────────────────────────────────────────────────────────────

    def _pieces(self, one: _Set) -> Iterator[Piece]:
        left = min(one.valid, one.size)
        for run in self._runs(one):
            length = min(run.length, left)
            if length:
                yield from placed(self._volume, run.at, length)
            left -= length
        if one.size > one.valid:
            yield hole(one.size - one.valid)

    def _runs(self, one: _Set) -> Iterator[Run]:
        if not one.size:
            return iter(())
        return (
            self._clusters.straight(one.first, one.size)
            if one.straight
            else self._clusters.chained(one.first, one.size)
        )

    def _entries(self, runs: Iterator[Run]) -> Iterator[tuple[int, bytes]]:
        seen = 0
        for run in runs:
            seen += run.length
            if seen > _MOST_BYTES:
                raise Damaged("a directory is larger than one can be")
            data = read_exactly(self._volume, run.at, run.length)
            for at in range(0, len(data) - _ENTRY + 1, _ENTRY):
                if not data[at]:
                    return
                yield run.at + at, data[at : at + _ENTRY]

    def _set(self, number: int) -> _Set:
        if number in self._sets:
            return self._sets[number]
        first = read_exactly(self._volume, number, _ENTRY) if number > 0 else b"\0\0"
        data = first + self._volume.read(number + _ENTRY, first[1] * _ENTRY)
        entries = [(number + at, data[at : at + _ENTRY]) for at in range(0, len(data), _ENTRY)]
        for _, one in self._found(iter(entries)):
            return one
        raise Damaged("an entry of a directory is gone")

    def _found(self, entries: Iterator[tuple[int, bytes]]) -> Iterator[tuple[int, _Set]]:
        for at, entry in entries:
            if entry[0] == _FILE:
                others = [other for _, other in islice(entries, entry[1])]
                if len(others) < 2 or others[0][0] != _STREAM or _checksum([entry, *others]) != entry[2:4]:
                    raise Damaged("an entry of a directory is damaged")
                yield at, _put_together(entry, others[0], others[1:])


def _put_together(entry: bytes, stream: bytes, parts: list[bytes]) -> _Set:
    attributes = struct.unpack_from("<H", entry, 4)[0]
    time, date = struct.unpack_from("<HH", entry, 12)
    zone = entry[23]
    quarters = ((zone & 0x7F) ^ 0x40) - 0x40 if zone & 0x80 else 0
    valid, first, size = struct.unpack_from("<Q4xIQ", stream, 8)
    text = b"".join(part[2:] for part in parts if part[0] == _PART)[: 2 * stream[3]]
    if len(text) != 2 * stream[3]:
        raise Damaged("a name is cut short")
    name = text.decode("utf-16-le", "surrogatepass").encode("utf-8", "surrogatepass")
    when = moment(date, time, hundredths=min(entry[21], 199), quarters=quarters)
    return _Set(name, attributes, when, bool(stream[1] & _NO_CHAIN), first, valid, size)


def _checksum(entries: list[bytes]) -> bytes:
    value = 0
    for place, byte in enumerate(b"".join(entries)):
        if place not in (2, 3):
            value = ((value & 1) << 15 | value >> 1) + byte & 0xFFFF
    return value.to_bytes(2, "little")
