"""Walks a tree by descriptors, however deep it is: tests need to look below what fits into a path.

Rule of the file: few descriptors whatever the depth, no symlink followed, no recursion; no code of the engine.
"""

from __future__ import annotations

import os
import stat
from collections.abc import Iterator

_FOLDER = os.O_RDONLY | os.O_DIRECTORY | os.O_NOFOLLOW | os.O_CLOEXEC
_OPEN = 32


class Cursor:
    """Stands in one directory of a tree; goes down by name, and up again."""

    def __init__(self, root: bytes) -> None:
        self._open: list[int | None] = [os.open(root, _FOLDER)]
        self._who = [_identity(self.fd)]

    @property
    def fd(self) -> int:
        """The descriptor of the directory, good until the next move."""
        fd = self._open[-1]
        assert fd is not None
        return fd

    def down(self, name: bytes) -> None:
        """Go into a directory; OSError when that cannot be done, and then nothing has moved."""
        fd = os.open(name, _FOLDER, dir_fd=self.fd)
        self._open.append(fd)
        self._who.append(_identity(fd))
        if len(self._open) > _OPEN and (old := self._open[-_OPEN - 1]) is not None:
            os.close(old)
            self._open[-_OPEN - 1] = None

    def up(self) -> None:
        """Go back to the directory above."""
        below = self.fd
        if self._open[-2] is None:
            self._open[-2] = os.open(b"..", _FOLDER, dir_fd=below)
            assert _identity(self._open[-2]) == self._who[-2], "the tree was moved while it was walked"
        os.close(below)
        self._open.pop()
        self._who.pop()

    def close(self) -> None:
        """Let go of everything."""
        for fd in self._open:
            if fd is not None:
                os.close(fd)
        self._open = []


def _identity(fd: int) -> tuple[int, int]:
    info = os.fstat(fd)
    return info.st_dev, info.st_ino


def names_in(fd: int) -> list[bytes]:
    """Return the names in a directory, sorted."""
    return sorted(map(os.fsencode, os.listdir(fd)))


def walk(root: bytes) -> Iterator[tuple[int, bytes, list[bytes]]]:
    """Yield descriptor, path relative to ``root`` and names of every directory, the outer one first.

    Directories that this user may not enter are left out.
    """
    cursor = Cursor(root)
    try:
        path, left = b"", [names_in(cursor.fd)]
        yield cursor.fd, path, left[0]
        left[0] = _folders(cursor.fd, left[0])
        while left:
            if not left[-1]:
                left.pop()
                if left:
                    cursor.up()
                    path = path.rpartition(b"/")[0]
                continue
            name = left[-1].pop()
            try:
                cursor.down(name)
                names = names_in(cursor.fd)
            except PermissionError:
                continue
            path = path + b"/" + name if path else name
            yield cursor.fd, path, names
            left.append(_folders(cursor.fd, names))
    finally:
        cursor.close()


def _folders(fd: int, names: list[bytes]) -> list[bytes]:
    """Return those that are directories, the last one first."""
    found = []
    for name in reversed(names):
        try:
            mode = os.stat(name, dir_fd=fd, follow_symlinks=False).st_mode
        except (FileNotFoundError, PermissionError):
            continue
        if stat.S_ISDIR(mode):
            found.append(name)
    return found
