"""Directories inside a restore's target, reached without ever following a symlink.

Every directory is opened from its parent with ``O_NOFOLLOW``, so that neither a symlink that was in the target
before, nor one that the point itself brought, leads a restore outside; ``behind`` is for the one exception. Descriptors
are kept for a while and shared between threads; those in use are never closed.

Rule of the file: paths are relative to the target, raw, without a leading slash; ``b""`` is the target.
"""

from __future__ import annotations

import os
import stat
import threading
from collections import OrderedDict
from collections.abc import Iterator
from contextlib import contextmanager, suppress

_FOLDER = os.O_PATH | os.O_DIRECTORY | os.O_NOFOLLOW | os.O_CLOEXEC
_KEEP = 128
_MAX_LINKS = 40  # as the kernel has it


class _Held:
    __slots__ = ("fd", "users")

    def __init__(self, fd: int) -> None:
        self.fd = fd
        self.users = 0


class Folders:
    """Path descriptors (``O_PATH``) of the target's directories. Safe for any thread."""

    def __init__(self, target: int) -> None:
        self._target = target
        self._original = os.path.samestat(os.fstat(target), os.stat("/"))
        self._lock = threading.Lock()
        self._open: OrderedDict[bytes, _Held] = OrderedDict()

    @contextmanager
    def held(self, path: bytes) -> Iterator[int]:
        """Give the descriptor of an existing directory, good until the end of the block.

        OSError when it is missing, no directory, or behind a symlink (ELOOP or ENOTDIR).
        """
        held = self._take(path)
        try:
            yield held.fd
        finally:
            with self._lock:
                held.users -= 1

    def behind(self, folder: bytes, name: bytes) -> bytes | None:
        """Return where the directory is that a symlink leads to, as a path in the target; None for not followed.

        Only when the target is ``/``: then a symlink above the data (``/home`` to ``/data/home``) is part of the
        machine that is restored, and anywhere else it would lead out of the target. Nobody but root and this user may
        have made it or be able to replace it.
        """
        if not self._original:
            return None
        done, left, links = folder.split(b"/") if folder else [], [name], 0
        while left:
            part = left.pop(0)
            if part == b"..":
                del done[-1:]
            elif part not in (b"", b"."):
                found = self._look(b"/".join(done), part)
                if found is None:
                    return None
                if not found:
                    done.append(part)
                    continue
                links += 1
                if links > _MAX_LINKS:
                    return None
                done = [] if found.startswith(b"/") else done
                left[:0] = found.split(b"/")
        return b"/".join(done)

    def _look(self, folder: bytes, name: bytes) -> bytes | None:
        """Return a trustworthy symlink's target, an empty one for a directory, None for anything else."""
        with suppress(OSError), self.held(folder) as at:
            there = os.stat(name, dir_fd=at, follow_symlinks=False)
            if stat.S_ISDIR(there.st_mode):
                return b""
            if stat.S_ISLNK(there.st_mode) and _is_ours(there) and _is_closed(os.fstat(at)):
                return os.readlink(name, dir_fd=at)
        return None

    def close(self) -> None:
        """Close everything, the target's descriptor included. Nobody may use it any more."""
        for held in self._open.values():
            os.close(held.fd)
        self._open.clear()
        os.close(self._target)

    def _take(self, path: bytes) -> _Held:
        with self._lock:
            held = self._open.get(path)
            if held is None:
                held = _Held(self._walk(path))
                self._open[path] = held
                self._trim()
            else:
                self._open.move_to_end(path)
            held.users += 1
            return held

    def _walk(self, path: bytes) -> int:
        """Open a directory from the nearest one that is open already."""
        near = path
        while near and near not in self._open:
            near = near.rpartition(b"/")[0]
        start = self._open[near].fd if near else self._target
        at = os.open(b".", _FOLDER, dir_fd=start)
        for part in path[len(near) :].split(b"/"):
            if part:
                try:
                    below = os.open(part, _FOLDER, dir_fd=at)
                finally:
                    os.close(at)
                at = below
        return at

    def _trim(self) -> None:
        if len(self._open) <= _KEEP:
            return
        for path, held in list(self._open.items())[: _KEEP // 4]:
            if not held.users:
                os.close(held.fd)
                del self._open[path]


def _is_ours(node: os.stat_result) -> bool:
    return node.st_uid in (0, os.geteuid())


def _is_closed(folder: os.stat_result) -> bool:
    """Tell whether nobody else can replace what is in a directory."""
    open_to_others = folder.st_mode & (stat.S_IWGRP | stat.S_IWOTH) and not folder.st_mode & stat.S_ISVTX
    return _is_ours(folder) and not open_to_others
