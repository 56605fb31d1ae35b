"""The scratch folder of a session: what the guest overwrites while it is read is kept there, and the reader's socket.

QEMU opens what is in it, so it belongs to QEMU's user. A folder of a session is beside others of the item's, by whose
names leftovers are found.

Rule of the file: nothing is written over; nobody but QEMU's user and us gets in.
"""

from __future__ import annotations

import ctypes
import os
import shutil
from collections.abc import Sequence

from shared.errors import SkyharborError
from workers.engine.notices import reason

_MOST_SOCKET_PATH = 107
_SOCKET = "nbd"
_KEEP_SIZE = 1
_SPARE = 64 * 1024 * 1024


def scratch_base(given: str, images: Sequence[str]) -> str:
    """Return the folder for scratch folders: the given one, or the one in which the first image is."""
    folder = given or (os.path.dirname(images[0]) if images else "")
    if not os.path.isabs(folder) or not os.path.isdir(folder):
        raise SkyharborError("source-failed", f"there is no scratch folder {folder!r}", hint="Give one with --scratch.")
    return folder


def folder_name(base: str, tag: str) -> str:
    """Return the path of a session's folder."""
    return f"{base}/.{tag.rstrip('-')}"


def remove_leftovers(base: str, tag: str) -> None:
    """Remove the folders of an item's earlier sessions."""
    for entry in os.scandir(base):
        if entry.name.startswith(f".{tag}") and entry.is_dir(follow_symlinks=False):
            shutil.rmtree(entry.path, ignore_errors=True)


class Scratch:
    """A session's folder. Raises ``source-failed`` when the file system does not allow what is needed."""

    def __init__(self, path: str, *, owner: int | None) -> None:
        self.path = path
        self._owner = owner if owner is not None and os.geteuid() == 0 else None
        self.socket = f"{path}/{_SOCKET}"
        if len(os.fsencode(self.socket)) > _MOST_SOCKET_PATH:
            raise SkyharborError("source-failed", f"{path} is too long for a socket", hint="Give a --scratch near /.")
        try:
            os.mkdir(path, 0o700)
            self._hand_over(path)
        except OSError as error:
            raise SkyharborError("source-failed", f"{path}: {reason(error)}") from error

    def sparse(self, name: str, size: int) -> str:
        """Make a file without data and return its path."""
        path = f"{self.path}/{name}"
        try:
            with open(path, "xb") as made:
                os.ftruncate(made.fileno(), size)
            self._hand_over(path)
        except OSError as error:
            raise SkyharborError("source-failed", f"{path}: {reason(error)}") from error
        return path

    def reserve(self, path: str, size: int) -> None:
        """Reserve room for all that a disk of this size can have overwritten, so that it cannot run out."""
        libc = ctypes.CDLL(None, use_errno=True)
        libc.fallocate.argtypes = (ctypes.c_int, ctypes.c_int, ctypes.c_int64, ctypes.c_int64)
        fd = os.open(path, os.O_WRONLY | os.O_CLOEXEC)
        try:
            if libc.fallocate(fd, _KEEP_SIZE, 0, size + size // 500 + _SPARE):
                why = os.strerror(ctypes.get_errno())
                raise SkyharborError(
                    "source-failed",
                    f"{self.path} must have room for the whole disk, or the guest's writes could fail: {why}",
                    hint="QEMU 7.1 and newer does without; or give a --scratch with more room.",
                )
        finally:
            os.close(fd)
        self._hand_over(path)

    def _hand_over(self, path: str) -> None:
        if self._owner is not None:
            os.chown(path, self._owner, -1)
