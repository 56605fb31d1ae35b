"""Walks the protected paths depth-first, in the order of a recovery point.

Names are sorted by their bytes within each directory, which gives exactly the order of ``sort_key``; memory grows with
depth and with the largest directory's list of names, not with the tree. Directories are read through descriptors; in
very deep trees those of the upper levels are closed and opened again on the way back.

Rule of the file: it looks and never reads content.
"""

from __future__ import annotations

import os
import stat
import sys
from collections.abc import Iterator, Sequence
from contextlib import suppress

from shared.errors import SkyharborError
from shared.model.backup import Notice
from shared.vault.entry import sort_key
from workers.engine.notices import reason, shown, unreadable
from workers.engine.ports import Found
from workers.sources.excludes import Excludes
from workers.sources.flags import forbidding_flags
from workers.sources.mounts import PSEUDO, filesystem_type
from workers.sources.nodes import FIRST_TIME, LAST_TIME, Nodes, entry_of
from workers.sources.roots import is_below

_ENCODING = sys.getfilesystemencoding()
_ERRORS = sys.getfilesystemencodeerrors()
_OPEN_FOLDERS = 64


class _Folder:
    """A directory on the way: what is left of its names, and its descriptor unless that was closed to save some."""

    __slots__ = ("device", "fd", "inode", "names", "path")

    def __init__(self, path: bytes, device: int, inode: int, fd: int) -> None:
        self.path = path
        self.device = device
        self.inode = inode
        self.fd: int | None = fd
        # Reversed, so that the next name is popped off the end.
        self.names = sorted([name.encode(_ENCODING, _ERRORS) for name in os.listdir(fd)], reverse=True)

    def close(self) -> None:
        if self.fd is not None:
            os.close(self.fd)
            self.fd = None


