"""What mounts, where this machine can.

Rule of the file: the library is loaded when somebody wants to mount, and no sooner.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Protocol

from shared.errors import SkyharborError
from workers.serving.folder import Folder
from workers.serving.settings import choose_fuse_3


class Mounting(Protocol):
    """``fuse_mount.mount_folder``."""

    def __call__(self, folder: Folder, target: str, *, name: str, allow_other: bool, ready: Callable[[], None]) -> None:
        """See there."""


def mounting() -> Mounting:
    """Return what mounts. Raises ``target-invalid`` when this machine cannot."""
    choose_fuse_3()
    try:
        from workers.serving.fuse_mount import mount_folder
    except (ImportError, OSError) as error:
        raise SkyharborError(
            "target-invalid",
            f"this machine cannot mount: {error}",
            hint="Install 'skyharbor[mount]' with pip, and the packages fuse3 and libfuse3-3 of the system.",
        ) from error
    return mount_folder
