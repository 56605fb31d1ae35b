"""The attributes that ``chattr`` sets, by its letters, for tests.

Rule of the file: the numbers are those of ``linux/fs.h``, written down once more: no code of the engine.
"""

from __future__ import annotations

import fcntl
import os
import struct
import tempfile

from tests.support.descent import walk

_GET, _SET = 0x80086601, 0x40086602
LETTERS = {
    "s": 0x1,
    "u": 0x2,
    "c": 0x4,
    "S": 0x8,
    "i": 0x10,
    "a": 0x20,
    "d": 0x40,
    "A": 0x80,
    "m": 0x400,
    "j": 0x4000,
    "t": 0x8000,
    "D": 0x10000,
    "T": 0x20000,
    "V": 0x100000,
    "C": 0x800000,
    "x": 0x2000000,
    "P": 0x20000000,
    "F": 0x40000000,
}
"""All that say something about a node; how its blocks are laid out is nobody's business."""

_LOOK = os.O_RDONLY | os.O_NONBLOCK | os.O_NOFOLLOW | os.O_NOCTTY | os.O_CLOEXEC


def flags_of(fd: int) -> str:
    """Return the letters of an open file or directory; none where the file system has no such attributes."""
    try:
        number = struct.unpack("=i", fcntl.ioctl(fd, _GET, bytes(8))[:4])[0]
    except OSError:
        return ""
    return "".join(letter for letter, bit in LETTERS.items() if number & bit)


def lsattr(path: str | bytes) -> str:
    """Return the letters of a file or directory."""
    fd = os.open(path, _LOOK)
    try:
        return flags_of(fd)
    finally:
        os.close(fd)


def chattr(path: str | bytes, letters: str, *, folder: int | None = None) -> None:
    """Make these the letters of a file or directory, and no others; OSError when that cannot be done."""
    fd = os.open(path, _LOOK, dir_fd=folder)
    try:
        number = struct.unpack("=i", fcntl.ioctl(fd, _GET, bytes(8))[:4])[0]
        number &= ~sum(LETTERS.values())
        fcntl.ioctl(fd, _SET, struct.pack("=q", number | sum(LETTERS[letter] for letter in letters)))
    finally:
        os.close(fd)


def can_chattr(folder: str | os.PathLike[str], letters: str) -> bool:
    """Tell whether files (or directories, for ``D`` and ``T``) in this folder can have the letters."""
    with tempfile.TemporaryDirectory(dir=folder) as probe:
        path = probe if set(letters) & set("DT") else f"{probe}/file"
        with open(f"{probe}/file", "wb"):
            pass
        try:
            chattr(path, letters)
            return set(letters) <= set(lsattr(path))
        except OSError:
            return False
        finally:
            melt(probe)


def melt(root: str | os.PathLike[str]) -> None:
    """Take away what forbids changes in a tree, so that it can be removed."""
    top = os.fsencode(root)
    _melt_one(top, None)
    for fd, _, names in walk(top):
        for name in names:
            _melt_one(name, fd)


def _melt_one(name: bytes, folder: int | None) -> None:
    mode = os.stat(name, dir_fd=folder, follow_symlinks=False).st_mode & 0o170000
    if mode not in (0o100000, 0o040000):
        return
    try:
        fd = os.open(name, _LOOK, dir_fd=folder)
    except PermissionError:
        return
    try:
        letters = flags_of(fd)
    finally:
        os.close(fd)
    if set(letters) & set("ia"):
        chattr(name, "".join(set(letters) - set("ia")), folder=folder)
