"""The few functions of libnfs that a backup needs, as C has them.

libnfs is a library of the operating system (LGPL) and loaded when it is first wanted. Its functions and structures are
those of ``nfsc/libnfs.h`` of the versions 4 and 5.

Rule of the file: declarations only; what they are for is ``context``'s.
"""

from __future__ import annotations

import ctypes
from ctypes import POINTER, c_char_p, c_int, c_uint64, c_void_p
from functools import cache
from struct import Struct

from shared.errors import SkyharborError

_NAMES = ("libnfs.so.13", "libnfs.so.14")
PACKAGE = "libnfs13"
"""Debian's name; libnfs14 on later ones."""

STAT = Struct("17Q")
"""``struct nfs_stat_64``: dev, ino, mode, nlink, uid, gid, rdev, size, blksize, blocks, atime, mtime, ctime, the
nanoseconds of these three, bytes used."""

DIRENT = Struct("@PPQIIQllllllIIIQQQQQIII")
"""``struct nfsdirent``: next, name, inode, type, mode, size, atime, mtime and ctime as seconds and microseconds, uid,
gid, nlink, dev, rdev, blksize, blocks, bytes used, the nanoseconds of the times."""

TIMES = Struct("@llll")
"""``struct timeval`` of the last access and of the last write."""

_STRUCT = c_char_p  # a packed one
_OUT = POINTER(c_void_p)
_FUNCTIONS: dict[str, tuple[object, ...]] = {
    # name: what it returns, what it takes
    "nfs_init_context": (c_void_p,),
    "nfs_destroy_context": (None, c_void_p),
    "nfs_parse_url_incomplete": (c_void_p, c_void_p, c_char_p),
    "nfs_destroy_url": (None, c_void_p),
    "nfs_queue_length": (c_int, c_void_p),
    "nfs_set_timeout": (None, c_void_p, c_int),
    "nfs4_set_client_name": (None, c_void_p, c_char_p),
    "nfs_get_error": (c_char_p, c_void_p),
    "nfs_get_fd": (c_int, c_void_p),
    "nfs_mount": (c_int, c_void_p, c_char_p, c_char_p),
    "nfs_lstat64": (c_int, c_void_p, c_char_p, c_void_p),
    "nfs_fstat64": (c_int, c_void_p, c_void_p, c_void_p),
    "nfs_opendir": (c_int, c_void_p, c_char_p, _OUT),
    "nfs_readdir": (c_void_p, c_void_p, c_void_p),
    "nfs_closedir": (None, c_void_p, c_void_p),
    "nfs_readlink": (c_int, c_void_p, c_char_p, c_void_p, c_int),
    "nfs_open2": (c_int, c_void_p, c_char_p, c_int, c_int, _OUT),
    "nfs_close": (c_int, c_void_p, c_void_p),
    "nfs_pread": (c_int, c_void_p, c_void_p, c_uint64, c_uint64, c_void_p),
    "nfs_pwrite": (c_int, c_void_p, c_void_p, c_uint64, c_uint64, c_char_p),
    "nfs_fsync": (c_int, c_void_p, c_void_p),
    "nfs_ftruncate": (c_int, c_void_p, c_void_p, c_uint64),
    "nfs_mkdir2": (c_int, c_void_p, c_char_p, c_int),
    "nfs_unlink": (c_int, c_void_p, c_char_p),
    "nfs_rename": (c_int, c_void_p, c_char_p, c_char_p),
    "nfs_link": (c_int, c_void_p, c_char_p, c_char_p),
    "nfs_symlink": (c_int, c_void_p, c_char_p, c_char_p),
    "nfs_mknod": (c_int, c_void_p, c_char_p, c_int, c_int),
    "nfs_lchmod": (c_int, c_void_p, c_char_p, c_int),
    "nfs_lchown": (c_int, c_void_p, c_char_p, c_int, c_int),
    "nfs_lutimes": (c_int, c_void_p, c_char_p, _STRUCT),
}


@cache
def library() -> ctypes.CDLL:
    """Return libnfs. Raises ``source-failed`` and says which package to install when this machine has none."""
    for name in _NAMES:
        try:
            found = ctypes.CDLL(name)
        except OSError:
            continue
        for function, (returns, *takes) in _FUNCTIONS.items():
            declared = getattr(found, function)
            declared.restype, declared.argtypes = returns, takes
        return found
    raise SkyharborError(
        "source-failed",
        "this worker lacks the library libnfs",
        hint=f"Install it on the worker's machine: apt-get install {PACKAGE} (libnfs14 on Debian 13 and Ubuntu 24.04).",
    )
