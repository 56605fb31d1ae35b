"""Extended attributes of a node, read and written as a whole; POSIX ACLs and file capabilities are among them.

Rule of the file: a node is an open descriptor. Where only an ``O_PATH`` descriptor is to be had (symlinks, devices), it
is that one's name under ``/proc/self/fd``, which leads to exactly this inode and never further.
"""

from __future__ import annotations

import errno
import os
from contextlib import suppress

Node = int | bytes
Xattrs = tuple[tuple[bytes, bytes], ...]


def path_node(fd: int) -> Node:
    """Return the node of an ``O_PATH`` descriptor."""
    return b"/proc/self/fd/%d" % fd


_NONE_HERE = frozenset({errno.ENOTSUP, errno.EOPNOTSUPP, errno.ENOSYS})
_NOT_FOR_US = _NONE_HERE | {errno.ENODATA, errno.EACCES, errno.EPERM}
KERNELS_OWN = (b"security.selinux", b"security.ima", b"security.evm")
"""Put on new files by the machine's own policy; taken away only to be replaced."""
_SECOND_NAMES = {
    "trusted.SGI_ACL_FILE": "system.posix_acl_access",
    "trusted.SGI_ACL_DEFAULT": "system.posix_acl_default",
}
"""By which XFS shows root an ACL once more, in a form of its own that other file systems would keep as just bytes."""


def read_xattrs(node: Node) -> Xattrs:
    """Return the xattrs sorted by name; empty where the file system has none.

    Those that this process may not read (``trusted.*`` do not even show to ordinary users) are left out.
    """
    names = _names(node)
    return tuple(sorted(_values(node, names))) if names else ()


def write_xattrs(node: Node, wanted: Xattrs) -> list[str]:
    """Make the xattrs those wanted and return one line for each that could not be kept.

    What a new file inherited from its directory and the original did not have is removed.
    """
    try:
        names = _names(node)
    except OSError as error:
        return [f"extended attributes ({os.strerror(error.errno or 0)})"] if wanted else []
    if not names and not wanted:
        return []
    there = dict(_values(node, names))
    kept = dict(wanted)
    lost = [name for name, value in wanted if there.get(name) != value and not _set(node, name, value)]
    for name in there:
        if name not in kept and name not in KERNELS_OWN:
            _remove(node, name)
    return [name.decode("utf-8", "backslashreplace") for name in lost]


def _names(node: Node) -> list[str]:
    try:
        return os.listxattr(node)
    except OSError as error:
        if error.errno in _NONE_HERE:
            return []
        raise


def _values(node: Node, names: list[str]) -> list[tuple[bytes, bytes]]:
    found = []
    for name in names:
        if name in _SECOND_NAMES and _SECOND_NAMES[name] in names:
            continue
        try:
            value = os.getxattr(node, name)
        except OSError as error:
            if error.errno in _NOT_FOR_US:
                continue
            raise
        found.append((os.fsencode(name), value))
    return found


def _set(node: Node, name: bytes, value: bytes) -> bool:
    try:
        os.setxattr(node, name, value)
    except OSError:
        return False
    return True


def _remove(node: Node, name: bytes) -> None:
    with suppress(OSError):  # the kernel's or the file system's own
        os.removexattr(node, name)
