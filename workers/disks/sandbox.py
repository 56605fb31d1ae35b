"""Takes every right away from the process that reads file systems, before it has seen a byte of a disk.

What is left: to compute, to use its memory up to a limit, and to speak over the one line that it was given. As root
it becomes nobody in an empty root folder with no network; as somebody else it tries the same in a user namespace of
its own.

Rule of the file: limits and the loss of new privileges must work or the process does not go on; what a kernel or a
container does not allow beyond that is done without.
"""

from __future__ import annotations

import ctypes
import os
import resource
import signal
import tempfile
from contextlib import suppress

_PDEATHSIG, _DUMPABLE, _NO_NEW_PRIVS = 1, 4, 38
_NEWUTS, _NEWIPC, _NEWUSER, _NEWNET = 0x4000000, 0x8000000, 0x10000000, 0x40000000
_NOBODY = 65534
_CAPABILITIES_3 = 0x20080522

MEMORY = 1024 * 1024 * 1024
_CPU = 6 * 3600
_FILES = 16


def die_with(parent: int) -> None:
    """End this process when its parent ends, which must still be this one."""
    prctl(_PDEATHSIG, signal.SIGKILL)
    if os.getppid() != parent:
        os._exit(0)


def shut(*, memory: int = MEMORY) -> None:
    """Give everything up. Nothing can be opened, made, executed or reached afterwards. OSError when limits fail."""
    _leave()
    for what, most in (
        (resource.RLIMIT_AS, memory),
        (resource.RLIMIT_CPU, _CPU),
        (resource.RLIMIT_CORE, 0),
        (resource.RLIMIT_FSIZE, 0),
        (resource.RLIMIT_NOFILE, _FILES),
        (resource.RLIMIT_NPROC, 0),
    ):
        resource.setrlimit(what, (most, most))
    prctl(_NO_NEW_PRIVS, 1)
    prctl(_DUMPABLE, 0)


def _leave() -> None:
    """Leave the file system, the network and this user behind, as far as the kernel lets us.

    Not the namespace of mounts: a copy of it would hold every mount of the machine for as long as this process lives.
    """
    was_root = os.geteuid() == 0
    empty = _empty_folder()
    if was_root:
        with suppress(OSError):
            unshare(_NEWUTS | _NEWIPC | _NEWNET)
    else:
        with suppress(OSError):
            unshare(_NEWUSER | _NEWUTS | _NEWIPC | _NEWNET)
    if empty is not None:
        with suppress(OSError):
            os.fchdir(empty)
            os.chroot(".")
        os.close(empty)
    if was_root:
        # In a container that knows one user only there is nobody to become: then it stays a root without rights.
        with suppress(OSError):
            os.setgroups([])
        with suppress(OSError):
            os.setresgid(_NOBODY, _NOBODY, _NOBODY)
            os.setresuid(_NOBODY, _NOBODY, _NOBODY)
    _drop_capabilities()


def _empty_folder() -> int | None:
    """Return a folder that is gone already: nothing can ever be made in it."""
    try:
        path = tempfile.mkdtemp()
        folder = os.open(path, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
        os.rmdir(path)
    except OSError:
        return None
    return folder


def _drop_capabilities() -> None:
    header = (ctypes.c_uint32 * 2)(_CAPABILITIES_3, 0)
    none = (ctypes.c_uint32 * 6)()
    if ctypes.CDLL(None, use_errno=True).capset(header, none) != 0:
        raise OSError(ctypes.get_errno(), "capset")


def prctl(what: int, value: int) -> None:
    """Set something about this process (prctl(2)). Raises ``OSError``."""
    if ctypes.CDLL(None, use_errno=True).prctl(what, value, 0, 0, 0) != 0:
        raise OSError(ctypes.get_errno(), "prctl")


def unshare(what: int) -> None:
    """Leave namespaces that are shared with others (unshare(2)). Raises ``OSError``."""
    if ctypes.CDLL(None, use_errno=True).unshare(what) != 0:
        raise OSError(ctypes.get_errno(), "unshare")
