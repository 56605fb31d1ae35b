"""From disks to the areas that people name: partitions (``p1``), logical volumes (``vg0-root``), a whole disk (``fs``).

Rule of the file: a disk that cannot be understood is one area that says why; it never hides the others.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import NamedTuple

from workers.disks import gpt, lvm, mbr
from workers.disks.lvm_label import Member, read_member
from workers.disks.signatures import BOOT_SECTORS, LVM, Format, identify
from workers.disks.volume import Damaged, Volume, Window

WHOLE = "fs"


class Area(NamedTuple):
    """A part of a disk that may hold files; ``volume`` is None for one that cannot be reached at all."""

    disk: int
    name: str
    format: Format
    volume: Volume | None
    size: int
    label: str = ""


def areas_of(disks: Sequence[Volume]) -> list[Area]:
    """Return the areas of all disks, in the order of the disks, logical volumes behind partitions."""
    found: list[Area] = []
    for number, disk in enumerate(disks):
        try:
            found += _of_disk(number, disk)
        except Damaged as reason:
            found.append(Area(number, WHOLE, Format("damaged", None, str(reason)), None, disk.size))
    members: list[Member] = []
    for place, area in enumerate(found):
        if area.format.name == LVM and area.volume is not None:
            try:
                members.append(read_member(area.volume))
            except Damaged as reason:
                found[place] = area._replace(format=Format(LVM, None, str(reason)))
    found += [_of_volume(one) for one in _logical(members)]
    return sorted(found, key=lambda area: area.disk)  # stable


def _of_disk(number: int, disk: Volume) -> list[Area]:
    whole = identify(disk)
    table = mbr.is_protective(disk) or not mbr.has_signature(disk)
    if table and gpt.has_table(disk):
        parts = gpt.partitions(disk)
    elif mbr.has_table(disk) and whole.name not in BOOT_SECTORS:
        parts = mbr.partitions(disk)
    else:
        return [Area(number, WHOLE, whole, disk, disk.size)]
    found = []
    for part in parts:
        window = Window(disk, part.offset, part.size)
        found.append(Area(number, f"p{part.number}", identify(window), window, part.size, part.name))
    return found


def _logical(members: list[Member]) -> list[lvm.LogicalVolume]:
    try:
        return lvm.logical_volumes(members)
    except Damaged:
        # One member's description makes no sense in detail: those of the others may.
        found = []
        for member in members:
            try:
                found += lvm.logical_volumes([member])
            except Damaged:
                continue
        return found


def _of_volume(one: lvm.LogicalVolume) -> Area:
    disk = one.home.where(0, 1)[0][0]
    if one.volume is None:
        name = Format("LVM2 volume", None, f"{one.trouble}; restore the whole disk")
        return Area(disk, one.name, name, None, 0)
    try:
        return Area(disk, one.name, identify(one.volume), one.volume, one.volume.size)
    except Damaged as reason:
        return Area(disk, one.name, Format("damaged", None, str(reason)), None, one.volume.size)
