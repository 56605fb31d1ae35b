"""Which programs a tower may have run on this machine: those that its owner has put into one folder.

Rule of the file: in doubt the answer is no, and it says what to mend.
"""

from __future__ import annotations

import os
import stat
from collections.abc import Sequence

from shared.errors import SkyharborError

_OTHERS_WRITE = stat.S_IWGRP | stat.S_IWOTH
_HINT = "Put the program into the folder SKYHARBOR_HOOKS of the worker, writable by nobody but root or its user."


def allowed(command: Sequence[str], folder: str | None) -> list[str]:
    """Return the command with its program's full path; ``source-failed`` when this machine does not allow it.

    The program is named by its plain name or by its path in ``folder``, which is None where no hook is allowed. It has
    to be a regular file, no symlink, that only root or this user can change, as have the folder and all above it.
    """
    if folder is None:
        raise _refused("this worker runs no hooks: no folder of allowed programs is set")
    name = command[0]
    parent, _, last = name.rpartition("/")
    if parent not in ("", folder.rstrip("/")) or last in ("", ".", ".."):
        raise _refused(f"{name} is not in {folder}")
    path = os.path.join(folder, last)
    _must_be_ours(path)
    return [path, *command[1:]]


def _must_be_ours(path: str) -> None:
    try:
        info = os.lstat(path)
        if not stat.S_ISREG(info.st_mode) or not os.access(path, os.X_OK):
            raise _refused(f"{path} is no program")
        _must_be_safe(path, info)
        folder = os.path.realpath(os.path.dirname(path))
        while True:
            _must_be_safe(folder, os.lstat(folder))
            if folder == "/":
                return
            folder = os.path.dirname(folder)
    except OSError as error:
        raise _refused(f"{path}: {error.strerror}") from error


def _must_be_safe(path: str, info: os.stat_result) -> None:
    if info.st_uid not in (0, os.geteuid()):
        raise _refused(f"{path} belongs to user {info.st_uid}")
    # In a folder like /tmp others can make things, but neither rename nor replace ours.
    sticky = stat.S_ISDIR(info.st_mode) and info.st_mode & stat.S_ISVTX
    if info.st_mode & _OTHERS_WRITE and not sticky:
        raise _refused(f"others than its owner may write {path}")


def _refused(why: str) -> SkyharborError:
    return SkyharborError("source-failed", f"a hook is not allowed: {why}", hint=_HINT)
