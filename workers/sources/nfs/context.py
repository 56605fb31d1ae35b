"""One connection to an NFS server, by libnfs.

What libnfs (4.0) would do to us, and what is done about it:

- A connection that ends with requests under way leaves them where the library writes to a stack that is gone, unless it
  may dial again: so it may, once.
- Its time limit is for requests; dialling is limited by how often a SYN is sent.
- All contexts of a process have one name for NFS 4, so that each throws the others out: each gets its own.
- A call that gives up may leave a request under way, which is answered, by the next call or by the context's end, where
  the stack was: such a context is closed at once and its memory left alone, some kilobytes for every lost connection at
  most.
- A connection that is lost and cannot be dialled again leaves its socket open: it is closed when the context ends.
- Under NFS 4 a reply may be longer than what was asked for, and is copied all the same: there is room for the longest.

Rule of the file: an answer that is no success is an ``OSError``; what it means is ``line``'s. One thread at a time: a
lock sees to it.
"""

from __future__ import annotations

import ctypes
import errno
import os
import secrets
import socket
import threading
import weakref
from collections.abc import Iterator
from contextlib import suppress

from workers.sources.nfs.library import DIRENT, STAT, TIMES, library

PATIENCE_MS = 30_000
"""How long a request may take."""
_SETTLING_MS = 10 * PATIENCE_MS
_SYNS = 4  # some 30 s
_MOST = 1024 * 1024
"""Bytes of one request under NFS 4."""
_LONGEST_REPLY = _MOST + 65536
_LONGEST_LINK = 65536
_NOT_SENT = "_async failed"
"""What libnfs says, with a number that is also EPERM's, when it has asked nobody: of hosts that it does not find."""
_CUT = ("nfs_service failed", "Poll failed")
"""What it says when a connection ends, and when there is none to be had."""
_INITIALIZING = threading.Lock()  # what tells contexts apart is counted by the library without one


