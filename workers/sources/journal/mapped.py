"""Files that are written without an event right now: through shared mappings, and behind loop devices.

A process that a security module hides even from those who may trace all others is passed over: what it writes is told
when its mapping ends, and found by the scan of everything at the latest.

Rule of the file: every other process of the machine is asked, or nobody is trusted.
"""

from __future__ import annotations

import glob
import os

_CAP_SYS_PTRACE = 19
_FIRST_PID_NAMESPACE = 0xEFFFFFFC  # PROC_PID_INIT_INO of the kernel


class Unseen(Exception):
    """It cannot be told from here; the text says why."""


def written_unseen() -> set[int]:
    """Return the inode numbers of such files, on whatever file system. Raises ``Unseen``."""
    if os.stat("/proc/self/ns/pid").st_ino != _FIRST_PID_NAMESPACE:
        raise Unseen("this worker does not see all processes of its machine")
    if not _may_trace():
        raise Unseen("this worker may not see the mappings of other processes (CAP_SYS_PTRACE)")
    found: set[int] = set()
    for name in os.listdir("/proc"):
        if name.isdigit():
            found |= _mapped_by(name)
    return found | _behind_loops()


def _mapped_by(process: str) -> set[int]:
    try:
        with open(f"/proc/{process}/maps", "rb") as lines:
            fields = [line.split(None, 5) for line in lines if b"s " in line[:60]]
    except (FileNotFoundError, ProcessLookupError, PermissionError):
        return set()
    except OSError as error:
        raise Unseen(f"the mappings of process {process} cannot be read: {error.strerror}") from error
    return {int(one[4]) for one in fields if len(one) > 4 and one[1][1:2] == b"w" and one[1][3:4] == b"s"}


def _may_trace() -> bool:
    with open("/proc/self/status") as lines:
        held = next(int(line.split()[1], 16) for line in lines if line.startswith("CapEff:"))
    return bool(held >> _CAP_SYS_PTRACE & 1)


def _behind_loops() -> set[int]:
    found = set()
    for told in glob.glob("/sys/block/loop*/loop/backing_file"):
        try:
            with open(told, encoding="utf-8", errors="surrogateescape") as file:
                found.add(os.stat(file.read().rstrip("\n")).st_ino)
        except OSError:
            continue  # let go of meanwhile, or a file that has no name any more
    return found
