"""Logical volumes, as LVM and the kernel tell of them.

Rule of the file: it looks and changes nothing.
"""

from __future__ import annotations

import json
import os
from dataclasses import dataclass
from typing import Any

from shared.errors import SkyharborError
from workers.sources.snapshots.programs import ask

_FIELDS = (
    "vg_name,lv_name,lv_size,vg_extent_size,vg_free,lv_attr,origin,pool_lv,lv_tags,"
    "lv_kernel_major,lv_kernel_minor,data_percent,metadata_percent,lv_snapshot_invalid"
)
_UUID = len("LVM-") + 64  # the group's and the volume's; layers within a volume have something behind it


@dataclass(frozen=True, slots=True, kw_only=True)
class Volume:
    """A logical volume. Sizes in bytes; ``attributes`` are the letters of ``lv_attr`` (see lvs(8)).

    ``device`` is the number that a file system on it has as ``st_dev``; None when it is not active.
    """

    group: str
    name: str
    size: int
    extent: int
    free: int
    attributes: str
    origin: str
    pool: str
    tags: tuple[str, ...]
    device: int | None
    data_percent: float
    metadata_percent: float
    invalid: bool

    @property
    def full_name(self) -> str:
        """Its group and its name, as LVM's programs take them."""
        return f"{self.group}/{self.name}"

    @property
    def is_thin(self) -> bool:
        """Whether it is in a thin pool: then its snapshots need no room that is set aside."""
        return self.attributes[:1] == "V"

    @property
    def is_classic_snapshot(self) -> bool:
        """Whether it has room set aside for what is overwritten in its origin."""
        return self.attributes[:1] in ("s", "S")

    @property
    def is_sound(self) -> bool:
        """Whether it is active, and nothing has happened to it that makes its content another one."""
        return self.attributes[4:5] == "a" and self.attributes[8:9] != "F" and not self.invalid


def is_volume(device: int) -> bool:
    """Tell whether a device number is that of a logical volume, by what the kernel knows."""
    told = _kernel(device, "uuid")
    return told.startswith("LVM-") and len(told) == _UUID


def volume_of(device: int) -> Volume:
    """Return the volume of a device number for which ``is_volume`` is true; ``source-failed`` when it is gone."""
    name = _kernel(device, "name")
    found = [one for one in volumes(f"/dev/mapper/{name}") if one.device == device]
    if not found:
        raise SkyharborError("source-failed", f"lvs: it does not know /dev/mapper/{name}")
    return found[0]


def volumes(*names: str) -> list[Volume]:
    """Return the volumes of these names (volumes or groups); of all groups without one. Raises ``source-failed``."""
    report = ask("lvs", "--reportformat", "json", "--units", "b", "--nosuffix", "--binary", "-o", _FIELDS, *names)
    try:
        return [_volume(row) for part in json.loads(report)["report"] for row in part["lv"]]
    except (ValueError, KeyError, TypeError) as error:
        raise SkyharborError("source-failed", f"lvs: it said something else than volumes: {error!r}") from error


def named(group: str, name: str) -> Volume | None:
    """Return the volume of this very name; None when there is none. ``source-failed`` when that cannot be told."""
    return next((one for one in volumes(group) if one.name == name), None)


def _kernel(device: int, what: str) -> str:
    try:
        with open(f"/sys/dev/block/{os.major(device)}:{os.minor(device)}/dm/{what}", encoding="utf-8") as told:
            return told.read().strip()
    except OSError:
        return ""


def _volume(row: dict[str, Any]) -> Volume:
    major, minor = int(row["lv_kernel_major"]), int(row["lv_kernel_minor"])
    return Volume(
        group=row["vg_name"],
        name=row["lv_name"],
        size=int(row["lv_size"]),
        extent=int(row["vg_extent_size"]),
        free=int(row["vg_free"]),
        attributes=row["lv_attr"],
        origin=row["origin"],
        pool=row["pool_lv"],
        tags=tuple(tag for tag in row["lv_tags"].split(",") if tag),
        device=os.makedev(major, minor) if major >= 0 else None,
        data_percent=float(row["data_percent"] or 0),
        metadata_percent=float(row["metadata_percent"] or 0),
        invalid=row["lv_snapshot_invalid"] == "1",
    )
