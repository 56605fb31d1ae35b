"""A store in a folder of a local or mounted file system.

Rule of the file: an object appears under its name whole and synced, or not at all: temporary file, write, fsync, link
without replacing, fsync of the folder. All paths are relative to one descriptor of the root that stays open, so that a
file system that is unmounted under a running job gives errors, and never a vault that is half on another disk.
"""

from __future__ import annotations

import os
import secrets
import stat
import threading
from collections.abc import Iterator, Sequence
from urllib.parse import quote

from typing_extensions import Buffer

from shared.clock import SystemClock
from shared.errors import SkyharborError
from shared.storage.local_files import link_or_rename, read_range, store_errors, sync, sync_folder, write_all
from shared.storage.local_list import walk
from shared.storage.names import TEMPORARY, check_name, check_prefix, check_range
from shared.storage.object_store import ObjectInfo

_FOLDER = os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC
_STALE_SECONDS = 24 * 3600
_OBJECT_MODE = 0o400
_FOLDER_MODE = 0o700


class LocalStore:
    """Objects as read-only files under a root folder. Opening one creates nothing, not even the root."""

    def __init__(self, root: str) -> None:
        """Open the folder ``root``, which may be missing; ``store-not-a-folder`` when it is something else."""
        self._root = os.path.abspath(root)
        self._lock = threading.Lock()
        self._descriptor: int | None = None
        self._swept = False
        self._synced: set[str] = set()
        if os.path.lexists(self._root) and not os.path.isdir(self._root):
            raise SkyharborError("store-not-a-folder", self._root)

    @classmethod
    def create(cls, root: str) -> LocalStore:
        """Open the folder and make it (0700) if it is missing, and its missing parents; each synced in its parent."""
        absolute = os.path.abspath(root)
        with store_errors(absolute):
            _make_folders(absolute)
        return cls(absolute)

    def describe(self) -> str:
        """Return the ``file://`` URL."""
        return "file://" + quote(self._root)

    def put(self, name: str, parts: Sequence[Buffer]) -> bool:
        """See the port. A missing root is not made: ``store-unreachable``, for it is most likely not mounted."""
        check_name(name)
        with store_errors(f"{name} in {self._root}"):
            root = self._open_root()
            if root is None:
                raise SkyharborError("store-unreachable", f"the folder {self._root} is missing")
            folder = os.path.dirname(name)
            self._make_durable(root, folder)
            # A cheap look first: re-sent objects are common after a crash, and 32 MiB are not.
            created = not self._exists(root, name) and self._write(root, name, parts)
            # Also when it was there: its creator may not have come to this line yet.
            sync_folder(root, folder)
            return created

    def get(self, name: str, *, offset: int = 0, length: int | None = None) -> bytes:
        """See the port."""
        check_name(name)
        check_range(offset, length)
        with store_errors(f"{name} in {self._root}"):
            root = self._open_root()
            data = None if root is None else read_range(root, name, offset, length)
        if data is None:
            raise SkyharborError("object-missing", f"{name} in {self._root}")
        return data

    def size(self, name: str) -> int | None:
        """See the port."""
        check_name(name)
        with store_errors(f"{name} in {self._root}"):
            root = self._open_root()
            status = None if root is None else _status(root, name)
        return status.st_size if status is not None and stat.S_ISREG(status.st_mode) else None

    def list(self, prefix: str = "") -> Iterator[ObjectInfo]:
        """See the port. Foreign files are listed, symbolic links not followed. A missing root: ``object-missing``."""
        check_prefix(prefix)
        with store_errors(self._root):
            root = self._open_root()
        if root is None:
            raise SkyharborError("object-missing", f"the folder {self._root} is missing")
        return walk(root, self._root, prefix)

    def delete(self, name: str) -> bool:
        """See the port."""
        check_name(name)
        with store_errors(f"{name} in {self._root}"):
            root = self._open_root()
            if root is None:
                return False
            try:
                os.unlink(name, dir_fd=root)
            except (FileNotFoundError, NotADirectoryError, IsADirectoryError):
                return False
            sync_folder(root, os.path.dirname(name))
            return True

    def close(self) -> None:
        """See the port."""
        with self._lock:
            descriptor, self._descriptor = self._descriptor, None
        if descriptor is not None:
            os.close(descriptor)

    def _open_root(self) -> int | None:
        """Return the descriptor of the root, or None while it is missing."""
        with self._lock:
            if self._descriptor is None:
                try:
                    self._descriptor = os.open(self._root, _FOLDER)
                except FileNotFoundError:
                    return None
                except NotADirectoryError:
                    raise SkyharborError("store-not-a-folder", self._root) from None
            return self._descriptor

    def _exists(self, root: int, name: str) -> bool:
        status = _status(root, name)
        if status is not None and not stat.S_ISREG(status.st_mode):
            raise SkyharborError("object-damaged", f"{name} in {self._root} is not a file")
        return status is not None

    def _write(self, root: int, name: str, parts: Sequence[Buffer]) -> bool:
        self._prepare_temporary(root)
        temporary = f"{TEMPORARY}/{os.getpid()}-{secrets.token_hex(8)}"
        flags = os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_NOFOLLOW | os.O_CLOEXEC
        descriptor = os.open(temporary, flags, _OBJECT_MODE, dir_fd=root)
        try:
            write_all(descriptor, parts)
            sync(descriptor)
            return link_or_rename(root, descriptor, temporary, name)
        finally:
            os.close(descriptor)
            _discard(root, temporary)

    def _prepare_temporary(self, root: int) -> None:
        """Make the folder of temporary files, and once per store remove what dead writers left in it a day ago."""
        with self._lock:
            if self._swept:
                return
            _make_folder(root, TEMPORARY)
            _sweep(root)
            self._swept = True

    def _make_durable(self, root: int, folder: str) -> None:
        """Make the folder and its parents, each synced in its parent, once per folder and store.

        Folders that exist are synced too: another writer may have made them a moment ago, and then lost power.
        """
        if folder == "" or folder in self._synced:
            return
        parent = os.path.dirname(folder)
        self._make_durable(root, parent)
        _make_folder(root, folder)
        sync_folder(root, parent)
        self._synced.add(folder)


def _status(root: int, name: str) -> os.stat_result | None:
    try:
        return os.stat(name, dir_fd=root, follow_symlinks=False)
    except (FileNotFoundError, NotADirectoryError):
        return None


def _sweep(root: int) -> None:
    descriptor = os.open(TEMPORARY, _FOLDER | os.O_NOFOLLOW, dir_fd=root)
    try:
        oldest = SystemClock().now().timestamp() - _STALE_SECONDS
        for entry in os.scandir(descriptor):
            status = _status(descriptor, entry.name)
            if status is not None and status.st_mtime < oldest:
                _discard(descriptor, entry.name)
    finally:
        os.close(descriptor)


def _discard(root: int, name: str) -> None:
    try:
        os.unlink(name, dir_fd=root)
    except OSError:
        return  # it has its final name by rename, or stays until the next sweep


def _make_folder(root: int, folder: str) -> None:
    try:
        os.mkdir(folder, _FOLDER_MODE, dir_fd=root)
    except FileExistsError:
        return


def _make_folders(path: str) -> None:
    parent = os.path.dirname(path)
    if os.path.isdir(path):
        return
    if os.path.lexists(path):
        raise SkyharborError("store-not-a-folder", path)
    _make_folders(parent)
    descriptor = os.open(parent, _FOLDER)
    try:
        _make_folder(descriptor, os.path.basename(path))
        sync(descriptor)
    finally:
        os.close(descriptor)