class Context:
    """A connection, and at most one mounted export. ``port`` and ``mount_port`` of 0: the port mapper is asked."""

    def __init__(self, *, version: int, port: int, mount_port: int, uid: int, gid: int) -> None:
        self.version = version
        self._lib = library()
        self._lock = threading.RLock()
        with _INITIALIZING:
            self._at = self._lib.nfs_init_context()
        if not self._at:
            raise MemoryError
        self._end = weakref.finalize(self, _end, self._lib, self._at)
        self._end.atexit = False
        options = (
            f"version={version}&uid={_signed(uid)}&gid={_signed(gid)}&tcp-syncnt={_SYNS}"
            f"&autoreconnect=1&auto-traverse-mounts=0&dircache=0"
        )
        options += (f"&nfsport={port}" if port else "") + (f"&mountport={mount_port}" if mount_port else "")
        parsed = self._lib.nfs_parse_url_incomplete(self._at, f"nfs://?{options}".encode())
        if not parsed:
            raise OSError(0, self._error())
        self._lib.nfs_destroy_url(parsed)
        self._lib.nfs_set_timeout(self._at, PATIENCE_MS)
        self._lib.nfs4_set_client_name(self._at, b"skyharbor " + secrets.token_hex(16).encode())
        self._room = ctypes.create_string_buffer(_LONGEST_REPLY) if version == 4 else None

    def mount(self, host: str, export: bytes) -> None:
        """Connect, and make an export the root of all paths."""
        try:
            self._do("nfs_mount", host.encode("ascii" if host.isascii() else "idna"), export)
        except PermissionError as error:
            if _NOT_SENT not in str(error):
                raise
            raise OSError(errno.EFAULT, error.strerror) from error
        self._socket = self._inode()

    def close(self) -> None:
        """Hang up. Idempotent."""
        with self._lock:
            self._end()

    @property
    def closed(self) -> bool:
        """Whether it was closed: nothing of it may be used."""
        return not self._end.alive

    def is_cut(self) -> bool:
        """Tell whether the connection is gone."""
        with self._lock:
            fd = -1 if self.closed else self._lib.nfs_get_fd(self._at)
            if fd < 0:
                return True
            try:
                with socket.socket(fileno=os.dup(fd)) as probe:
                    return not probe.recv(1, socket.MSG_PEEK | socket.MSG_DONTWAIT)
            except BlockingIOError:
                return False
            except OSError:
                return True

    def was_redialled(self) -> bool:
        """Tell whether the library has connected again since ``mount``: what was not synced may be lost."""
        return self._inode() != self._socket

    # ── looking ──────────────────────────────────────────────────────────────────────────────────────

    def lstat(self, path: bytes) -> tuple[int, ...]:
        """Return the fields of ``library.STAT``."""
        room = ctypes.create_string_buffer(STAT.size)
        self._do("nfs_lstat64", path, room)
        return STAT.unpack(room.raw)

    def entries(self, path: bytes) -> Iterator[tuple[bytes, tuple[int, ...]]]:
        """Yield what is in a folder, in any order, with ``.`` and ``..``: names, and the fields of ``library.DIRENT``.

        The library has asked for all of it when the first one comes; the context is taken until the last one.
        """
        folder = ctypes.c_void_p()
        with self._lock:
            self._do("nfs_opendir", path, ctypes.byref(folder))
            try:
                at = self._lib.nfs_readdir(self._at, folder)
                while at:
                    fields = DIRENT.unpack(ctypes.string_at(at, DIRENT.size))
                    yield ctypes.string_at(fields[1]), fields
                    at = fields[0]
            finally:
                self._lib.nfs_closedir(self._at, folder)

    def readlink(self, path: bytes) -> bytes:
        """Return where a symlink leads."""
        room = ctypes.create_string_buffer(_LONGEST_LINK + 1)  # the library writes one byte beyond what it is told
        self._do("nfs_readlink", path, room, _LONGEST_LINK)
        return room.value

    # ── files ────────────────────────────────────────────────────────────────────────────────────────

    def open(self, path: bytes, flags: int, mode: int = 0) -> int:
        """Open a file, or make one, and return its handle."""
        handle = ctypes.c_void_p()
        self._do("nfs_open2", path, flags, mode, ctypes.byref(handle))
        return handle.value or 0

    def release(self, handle: int) -> None:
        """Close a file. Nothing when the connection is closed."""
        with self._lock:
            if not self.closed:
                self._do("nfs_close", handle)

    def fstat(self, handle: int) -> tuple[int, ...]:
        """Return the fields of ``library.STAT``."""
        room = ctypes.create_string_buffer(STAT.size)
        self._do("nfs_fstat64", handle, room)
        return STAT.unpack(room.raw)

    def pread(self, handle: int, size: int, offset: int) -> bytes:
        """Return up to ``size`` bytes; fewer only where the file ends. NFS 3 asks for parts in parallel."""
        if self._room is None:
            buffer = ctypes.create_string_buffer(max(size, 1))
            got = self._do("nfs_pread", handle, offset, size, buffer) if size else 0
            return ctypes.string_at(buffer, got)
        found: list[bytes] = []
        with self._lock:
            while size:
                got = self._do("nfs_pread", handle, offset, min(size, _MOST), self._room)
                if not got:
                    break
                found.append(ctypes.string_at(self._room, min(got, size)))
                offset, size = offset + got, max(0, size - got)
        return b"".join(found)

    def pwrite(self, handle: int, data: bytes, offset: int) -> None:
        """Write all of ``data``. NFS 3 only, as all that changes something."""
        while data:
            done = self._do("nfs_pwrite", handle, offset, len(data), data)
            data, offset = data[done:], offset + done

    def fsync(self, handle: int) -> None:
        """Have the server put what was written where it stays."""
        with self._lock:
            self._lib.nfs_set_timeout(self._at, _SETTLING_MS)  # a slow disk is no lost line
            try:
                self._do("nfs_fsync", handle)
            finally:
                self._lib.nfs_set_timeout(self._at, PATIENCE_MS)

    def ftruncate(self, handle: int, size: int) -> None:
        """Set a file's size."""
        self._do("nfs_ftruncate", handle, size)

    # ── names ────────────────────────────────────────────────────────────────────────────────────────

    def mkdir(self, path: bytes, mode: int) -> None:
        """Make a folder."""
        self._do("nfs_mkdir2", path, mode)

    def symlink(self, target: bytes, path: bytes) -> None:
        """Make a symlink."""
        self._do("nfs_symlink", target, path)

    def mknod(self, path: bytes, mode: int, device: int) -> None:
        """Make a FIFO, a socket or a device."""
        self._do("nfs_mknod", path, mode, device)

    def link(self, path: bytes, further: bytes) -> None:
        """Give a node a further name."""
        self._do("nfs_link", path, further)

    def rename(self, path: bytes, new: bytes) -> None:
        """Give a node another name; what has it is replaced."""
        self._do("nfs_rename", path, new)

    def unlink(self, path: bytes) -> None:
        """Remove a name."""
        self._do("nfs_unlink", path)

    def chown(self, path: bytes, uid: int, gid: int) -> None:
        """Give a node, not what a symlink leads to, to somebody."""
        self._do("nfs_lchown", path, _signed(uid), _signed(gid))

    def chmod(self, path: bytes, mode: int) -> None:
        """Set a node's mode."""
        self._do("nfs_lchmod", path, mode)

    def utimes(self, path: bytes, at_ns: int) -> None:
        """Set the times of last access and last write, to the microsecond below: the library takes no finer ones."""
        seconds, rest = divmod(at_ns, 1_000_000_000)
        self._do("nfs_lutimes", path, TIMES.pack(seconds, rest // 1000, seconds, rest // 1000))

    # ── inside ───────────────────────────────────────────────────────────────────────────────────────

    def _do(self, name: str, *arguments: object) -> int:
        with self._lock:
            if self.closed:
                raise ConnectionResetError("the connection was closed")
            status: int = getattr(self._lib, name)(self._at, *arguments)
            if status < 0:
                error = OSError(-status, self._error())
                if self._lib.nfs_queue_length(self._at):
                    self.close()
                raise error
            return status

    def _error(self) -> str:
        told: bytes | None = self._lib.nfs_get_error(self._at)
        text = (told or b"").decode("utf-8", "backslashreplace")
        return "the server does not answer there, or has hung up" if text in _CUT else text

    def _inode(self) -> int:
        with self._lock:
            fd = -1 if self.closed else self._lib.nfs_get_fd(self._at)
            return os.fstat(fd).st_ino if fd >= 0 else 0


def _end(lib: ctypes.CDLL, at: int) -> None:
    fd = lib.nfs_get_fd(at)
    inode = os.fstat(fd).st_ino if fd >= 0 else 0
    if not lib.nfs_queue_length(at):
        lib.nfs_destroy_context(at)
    with suppress(OSError):
        if os.fstat(fd).st_ino == inode:  # by its inode it is nobody else's
            os.close(fd)


def _signed(number: int) -> int:
    """Return the number of a user or group as C's int has it."""
    return number - (1 << 32) if number >= 1 << 31 else number
