"""A physical volume of LVM2 by itself: its label, and the newest description of the group that it carries.

Rule of the file: a description counts only with the right checksum; of two copies the sound one serves.
"""

from __future__ import annotations

import struct
import zlib
from collections.abc import Iterator
from typing import NamedTuple

from workers.disks.lvm_text import Section, number, parse, sections
from workers.disks.volume import Damaged, Volume

SECTOR = 512
_LABEL = b"LABELONE"
_AREA = b" LVM2 x[5A%r0N*>"
_MOST_TEXT = 16 * 1024 * 1024
_MOST_AREAS = 16
_LVM_CRC = 0xF597A6CF
_INVERTED = 0xFFFFFFFF


class Group(NamedTuple):
    """A volume group as one of its members describes it; the highest number is the newest."""

    name: str
    sequence: int
    section: Section


class Member(NamedTuple):
    """A physical volume: its id without dashes, where it is, and the group, where this member says which."""

    uuid: str
    volume: Volume
    group: Group | None


def is_member(volume: Volume) -> bool:
    """Tell whether there is a label."""
    return _label(volume) is not None


def read_member(volume: Volume) -> Member:
    """Read the label and the description. Raises ``Damaged`` when there is none that is sound."""
    header = _label(volume)
    if header is None or len(header) < 40:
        raise Damaged("there is no label of LVM")
    uuid = header[:32].decode("ascii", "replace")
    areas = list(_areas(header))
    groups = [group for offset, size in areas if (group := _group(volume, offset, size)) is not None]
    if areas and not groups:
        raise Damaged("the description of the volume group is damaged in all its copies")
    return Member(uuid, volume, max(groups, key=lambda group: group.sequence, default=None))


def _label(volume: Volume) -> bytes | None:
    """Return the header of the physical volume: the label may stand in any of the first four sectors."""
    head = volume.read(0, 4 * SECTOR)
    for at in range(0, len(head) - SECTOR + 1, SECTOR):
        sector = head[at : at + SECTOR]
        if sector.startswith(_LABEL) and sector[24:32] == b"LVM2 001":
            return sector[struct.unpack_from("<I", sector, 20)[0] :]
    return None


def _areas(header: bytes) -> Iterator[tuple[int, int]]:
    """Yield where descriptions are: the second of two lists, each with an empty pair at its end."""
    lists, at = 0, 40
    for _ in range(2 * _MOST_AREAS):
        if at + 16 > len(header) or lists == 2:
            return
        offset, size = struct.unpack_from("<QQ", header, at)
        at += 16
        if not offset:
            lists += 1
        elif lists == 1:
            yield offset, size


def _group(volume: Volume, offset: int, size: int) -> Group | None:
    head = volume.read(offset, SECTOR)
    if len(head) < SECTOR or head[4:20] != _AREA or _crc(head[4:]) != struct.unpack_from("<I", head)[0]:
        return None
    at, length, checksum, _ = struct.unpack_from("<QQII", head, 40)
    if not SECTOR <= at < size or not 0 < length <= min(size - SECTOR, _MOST_TEXT):
        return None
    first = min(length, size - at)  # the area is a ring behind its header
    text = volume.read(offset + at, first) + volume.read(offset + SECTOR, length - first)
    if len(text) != length or _crc(text) != checksum:
        return None
    outermost = parse(text.rstrip(b"\0").decode("utf-8", "replace"))
    for name, section in outermost.items():
        if isinstance(section, dict) and sections(outermost, name):
            return Group(name, number(section, "seqno"), section)
    return None


def _crc(data: bytes) -> int:
    """LVM's CRC: that of zlib with another beginning and without the inversions."""
    return zlib.crc32(data, _LVM_CRC ^ _INVERTED) ^ _INVERTED
