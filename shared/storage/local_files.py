"""What the local store asks of the operating system, one call each, and what its errors mean.

Rule of the file: descriptors and names in, bytes and truth out; nothing here knows what a vault is.
"""

from __future__ import annotations

import ctypes
import errno
import os
import stat
from collections.abc import Iterator, Sequence
from contextlib import contextmanager

from typing_extensions import Buffer

from shared.errors import SkyharborError

_FULL = frozenset({errno.ENOSPC, errno.EDQUOT, errno.EFBIG})
_DENIED = frozenset({errno.EACCES, errno.EPERM, errno.EROFS})
_NO_HARD_LINKS = frozenset({errno.EPERM, errno.EOPNOTSUPP, errno.ENOSYS, errno.EMLINK})

_NO_SYNC = frozenset({errno.EINVAL, errno.EOPNOTSUPP, errno.ENOSYS})

_AT_ONCE = 1024 * 1024
_MOST_PARTS = 512  # below IOV_MAX, which is 1024 on Linux
_RENAME_NOREPLACE = 1


@contextmanager
def store_errors(what: str) -> Iterator[None]:
    """Turn an ``OSError`` inside into the ``store-…`` error that says what to do about it."""
    try:
        yield
    except OSError as error:
        raise SkyharborError(_code(error), f"{what}: {error.strerror}", errno=error.errno) from None


def write_all(descriptor: int, parts: Sequence[Buffer]) -> None:
    """Write all bytes of all parts in order, however the kernel splits them.

    The parts are asked for one after the other, and written whenever a MiB has come together: parts may take their
    time, and what was asked for is not held back for long.
    """
    views: list[memoryview] = []
    gathered = 0
    for part in parts:
        view = memoryview(part).cast("B")
        if len(view):
            views.append(view)
            gathered += len(view)
        if len(views) == _MOST_PARTS or gathered >= _AT_ONCE:
            _write(descriptor, views)
            views, gathered = [], 0
    _write(descriptor, views)


def read_range(root: int, name: str, offset: int, length: int | None) -> bytes | None:
    """Return the bytes of a plain file, fewer at its end, or None when there is no such file. Links are not followed.

    The file's size bounds the memory used, whatever ``length`` says.
    """
    try:
        descriptor = os.open(name, os.O_RDONLY | os.O_NOFOLLOW | os.O_NONBLOCK | os.O_CLOEXEC, dir_fd=root)
    except OSError as error:
        if error.errno in (errno.ENOENT, errno.ENOTDIR, errno.ELOOP, errno.ENXIO):
            return None
        raise
    try:
        status = os.fstat(descriptor)
        if not stat.S_ISREG(status.st_mode):
            return None
        left = max(0, status.st_size - offset)
        return _read(descriptor, offset, left if length is None else min(left, length))
    finally:
        os.close(descriptor)


def link_or_rename(root: int, descriptor: int, temporary: str, name: str) -> bool:
    """Give a finished file its name without ever replacing one; False when the name is taken.

    The temporary name may still be there afterwards. ``store-unsafe`` when the file system can do neither way.
    """
    try:
        os.link(temporary, name, src_dir_fd=root, dst_dir_fd=root, follow_symlinks=False)
    except FileExistsError:
        # NFS: the first try was done and its reply lost, and what exists is this very file.
        return os.fstat(descriptor).st_nlink == 2
    except OSError as error:
        if error.errno not in _NO_HARD_LINKS:
            raise
        return rename_noreplace(root, temporary, name)
    return True


def rename_noreplace(root: int, temporary: str, name: str) -> bool:
    """Rename by renameat2(2), for file systems without hard links (FAT, some network and FUSE file systems).

    False when the name is taken; ``store-unsafe`` when the system cannot rename without replacing.
    """
    libc = ctypes.CDLL(None, use_errno=True)
    if not hasattr(libc, "renameat2"):
        raise SkyharborError("store-unsafe", "neither hard links nor renameat2 are available here")
    if libc.renameat2(root, os.fsencode(temporary), root, os.fsencode(name), _RENAME_NOREPLACE) == 0:
        return True
    number = ctypes.get_errno()
    if number == errno.EEXIST:
        return False
    if number in (errno.EINVAL, errno.ENOSYS):
        raise SkyharborError("store-unsafe", "the file system can neither link nor rename without replacing")
    raise OSError(number, os.strerror(number))


def sync(descriptor: int) -> None:
    """Make what a file or folder has survive a power cut; ``store-unsafe`` where the file system cannot."""
    try:
        os.fsync(descriptor)
    except OSError as error:
        if error.errno not in _NO_SYNC:
            raise
        raise SkyharborError("store-unsafe", f"the file system cannot sync (fsync: {error.strerror})") from None


def sync_folder(root: int, folder: str) -> None:
    """Make the names in a folder survive a power cut; an empty ``folder`` is the root itself."""
    descriptor = os.open(folder or ".", os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC, dir_fd=root)
    try:
        sync(descriptor)
    finally:
        os.close(descriptor)


def _write(descriptor: int, views: list[memoryview]) -> None:
    first = 0
    while first < len(views):
        written = os.writev(descriptor, views[first:])
        while first < len(views) and written >= len(views[first]):
            written -= len(views[first])
            first += 1
        if written:
            views[first] = views[first][written:]


def _read(descriptor: int, offset: int, length: int) -> bytes:
    data = os.pread(descriptor, length, offset)
    if len(data) == length or not data:
        return data
    pieces = [data]
    while data and (left := length - sum(map(len, pieces))):
        data = os.pread(descriptor, left, offset + length - left)
        pieces.append(data)
    return b"".join(pieces)


def _code(error: OSError) -> str:
    if error.errno in _FULL:
        return "store-full"
    if error.errno in _DENIED:
        return "store-denied"
    return "store-not-a-folder" if error.errno == errno.ENOTDIR else "store-unreachable"
