"""Mounts a folder of a point by FUSE: the calls of libfuse on one side, ``Folder`` on the other.

A point never changes, so the kernel may keep names, attributes and contents for as long as it likes.

Rule of the file: only this one knows mfusepy. It is imported by whoever mounts, and no other, after ``choose_fuse_3``;
``ImportError`` and ``OSError`` say that this machine cannot.
"""

from __future__ import annotations

import ctypes
import errno
import os
from collections.abc import Callable
from typing import Any

import mfusepy

from shared.errors import SkyharborError
from workers.serving.folder import Attributes, Folder
from workers.serving.listing import Listing
from workers.serving.tree import Child

_FOREVER = 86400 * 366
_LONGEST_READ = 1024 * 1024
_BLOCK = 4096
_LONGEST_NAME = 255
_WITH_ATTRIBUTES = 1  # FUSE_READDIR_PLUS: the kernel wants attributes with the names
_ARE_ATTRIBUTES = 2  # FUSE_FILL_DIR_PLUS: and here they are
_POSIX_ACL = 1 << 19  # FUSE_CAP_POSIX_ACL
_ENCODING = "utf-8"
_ENDED_BY_SIGNAL = 8  # what libfuse returns when it ended because it was told to

_HAS_THREADS = (mfusepy.fuse_version_major, mfusepy.fuse_version_minor) >= (3, 12)
_THREADS = {"max_threads": 10, "max_idle_threads": 10} if _HAS_THREADS else {}

if mfusepy.fuse_version_major != 3:
    raise ImportError("there is no libfuse 3")


