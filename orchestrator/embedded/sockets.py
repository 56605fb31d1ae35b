"""A folder whose unix sockets have short and plain names.

Rule of the file: the kernel takes 107 bytes for a socket's path, libpq reads a comma as a list of hosts, and broker
URLs have characters of their own. A home with any other path gets a private folder elsewhere, remembered in the home;
a remembered folder that is gone or not ours is replaced, never trusted.
"""

from __future__ import annotations

import contextlib
import os
import re
import stat
import tempfile

_LONGEST_PATH = 107
_LONGEST_NAME = len("/.s.PGSQL.5432.lock")
_NOTE = "sockets-folder"
_PLAIN = re.compile(r"[A-Za-z0-9/._+-]+")


def socket_folder(run: str, *, runtime: str | None = None) -> str:
    """Return a 0700 folder for sockets: ``run`` itself when its path will do, else one under ``runtime`` or /tmp.

    ``run`` exists already and is ours. Two calls give the same folder.
    """
    if len(run) + _LONGEST_NAME <= _LONGEST_PATH and _PLAIN.fullmatch(run):
        return run
    note = os.path.join(run, _NOTE)
    remembered = _read(note)
    if remembered and _is_private(remembered):
        return remembered
    parent = runtime if runtime and len(os.fsencode(runtime)) < 60 and os.path.isdir(runtime) else "/tmp"  # noqa: S108 (mkdtemp below)
    folder = tempfile.mkdtemp(prefix="skyharbor-", dir=parent)
    with open(note, "w", encoding="utf-8") as handle:
        handle.write(folder)
    return folder


def give_back(run: str) -> None:
    """Remove the folder that ``socket_folder`` found elsewhere, unless something is still in it. Idempotent."""
    note = os.path.join(run, _NOTE)
    remembered = _read(note)
    if remembered and _is_private(remembered):
        with contextlib.suppress(OSError):
            os.rmdir(remembered)
            os.unlink(note)


def _read(path: str) -> str | None:
    try:
        with open(path, encoding="utf-8") as handle:
            return handle.read().strip()
    except FileNotFoundError:
        return None


def _is_private(folder: str) -> bool:
    try:
        found = os.lstat(folder)
    except OSError:
        return False
    return stat.S_ISDIR(found.st_mode) and found.st_uid == os.geteuid() and stat.S_IMODE(found.st_mode) == 0o700
