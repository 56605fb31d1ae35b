"""Where snapshots of volumes are mounted: below ``/run``, in a folder that nobody but root can enter.

``/run`` is memory: no scan of any item goes there, and of a machine that lost its power nothing is left of it.

Rule of the file: mounted read-only for whoever reads. The snapshot itself can be written, so that the kernel replays a
journal in it; ``noload`` and ``norecovery``, with which files may be missing or torn, are never used.
"""

from __future__ import annotations

import os
import time
from contextlib import suppress

from shared.errors import SkyharborError
from workers.sources.journal.mount_table import Mount, read_mounts
from workers.sources.snapshots.programs import ask

HOME = "/run/skyharbor.snapshots"

OPTIONS = {"ext2": "", "ext3": "", "ext4": "", "xfs": ",nouuid"}
"""By the kinds of file systems that can be mounted beside what they are a snapshot of, what that needs."""

_OPTIONS = "ro,nosuid,nodev,noexec"
_PATIENCE = 10.0
_PAUSE = 0.1


def place_of(name: str) -> str:
    """Return where the snapshot of this name is mounted."""
    return os.path.join(HOME, name)


def mount(path: str, kind: str, place: str) -> int:
    """Mount a device, and return the ``st_dev`` of what is in it. Raises ``source-failed``."""
    try:
        os.makedirs(HOME, mode=0o700, exist_ok=True)
        os.chmod(HOME, 0o700)
        os.makedirs(place, mode=0o700, exist_ok=True)
    except OSError as error:
        raise SkyharborError("source-failed", f"{place}: {error.strerror}") from error
    ask("mount", "-t", kind, "-o", _OPTIONS + OPTIONS[kind], path, place)
    return os.lstat(place).st_dev


def is_mounted(place: str, device: int) -> bool:
    """Tell whether what was mounted there still is."""
    try:
        return os.lstat(place).st_dev == device
    except OSError:
        return False


def unmount(device: int | None, place: str) -> None:
    """Unmount a device wherever it is mounted, and remove its folder. Raises ``source-failed`` while it is in use."""
    for there in _mounts_of(device):
        _unmount(there.path)
    with suppress(FileNotFoundError):
        try:
            os.rmdir(place)
        except OSError as error:
            raise SkyharborError("source-failed", f"{place}: {error.strerror}") from error


def _mounts_of(device: int | None) -> list[Mount]:
    return [one for one in reversed(read_mounts()) if one.device == device]


def _unmount(path: str) -> None:
    """What read there may need a moment to let go."""
    until = time.monotonic() + _PATIENCE
    while True:
        try:
            ask("umount", path)
        except SkyharborError:
            if time.monotonic() >= until:
                raise
            time.sleep(_PAUSE)
        else:
            return
