"""Who supervises this home: one process, named by the kernel.

Rule of the file: no pid files. A POSIX record lock ends with its holder, is not inherited by children, and the kernel
tells who holds it without our taking it, so a recycled process id can never be mistaken for the supervisor.
"""

from __future__ import annotations

import contextlib
import fcntl
import os
import signal
import struct
from collections.abc import Iterator

_FLOCK = struct.Struct("@hhqqi")  # type, whence, start, length, pid: struct flock of 64-bit Linux


@contextlib.contextmanager
def hold(path: str) -> Iterator[bool]:
    """Hold the lock inside the block; yields False at once when another process has it.

    Nothing else in this process may open ``path`` meanwhile: closing any descriptor of a file drops its record locks.
    """
    descriptor = os.open(path, os.O_RDWR | os.O_CREAT, 0o600)
    try:
        try:
            fcntl.lockf(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except (BlockingIOError, PermissionError):
            yield False
        else:
            yield True
    finally:
        os.close(descriptor)


def holder(path: str) -> int | None:
    """Return the process id of the lock's holder, or None when nobody holds it. Not for the holder itself."""
    try:
        descriptor = os.open(path, os.O_RDWR)
    except FileNotFoundError:
        return None
    try:
        asked = _FLOCK.pack(fcntl.F_WRLCK, os.SEEK_SET, 0, 0, 0)
        kind, _, _, _, pid = _FLOCK.unpack(fcntl.fcntl(descriptor, fcntl.F_GETLK, asked))
    finally:
        os.close(descriptor)
    return pid if kind != fcntl.F_UNLCK else None


def signal_holder(path: str, number: signal.Signals) -> bool:
    """Send a signal to the lock's holder, and certainly to no other process; False when nobody holds it."""
    pid = holder(path)
    if pid is None:
        return False
    try:
        descriptor = os.pidfd_open(pid)
    except ProcessLookupError:
        return False
    try:
        if holder(path) != pid:  # it still holds: so the descriptor was opened on it, not on a successor of its number
            return False
        with contextlib.suppress(ProcessLookupError):
            signal.pidfd_send_signal(descriptor, number)
    finally:
        os.close(descriptor)
    return True
