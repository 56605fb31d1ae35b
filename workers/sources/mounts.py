"""Which mounted file systems hold no data worth protecting: the kernel's own views and memory.

Rule of the file: only asked when the scan crosses into another device, so it may read ``/proc``.
"""

from __future__ import annotations

import os

PSEUDO = frozenset(
    b"autofs binder binfmt_misc bpf cgroup cgroup2 configfs debugfs devpts devtmpfs efivarfs fusectl hugetlbfs mqueue "
    b"nsfs proc pstore ramfs rpc_pipefs securityfs selinuxfs smackfs sysfs tmpfs tracefs".split()
)
_MOUNTINFO = "/proc/self/mountinfo"


def filesystem_type(device: int) -> bytes | None:
    """Return the type of the mounted file system with this ``st_dev``; None when it is not listed (or no ``/proc``).

    OSError when that cannot be found out now: the caller must not take it for an ordinary one.
    """
    wanted = b"%d:%d" % (os.major(device), os.minor(device))
    try:
        with open(_MOUNTINFO, "rb") as lines:
            for line in lines:
                before, _, after = line.partition(b" - ")
                if before.split(b" ", 3)[2] == wanted:
                    return after.split(b" ", 1)[0]
    except (FileNotFoundError, PermissionError):
        return None
    return None
