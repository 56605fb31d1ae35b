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

from shared.errors import SkyharborError
from shared.model.backup import Notice
from shared.vault.entry import sort_key
from workers.engine.notices import reason, shown
from workers.engine.ports import Found
from workers.sources.excludes import Excludes
from workers.sources.mounts import PSEUDO, filesystem_type
from workers.sources.nodes import Nodes, entry_of

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
    """One scan of the given roots (absolute raw paths, none below another)."""

    def __init__(self, roots: Sequence[bytes], excludes: Excludes, nodes: Nodes) -> None:
        self._roots = sorted(roots, key=lambda root: sort_key(root[1:]))
        self._excludes = excludes
        self._nodes = nodes
        self._pseudo: dict[int, bool] = {}

    def __iter__(self) -> Iterator[Found | Notice]:
        for root in self._roots:
            _must_exist(root)
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
                    yield Notice(shown(above), "unreadable", reason(error))
            at = root.find(b"/", at + 1)

    def _root(self, root: bytes) -> Iterator[Found | Notice]:
        path = root[1:]
        try:
            info = os.lstat(root)
        except OSError as error:
            yield Notice(shown(path), "unreadable", reason(error))
            return
        if path:
            yield Found(entry_of(path, info), info.st_nlink)
        if stat.S_ISLNK(info.st_mode):
            yield Notice(shown(path), "root-is-symlink", "only the symlink itself is protected, not what it points to")
        if stat.S_ISDIR(info.st_mode):
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
                if not directory:
                    yield Found(entry_of(path, info), info.st_nlink)
                    continue
                yield Found(entry_of(path, info))
                problem = self._border(path, folder.device, info) or self._enter(stack, path, info)
                if problem is not None:
                    yield problem
        finally:
            for folder in stack:
                folder.close()

    def _missed(self, path: bytes, error: OSError) -> Notice | None:
        if self._excludes.cover(b"/" + path, directory=False):
            return None
        code = "vanished" if isinstance(error, FileNotFoundError | NotADirectoryError) else "unreadable"
        return Notice(shown(path), code, reason(error))

    def _enter(self, stack: list[_Folder], path: bytes, info: os.stat_result) -> Notice | None:
        try:
            fd = self._nodes.open_folder(path, info.st_dev, info.st_ino)
        except OSError as error:
            code = "vanished" if isinstance(error, FileNotFoundError | NotADirectoryError) else "unreadable"
            return Notice(shown(path), code, reason(error))
        try:
            stack.append(_Folder(path, info.st_dev, info.st_ino, fd))
        except OSError as error:
            os.close(fd)
            return Notice(shown(path), "unreadable", reason(error))
        if len(stack) > _OPEN_FOLDERS:
            stack[-_OPEN_FOLDERS - 1].close()
        return None

    def _descriptor(self, folder: _Folder) -> int:
        if folder.fd is None:
            folder.fd = self._nodes.open_folder(folder.path, folder.device, folder.inode)
        return folder.fd

    def _border(self, path: bytes, device: int, info: os.stat_result) -> Notice | None:
        """A directory on another device is crossed into, unless it shows the kernel's insides."""
        if info.st_dev == device:
            return None
        if info.st_dev not in self._pseudo:
            kind = filesystem_type(info.st_dev)
            self._pseudo[info.st_dev] = kind in PSEUDO
        if not self._pseudo[info.st_dev]:
            return None
        return Notice(
            shown(path), "skipped-filesystem", "a pseudo file system is mounted here; its content is not kept"
        )


def _must_exist(root: bytes) -> None:
    try:
        os.lstat(root)
    except (FileNotFoundError, NotADirectoryError) as error:
        raise SkyharborError("source-missing", f"{shown(root[1:])}: {reason(error)}") from error
    except OSError:
        return  # it exists; that it cannot be read is said when its turn comes
