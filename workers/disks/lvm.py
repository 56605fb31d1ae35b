"""Logical volumes of LVM2, put together from their members over several disks, without a device mapper.

Linear and striped volumes are read; every other kind is named, and can be restored with its whole disk only.

Rule of the file: what a description says is checked before it is used; a volume that it does not fit is named broken.
"""

from __future__ import annotations

from bisect import bisect_right
from collections.abc import Sequence
from typing import NamedTuple

from workers.disks.lvm_label import SECTOR, Group, Member
from workers.disks.lvm_text import Section, number, sections, word
from workers.disks.volume import Damaged, Unsupported, Volume

_READABLE = frozenset({"striped", "linear"})
_MOST_SEGMENTS = 100_000


class LogicalVolume(NamedTuple):
    """A volume that a group has; ``trouble`` says why it cannot be read where ``volume`` is None.

    ``home`` is one of its members: the first that it uses.
    """

    name: str  # as device mapper writes it: group and volume, each dash inside of them doubled
    volume: Volume | None
    home: Volume
    trouble: str = ""


def logical_volumes(members: Sequence[Member]) -> list[LogicalVolume]:
    """Return what the groups of these members have, in the order of their names."""
    homes = {member.uuid: member.volume for member in reversed(members)}
    groups: dict[str, Group] = {}
    for member in members:
        group = member.group
        if group is not None:
            key = str(group.section.get("id", group.name))
            if key not in groups or groups[key].sequence < group.sequence:
                groups[key] = group
    found = [one for group in groups.values() for one in _of_group(group, homes)]
    return sorted(found, key=lambda one: one.name)


def _of_group(group: Group, homes: dict[str, Volume]) -> list[LogicalVolume]:
    volumes = sections(group.section, "logical_volumes")
    snapshots = {
        str(segment.get("cow_store"))
        for volume in volumes.values()
        for segment in _segments(volume)
        if segment.get("type") == "snapshot"
    }
    fallback = next((homes[uuid] for uuid in _members(group).values() if uuid in homes), None)
    found = []
    for name, volume in volumes.items():
        if fallback is None or "VISIBLE" not in _listed(volume, "status"):
            continue
        path = f"{_doubled(group.name)}-{_doubled(name)}"
        try:
            if name in snapshots:
                raise Unsupported("a snapshot of LVM")
            striped = _put_together(group, volume, homes)
        except (Damaged, Unsupported) as reason:
            found.append(LogicalVolume(path, None, fallback, str(reason)))
        else:
            found.append(LogicalVolume(path, striped, striped.home))
    return found


def _put_together(group: Group, volume: Section, homes: dict[str, Volume]) -> _Striped:
    extent = number(group.section, "extent_size") * SECTOR
    members = sections(group.section, "physical_volumes")
    uuids = _members(group)
    runs: list[_Run] = []
    for segment in sorted(_segments(volume), key=lambda one: number(one, "start_extent")):
        kind = word(segment, "type")
        if kind not in _READABLE:
            raise Unsupported(f"a logical volume of the type {kind}")
        stripes = segment.get("stripes")
        if not isinstance(stripes, list) or not stripes or len(stripes) % 2:
            raise Damaged("a segment of the logical volume has no stripes")
        legs = []
        for name, start in zip(stripes[::2], stripes[1::2], strict=True):
            if not isinstance(name, str) or not isinstance(start, int) or start < 0 or name not in members:
                raise Damaged("a stripe of the logical volume is on no physical volume of the group")
            home = homes.get(uuids[name])
            if home is None:
                raise Unsupported("a logical volume of which a part is on a disk that the point does not have")
            legs.append((home, number(members[name], "pe_start") * SECTOR + start * extent))
        size = number(segment, "stripe_size") * SECTOR if len(legs) > 1 else 0
        runs.append(
            _Run(number(segment, "start_extent") * extent, number(segment, "extent_count") * extent, size, legs)
        )
    return _Striped(runs)


class _Run(NamedTuple):
    """A segment: its legs take turns every ``stripe`` bytes."""

    begin: int
    size: int
    stripe: int
    legs: list[tuple[Volume, int]]


class _Striped:
    """A logical volume as a volume."""

    def __init__(self, runs: Sequence[_Run]) -> None:
        at = 0
        for run in runs:
            if run.begin != at or not run.size or (len(run.legs) > 1 and not run.stripe):
                raise Damaged("the segments of the logical volume do not follow each other")
            at += run.size
        if not runs:
            raise Damaged("the logical volume has no segments")
        self.size = at
        self.home = runs[0].legs[0][0]
        self._runs = runs
        self._begins = [run.begin for run in runs]

    def read(self, offset: int, length: int) -> bytes:
        """See ``Volume``."""
        length = min(length, self.size - offset)
        data = bytearray()
        for base, at, count in self._pieces(offset, length):
            piece = base.read(at, count)
            if len(piece) != count:
                raise Damaged("the logical volume reaches beyond the end of its disk")
            data += piece
        return bytes(data)

    def where(self, offset: int, length: int) -> list[tuple[int, int, int]]:
        """See ``Volume``."""
        if offset < 0 or length < 0 or offset + length > self.size:
            raise Damaged(f"{length} bytes at {offset} are outside of the volume")
        return [one for base, at, count in self._pieces(offset, length) for one in base.where(at, count)]

    def _pieces(self, offset: int, length: int) -> list[tuple[Volume, int, int]]:
        pieces = []
        while length > 0:
            run = self._runs[bisect_right(self._begins, offset) - 1]
            inside = offset - run.begin
            if len(run.legs) == 1:
                (base, start), count = run.legs[0], min(length, run.size - inside)
                at = start + inside
            else:
                turn, rest = divmod(inside, run.stripe)
                base, start = run.legs[turn % len(run.legs)]
                at = start + turn // len(run.legs) * run.stripe + rest
                count = min(length, run.stripe - rest)
            pieces.append((base, at, count))
            offset, length = offset + count, length - count
        return pieces


def _members(group: Group) -> dict[str, str]:
    """Return the ids of physical volumes by their names in the description."""
    members = sections(group.section, "physical_volumes")
    return {name: str(member.get("id", "")).replace("-", "") for name, member in members.items()}


def _segments(volume: Section) -> list[Section]:
    found = [one for name, one in volume.items() if name.startswith("segment") and isinstance(one, dict)]
    if len(found) > _MOST_SEGMENTS:
        raise Damaged("the logical volume has too many segments")
    return found


def _listed(section: Section, key: str) -> list[int | str]:
    value = section.get(key)
    return value if isinstance(value, list) else []


def _doubled(name: str) -> str:
    return name.replace("-", "--")
