"""Puts a finished node under its name in the target, by the conflict rule, all at once or not at all.

A regular file is written without a name (``O_TMPFILE``, or a hidden temporary name where the file system has none of
that) and gets its real one only when it is complete, so a killed restore leaves no half file under a real name.

Rule of the file: names are single parts relative to an open folder; an existing node is replaced only by ``OVERWRITE``,
a directory never.
"""

from __future__ import annotations

import errno
import os
import secrets
from collections.abc import Callable
from contextlib import suppress

from shared.model.backup import ConflictRule

_NAME_MAX = 255
_NO_TMPFILE = frozenset({errno.EOPNOTSUPP, errno.EISDIR, errno.ENOENT, errno.EINVAL})
_NO_HARD_LINKS = frozenset({errno.EPERM, errno.EOPNOTSUPP, errno.ENOENT, errno.EMLINK, errno.EXDEV})

Make = Callable[[bytes], None]
"""Makes a complete node under a name in the folder; FileExistsError when the name is taken, which stays untouched."""


def place(folder: int, name: bytes, rule: ConflictRule, make: Make) -> bytes | None:
    """Put a node under ``name`` and return the name it got, None when an existing node was kept.

    Raises IsADirectoryError when a directory would have to be replaced.
    """
    try:
        make(name)
        return name
    except FileExistsError:
        if rule is ConflictRule.SKIP:
            return None
    if rule is ConflictRule.RENAME:
        return _beside(name, make)
    _replace(folder, name, make)
    return name


def beside_name(name: bytes, number: int) -> bytes:
    """Return the name for a copy beside an existing node."""
    suffix = b".restored-%d" % number
    return name[: _NAME_MAX - len(suffix)] + suffix


def temporary_name() -> bytes:
    """Return a hidden name that nothing else has."""
    return b".skyharbor-" + secrets.token_hex(8).encode()


def _beside(name: bytes, make: Make) -> bytes:
    number = 1
    while True:
        other = beside_name(name, number)
        with suppress(FileExistsError):
            make(other)
            return other
        number += 1


def _replace(folder: int, name: bytes, make: Make) -> None:
    hidden = temporary_name()
    make(hidden)
    try:
        os.rename(hidden, name, src_dir_fd=folder, dst_dir_fd=folder)
    except BaseException:
        os.unlink(hidden, dir_fd=folder)
        raise


class NewFile:
    """A regular file in the making inside a folder; ``close`` without ``publish`` leaves nothing behind."""

    __slots__ = ("_folder", "_hidden", "fd")

    def __init__(self, folder: int) -> None:
        self._folder = folder
        self._hidden: bytes | None = None
        flags = os.O_WRONLY | os.O_CLOEXEC
        try:
            self.fd = os.open(b".", flags | os.O_TMPFILE, 0o600, dir_fd=folder)
        except OSError as error:
            if error.errno not in _NO_TMPFILE:
                raise
            self._hidden = temporary_name()
            self.fd = os.open(self._hidden, flags | os.O_CREAT | os.O_EXCL | os.O_NOFOLLOW, 0o600, dir_fd=folder)

    def publish(self, name: bytes) -> None:
        """Give the file its name; FileExistsError when that is taken."""
        if self._hidden is None:
            os.link(b"/proc/self/fd/%d" % self.fd, name, dst_dir_fd=self._folder, follow_symlinks=True)
            return
        try:
            os.link(self._hidden, name, src_dir_fd=self._folder, dst_dir_fd=self._folder, follow_symlinks=False)
        except OSError as error:
            if error.errno not in _NO_HARD_LINKS:
                raise
            self._rename_to(name, self._hidden)

    def close(self) -> None:
        """Let go of the file, and remove its hidden name if it still has one."""
        os.close(self.fd)
        if self._hidden is not None:
            with suppress(FileNotFoundError):
                os.unlink(self._hidden, dir_fd=self._folder)

    def _rename_to(self, name: bytes, hidden: bytes) -> None:
        """The way for file systems without hard links (FAT): a look, then a rename."""
        with suppress(FileNotFoundError):
            os.stat(name, dir_fd=self._folder, follow_symlinks=False)
            raise FileExistsError(errno.EEXIST, os.strerror(errno.EEXIST))
        os.rename(hidden, name, src_dir_fd=self._folder, dst_dir_fd=self._folder)
        self._hidden = None
