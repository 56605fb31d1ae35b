"""Read-only btrfs snapshots, by the ``btrfs`` program.

They stand in a folder ``.skyharbor`` at the top of the subvolume that they are of, which is the only place of it that
is surely within reach; the folder stays, so that the top's own times do not change with every backup.

Rule of the file: commands and names; what is read through a snapshot is ``taking``'s.
"""

from __future__ import annotations

import os
import shutil
import subprocess
from collections.abc import Mapping, Sequence
from contextlib import suppress

from shared.errors import SkyharborError
from workers.sources.journal.mount_table import Mount

KIND = "delete-btrfs-snapshot"
"""Of the guard's deed."""

FOLDER = ".skyharbor"

_TOP_INODE = 256  # BTRFS_FIRST_FREE_OBJECTID: the root directory of every subvolume
_PATIENCE = 120.0


def subvolume_of(path: str, mounts: Sequence[Mount]) -> str | None:
    """Return the top folder of the subvolume that a path (without symlinks above it) is in; None when it is in none.

    None as well when its top is out of reach: only a part of it is mounted here.
    """
    at = path
    home = max(
        (one for one in reversed(mounts) if at == one.path or at.startswith(one.path.rstrip("/") + "/")),
        key=lambda one: len(one.path),
        default=None,
    )
    if home is None or home.kind != "btrfs" or shutil.which("btrfs") is None:
        return None
    try:
        device = os.lstat(at).st_dev
        while at != home.path and os.lstat(os.path.dirname(at)).st_dev == device:
            at = os.path.dirname(at)
        return at if os.lstat(at).st_ino == _TOP_INODE else None
    except OSError:
        return None


def nested_in(top: str) -> list[str]:
    """Return the paths of subvolumes right below one, relative to it: a snapshot shows empty folders in their place."""
    name = _btrfs("subvolume", "show", top).splitlines()[0].strip().strip("/")
    found = []
    for line in _btrfs("subvolume", "list", "-o", top).splitlines():
        path = line.partition(" path ")[2]
        found.append(path.removeprefix(f"{name}/") if name else path)
    return [path for path in found if not path.startswith(f"{FOLDER}/")]


def place_of(top: str, item_id: str, point_id: str) -> str:
    """Return where the snapshot of a subvolume for one backup is."""
    return os.path.join(top, FOLDER, f"{item_id}.{point_id}")


def take(top: str, place: str) -> None:
    """Make the snapshot; ``source-failed`` when that cannot be."""
    try:
        os.makedirs(os.path.dirname(place), mode=0o700, exist_ok=True)
    except OSError as error:
        raise SkyharborError("source-failed", f"{os.path.dirname(place)}: {error.strerror}") from error
    _btrfs("subvolume", "snapshot", "-r", top, place)


def delete(place: str) -> None:
    """Delete a snapshot. Nothing when it is not there; what is no snapshot of ours is left alone."""
    try:
        info = os.lstat(place)
    except FileNotFoundError:
        return
    if os.path.basename(os.path.dirname(place)) != FOLDER or info.st_ino != _TOP_INODE:
        return
    _btrfs("subvolume", "delete", place)


def delete_for_the_dead(details: Mapping[str, str]) -> None:
    """Delete what a dead worker has made: the guard's deed."""
    delete(details["place"])


def sweep(top: str, item_id: str) -> None:
    """Delete what earlier backups of an item have left behind. What cannot be deleted now is tried again next time."""
    folder = os.path.join(top, FOLDER)
    with suppress(FileNotFoundError):
        for name in os.listdir(folder):
            if name.startswith(f"{item_id}."):
                with suppress(SkyharborError):
                    delete(os.path.join(folder, name))


def _btrfs(*arguments: str) -> str:
    command = ["btrfs", *arguments]
    try:
        done = subprocess.run(
            command,
            check=True,
            capture_output=True,
            text=True,
            errors="surrogateescape",
            timeout=_PATIENCE,
            stdin=subprocess.DEVNULL,
        )
    except subprocess.CalledProcessError as error:
        raise SkyharborError("source-failed", f"{' '.join(command)}: {error.stderr.strip()[-500:]}") from error
    except (OSError, subprocess.TimeoutExpired) as error:
        raise SkyharborError("source-failed", f"{' '.join(command)}: {error}") from error
    return done.stdout