class _Operations(mfusepy.Operations):  # type: ignore[misc]
    """What libfuse asks for by path; paths and names are text that hides raw bytes."""

    use_ns = True

    def __init__(self, folder: Folder, ready: Callable[[], None], *, for_others: bool) -> None:
        self.folder = folder
        self._ready = ready
        self._for_others = for_others

    def init_with_config(self, connection: Any, config: Any) -> None:  # noqa: ARG002 - the library's, here and below
        connection.max_read = _LONGEST_READ  # has to be said here as well as in the options
        if self._for_others:
            # Without it the kernel judges by modes alone, and what an ACL takes away from a group is not in the mode.
            connection.want |= connection.capable & _POSIX_ACL
        self._ready()

    def getattr(self, path: str, fh: int | None = None) -> dict[str, Any]:
        raise NotImplementedError  # ``_Mount`` fills the structure without a dictionary

    def readlink(self, path: str) -> str:
        return _text(self.folder.link_target(_raw(path)))

    def listxattr(self, path: str) -> list[str]:
        return [_text(name) for name in self.folder.xattrs(_raw(path))]

    def getxattr(self, path: str, name: str, position: int = 0) -> bytes:  # noqa: ARG002
        value = self.folder.xattrs(_raw(path)).get(_raw(name))
        if value is None:
            raise OSError(errno.ENODATA, os.strerror(errno.ENODATA))
        return value

    def open(self, path: str, flags: int) -> int:  # noqa: ARG002 - the kernel refuses writing by itself: it is ``ro``
        return self.folder.open_file(_raw(path))

    def read(self, path: str, size: int, offset: int, fh: int) -> bytes:  # noqa: ARG002
        return self.folder.read(fh, offset, size)

    def lseek(self, path: str, offset: int, whence: int, fh: int) -> int:  # noqa: ARG002
        return self.folder.seek(fh, offset, whence)

    def release(self, path: str, fh: int) -> int:  # noqa: ARG002
        self.folder.close_file(fh)
        return 0

    def opendir(self, path: str) -> int:
        return self.folder.open_folder(_raw(path))

    def readdir(self, path: str, fh: int) -> Any:
        raise NotImplementedError  # ``_Mount`` gives attributes along

    def releasedir(self, path: str, fh: int) -> int:  # noqa: ARG002
        self.folder.close_folder(fh)
        return 0

    def statfs(self, path: str) -> dict[str, int]:  # noqa: ARG002
        size, files = self.folder.size()
        blocks = -(-size // _BLOCK)
        return {
            "f_bsize": _BLOCK, "f_frsize": _BLOCK, "f_blocks": blocks, "f_bfree": 0, "f_bavail": 0,
            "f_files": files, "f_ffree": 0, "f_favail": 0, "f_namemax": _LONGEST_NAME,
        }  # fmt: skip


class _Mount(mfusepy.FUSE):  # type: ignore[misc]
    """The library's loop, with what it does not do: attributes together with names, and looking for holes."""

    operations: _Operations

    def getattr_fuse_3(self, path: bytes, buf: Any, fip: Any) -> int:  # noqa: ARG002
        ctypes.memset(buf, 0, ctypes.sizeof(mfusepy.c_stat))
        _fill(buf.contents, self.operations.folder.attributes(path))
        return 0

    def readdir_fuse_3(self, path: bytes, buf: Any, filler: Any, offset: int, fip: Any, flags: int) -> int:  # noqa: ARG002
        listing = self.operations.folder.listing(fip.contents.fh)
        with listing.lock:
            return self._list(listing, lambda *entry: filler(buf, *entry), offset, bool(flags & _WITH_ATTRIBUTES))

    def lseek(self, path: bytes, offset: int, whence: int, fip: Any) -> int:
        return self.operations.lseek(_text(path), offset, whence, fip.contents.fh)

    def _list(self, listing: Listing, give: Callable[..., int], offset: int, with_attributes: bool) -> int:
        """Give names until the kernel has enough of them. Names 1 and 2 are the dots."""
        for number, dots in ((1, b"."), (2, b"..")):
            if offset < number and give(dots, None, number, 0):
                return 0
        given = False
        try:
            for number, child in listing.after(max(0, offset - 2)):
                status = mfusepy.c_stat()
                how = self._look(listing.path, child, status, with_attributes)
                if give(child.name, status, number + 2, how):
                    return 0
                given = True
        except OSError:
            if not given:  # the error is told when all names before it are taken
                raise
        return 0

    def _look(self, folder: bytes, child: Child, status: Any, with_attributes: bool) -> int:
        """Fill in what is known of a child and return what that is: all of it, or no more than its type."""
        path = folder + b"/" + child.name if folder else child.name
        try:
            if child.entry is None:
                _fill(status, self.operations.folder.attributes(b"/" + path))
            else:
                _fill(status, self.operations.folder.attributes_of(child.entry))
        except (OSError, SkyharborError):
            return 0  # the name is there; whoever asks for more meets the error
        return _ARE_ATTRIBUTES if with_attributes else 0


def mount_folder(folder: Folder, target: str, *, name: str, allow_other: bool, ready: Callable[[], None]) -> None:
    """Mount at a folder and answer until somebody unmounts it, or this process gets SIGINT, SIGTERM or SIGHUP.

    ``ready`` is called once it is there. For the main thread. Raises ``target-invalid`` when it cannot be mounted.
    """
    mounted = False

    def begun() -> None:
        nonlocal mounted
        mounted = True
        ready()

    try:
        operations = _Operations(folder, begun, for_others=allow_other)
        _Mount(
            operations, target, encoding=_ENCODING, foreground=True, fsname=name, subtype="skyharbor",
            ro=True, nosuid=True, nodev=True, max_read=_LONGEST_READ, kernel_cache=True, use_ino=True,
            entry_timeout=_FOREVER, attr_timeout=_FOREVER, negative_timeout=_FOREVER,
            allow_other=allow_other, default_permissions=allow_other, **_THREADS,
        )  # fmt: skip
    except RuntimeError as error:
        if not mounted or error.args != (_ENDED_BY_SIGNAL,):
            raise SkyharborError(
                "target-invalid",
                f"{target}: FUSE has refused the mount, or has ended it (code {error})",
                hint="The line above says why; an ordinary user needs fusermount3 of the package fuse3.",
            ) from error


def _fill(status: Any, attributes: Attributes) -> None:
    status.st_mode, status.st_ino, status.st_nlink = attributes.mode, attributes.inode, attributes.links
    status.st_uid, status.st_gid, status.st_size = attributes.uid, attributes.gid, attributes.size
    status.st_blocks, status.st_blksize, status.st_rdev = attributes.blocks, _LONGEST_READ, attributes.rdev
    mtime, ctime = divmod(attributes.mtime_ns, 10**9), divmod(attributes.ctime_ns, 10**9)
    status.st_mtimespec.tv_sec, status.st_mtimespec.tv_nsec = mtime
    status.st_atimespec.tv_sec, status.st_atimespec.tv_nsec = mtime
    status.st_ctimespec.tv_sec, status.st_ctimespec.tv_nsec = ctime


def _raw(text: str) -> bytes:
    return text.encode(_ENCODING, "surrogateescape")


def _text(raw: bytes) -> str:
    return raw.decode(_ENCODING, "surrogateescape")
