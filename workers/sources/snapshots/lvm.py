"""Snapshots of logical volumes, by LVM's own programs.

Where a volume is in a thin pool, its snapshot is as well. Otherwise room is set aside in the group for what is
overwritten meanwhile; when that is used up, the snapshot is lost, and with it the backup (``Volume.is_sound``).

Rule of the file: names and commands. A snapshot has the item in a tag, and what has not both that tag and a name of
ours is never touched.
"""

from __future__ import annotations

import hashlib
import os
import re
import secrets
import shutil
from collections.abc import Mapping
from contextlib import suppress

from shared.errors import SkyharborError
from workers.sources.settings import search_path
from workers.sources.snapshots.mounting import OPTIONS, place_of, unmount
from workers.sources.snapshots.programs import change, wait_for_changes
from workers.sources.snapshots.volumes import Volume, named, volumes

KIND = "remove-lvm-snapshot"
"""Of the guard's deed."""

_PREFIX = "skyharbor_"
_TAG = "skyharbor-item_"
_TAGGED = re.compile(r"[A-Za-z0-9_.-]{1,200}")
_USUAL_PERCENT = 20
_FULL_POOL = 95.0  # percent; a pool that is full stops everybody who writes to a volume in it


def trouble() -> str:
    """Say why this worker can make no snapshots at all; empty when it can."""
    if os.geteuid() != 0:
        return "a snapshot of a logical volume needs a worker that is root"
    missing = [one for one in ("lvs", "lvcreate", "lvremove") if shutil.which(one, path=search_path()) is None]
    return f"{', '.join(missing)} missing: install lvm2" if missing else ""


def trouble_with(volume: Volume, kind: str) -> str:
    """Say why there can be no snapshot of a volume with this kind of file system; empty when there can be one."""
    if kind not in OPTIONS:
        return f"{kind} on {volume.full_name}: snapshots of volumes are for {', '.join(OPTIONS)}"
    if volume.is_classic_snapshot:
        return f"{volume.full_name} is a snapshot itself, of {volume.origin}: LVM makes none of that"
    return ""


def new_name() -> str:
    """Return a name for a snapshot: of one attempt, so that whoever cleans up after another cannot mean it."""
    return _PREFIX + secrets.token_hex(10)


def tag_of(item_id: str) -> str:
    """Return the tag of an item's snapshots."""
    return _TAG + (item_id if _TAGGED.fullmatch(item_id) else hashlib.sha256(item_id.encode()).hexdigest())


def create(volume: Volume, name: str, *, item_id: str, percent: int, lock: str) -> None:
    """Make a snapshot; ``percent`` of the volume may be overwritten while it is there, 0 for what is usual.

    Raises ``source-failed``; then it may be there all the same.
    """
    command = ["lvcreate", "--yes", "--snapshot", "--name", name, "--addtag", tag_of(item_id)]
    if volume.is_thin:
        _must_have_room(volume)
        command += ["--ignoreactivationskip", "--activate", "y"]
    else:
        command += ["--extents", str(extents_of(volume, percent))]
    change(*command, volume.full_name, lock=lock)


def extents_of(volume: Volume, percent: int) -> int:
    """Return how many extents are set aside. Raises ``source-failed`` when the group has not as many.

    What is usual is a fifth of the volume, but no more than half of what is free: others need that as well.
    """
    free = volume.free // volume.extent
    wanted = max(1, -(-volume.size * (percent or _USUAL_PERCENT) // (100 * volume.extent)))
    if free < (wanted if percent else 1):
        need = f"{wanted * volume.extent >> 20} MiB are needed" if percent else "a snapshot needs some"
        raise SkyharborError(
            "source-failed",
            f"the volume group {volume.group} has {volume.free >> 20} MiB free, {need}",
            hint="Give the group another disk, or make a volume smaller; or ask for less with --snapshot-percent.",
        )
    return wanted if percent else min(wanted, max(1, free // 2))


def remove(group: str, name: str, *, lock: str) -> None:
    """Unmount and remove a snapshot. Nothing when it is not there; what is no snapshot of ours is left alone.

    Raises ``source-failed`` while somebody still reads in it.
    """
    volume = named(group, name)
    if volume is None:
        unmount(None, place_of(name))
    elif _is_ours(volume):
        unmount(volume.device, place_of(name))
        change("lvremove", "--yes", volume.full_name, lock=lock)


def remove_for_the_dead(details: Mapping[str, str]) -> None:
    """Remove what a dead worker has made, or was making: the guard's deed."""
    wait_for_changes(details["lock"])
    remove(details["group"], details["name"], lock=details["lock"])


def sweep(item_id: str, *, lock: str) -> None:
    """Remove what earlier backups of an item have left behind. What cannot be removed now is tried again next time."""
    with suppress(SkyharborError):
        wait_for_changes(lock)
        for volume in volumes():
            if _is_ours(volume) and tag_of(item_id) in volume.tags:
                with suppress(SkyharborError):
                    remove(volume.group, volume.name, lock=lock)


def _is_ours(volume: Volume) -> bool:
    named_so = volume.name.startswith(_PREFIX) and any(tag.startswith(_TAG) for tag in volume.tags)
    return named_so and volume.origin != ""


def _must_have_room(volume: Volume) -> None:
    pool = named(volume.group, volume.pool)
    if pool is None:
        raise SkyharborError("source-failed", f"lvs: it does not know the pool of {volume.full_name}")
    fullest = max(pool.data_percent, pool.metadata_percent)
    if fullest >= _FULL_POOL:
        raise SkyharborError(
            "source-failed",
            f"the thin pool {pool.full_name} is full by {fullest:.0f} percent: with a snapshot it would be sooner",
            hint="Extend the pool first: when it is full, everything that writes to its volumes stands still.",
        )