class Walk:
    """One scan of the given roots (absolute raw paths, none below another), without the folders to leave out."""

    def __init__(
        self, roots: Sequence[bytes], excludes: Excludes, nodes: Nodes, *, leave_out: Sequence[bytes] = ()
    ) -> None:
        self._roots = sorted(roots, key=lambda root: sort_key(root[1:]))
        self._excludes = excludes
        self._nodes = nodes
        self._pseudo: dict[int, bool] = {}
        self._leave_out = leave_out
        self._left_out: set[tuple[int, int]] = set()  # device and inode: whatever path leads there

    def __iter__(self) -> Iterator[Found | Notice]:
        for root in self._roots:
            _must_exist(root)
        for folder in self._leave_out:
            with suppress(OSError):  # not there, or nobody can enter it by this name
                info = os.stat(folder)
                self._left_out.add((info.st_dev, info.st_ino))
        told: set[bytes] = set()
        for root in self._roots:
            yield from self._ancestors(root, told)
            yield from self._root(root)

    def _ancestors(self, root: bytes, told: set[bytes]) -> Iterator[Found | Notice]:
        """The directories above a root, so that a restore elsewhere can give them their attributes back."""
        at = root.find(b"/", 1)
        while at > 0:
            above = root[1:at]
            if above not in told:
                told.add(above)
                try:
                    yield Found(entry_of(above, os.stat(root[:at])))
                except OSError as error:
                    yield unreadable(above, error)
            at = root.find(b"/", at + 1)

    def _root(self, root: bytes) -> Iterator[Found | Notice]:
        path = root[1:]
        try:
            info = os.lstat(root)
        except OSError as error:
            yield unreadable(path, error)
            return
        if path:
            entry = entry_of(path, info)
            yield Found(entry, info.st_nlink)
            if not FIRST_TIME < entry.mtime_ns < LAST_TIME:
                yield _out_of_time(path)
        if stat.S_ISLNK(info.st_mode):
            yield Notice(shown(path), "root-is-symlink", "only the symlink itself is protected, not what it points to")
        if self._is_inside_left_out(root):
            yield _left_out(path)
        elif stat.S_ISDIR(info.st_mode):
            yield from self._tree(path, info)

    def _tree(self, top: bytes, info: os.stat_result) -> Iterator[Found | Notice]:
        stack: list[_Folder] = []
        try:
            if (problem := self._enter(stack, top, info)) is not None:
                yield problem
            while stack:
                folder = stack[-1]
                if not folder.names:
                    stack.pop().close()
                    continue
                name = folder.names.pop()
                path = folder.path + b"/" + name if folder.path else name
                try:
                    info = os.stat(name, dir_fd=self._descriptor(folder), follow_symlinks=False)
                except OSError as error:
                    if (problem := self._missed(path, error)) is not None:
                        yield problem
                    continue
                directory = stat.S_ISDIR(info.st_mode)
                if not self._excludes.empty and self._excludes.cover(b"/" + path, directory=directory):
                    continue
                entry = entry_of(path, info)
                yield Found(entry, 1 if directory else info.st_nlink)
                if not FIRST_TIME < entry.mtime_ns < LAST_TIME:
                    yield _out_of_time(path)
                if not directory:
                    continue
                problem = self._border(path, folder.device, info) or self._enter(stack, path, info)
                if problem is not None:
                    yield problem
        finally:
            for folder in stack:
                folder.close()

    def _missed(self, path: bytes, error: OSError) -> Notice | None:
        if self._excludes.cover(b"/" + path, directory=False):
            return None
        return unreadable(path, error)

    def _enter(self, stack: list[_Folder], path: bytes, info: os.stat_result) -> Notice | None:
        try:
            fd = self._nodes.open_folder(path, info.st_dev, info.st_ino)
        except OSError as error:
            return unreadable(path, error)
        try:
            flags = forbidding_flags(fd)
            stack.append(_Folder(path, info.st_dev, info.st_ino, fd))
        except OSError as error:
            os.close(fd)
            return unreadable(path, error)
        if len(stack) > _OPEN_FOLDERS:
            stack[-_OPEN_FOLDERS - 1].close()
        return Notice(shown(path), "metadata-not-kept", flags) if flags else None

    def _descriptor(self, folder: _Folder) -> int:
        if folder.fd is None:
            folder.fd = self._nodes.open_folder(folder.path, folder.device, folder.inode)
        return folder.fd

    def _border(self, path: bytes, device: int, info: os.stat_result) -> Notice | None:
        """A directory on another device is crossed into, unless it shows the kernel's insides."""
        if (info.st_dev, info.st_ino) in self._left_out:
            return _left_out(path)
        if info.st_dev == device:
            return None
        if info.st_dev not in self._pseudo:
            try:
                kind = filesystem_type(info.st_dev)
            except OSError as error:
                return unreadable(path, error)
            self._pseudo[info.st_dev] = kind in PSEUDO
        if not self._pseudo[info.st_dev]:
            return None
        return Notice(
            shown(path), "skipped-filesystem", "a pseudo file system is mounted here; its content is not kept"
        )

    def _is_inside_left_out(self, root: bytes) -> bool:
        """Tell whether a root is one of the folders to leave out, or below one."""
        at = os.path.realpath(root)
        places = [os.path.realpath(folder) for folder in self._leave_out]
        return any(at == place or is_below(at, place) for place in places)


def _out_of_time(path: bytes) -> Notice:
    return Notice(shown(path), "metadata-not-kept", "its time is outside of the years 1677 to 2262")


def _left_out(path: bytes) -> Notice:
    return Notice(shown(path), "skipped-vault", "the vault of this backup is here; a vault does not hold itself")


def _must_exist(root: bytes) -> None:
    try:
        os.lstat(root)
    except (FileNotFoundError, NotADirectoryError) as error:
        raise SkyharborError("source-missing", f"{shown(root[1:])}: {reason(error)}") from error
    except OSError:
        return  # it exists; that it cannot be read is said when its turn comes
